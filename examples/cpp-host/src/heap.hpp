// Memory: the Boehm collector, or, without it, memory that is never given back.

#pragma once

#include <cstddef>
#include <span>

namespace host {

void start_heap();
// Memory that the collector scans and never frees.
void *allocate_root(std::size_t size);
// Has the collector scan the writable data of loaded code, or leave it alone again.
void add_root(std::span<std::byte> range);
void remove_root(std::span<std::byte> range);

} // namespace host
