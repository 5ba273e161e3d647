// From a form to C++: a structure with a virtual call for each function, constants lifted into variables of the unit,
// and other definitions by variables that are interned by name, so that the code is of any process.

#pragma once

#include "runtime.hpp"

#include <set>

namespace host {

// The exported function of each unit, which returns the definition's value.
constexpr std::string_view factory_name = "cpp_host_factory";
using factory = object *();

struct generated {
    std::string source;
    // Symbols whose meaning was asked for.
    std::set<std::string> symbols;
    // Definitions that the code refers to.
    std::set<std::string> references;
};

// What a symbol means in a namespace: the full name of a definition, or nothing.
std::string meaning(std::string_view name_space, std::string_view symbol);

// The code of `form`, whose name is `name` if it is a definition's.
generated generate(std::string_view name_space, std::string_view name, object *form);

} // namespace host
