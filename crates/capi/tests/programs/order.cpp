// The order of what a warming puts off, through the C++ layer: `order FOLDER`. Names are defined twice, with others beside
// them, caught up with and evaluated in between; a run finds what was compiled of the values that it has itself.

#include "check.h"

#include <rekindle.hpp>

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace {

using factory = long();

// Its value is `number`, and what `macro` is when it is compiled.
struct form {
    std::vector<std::string> names;
    int number;
    std::string macro = {};
    // What a warming does before it, and whether it evaluates it.
    bool catches_up = false, is_evaluated = false;
};

const std::vector<std::vector<form>> programs{
    // Caught up with when a name is defined twice and nobody has reached it.
    {{{"x"}, 1}, {{"x"}, 2}, {{"m"}, 10, "x"}, {{"n"}, 20, "x", true}},
    {{{"x"}, 1}, {{"m"}, 10, "x", true}, {{"x"}, 2}, {{"n"}, 20, "x"}},
    {{{"x"}, 1}, {{"x"}, 2}, {{"n"}, 20, "x", true}},
    // One factory defines two names, and one of them is defined anew before the other is needed.
    {{{"x", "y"}, 1}, {{"x"}, 2}, {{"m"}, 10, "x"}, {{"o"}, 30, "y"}, {{"n"}, 20, "x"}},
    // Evaluated in the session that is warmed, before that has caught up.
    {{{"x"}, 1}, {{"x"}, 2, {}, false, true}, {{"n"}, 20, "x", true}},
};

using values = std::map<std::string, long>;

auto compiler(const form &form, const values &values) {
    return [&](rekindle::recorder &recorder, rekindle::compilation &compilation) {
        long macro = 0;
        if (!form.macro.empty()) {
            recorder.ran(form.macro);
            macro = values.at(form.macro);
        }
        compilation.factory("factory");
        for (const std::string &name : form.names) compilation.defines(name);
        give_object_of(compilation.unit(), "long factory(void) { return " + std::to_string(form.number) + " + " + std::to_string(macro) + "; }");
    };
}

// A form's text: its number in the program and its own.
std::string text_of(std::size_t index, const form &form) { return std::to_string(index) + " " + std::to_string(form.number); }

void set(const form &form, long value, values &values) {
    for (const std::string &name : form.names) values[name] = value;
}

void warm(const std::vector<form> &program, const rekindle::cache &cache) {
    rekindle::session session(cache);
    rekindle::host host;
    values values;
    std::size_t last = 0, evaluated = 0;
    std::vector<std::string> lost;
    rekindle::warming warming(session, {.threads = 2, .run = [&](const rekindle::needed &needed) {
        std::size_t index = std::stoul(std::string(needed.definition().text));
        CHECK(last <= index);
        last = index;
        set(program[index], needed.factory<factory>()(), values);
        return rekindle::ran::pure;
    }, .failed = [&](const rekindle::definition &definition, std::string_view why) {
        CHECK(why.find("defined anew before it could run") != why.npos);
        lost.push_back(std::string(definition.text));
    }});
    for (std::size_t index = 0; index < program.size(); index++) {
        const form &form = program[index];
        std::string text = text_of(index, form);
        rekindle::definition definition{form.names[0], text};
        if (form.catches_up) warming.catch_up();
        if (form.is_evaluated) evaluated++, set(form, session.eval(definition, host, compiler(form, values)).run<factory>(rekindle::ran::pure), values);
        else warming.warm(definition, host, compiler(form, values));
    }
    rekindle::warmed warmed = warming.finish();
    CHECK(warmed.failed == 0 && warmed.bypasses == 0 && warmed.done == program.size() - evaluated);
    // What it would have come after was put off, and is kept; its place is another's.
    CHECK(warmed.not_run == evaluated && session.statistics().not_run == evaluated);
    CHECK(lost.size() == evaluated && (lost.empty() || lost[0] == text_of(0, program[0])));
}

void run(const std::vector<form> &program, const rekindle::cache &cache) {
    rekindle::session session(cache);
    rekindle::host host;
    values values;
    for (std::size_t index = 0; index < program.size(); index++) {
        const form &form = program[index];
        std::string text = text_of(index, form);
        long expected = form.number + (form.macro.empty() ? 0 : values.at(form.macro));
        auto evaluated = session.eval({form.names[0], text}, host, compiler(form, values));
        CHECK(evaluated.is_hit());
        long value = std::move(evaluated).run<factory>(rekindle::ran::pure);
        CHECK(value == expected);
        set(form, value, values);
    }
}

} // namespace

int main(int count, char **arguments) {
    CHECK(count == 2);
    for (std::size_t number = 0; number < programs.size(); number++) {
        auto folder = std::string(arguments[1]) + "/" + std::to_string(number);
        auto cache = rekindle::cache::open(rekindle::options().folder(folder).compiler("cc"));
        warm(programs[number], cache);
        run(programs[number], cache);
    }
    std::puts("all well");
}
