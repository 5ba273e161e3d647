// The C++ layer: exceptions of both sides, values in their place, two caches, threads that come and go.

#include "check.h"

#include <rekindle.hpp>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

extern "C" {
__thread long host_count = 40;
}

namespace {

using factory = long();

struct host_fault : std::runtime_error {
    using std::runtime_error::runtime_error;
    int detail = 7;
};

// Compiles the definition's text as C++.
auto compiler(const rekindle::definition &definition, std::atomic<int> *count = nullptr) {
    return [&definition, count](rekindle::recorder &, rekindle::compilation &compilation) {
        if (count) ++*count;
        rekindle_bytes object = compiled_by("CXX", "c++", rekindle::detail::text(definition.text));
        compilation.object({static_cast<const std::byte *>(object.data), object.size});
        free(const_cast<void *>(object.data));
        compilation.factory("factory");
        compilation.defines(definition.name);
    };
}

void check_exceptions_of_callbacks(const rekindle::session &session) {
    struct faulty final : rekindle::host {
        std::optional<rekindle::digest> resolution(std::string_view, std::string_view symbol) override {
            throw host_fault("cannot resolve " + std::string(symbol));
        }
    } faulty;
    rekindle::definition definition{"user/faulty", "nothing that is kept"};
    auto expect = [&](rekindle::host &host, auto &&compile, std::string_view text) {
        try {
            (void)session.eval(definition, host, compile);
            CHECK(!"it threw");
        } catch (const host_fault &fault) {
            CHECK(fault.what() == text && fault.detail == 7);
        }
    };
    rekindle::host plain;
    expect(plain, [](auto &, auto &) { throw host_fault("line 3"); }, "line 3");
    // What a host throws is kept until Rekindle has returned, though it went on.
    expect(faulty, [](auto &recorder, auto &compilation) {
        recorder.resolved("user", "x");
        compilation.fail("not this one");
    }, "cannot resolve x");
    expect(plain, [](auto &, auto &compilation) {
        compilation.factory("factory");
        compilation.analysed(rekindle::digest_of("form", "x"), [](rekindle::unit &) { throw host_fault("no unit"); });
    }, "no unit");
    // What is no exception is an error, or a value.
    auto failing = [](rekindle::recorder &, rekindle::compilation &compilation) { compilation.fail("line 4"); };
    try {
        (void)session.eval(definition, plain, failing);
        CHECK(!"it threw");
    } catch (const rekindle::error &error) {
        CHECK(error.code() == REKINDLE_ERROR_CODE_HOST && std::string_view(error.what()) == "line 4");
    }
    auto evaluated = session.eval(definition, plain, failing, std::nothrow);
    CHECK(!evaluated && evaluated.why().text() == "line 4");
}

void check_exceptions_of_code(const rekindle::session &session) {
    rekindle::host plain;
    rekindle::definition throwing{"user/throwing", R"(
        #include <stdexcept>
        #include <string>
        struct local { ~local() { --count; } static inline int count = 1; };
        extern "C" long factory() {
            local unwound;
            throw std::out_of_range("from loaded code " + std::to_string(local::count));
        })"};
    for (int round = 0; round < 2; round++) {
        auto evaluated = session.eval(throwing, plain, compiler(throwing));
        try {
            std::move(evaluated).run<factory>(rekindle::ran::pure);
            CHECK(!"it threw");
        } catch (const std::out_of_range &thrown) {
            CHECK(std::string_view(thrown.what()).starts_with("from loaded code "));
        }
    }
    // A factory that threw is not what its code says: whoever runs it while compiling is not kept.
    rekindle::definition user{"user/user", "extern \"C\" long factory() { return 1; }"};
    auto evaluated = session.eval(user, plain, [&](rekindle::recorder &recorder, rekindle::compilation &compilation) {
        recorder.ran("user/throwing");
        compiler(user)(recorder, compilation);
    });
    CHECK(evaluated.outcome() == rekindle::outcome::bypass);
    // An exception of the host's goes through loaded code, which cleans up.
    rekindle::definition between{"user/between", R"(
        static long cleaned = 0;
        struct cleaning { ~cleaning() { cleaned++; } };
        extern "C" long through(void (*call)()) { cleaning here; call(); return 0; }
        extern "C" long factory() { return reinterpret_cast<long>(&through); }
        )"};
    auto through = reinterpret_cast<long (*)(void (*)())>(
        session.eval(between, plain, compiler(between)).run<factory>(rekindle::ran::pure));
    try {
        through([] { throw host_fault("through"); });
        CHECK(!"it threw");
    } catch (const host_fault &fault) {
        CHECK(fault.detail == 7);
    }
}

void check_two_caches(std::string_view folder) {
    rekindle::host plain;
    rekindle::definition one{"user/one", "extern \"C\" long factory() { return 1; }"};
    rekindle::definition other{"user/one", "extern \"C\" long factory() { return 1; }", "other"};
    std::string heard;
    auto options = [&](std::string_view name) {
        rekindle::options options;
        options.folder(std::string(folder) + "/" + std::string(name)).compiler(name);
        return options;
    };
    auto first_options = options("first");
    first_options.listener([&](const rekindle::event &event) { heard += event.definition.context; });
    auto first = rekindle::cache::open(first_options);
    auto second = rekindle::cache::open(options("second"), std::nothrow);
    CHECK(second);
    CHECK(first.environment().bytes[0] != second->environment().bytes[0] ||
          first.environment().bytes[1] != second->environment().bytes[1]);
    rekindle::session sessions[] = {rekindle::session(first), rekindle::session(*second), rekindle::session(first)};
    std::atomic<int> count = 0;
    for (const auto &session : sessions) {
        auto code = session.eval(one, plain, compiler(one, &count)).finish(rekindle::ran::pure);
        CHECK(reinterpret_cast<factory *>(code.symbol("factory"))() == 1);
    }
    CHECK(count == 2);
    // Code of one outlives it, and the other goes on.
    auto evaluated = sessions[1].eval(other, plain, compiler(other, &count));
    auto *function = evaluated.factory<factory>();
    auto code = std::move(evaluated).finish(rekindle::ran::pure);
    { auto ended = std::move(*second); auto session = std::move(sessions[1]); }
    CHECK(function() == 1);
    CHECK(sessions[0].eval(other, plain, compiler(other, &count)).run<factory>(rekindle::ran::pure) == 1);
    CHECK(sessions[0].statistics().misses == 2 && sessions[2].statistics().hits == 1);
    CHECK(heard == "other");
    rekindle::code::unload(std::move(code));
    first.flush();
    auto life = first.lifetime();
    CHECK(life["processes"] == 1 && life["since"] > 0 && life["misses"] == 2 && life["hits"] == 1);
    CHECK(life["miss new"] == 2 && life["loaded_bytes"] > 0);
    auto reasons = sessions[0].reasons();
    CHECK(reasons["miss: new"] == 2 && reasons.size() == 1);
}

void check_threads(const rekindle::session &session) {
    std::atomic<int> compiled = 0, ended = 0;
    constexpr int rounds = 25, at_once = 8;
    static std::atomic<int> *destroyed = &ended;
    struct counting final : rekindle::host {
        std::optional<rekindle::word> symbol(std::string_view name, std::uint64_t) override {
            if (name == "ended") return rekindle::word::value(destroyed);
            return std::nullopt;
        }
    };
    // Code whose thread-locals have destructors, on threads that end.
    const std::string text = R"(
        #include <atomic>
        extern "C" std::atomic<int> ended;
        struct local { long value = 5; ~local() { ++ended; } };
        static thread_local local mine;
        extern "C" long factory() { return mine.value++; })";
    for (int round = 0; round < rounds; round++) {
        std::vector<std::thread> threads;
        for (int index = 0; index < at_once; index++) {
            threads.emplace_back([&, index] {
                counting host;
                std::string name = "user/thread-" + std::to_string(index % 4);
                rekindle::definition definition{name, text, name};
                CHECK(session.eval(definition, host, compiler(definition, &compiled)).run<factory>(rekindle::ran::impure) == 5);
            });
        }
        for (auto &thread : threads) thread.join();
    }
    // Who waits for another to compile does so for a while only.
    CHECK(compiled >= 4 && compiled <= at_once && ended == rounds * at_once);
}

// Thread-locals of the host's own modules, which loaded code has from the thread that it runs on.
void check_thread_locals(const rekindle::session &session) {
    rekindle::host plain;
    rekindle::definition counting{"user/counting", R"(
        extern "C" __thread long host_count;
        extern "C" long factory() { return ++host_count; })"};
    auto evaluate = [&] { return session.eval(counting, plain, compiler(counting)).run<factory>(rekindle::ran::impure); };
    for (long expected : {41, 42}) CHECK(evaluate() == expected && host_count == expected);
    std::thread([&] { CHECK(evaluate() == 41 && host_count == 41); }).join();
    CHECK(host_count == 42);
}

} // namespace

int main(int count, char **arguments) {
    CHECK(count == 2);
    std::atomic<int> lines = 0;
    rekindle::set_log(rekindle::log_level::debug, [&](auto, auto, auto) { ++lines; });
    auto cache = rekindle::cache::open(rekindle::options().in_memory().explain(true));
    rekindle::session session(cache);
    check_exceptions_of_callbacks(session);
    check_exceptions_of_code(session);
    check_two_caches(arguments[1]);
    check_threads(session);
    check_thread_locals(session);
    CHECK(lines > 0 && rekindle::memory_statistics().loaded > 0);
    auto refused = rekindle::cache::open(rekindle::options().target("\xff"), std::nothrow);
    CHECK(!refused && refused.why().code() == REKINDLE_ERROR_CODE_ARGUMENT);
    rekindle::set_log(rekindle::log_level::off, [](auto, auto, auto) {});
    std::puts("all well");
}
