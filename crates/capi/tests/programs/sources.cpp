// Units that are C++ text, for clang: `sources FOLDER` prints the outcomes.

#include "check.h"

#include <rekindle.hpp>

#include <array>
#include <string>

int main(int count, char **arguments) {
    CHECK(count == 2);
    std::string folder = arguments[1], include = "-I" + folder;
    std::array<std::string_view, 2> flags{"-std=c++20", include};
    auto cache = rekindle::cache::open(
        rekindle::options().folder(folder + "/cache").clang(flags, "#include <vector>\n", folder + "/headers"));
    rekindle::session session(cache);
    rekindle::host host;
    auto run = [&](std::string_view text, bool analysed) {
        rekindle::definition definition{"user/sum", text};
        return session.eval(definition, host, [&](rekindle::recorder &, rekindle::compilation &compilation) {
            compilation.factory("factory");
            if (!analysed) return compilation.source(text);
            std::string source(text);
            compilation.analysed(rekindle::digest_of("form", text),
                                 [source](rekindle::unit &unit) { unit.source(source); });
        });
    };
    auto sum = run("#include <own.hpp>\nextern \"C\" long factory() { long sum = 0; for (long n : std::vector<long>{1, 2, OWN}) sum += n; return sum; }",
                   false);
    std::string reason(sum.reason());
    std::printf("%ld %s\n", std::move(sum).run<long()>(rekindle::ran::pure), reason.c_str());
    CHECK(run("extern \"C\" long factory() { return 5; }", true).run<long()>(rekindle::ran::pure) == 5);
    try {
        (void)run("extern \"C\" long factory() {\n return nothing; }", false);
        CHECK(!"it compiled");
    } catch (const rekindle::error &error) {
        std::string_view said = error.what();
        CHECK(error.code() == REKINDLE_ERROR_CODE_COMPILE && said.find("nothing") != said.npos && said.find("2:9") != said.npos);
    }
    // What is asked of clang is seen to when the cache is opened, and text needs clang.
    std::array<std::string_view, 1> output{"-ofile"};
    auto refused = rekindle::cache::open(rekindle::options().in_memory().clang(output), std::nothrow);
    CHECK(!refused && refused.why().code() == REKINDLE_ERROR_CODE_COMPILER);
    auto absent = rekindle::cache::open(rekindle::options().in_memory().clang_program("/no/such/clang"), std::nothrow);
    CHECK(!absent && absent.why().code() == REKINDLE_ERROR_CODE_COMPILER);
    auto without = rekindle::cache::open(rekindle::options().in_memory());
    rekindle::session other(without);
    auto failed = other.eval({"user/one", "text"}, host, [](rekindle::recorder &, rekindle::compilation &compilation) {
        compilation.source("int x;");
        compilation.factory("factory");
    }, std::nothrow);
    CHECK(!failed && failed.why().text().find("rekindle_options_clang") != std::string_view::npos);
}
