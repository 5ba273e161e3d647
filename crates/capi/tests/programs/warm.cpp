// Warming through the C++ layer, of a language with macros: `warm FOLDER` compiles a program without running it, `run
// FOLDER` runs it. Both print what came of the definitions.

#include "check.h"

#include <rekindle.hpp>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

namespace {

using factory = long();

// A definition of the language: `macro` names one that is expanded, so that its value is a part of the text that is
// compiled; `values` are those that the code refers to.
struct form {
    std::string name, body;
    std::string macro = {};
    std::vector<std::string> values = {};
    bool is_analysed = false;
};

const std::vector<form> program{
    {"user/base", "20"},
    {"user/twice", "2", {}, {}, true},
    {"user/untouched", "missing_function()"},
    {"user/sum", "20", "user/twice", {}, true},
    {"user/kept", "value_of(\"user/base\") + 1", {}, {"user/base"}},
    // From here on `base` is another, and `kept` is made of what it was.
    {"user/base", "100"},
    {"user/wrong", "no C", {}, {}, true},
    {"user/none", "0", "user/no-macro"},
};

std::map<std::string, long, std::less<>> values;
std::vector<std::string> ran;

struct language final : rekindle::host {
    std::optional<rekindle::word> symbol(std::string_view name, std::uint64_t) override {
        auto missing = +[]() -> long { return throw std::runtime_error("it ran"), 0; };
        auto value = +[](const char *name) -> long { return values.at(name); };
        if (name == "missing_function") return rekindle::word::address(missing);
        if (name == "value_of") return rekindle::word::address(value);
        return std::nullopt;
    }
};

void set(const rekindle::definition &definition, long value) {
    values[std::string(definition.name)] = value;
    ran.emplace_back(definition.name);
}

std::atomic<int> generated_elsewhere = 0;

auto compiler(const form &form) {
    return [&form](rekindle::recorder &recorder, rekindle::compilation &compilation) {
        long macro = 0;
        if (!form.macro.empty()) {
            if (form.macro == "user/no-macro") throw std::runtime_error("there is no macro");
            // What was put off runs now, so that its value is there.
            recorder.ran(form.macro);
            macro = values.at(form.macro);
        }
        std::string source = "long missing_function(void); long value_of(const char *); long factory(void) { return " + form.body + " + " +
                             std::to_string(macro) + "; }";
        compilation.factory("factory");
        compilation.defines(form.name);
        for (const std::string &value : form.values) compilation.references(value);
        auto here = std::this_thread::get_id();
        auto make = [source, here](rekindle::unit &unit) {
            if (source.find("no C") != source.npos) throw std::runtime_error("this is no C");
            generated_elsewhere += std::this_thread::get_id() != here;
            give_object_of(unit, source);
        };
        if (form.is_analysed) compilation.analysed(rekindle::digest_of("form", source), make);
        else make(compilation.unit());
    };
}

rekindle::definition definition_of(const form &form) { return {form.name, form.body, form.macro}; }

void warm(const rekindle::session &session, bool is_again) {
    language language;
    std::uint64_t last = 0;
    std::vector<std::string> failed;
    rekindle::warming warming(session, {
        .threads = 3,
        .run = [](const rekindle::needed &needed) {
            set(needed.definition(), needed.factory<factory>()());
            return rekindle::ran::pure;
        },
        .progress = [&](const rekindle::warmed &so_far) {
            CHECK(so_far.expected == program.size() && so_far.done >= last);
            last = so_far.done;
        },
        .failed = [&](const rekindle::definition &definition, std::string_view why) {
            CHECK(why.find("this is no C") != why.npos);
            failed.emplace_back(definition.name);
        },
    });
    warming.expect(program.size());
    for (const form &form : program) {
        try {
            rekindle::outcome outcome = warming.warm(definition_of(form), language, compiler(form));
            bool was_kept = is_again && form.name != "user/wrong";
            CHECK((outcome == rekindle::outcome::hit) == was_kept);
        } catch (const std::runtime_error &error) {
            CHECK(form.name == "user/none" && std::string_view(error.what()) == "there is no macro");
        }
    }
    rekindle::warming moved = std::move(warming);
    rekindle::warmed warmed = moved.finish();
    CHECK(warmed.done == program.size() && last == warmed.done && warmed.failed == 2 && warmed.bypasses == 0);
    CHECK(failed == std::vector<std::string>{"user/wrong"});
    // The macro, and what was made of a name that came to mean something else; nothing of all that merely is there.
    CHECK(ran == (std::vector<std::string>{"user/twice", "user/base", "user/kept"}) && warmed.ran == 3);
    CHECK(values.at("user/kept") == 21);
    std::printf("%d found, %d compiled\n", int(warmed.found), int(warmed.compiled));
}

void run(const rekindle::session &session) {
    language language;
    int hits = 0;
    for (const form &form : program) {
        if (form.name == "user/wrong" || form.name == "user/none") continue;
        rekindle::definition definition = definition_of(form);
        auto evaluated = session.eval(definition, language, compiler(form));
        hits += evaluated.outcome() == rekindle::outcome::hit;
        if (form.name == "user/untouched") {
            CHECK(evaluated.factory<factory>() != nullptr);
            std::move(evaluated).finish(rekindle::ran::failed);
            continue;
        }
        set(definition, std::move(evaluated).run<factory>(rekindle::ran::pure));
    }
    CHECK(values.at("user/sum") == 22 && values.at("user/kept") == 21 && values.at("user/base") == 100);
    std::printf("%d hits\n", hits);
}

// Warming without `run` runs nothing, and says so.
void check_catch_up(const rekindle::cache &cache) {
    rekindle::session session(cache);
    rekindle::warming warming(session);
    rekindle::host host;
    auto compile = [](rekindle::recorder &, rekindle::compilation &compilation) {
        compilation.factory("factory");
        give_object_of(compilation.unit(), "long factory(void) { return 1; }");
    };
    warming.warm({"user/some", "1"}, host, compile);
    auto caught_up = warming.catch_up(std::nothrow);
    CHECK(!caught_up && caught_up.why().code() == REKINDLE_ERROR_CODE_STATE);
    CHECK(warming.finish().ran == 0);
}

std::atomic<bool> is_assigned = false, is_gone = false;

// What a unit holds that is in the line when its warming ends.
struct in_line {
    bool is_owner = true;
    in_line() = default;
    in_line(const in_line &) = default;
    in_line(in_line &&other) noexcept : is_owner(std::exchange(other.is_owner, false)) {}
    ~in_line() {
        if (!is_owner || !is_assigned || is_gone.exchange(true)) return;
        // If threads are still at it they have this long to come to a unit that is gone.
        auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(50);
        while (std::chrono::steady_clock::now() < end) std::this_thread::yield();
    }
};

// Assigning to a warming ends the one that was there before what it holds goes.
void check_assigned(const rekindle::cache &cache) {
    rekindle::session session(cache), other(cache);
    rekindle::host host;
    rekindle::warming warming(session, {.threads = 3});
    for (int i = 0; i < 40; i++) {
        std::string source = "long factory(void) { return " + std::to_string(i) + "; }";
        rekindle::definition definition{"user/assigned", source};
        warming.warm(definition, host, [&](rekindle::recorder &, rekindle::compilation &compilation) {
            compilation.factory("factory");
            compilation.analysed(rekindle::digest_of("form", source), [source, held = in_line()](rekindle::unit &unit) {
                CHECK(!is_gone);
                give_object_of(unit, source);
            });
        });
    }
    is_assigned = true;
    warming = rekindle::warming(other);
    CHECK(warming.finish().done == 0);
}

// A forked child ends its parent's warming without waiting for threads that it does not have.
void check_forked(const rekindle::cache &cache) {
    rekindle::session session(cache);
    rekindle::host host;
    std::atomic<bool> is_begun = false, may_end = false;
    std::string source = "long factory(void) { return 77; }";
    rekindle::warming warming(session, {.threads = 2});
    warming.warm({"user/forked", source}, host, [&](rekindle::recorder &, rekindle::compilation &compilation) {
        compilation.factory("factory");
        compilation.analysed(rekindle::digest_of("form", source), [&](rekindle::unit &unit) {
            is_begun = true;
            while (!may_end) std::this_thread::yield();
            give_object_of(unit, source);
        });
    });
    while (!is_begun) std::this_thread::yield();
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        // Whoever hangs is ended.
        alarm(60);
        { auto ended = std::move(warming); }
        _exit(0);
    }
    int status = 1;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    may_end = true;
    CHECK(warming.finish().compiled == 1);
}

} // namespace

int main(int count, char **arguments) {
    CHECK(count == 3);
    auto cache = rekindle::cache::open(rekindle::options().folder(arguments[2]).compiler("cc"));
    rekindle::session session(cache);
    std::string how = arguments[1];
    if (how == "run") run(session);
    else warm(session, how == "again");
    if (how == "again") {
        check_catch_up(cache);
        check_assigned(cache);
        check_forked(cache);
    }
    if (how == "warm") CHECK(generated_elsewhere > 0);
}
