#include "collecting.hpp"

#include "core.hpp"

#if CPP_HOST_COLLECTOR
#include <gc/gc.h>
#endif

namespace host {

#if CPP_HOST_COLLECTOR

namespace {

constexpr int definitions = 20;

std::string name(int number) { return "constant-" + std::to_string(number); }

std::string expected(int number) { return "the constant of number " + std::to_string(number); }

// In a function of its own, so that no pointer to a constant stays on the stack.
[[gnu::noinline]] object *constant(int number) { return call(get(find("collecting", name(number))), {}); }

[[gnu::noinline]] void watch(int number, void **link) {
    object *value = constant(number);
    *link = reinterpret_cast<void *>(GC_HIDE_POINTER(value));
    if (GC_general_register_disappearing_link(link, value) != GC_SUCCESS) throw error("the collector watches nothing");
}

[[gnu::noinline]] void check(int number) {
    object *value = constant(number);
    if (value->tag != type::string || std::string_view(static_cast<string *>(value)->value) != expected(number))
        throw error("a constant has changed: " + shown(value));
}

// Overwrites what earlier calls have left below.
[[gnu::noinline]] void clear_stack() {
    volatile char words[1 << 16];
    for (volatile char &word : words) word = 0;
}

} // namespace

void check_collecting(evaluator &evaluator, long collections) {
    evaluator.run("(ns collecting)");
    for (int number = 0; number < definitions; number++)
        evaluator.run("(defn " + name(number) + " [] \"" + expected(number) + "\")");
    // Links are watched, and not followed: this memory is not scanned.
    auto **links = static_cast<void **>(GC_MALLOC_ATOMIC_UNCOLLECTABLE(definitions * sizeof(void *)));
    for (int number = 0; number < definitions; number++) watch(number, &links[number]);
    for (long count = 0; count < collections; count++) {
        for (int garbage = 0; garbage < 20; garbage++) new string(text("something else of that size, to take its place"));
        GC_gcollect();
        check(static_cast<int>(count % definitions));
    }
    for (int number = 0; number < definitions; number++) {
        if (!links[number]) throw error("a constant is gone: " + name(number));
        check(number);
    }
    // Every other one is taken out of the process: first its value, then its code.
    for (int number = 0; number < definitions; number += 2) {
        find("collecting", name(number))->value = nullptr;
        evaluator.unload("collecting/" + name(number));
    }
    int stay = 0;
    for (int count = 0; count < 3; count++) {
        clear_stack();
        GC_gcollect();
    }
    for (int number = 0; number < definitions; number++) {
        if (number % 2) check(number);
        else stay += links[number] != nullptr;
    }
    // A word that looks like a pointer may keep one or another.
    if (stay > 2) throw error(std::to_string(stay) + " constants stay without their code");
    std::cout << collections << " collections, " << definitions << " constants, " << definitions / 2 << " unloaded, " << stay << " left behind\n";
}

#else

void check_collecting(evaluator &, long) { throw error("this host was built without a collector"); }

#endif

} // namespace host
