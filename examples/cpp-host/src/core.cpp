#include "core.hpp"

#include "heap.hpp"

#include <cstring>
#include <new>
#include <unordered_map>

namespace host {

namespace {

template <class T> T *made_root(std::string_view name) {
    // The name lies behind what it names.
    auto *memory = static_cast<char *>(allocate_root(sizeof(T) + name.size()));
    std::memcpy(memory + sizeof(T), name.data(), name.size());
    return new (memory) T{{memory + sizeof(T), name.size()}};
}

// The variables of each namespace by their names, which are the ends of their full ones.
std::map<std::string, std::unordered_map<std::string_view, var *>, std::less<>> spaces;

std::string full(std::string_view name_space, std::string_view name) {
    return std::string(name_space) + "/" + std::string(name);
}

template <class Body> void define(std::string_view name, int arity, Body body) {
    var *var = intern("core", name);
    var->value = make_function(var->name, arity, body);
}

list *as_list(object *value) {
    if (value->tag == type::nil) return nullptr;
    if (value->tag != type::list) fail("not a list", value);
    return static_cast<list *>(value);
}

object *as_object(list *list) { return list ? list : nil(); }

} // namespace

var *intern(std::string_view name_space, std::string_view name) {
    auto space = spaces.find(name_space);
    if (space == spaces.end()) space = spaces.try_emplace(std::string(name_space)).first;
    if (auto found = space->second.find(name); found != space->second.end()) return found->second;
    var *made = made_root<var>(full(name_space, name));
    return space->second.emplace(made->name.substr(name_space.size() + 1), made).first->second;
}

var *find(std::string_view name_space, std::string_view name) {
    for (std::string_view in : {name_space, std::string_view("core")})
        if (auto space = spaces.find(in); space != spaces.end())
            if (auto found = space->second.find(name); found != space->second.end() && (found->second->value || found->second->is_declared))
                return found->second;
    return nullptr;
}

object *intern_keyword(std::string_view name) {
    // A keyword is the value of a variable of its own.
    var *var = intern("keyword", name);
    if (!var->value) var->value = new keyword(text(name));
    return var->value;
}

object *nil() {
    struct none final : object {
        none() : object(type::nil) {}
    };
    static object *const nil = [] { return intern("core", "nil")->value = new none; }();
    return nil;
}

object *truth(bool value) {
    static object *const both[] = {intern("core", "false")->value = new boolean(false),
                                   intern("core", "true")->value = new boolean(true)};
    return both[value];
}

bool equal(const object *a, const object *b) {
    if (a == b) return true;
    if (a->tag != b->tag) return false;
    switch (a->tag) {
    case type::integer: return static_cast<const integer *>(a)->value == static_cast<const integer *>(b)->value;
    case type::ratio:
        return static_cast<const ratio *>(a)->value.above == static_cast<const ratio *>(b)->value.above &&
               static_cast<const ratio *>(a)->value.below == static_cast<const ratio *>(b)->value.below;
    case type::real: return static_cast<const real *>(a)->value == static_cast<const real *>(b)->value;
    case type::string: return static_cast<const string *>(a)->value == static_cast<const string *>(b)->value;
    case type::symbol: return static_cast<const symbol *>(a)->value == static_cast<const symbol *>(b)->value;
    case type::list: {
        auto *left = static_cast<const list *>(a), *right = static_cast<const list *>(b);
        for (; left && right; left = left->rest, right = right->rest)
            if (!equal(left->first, right->first)) return false;
        return left == right;
    }
    default: return false;
    }
}

void print(std::ostream &out, const object *value, bool readably) {
    switch (value->tag) {
    case type::nil: out << "nil"; break;
    case type::boolean: out << (static_cast<const boolean *>(value)->value ? "true" : "false"); break;
    case type::integer: out << static_cast<const integer *>(value)->value; break;
    case type::ratio: out << static_cast<const ratio *>(value)->value.above << '/' << static_cast<const ratio *>(value)->value.below; break;
    case type::real: out << static_cast<const real *>(value)->value; break;
    case type::keyword: out << ':' << static_cast<const keyword *>(value)->value; break;
    case type::symbol: out << static_cast<const symbol *>(value)->value; break;
    case type::function: out << "#<" << static_cast<const function *>(value)->name << ">"; break;
    case type::string:
        if (readably) out << '"' << static_cast<const string *>(value)->value << '"';
        else out << static_cast<const string *>(value)->value;
        break;
    case type::list:
        out << '(';
        for (auto *rest = static_cast<const list *>(value); rest; rest = rest->rest) {
            print(out, rest->first, readably);
            if (rest->rest) out << ' ';
        }
        out << ')';
        break;
    }
}

void define_core() {
    nil();
    truth(true);
    define("+", 2, [](arguments a) { return add(a[0], a[1]); });
    define("-", 2, [](arguments a) { return subtract(a[0], a[1]); });
    define("*", 2, [](arguments a) { return multiply(a[0], a[1]); });
    define("/", 2, [](arguments a) { return divide(a[0], a[1]); });
    define("<", 2, [](arguments a) { return less(a[0], a[1]); });
    define("=", 2, [](arguments a) { return equals(a[0], a[1]); });
    define("list", -1, [](arguments a) {
        list *made = nullptr;
        for (auto at = a.rbegin(); at != a.rend(); ++at) made = new list(*at, made);
        return as_object(made);
    });
    define("cons", 2, [](arguments a) -> object * { return new list(a[0], as_list(a[1])); });
    define("first", 1, [](arguments a) {
        list *of = as_list(a[0]);
        return of ? of->first : nil();
    });
    define("rest", 1, [](arguments a) {
        list *of = as_list(a[0]);
        return as_object(of ? of->rest : nullptr);
    });
    define("str", -1, [](arguments a) -> object * {
        std::ostringstream out;
        for (object *part : a) print(out, part, false);
        return new string(text(out.str()));
    });
    define("println", -1, [](arguments a) {
        for (std::size_t i = 0; i < a.size(); i++) {
            if (i) std::cout << ' ';
            print(std::cout, a[i], false);
        }
        std::cout << std::endl;
        return nil();
    });
    define("throw", 1, [](arguments a) -> object * {
        std::ostringstream out;
        print(out, a[0], false);
        throw error(out.str());
    });
}

} // namespace host
