// Whether the collector and loaded code get along: constants that only loaded data refers to live as long as the code.

#pragma once

#include "evaluator.hpp"

namespace host {

// Throws if a constant goes too early, or stays when its code has gone.
void check_collecting(evaluator &evaluator, long collections);

} // namespace host
