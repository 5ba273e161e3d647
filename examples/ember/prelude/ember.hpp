// What C++ text of ember begins with.
#include <cstdint>
#include <cstring>
#include <exception>
#include <string>
#include <string_view>
#include <type_traits>

// A value, an address or a number.
using word = std::uint64_t;
using number = std::int64_t;

extern "C" {
void ember_cpp_enter(word context);
word ember_cpp_integer(word context, word value, number *to);
word ember_cpp_float(word context, word value, double *to);
word ember_cpp_string(word context, word value, const char **at, word *length);
word ember_cpp_of_integer(word context, number integer);
word ember_cpp_of_float(word context, double value);
word ember_cpp_of_string(word context, const char *at, word length);
word ember_cpp_throw(word context, const char *at, word length);
}

namespace ember {

constexpr word nil = 0x04, no = 0x0C, yes = 0x14;

// An exception of ember's is pending.
struct raised {};

// An argument, which becomes what the parameter is.
struct argument {
    word context, value;

    operator bool() const { return value != nil && value != no; }

    template <class T>
        requires(std::is_integral_v<T> && !std::is_same_v<T, bool>)
    operator T() const {
        number integer;
        if (!ember_cpp_integer(context, value, &integer)) throw raised();
        return static_cast<T>(integer);
    }

    template <class T>
        requires std::is_floating_point_v<T>
    operator T() const {
        double number;
        if (!ember_cpp_float(context, value, &number)) throw raised();
        return static_cast<T>(number);
    }

    operator std::string_view() const {
        const char *at;
        word length;
        if (!ember_cpp_string(context, value, &at, &length)) throw raised();
        return {at, length};
    }

    operator std::string() const { return std::string(static_cast<std::string_view>(*this)); }
};

// The value of a result.
template <class T> word value(word context, const T &result) {
    if constexpr (std::is_same_v<T, bool>) {
        return result ? yes : no;
    } else if constexpr (std::is_integral_v<T>) {
        return ember_cpp_of_integer(context, static_cast<number>(result));
    } else if constexpr (std::is_floating_point_v<T>) {
        return ember_cpp_of_float(context, result);
    } else {
        std::string_view text = result;
        return ember_cpp_of_string(context, text.data(), text.size());
    }
}

// Calls C++, whose exceptions become ember's.
template <class F> word call(word context, F function) {
    ember_cpp_enter(context);
    try {
        if constexpr (std::is_void_v<decltype(function())>) {
            function();
            return nil;
        } else {
            return value<std::decay_t<decltype(function())>>(context, function());
        }
    } catch (const raised &) {
        return 0;
    } catch (const std::exception &error) {
        return ember_cpp_throw(context, error.what(), std::strlen(error.what()));
    } catch (...) {
        constexpr std::string_view message = "C++ threw something that is no std::exception";
        return ember_cpp_throw(context, message.data(), message.size());
    }
}

} // namespace ember
