#pragma once
#include <stdexcept>

namespace shapes {

inline double area(double width, double height) { return width * height; }

inline bool is_square(long width, long height) { return width == height; }

} // namespace shapes
