// Who is told of evaluations and of better code, and for how long: `listeners FOLDER`. A listener lasts as long as somebody
// may call it, which may be longer than options, session and cache, and is given back then.

#include "check.h"

#include <rekindle.hpp>

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <thread>

namespace {

using namespace std::chrono_literals;

std::atomic<int> alive = 0;

// What a listener holds: who calls one that is gone sees that here.
struct holds {
    holds() { alive++; }
    holds(const holds &) { alive++; }
    ~holds() { alive--; }
};

void wait_until_given_back() {
    auto end = std::chrono::steady_clock::now() + 60s;
    while (alive > 0) {
        CHECK(std::chrono::steady_clock::now() < end);
        std::this_thread::yield();
    }
}

void object(rekindle::unit &unit, std::string_view value) {
    give_object_of(unit, "long factory(void) { return " + std::string(value) + "; }");
}

// What happens once, and is waited for.
struct once {
    std::promise<void> promise;
    std::shared_future<void> future = promise.get_future().share();

    void happen() { promise.set_value(); }
    void wait() const { CHECK(future.wait_for(60s) == std::future_status::ready); }
};

const rekindle::definition one{"user/one", "1"};

rekindle::options options_of(const std::string &folder) {
    rekindle::options options;
    options.folder(folder).compiler("cc -O1").better("cc -O1, and another text").improving(0, 0, 0);
    return options;
}

// Code is made better while its cache is closed, and takes longer than that waits.
void outlasts_the_cache(const std::string &folder) {
    once begun, closed, told;
    {
        auto cache = rekindle::cache::open(options_of(folder).deadline_ms(20).on_better([held = holds(), &told](auto &definition) {
            CHECK(alive > 0 && definition.name == "user/one");
            told.happen();
        }));
        rekindle::session session(cache);
        rekindle::host host;
        auto compile = [&](rekindle::recorder &, rekindle::compilation &compilation) {
            compilation.factory("factory");
            object(compilation.unit(), "1");
            compilation.unit().better([held = holds(), &begun, &closed](rekindle::unit &unit) {
                begun.happen();
                closed.wait();
                object(unit, "2");
            });
        };
        CHECK(session.eval(one, host, compile).run<long()>(rekindle::ran::pure) == 1);
        cache.flush();
        begun.wait();
    }
    CHECK(alive > 0);
    closed.happen();
    told.wait();
    wait_until_given_back();
}

// An evaluation keeps a cache open whose options, session and handle are gone.
void is_there_for_an_evaluation(const std::string &folder) {
    once told;
    auto evaluated = [&] {
        auto cache = rekindle::cache::open(options_of(folder).on_better([held = holds(), &told](auto &) {
            CHECK(alive > 0);
            told.happen();
        }));
        rekindle::session session(cache);
        rekindle::host host;
        return session.eval(one, host, [](rekindle::recorder &, rekindle::compilation &compilation) {
            compilation.factory("factory");
            object(compilation.unit(), "1");
            compilation.unit().better([](rekindle::unit &unit) { object(unit, "2"); });
        });
    }();
    told.wait();
    CHECK(alive > 0);
    CHECK(std::move(evaluated).run<long()>(rekindle::ran::pure) == 1);
    wait_until_given_back();
}

// Options may be used for the next cache while the first is open.
void belongs_to_its_cache() {
    std::string heard;
    rekindle::options options;
    options.in_memory().compiler("cc").listener([&, held = holds()](auto &) { heard += "first "; });
    auto first = rekindle::cache::open(options);
    options.listener([&](auto &) { heard += "second "; });
    auto second = rekindle::cache::open(options);
    rekindle::host host;
    for (const auto *cache : {&first, &second, &first}) {
        rekindle::session session(*cache);
        auto evaluated = session.eval(one, host, [](rekindle::recorder &, rekindle::compilation &compilation) {
            compilation.factory("factory");
            object(compilation.unit(), "1");
        });
    }
    CHECK(heard == "first second first ");
    CHECK(alive == 1);
    first = std::move(second);
    CHECK(alive == 0);
}

} // namespace

int main(int count, char **arguments) {
    CHECK(count == 2);
    std::string folder = arguments[1];
    outlasts_the_cache(folder + "/outlasts");
    is_there_for_an_evaluation(folder + "/evaluation");
    belongs_to_its_cache();
    std::puts("all well");
}
