// From text to forms: where a form ends, what it is called, and, if it has to be compiled, what it is.

#pragma once

#include "runtime.hpp"

namespace host {

// The text of the next form, which `rest` then no longer holds; empty at the end. Nothing is made of it.
std::string_view delimit(std::string_view &rest);

// What a form begins with, by its text: `(defn name ...`.
struct heading {
    std::string_view head, name;
};
heading heading_of(std::string_view form);

object *read(std::string_view form);

} // namespace host
