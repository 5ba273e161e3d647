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
    return rekindle::digest_of("cpp-host resolution", meaning(name_space, symbol));
}

void evaluator::placed(std::span<std::byte> data) { add_root(data); }

object *evaluator::evaluate(std::string_view form) {
    auto [head, name] = heading_of(form);
    if (head == "ns") {
        name_space_ = name;
        return nil();
    }
    bool defines = head == "def" || head == "defn";
    if (!defines) name = {};
    std::string full = defines ? name_space_ + "/" + std::string(name) : "";
    rekindle::definition definition{full, form, name_space_};
    auto compile = [&](rekindle::recorder &recorder, rekindle::compilation &compilation) {
        generated code = generate(name_space_, name, read(form));
        for (const std::string &symbol : code.symbols) recorder.resolved(name_space_, symbol);
        for (const std::string &reference : code.references) compilation.references(reference);
        if (defines) compilation.defines(full);
        compilation.factory(factory_name);
        compilation.source(code.source);
    };
    rekindle::evaluation evaluated = session_.eval(definition, *this, compile);
    // What a function is follows from its code; of other values nobody has looked.
    rekindle::ran ran = head == "defn" ? rekindle::ran::pure : rekindle::ran::impure;
    object *value = evaluated.factory<factory>()();
    rekindle::code code = std::move(evaluated).finish(ran);
    if (defines) {
        intern(name_space_, name)->value = value;
        code_.insert_or_assign(full, std::move(code));
    }
    return value;
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
