// Better code through the C++ layer: `better FOLDER source|object`. It is made in idle time, told of, and what the next
// evaluation gets, in this process and in the next.

#include "check.h"

#include <rekindle.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>

namespace {

// What somebody is told of, by another thread.
struct told {
    std::mutex mutex;
    std::condition_variable changed;
    std::string name;

    void tell(std::string_view what) {
        std::lock_guard lock(mutex);
        name = what;
        changed.notify_all();
    }
    bool wait() {
        std::unique_lock lock(mutex);
        return changed.wait_for(lock, std::chrono::seconds(60), [&] { return !name.empty(); });
    }
};

// Of which code it is shows in what it returns.
constexpr std::string_view text = R"(extern "C" long factory() {
#ifdef BETTER
    return 2;
#else
    return 1;
#endif
})";

std::atomic<int> alive = 0;

// What a better unit holds, which has to be given back.
struct holds {
    holds() { alive++; }
    holds(const holds &) { alive++; }
    ~holds() { alive--; }
};

void object(rekindle::unit &unit, std::string_view value) {
    std::string source = "long factory(void) { return " + std::string(value) + "; }";
    rekindle_bytes object = compiled_by("CC", "c", rekindle::detail::text(source));
    unit.object({static_cast<const std::byte *>(object.data), object.size});
    free(const_cast<void *>(object.data));
}

auto compiler(bool is_source) {
    return [is_source](rekindle::recorder &, rekindle::compilation &compilation) {
        compilation.factory("factory");
        compilation.defines("user/one");
        if (is_source) return compilation.source(text);
        object(compilation.unit(), "1");
        compilation.unit().better([held = holds()](rekindle::unit &unit) { object(unit, "2"); });
    };
}

} // namespace

int main(int count, char **arguments) {
    CHECK(count == 3);
    std::string folder = arguments[1];
    bool is_source = std::string_view(arguments[2]) == "source";
    told told;
    std::string first, again;
    {
        rekindle::options options;
        options.folder(folder + "/cache").improving(0, 0, 0).on_better([&](const rekindle::definition &definition) {
            told.tell(definition.name);
        });
        std::array<std::string_view, 2> better{"-O2", "-DBETTER"};
        if (is_source) options.clang({}, {}, folder + "/headers").better_clang(better);
        else options.compiler("cc -O1").better("cc -O1, and another text");
        auto cache = rekindle::cache::open(options);
        rekindle::session session(cache);
        rekindle::host host;
        rekindle::definition definition{"user/one", text};
        auto value = [&] { return session.eval(definition, host, compiler(is_source)).run<long()>(rekindle::ran::pure); };
        bool was_there = session.improve(definition, host, compiler(is_source));
        CHECK(!was_there || told.name.empty());
        long at_first = value();
        if (at_first == 1) {
            // It took longer than nothing, so that it is compiled again; and once more, if nobody has told of it yet.
            CHECK(told.wait() && told.name == "user/one");
            CHECK(session.statistics().improved == 1);
        }
        CHECK(value() == 2 && session.statistics().better_hits > 0);
        std::printf("%ld, then 2\n", at_first);
        // Where there is better code, none is made.
        CHECK(!session.improve({"user/none", "nothing"}, host, [](auto &, auto &compilation) { compilation.fail("none"); }, std::nothrow));
        cache.flush();
    }
    CHECK(alive == 0);
    auto refused = rekindle::cache::open(rekindle::options().in_memory().improving(0, 2, 0), std::nothrow);
    CHECK(!refused && refused.why().text().find("no share") != std::string_view::npos);
    std::array<std::string_view, 1> flag{"-O2"};
    auto without = rekindle::cache::open(rekindle::options().in_memory().better_clang(flag), std::nothrow);
    CHECK(!without && without.why().text().find("rekindle_options_clang") != std::string_view::npos);
}
