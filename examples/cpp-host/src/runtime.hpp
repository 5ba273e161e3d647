// The runtime's objects, and what generated code says about them: the prelude of every unit that is compiled while the
// host runs. All that is small is inline, as C++ runtimes have it, with the standard library's headers.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <iostream>
#include <map>
#include <memory>
#include <numeric>
#include <regex>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace host {

// Memory that the collector looks after, if there is one: see heap.cpp.
void *allocate(std::size_t size);

template <class T> struct allocator {
    using value_type = T;
    allocator() = default;
    template <class U> allocator(const allocator<U> &) noexcept {}
    T *allocate(std::size_t count) { return static_cast<T *>(host::allocate(count * sizeof(T))); }
    void deallocate(T *, std::size_t) noexcept {}
    template <class U> bool operator==(const allocator<U> &) const noexcept { return true; }
};

using text = std::basic_string<char, std::char_traits<char>, allocator<char>>;

enum class type : unsigned char { nil, boolean, integer, ratio, real, string, keyword, symbol, list, function };

struct object {
    explicit object(type type) noexcept : tag(type) {}
    object(const object &) = delete;
    object &operator=(const object &) = delete;
    static void *operator new(std::size_t size) { return allocate(size); }
    static void operator delete(void *) noexcept {}

    const type tag;
};

using arguments = std::span<object *const>;

// What went wrong in a program.
struct error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// What dividing whole numbers gives: in lowest terms, with what divides above 1.
struct fraction {
    std::int64_t above, below;
    explicit operator double() const { return double(above) / double(below); }
};

template <class T, type Tag> struct boxed final : object {
    explicit boxed(T value) : object(Tag), value(std::move(value)) {}
    T value;
};
using boolean = boxed<bool, type::boolean>;
using integer = boxed<std::int64_t, type::integer>;
using real = boxed<double, type::real>;
using ratio = boxed<fraction, type::ratio>;
using string = boxed<text, type::string>;
using keyword = boxed<text, type::keyword>;
using symbol = boxed<text, type::symbol>;

struct list final : object {
    list(object *first, list *rest) : object(type::list), first(first), rest(rest) {}
    object *first;
    list *rest; // null at the end
};

struct function : object {
    function(std::string_view name, int arity) : object(type::function), name(name), arity(arity) {}
    virtual object *call(arguments) = 0;
    std::string_view name;
    int arity; // less than 0: any
};

// A function of the program that stands within another, with what it captured.
template <class Body> struct closure final : function {
    closure(std::string_view name, int arity, Body body) : function(name, arity), body(std::move(body)) {}
    object *call(arguments arguments) override { return body(arguments); }
    Body body;
};

template <class Body> object *make_function(std::string_view name, int arity, Body body) {
    return new closure<Body>(name, arity, std::move(body));
}

// A name with its value, the same one for the life of the process.
struct var {
    std::string_view name;
    object *value = nullptr;
    // Whether a program that was compiled and has not run defines it.
    bool is_declared = false;
};

var *intern(std::string_view name_space, std::string_view name);
object *intern_keyword(std::string_view name);
object *nil();
object *truth(bool value);
void print(std::ostream &out, const object *value, bool readably);

inline bool is_true(const object *value) {
    if (value->tag == type::boolean) return static_cast<const boolean *>(value)->value;
    return value->tag != type::nil;
}

inline std::string shown(const object *value) {
    std::ostringstream out;
    print(out, value, true);
    return out.str();
}

[[noreturn]] inline void fail(const char *what, const object *value) {
    std::ostringstream out;
    out << what << ": " << shown(value);
    throw error(out.str());
}

inline object *get(const var *var) {
    if (!var->value) throw error("no value yet: " + std::string(var->name));
    return var->value;
}

inline object *call(object *callee, std::initializer_list<object *> arguments) {
    if (callee->tag != type::function) fail("not a function", callee);
    auto *function = static_cast<host::function *>(callee);
    if (function->arity >= 0 && static_cast<std::size_t>(function->arity) != arguments.size()) {
        std::ostringstream out;
        out << function->name << " takes " << function->arity << " arguments, and got " << arguments.size();
        throw error(out.str());
    }
    return function->call({arguments.begin(), arguments.size()});
}

using number = std::variant<std::int64_t, fraction, double>;

inline number as_number(const object *value) {
    switch (value->tag) {
    case type::integer: return static_cast<const integer *>(value)->value;
    case type::ratio: return static_cast<const ratio *>(value)->value;
    case type::real: return static_cast<const real *>(value)->value;
    default: fail("not a number", value);
    }
}

inline number reduced(std::int64_t above, std::int64_t below) {
    if (below == 0) throw error("division by zero");
    std::int64_t common = std::gcd(above, below) * (below < 0 ? -1 : 1);
    if (below == common) return above / common;
    return fraction{above / common, below / common};
}

inline object *make(number value) {
    return std::visit(
        [](auto value) -> object * {
            if constexpr (std::is_same_v<decltype(value), double>) return new real(value);
            else if constexpr (std::is_same_v<decltype(value), fraction>) return new ratio(value);
            else return new integer(value);
        },
        value);
}

inline fraction as_fraction(std::int64_t value) { return {value, 1}; }
inline fraction as_fraction(fraction value) { return value; }

// Has an operation work on two numbers of one type: of whole numbers, of fractions, or, if one is, of reals.
template <class Operation> auto visit(object *a, object *b, Operation operation) {
    return std::visit(
        [&]<class A, class B>(A a, B b) {
            if constexpr (std::is_same_v<A, double> || std::is_same_v<B, double>) return operation(double(a), double(b));
            else if constexpr (std::is_same_v<A, B> && std::is_same_v<A, std::int64_t>) return operation(a, b);
            else return operation(as_fraction(a), as_fraction(b));
        },
        as_number(a), as_number(b));
}

struct adding {
    template <class T> number operator()(T a, T b) const { return a + b; }
    number operator()(fraction a, fraction b) const { return reduced(a.above * b.below + b.above * a.below, a.below * b.below); }
};
struct subtracting {
    template <class T> number operator()(T a, T b) const { return a - b; }
    number operator()(fraction a, fraction b) const { return reduced(a.above * b.below - b.above * a.below, a.below * b.below); }
};
struct multiplying {
    template <class T> number operator()(T a, T b) const { return a * b; }
    number operator()(fraction a, fraction b) const { return reduced(a.above * b.above, a.below * b.below); }
};
struct dividing {
    number operator()(double a, double b) const { return a / b; }
    number operator()(std::int64_t a, std::int64_t b) const { return reduced(a, b); }
    number operator()(fraction a, fraction b) const { return reduced(a.above * b.below, a.below * b.above); }
};
struct comparing {
    template <class T> bool operator()(T a, T b) const { return a < b; }
    bool operator()(fraction a, fraction b) const { return a.above * b.below < b.above * a.below; }
};

inline object *add(object *a, object *b) { return make(visit(a, b, adding())); }
inline object *subtract(object *a, object *b) { return make(visit(a, b, subtracting())); }
inline object *multiply(object *a, object *b) { return make(visit(a, b, multiplying())); }
inline object *divide(object *a, object *b) { return make(visit(a, b, dividing())); }
inline object *less(object *a, object *b) { return truth(visit(a, b, comparing())); }
bool equal(const object *a, const object *b);
inline object *equals(object *a, object *b) { return truth(equal(a, b)); }

// Whether the text has a match of the pattern, which each place compiles once.
inline object *matches(const std::regex &pattern, object *value) {
    if (value->tag != type::string) fail("not a string", value);
    const text &subject = static_cast<string *>(value)->value;
    return truth(std::regex_search(subject.begin(), subject.end(), pattern));
}

} // namespace host
