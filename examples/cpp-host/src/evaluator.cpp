#include "evaluator.hpp"

#include "codegen.hpp"
#include "core.hpp"
#include "heap.hpp"

namespace host {

std::vector<std::string> flags(const settings &settings) {
    return {"-std=c++20", settings.optimisation, "-isystem", settings.headers};
}

namespace {

rekindle::cache open(const settings &settings) {
    std::vector<std::string> texts = flags(settings);
    std::vector<std::string_view> views(texts.begin(), texts.end());
    rekindle::options options;
    options.mode(settings.mode).explain(settings.explain);
    if (settings.cache.empty()) options.clang(views, prelude);
    else options.folder(settings.cache).clang(views, prelude, settings.cache + "/headers");
    if (settings.explain)
        options.listener([](const rekindle::event &event) {
            if (event.outcome != rekindle::outcome::hit) std::cerr << event.definition.name << ": " << event.explanation << '\n';
        });
    return rekindle::cache::open(options);
}

} // namespace

evaluator::evaluator(const settings &settings) : cache_(open(settings)), session_(cache_) {}

std::optional<rekindle::digest> evaluator::resolution(std::string_view name_space, std::string_view symbol) {
    // Code reaches other definitions through their variables, so that it depends on which one is meant and no more.
    const var *meant = find(name_space, symbol);
    auto [known, is_new] = digests_.try_emplace(meant);
    if (is_new) known->second = rekindle::digest_of("cpp-host resolution", meant ? meant->name : "");
    return known->second;
}

void evaluator::placed(std::span<std::byte> data) { add_root(data); }

evaluator::form evaluator::look_at(std::string_view text) const {
    auto [head, name] = heading_of(text);
    bool defines = head == "def" || head == "defn";
    if (!defines) name = {};
    return {text, head, name, defines ? name_space_ + "/" + std::string(name) : ""};
}

void evaluator::compile(const form &form, rekindle::recorder &recorder, rekindle::compilation &compilation) const {
    generated code = generate(name_space_, form.name, read(form.text));
    for (const std::string &symbol : code.symbols) recorder.resolved(name_space_, symbol);
    for (const std::string &reference : code.references) compilation.references(reference);
    if (form.defines()) compilation.defines(form.full);
    compilation.factory(factory_name);
    compilation.source(code.source);
}

// What a function is follows from its code; of other values nobody has looked.
rekindle::ran evaluator::form::ran() const { return head == "defn" ? rekindle::ran::pure : rekindle::ran::impure; }

object *evaluator::evaluate(std::string_view text) {
    form form = look_at(text);
    if (form.head == "ns") {
        name_space_ = heading_of(text).name;
        return nil();
    }
    rekindle::evaluation evaluated = session_.eval({form.full, text, name_space_}, *this, [&](auto &recorder, auto &compilation) {
        compile(form, recorder, compilation);
    });
    object *value = evaluated.factory<factory>()();
    rekindle::code code = std::move(evaluated).finish(form.ran());
    if (form.defines()) {
        intern(name_space_, form.name)->value = value;
        code_.insert_or_assign(form.full, std::move(code));
    }
    return value;
}

rekindle::warmed evaluator::warm(const std::vector<std::string> &programs, rekindle::warmer how) {
    // What is put off runs only if a name that it is made of is about to be defined anew.
    how.run = [this](const rekindle::needed &needed) {
        object *value = needed.factory<factory>()();
        form form = look_at(needed.definition().text);
        if (form.defines()) intern(needed.definition().context, form.name)->value = value;
        return form.ran();
    };
    rekindle::warming warming(session_, std::move(how));
    for (std::string_view program : programs) {
        std::uint64_t forms = 0;
        for (std::string_view text = delimit(program); !text.empty(); text = delimit(program)) forms += heading_of(text).head != "ns";
        warming.expect(forms);
    }
    for (std::string_view program : programs) {
        for (std::string_view text = delimit(program); !text.empty(); text = delimit(program)) {
            form form = look_at(text);
            if (form.head == "ns") {
                name_space_ = heading_of(text).name;
                continue;
            }
            try {
                warming.warm({form.full, text, name_space_}, *this, [&](auto &recorder, auto &compilation) {
                    compile(form, recorder, compilation);
                });
            } catch (const std::exception &error) {
                std::cerr << "not compiled: " << error.what() << '\n';
            }
            // Those that follow find the name, as they will when it has a value.
            if (form.defines()) intern(name_space_, form.name)->is_declared = true;
        }
    }
    return warming.finish();
}

object *evaluator::run(std::string_view program) {
    object *value = nil();
    for (std::string_view form = delimit(program); !form.empty(); form = delimit(program)) value = evaluate(form);
    return value;
}

void evaluator::unload(const std::string &name) {
    auto found = code_.find(name);
    if (found == code_.end()) throw error("no code of " + name);
    rekindle::code code = std::move(found->second);
    code_.erase(found);
    remove_root(code.data());
    rekindle::code::unload(std::move(code));
}

} // namespace host
