#include "reader.hpp"

#include "core.hpp"

#include <charconv>

namespace host {

namespace {

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == ','; }
bool is_open(char c) { return c == '(' || c == '['; }
bool is_close(char c) { return c == ')' || c == ']'; }
bool ends_token(char c) { return is_space(c) || is_open(c) || is_close(c) || c == '"' || c == ';'; }

void skip(std::string_view &rest) {
    while (!rest.empty() && (is_space(rest[0]) || rest[0] == ';')) {
        if (rest[0] != ';') rest.remove_prefix(1);
        else rest.remove_prefix(std::min(rest.find('\n'), rest.size()));
    }
}

std::size_t length_of_string(std::string_view rest) {
    for (std::size_t at = 1; at < rest.size(); at++) {
        if (rest[at] == '\\') at++;
        else if (rest[at] == '"') return at + 1;
    }
    throw error("a string has no end");
}

std::size_t length_of_token(std::string_view rest) {
    std::size_t at = 0;
    while (at < rest.size() && !ends_token(rest[at])) at++;
    return at;
}

std::string_view take(std::string_view &rest, std::size_t length) {
    std::string_view taken = rest.substr(0, length);
    rest.remove_prefix(length);
    return taken;
}

object *atom(std::string_view token) {
    if (token[0] == ':') return intern_keyword(token.substr(1));
    const char *end = token.data() + token.size();
    std::int64_t whole;
    if (auto [at, failed] = std::from_chars(token.data(), end, whole); failed == std::errc() && at == end) return new integer(whole);
    double fraction;
    if (auto [at, failed] = std::from_chars(token.data(), end, fraction); failed == std::errc() && at == end) return new real(fraction);
    return new symbol(text(token));
}

object *unescaped(std::string_view quoted) {
    text made;
    for (std::size_t at = 1; at + 1 < quoted.size(); at++) {
        if (quoted[at] != '\\') made += quoted[at];
        else made += quoted[++at] == 'n' ? '\n' : quoted[at];
    }
    return new string(std::move(made));
}

object *read_next(std::string_view &rest) {
    skip(rest);
    if (rest.empty()) throw error("a form has no end");
    if (is_close(rest[0])) throw error("a bracket too many");
    if (rest[0] == '"') return unescaped(take(rest, length_of_string(rest)));
    if (!is_open(rest[0])) return atom(take(rest, length_of_token(rest)));
    rest.remove_prefix(1);
    std::vector<object *, allocator<object *>> items;
    for (skip(rest); !rest.empty() && !is_close(rest[0]); skip(rest)) items.push_back(read_next(rest));
    if (rest.empty()) throw error("a list has no end");
    rest.remove_prefix(1);
    list *made = nullptr;
    for (auto at = items.rbegin(); at != items.rend(); ++at) made = new list(*at, made);
    return made ? made : nil();
}

} // namespace

std::string_view delimit(std::string_view &rest) {
    skip(rest);
    std::string_view form = rest;
    int depth = 0;
    while (!rest.empty()) {
        if (rest[0] == '"') rest.remove_prefix(length_of_string(rest));
        else if (is_open(rest[0])) depth++, rest.remove_prefix(1);
        else if (is_close(rest[0])) depth--, rest.remove_prefix(1);
        else rest.remove_prefix(length_of_token(rest));
        if (depth <= 0) break;
        skip(rest);
    }
    if (depth > 0) throw error("a form has no end");
    return form.substr(0, form.size() - rest.size());
}

heading heading_of(std::string_view form) {
    if (form.empty() || form[0] != '(') return {};
    form.remove_prefix(1);
    skip(form);
    std::string_view head = take(form, length_of_token(form));
    skip(form);
    return {head, take(form, length_of_token(form))};
}

object *read(std::string_view form) { return read_next(form); }

} // namespace host
