// Evaluating a program's definitions through Rekindle: the whole of what a host does for it.

#pragma once

#include "reader.hpp"

#include <rekindle.hpp>

#include <map>
#include <optional>
#include <unordered_map>
#include <vector>

namespace host {

struct settings {
    std::string cache; // the folder; empty: Rekindle's own choice
    std::string headers; // where runtime.hpp lies
    std::string optimisation = "-O1";
    rekindle::mode mode = rekindle::mode::on;
    bool explain = false;
};

class evaluator final : rekindle::host {
public:
    explicit evaluator(const settings &settings);

    // Evaluates all forms of a text and returns the last one's value.
    object *run(std::string_view program);
    // Evaluates one form.
    object *evaluate(std::string_view text);
    // Compiles what is not kept of programs that would run one after the other, and runs none of them.
    rekindle::warmed warm(const std::vector<std::string> &programs, rekindle::warmer how);
    // Takes the code of a definition out of the process. Nothing of it may be used any more.
    void unload(const std::string &name);

    const rekindle::cache &cache() const { return cache_; }
    const rekindle::session &session() const { return session_; }
    const std::string &name_space() const { return name_space_; }

private:
    // A form, as far as its text tells.
    struct form {
        std::string_view text, head, name;
        std::string full; // what it defines

        bool defines() const { return !full.empty(); }
        rekindle::ran ran() const;
    };
    form look_at(std::string_view text) const;
    void compile(const form &form, rekindle::recorder &recorder, rekindle::compilation &compilation) const;

    std::optional<rekindle::digest> resolution(std::string_view name_space, std::string_view symbol) override;
    void placed(std::span<std::byte> data) override;

    rekindle::cache cache_;
    rekindle::session session_;
    std::string name_space_ = "user";
    // Of the names of variables, which do not change; of none, too.
    std::unordered_map<const var *, rekindle::digest> digests_;
    // Code by the name that it defines; the last one counts.
    std::map<std::string, rekindle::code> code_;
};

// The flags and the prelude with which units are compiled.
std::vector<std::string> flags(const settings &settings);
constexpr std::string_view prelude = "#include <runtime.hpp>\n";

} // namespace host
