// Names with their values, and the functions that every program has.

#pragma once

#include "runtime.hpp"

namespace host {

// The variable of a name, if it has a value or will have one: of the namespace, or else of `core`.
var *find(std::string_view name_space, std::string_view name);
void define_core();

} // namespace host
