// Hits that are verified, through the C++ layer: `verify FOLDER`, with `REKINDLE_VERIFY=1`. A hit stands, whatever comes of the
// front end that is run for it; who listens is told by another thread, when the cache may have been closed long since.

#include "check.h"

#include <rekindle.hpp>

#include <atomic>
#include <chrono>
#include <future>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

namespace {

using namespace std::chrono_literals;

const rekindle::definition one{"user/one", "1"};

void object(rekindle::recorder &, rekindle::compilation &compilation, std::string_view value) {
    compilation.factory("factory");
    give_object_of(compilation.unit(), "long factory(void) { return " + std::string(value) + "; }");
}

auto compiler(std::string_view value) {
    return [value](rekindle::recorder &recorder, rekindle::compilation &compilation) { object(recorder, compilation, value); };
}

long value_of(rekindle::evaluation evaluated) { return std::move(evaluated).run<long()>(rekindle::ran::pure); }

rekindle::options options_of(const std::string &folder) {
    rekindle::options options;
    options.folder(folder).compiler("cc");
    return options;
}

void keep_one(const std::string &folder) {
    auto cache = rekindle::cache::open(options_of(folder));
    rekindle::host host;
    CHECK(value_of(rekindle::session(cache).eval(one, host, compiler("1"))) == 1);
}

// What has been kept is no hit any more.
void check_gone(const std::string &folder) {
    auto cache = rekindle::cache::open(options_of(folder));
    rekindle::host host;
    auto evaluated = rekindle::session(cache).eval(one, host, compiler("2"));
    CHECK(!evaluated.is_hit());
    CHECK(value_of(std::move(evaluated)) == 2);
}

// What the host throws while its front end runs for a hit says that the hit was wrong, and is thrown at nobody.
void a_front_end_that_throws(const std::string &parent) {
    struct throwing : rekindle::host {
        std::optional<rekindle::digest> interface_of(std::string_view) override { throw std::runtime_error("the host fails"); }
    } throwing;
    rekindle::host plain;
    int failed = 0;
    for (rekindle::host *host : {static_cast<rekindle::host *>(&throwing), &plain}) {
        std::string folder = parent + "/" + std::to_string(failed);
        keep_one(folder);
        std::promise<std::string> told;
        auto why = told.get_future();
        {
            auto cache = rekindle::cache::open(options_of(folder).listener([&told](const rekindle::event &event) {
                if (event.outcome == rekindle::outcome::rejected) told.set_value(std::string(event.explanation));
            }));
            rekindle::session session(cache);
            auto hit = session.eval(one, *host, [&](rekindle::recorder &recorder, rekindle::compilation &) {
                failed++;
                recorder.read("user/other");
                throw std::runtime_error("the front end fails");
            });
            CHECK(hit.is_hit());
            CHECK(value_of(std::move(hit)) == 1);
            // The same thread and session go on as if nothing had been thrown.
            CHECK(value_of(session.eval({"user/two", "2"}, plain, compiler("2"))) == 2);
        }
        // Closing waited for it.
        CHECK(why.wait_for(0s) == std::future_status::ready);
        CHECK(why.get().find("its front end fails now") != std::string::npos);
        check_gone(folder);
    }
    CHECK(failed == 2);
}

std::atomic<int> alive = 0;

// What a listener holds: who calls one that is gone sees that here.
struct holds {
    holds() { alive++; }
    holds(const holds &) { alive++; }
    ~holds() { alive--; }
};

// A listener that is told when everybody but the verifying thread has let go of the cache, and takes its time.
void a_listener_that_outlasts_the_cache(const std::string &folder) {
    keep_one(folder);
    std::promise<void> begun, closed;
    std::promise<std::string> told;
    auto is_begun = begun.get_future(), is_closed = closed.get_future();
    auto why = told.get_future();
    {
        auto options = options_of(folder);
        options.deadline_ms(20).listener([held = holds(), &begun, &is_closed, &told](const rekindle::event &event) {
            if (event.outcome != rekindle::outcome::rejected) return;
            begun.set_value();
            CHECK(is_closed.wait_for(60s) == std::future_status::ready);
            CHECK(alive > 0 && event.definition.name == one.name && event.definition.text == one.text);
            told.set_value(std::string(event.explanation));
        });
        auto cache = rekindle::cache::open(options);
        rekindle::host host;
        auto hit = rekindle::session(cache).eval(one, host, compiler("2"));
        CHECK(hit.is_hit());
        CHECK(value_of(std::move(hit)) == 1);
        CHECK(is_begun.wait_for(60s) == std::future_status::ready);
    }
    CHECK(alive > 0);
    closed.set_value();
    CHECK(why.wait_for(60s) == std::future_status::ready);
    CHECK(why.get().find("it compiles to the object") != std::string::npos);
    auto end = std::chrono::steady_clock::now() + 60s;
    while (alive > 0) {
        CHECK(std::chrono::steady_clock::now() < end);
        std::this_thread::yield();
    }
    check_gone(folder);
}

} // namespace

int main(int count, char **arguments) {
    CHECK(count == 2);
    std::string folder = arguments[1];
    a_front_end_that_throws(folder + "/throws");
    a_listener_that_outlasts_the_cache(folder + "/late");
    std::puts("all well");
}
