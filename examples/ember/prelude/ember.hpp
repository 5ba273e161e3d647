// What C++ text of ember begins with.
#include <cstdint>

// A value, an address or a number.
using word = std::uint64_t;
using number = std::int64_t;
