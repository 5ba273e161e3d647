#include "heap.hpp"

#include "runtime.hpp"

#if CPP_HOST_COLLECTOR
#include <gc/gc.h>
#include <gc/gc_mark.h>
#endif

namespace host {

#if CPP_HOST_COLLECTOR

namespace {

// Changed only under the collector's lock, and read by it alone. The collector has places for some thousand roots of
// its own, which is fewer than a program has definitions.
std::vector<std::span<std::byte>> ranges;
GC_push_other_roots_proc push_others;

void push_ranges() {
    for (std::span<std::byte> range : ranges) GC_push_all(range.data(), range.data() + range.size());
    if (push_others) push_others();
}

} // namespace

void start_heap() {
    GC_INIT();
    push_others = GC_get_push_other_roots();
    GC_set_push_other_roots(push_ranges);
}

void *allocate(std::size_t size) {
    if (void *memory = GC_MALLOC(size)) return memory;
    throw std::bad_alloc();
}

void *allocate_root(std::size_t size) {
    if (void *memory = GC_MALLOC_UNCOLLECTABLE(size)) return memory;
    throw std::bad_alloc();
}

void add_root(std::span<std::byte> range) {
    GC_call_with_alloc_lock([](void *range) -> void * { return ranges.push_back(*static_cast<std::span<std::byte> *>(range)), nullptr; }, &range);
}

void remove_root(std::span<std::byte> range) {
    GC_call_with_alloc_lock(
        [](void *range) -> void * {
            auto *gone = static_cast<std::span<std::byte> *>(range)->data();
            std::erase_if(ranges, [gone](auto range) { return range.data() == gone; });
            return nullptr;
        },
        &range);
}

#else

namespace {

// All there is, so that a checker of leaks sees that it is held.
std::vector<std::unique_ptr<std::byte[]>> all;

} // namespace

void start_heap() {}
void *allocate(std::size_t size) { return all.emplace_back(std::make_unique<std::byte[]>(size)).get(); }
void *allocate_root(std::size_t size) { return allocate(size); }
void add_root(std::span<std::byte>) {}
void remove_root(std::span<std::byte>) {}

#endif

} // namespace host
