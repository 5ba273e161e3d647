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
    // Empty if it takes too long.
    std::string wait() {
        std::unique_lock lock(mutex);
        changed.wait_for(lock, std::chrono::seconds(60), [&] { return !name.empty(); });
        return name;
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
// How often a unit was asked for a better one.
std::atomic<int> made = 0;

// What a better unit holds, which has to be given back.
struct holds {
    holds() { alive++; }
    holds(const holds &) { alive++; }
    ~holds() { alive--; }
};

void object(rekindle::unit &unit, std::string_view value) {
    give_object_of(unit, "long factory(void) { return " + std::string(value) + "; }");
}

auto compiler(bool is_source) {
    return [is_source](rekindle::recorder &, rekindle::compilation &compilation) {
        compilation.factory("factory");
        compilation.defines("user/one");
        if (is_source) compilation.source(text);
        else object(compilation.unit(), "1");
        compilation.unit().better([held = holds()](rekindle::unit &unit) {
            made++;
            object(unit, "2");
        });
    };
}

// A hit stands whatever comes of the front end that was run to make better code; a miss does not.
void check_failing_front_end(const std::string &folder) {
    rekindle::options options;
    options.folder(folder).compiler("cc").better("none").improving(1'000'000'000, 1, 0);
    auto cache = rekindle::cache::open(options);
    rekindle::session session(cache);
    struct throwing : rekindle::host {
        std::optional<rekindle::digest> interface_of(std::string_view) override { throw std::runtime_error("the host fails"); }
    } host;
    rekindle::definition definition{"user/one", "1"};
    int failed = 0;
    auto fail = [&](rekindle::recorder &recorder, rekindle::compilation &) {
        failed++;
        recorder.read("user/other");
        throw std::runtime_error("the front end fails");
    };
    bool is_cold = session.eval(definition, host, compiler(false)).run<long()>(rekindle::ran::pure) == 1;
    CHECK(is_cold);
    auto hit = session.eval(definition, host, fail);
    CHECK(hit.is_hit() && failed == 1);
    CHECK(std::move(hit).run<long()>(rekindle::ran::pure) == 1);
    // What was thrown first is thrown.
    try {
        auto evaluated = session.eval({"user/two", "2"}, host, fail);
        CHECK(!"it threw");
    } catch (const std::runtime_error &error) {
        CHECK(error.what() == std::string_view("the host fails") && failed == 2);
    }
}

} // namespace

int main(int count, char **arguments) {
    CHECK(count == 3 || (count == 4 && std::string_view(arguments[3]) == "again"));
    bool is_again = count == 4;
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
        // There is nothing that could be made better, or it is.
        int asked = 0;
        auto counting = [&](rekindle::recorder &recorder, rekindle::compilation &compilation) {
            asked++;
            compiler(is_source)(recorder, compilation);
        };
        CHECK(!session.improve(definition, host, counting));
        CHECK(asked == 0 || is_again);
        long at_first = value();
        CHECK((at_first == 2) == is_again);
        if (at_first == 1) {
            // It took longer than nothing, so that it is compiled again; and once more, if nobody has told of it yet.
            CHECK(told.wait() == "user/one");
            CHECK(session.statistics().improved == 1);
        }
        CHECK(value() == 2 && session.statistics().better_hits > 0);
        std::printf("%ld, then 2\n", at_first);
        // Where there is better code, none is made.
        CHECK(!session.improve(definition, host, counting));
        cache.flush();
        // By the unit where the fingerprint of its compiler was given, and else by clang alone.
        CHECK(made == (at_first == 1 && !is_source));
    }
    CHECK(alive == 0);
    if (!is_again) check_failing_front_end(folder + "/failing");
    auto refused = rekindle::cache::open(rekindle::options().in_memory().improving(0, 2, 0), std::nothrow);
    CHECK(!refused && refused.why().text().find("no share") != std::string_view::npos);
    std::array<std::string_view, 1> flag{"-O2"};
    auto without = rekindle::cache::open(rekindle::options().in_memory().better_clang(flag), std::nothrow);
    CHECK(!without && without.why().text().find("rekindle_options_clang") != std::string_view::npos);
}
