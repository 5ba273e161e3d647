// A small Lisp whose definitions clang compiles, and Rekindle keeps.

#include "collecting.hpp"
#include "core.hpp"
#include "evaluator.hpp"
#include "heap.hpp"

#include <chrono>
#include <fstream>
#include <unistd.h>
#include <utility>

namespace {

constexpr std::string_view usage =
    "cpp-host [OPTIONS] FILE...     runs programs\n"
    "cpp-host [OPTIONS] -e TEXT     prints the value of a text\n"
    "cpp-host [OPTIONS] warm FILE...  compiles what is missing of programs, on all cores, and runs none\n"
    "\n"
    "  --cache DIR      keeps code in DIR\n"
    "  --no-cache       keeps nothing\n"
    "  --explain        says why what was not found was compiled\n"
    "  --stats          says what came of the definitions\n"
    "  --times          says what each form took, in nanoseconds, with its factory\n"
    "  --bundle FILE    takes over, before warming, what this bundle holds\n"
    "  --trust KEY      whose bundles are taken, beside who the user trusts\n"
    "  -O LEVEL         how clang optimises, 0 to 3; by default 1\n"
    "  --collect N      sees that constants outlive N collections, and not their code\n";

void run_timed(host::evaluator &evaluator, std::string_view program) {
    for (std::string_view form = host::delimit(program); !form.empty(); form = host::delimit(program)) {
        auto start = std::chrono::steady_clock::now();
        evaluator.evaluate(form);
        std::chrono::nanoseconds took = std::chrono::steady_clock::now() - start;
        std::cerr << "time " << took.count() << ' ' << host::heading_of(form).name << '\n';
    }
}

std::string text_of(const std::string &file) {
    std::ifstream in(file);
    if (!in) throw host::error("cannot read " + file);
    return {std::istreambuf_iterator<char>(in), {}};
}

void warm(host::evaluator &evaluator, const std::vector<std::string> &files) {
    std::vector<std::string> programs;
    for (const std::string &file : files) programs.push_back(text_of(file));
    rekindle::warmer how;
    if (isatty(STDERR_FILENO))
        how.progress = [](const rekindle::warmed &so_far) { std::cerr << '\r' << so_far.done << " of " << so_far.expected << ' '; };
    how.failed = [](const rekindle::definition &definition, std::string_view why) {
        std::cerr << "not compiled: " << definition.name << ": " << why << '\n';
    };
    rekindle::warmed warmed = evaluator.warm(programs, std::move(how));
    std::cout << warmed.done << " definitions: " << warmed.found << " found, " << warmed.compiled << " compiled, " << warmed.bypasses
              << " bypasses, " << warmed.failed << " failed, " << warmed.ran << " run\n";
}

int run(int count, char **arguments) {
    host::settings settings;
    settings.headers = CPP_HOST_HEADERS;
    bool stats = false, times = false, warms = false;
    std::string bundle;
    std::vector<std::string> keys;
    long collections = 0;
    std::string expression;
    std::vector<std::string> files;
    for (int at = 1; at < count; at++) {
        std::string argument = arguments[at];
        auto value = [&] {
            if (at + 1 == count) throw host::error(argument + " needs a value");
            return std::string(arguments[++at]);
        };
        if (argument == "--cache") settings.cache = value();
        else if (argument == "--no-cache") settings.mode = rekindle::mode::off;
        else if (argument == "--explain") settings.explain = true;
        else if (argument == "--stats") stats = true;
        else if (argument == "--times") times = true;
        else if (argument == "--collect") collections = std::stol(value());
        else if (argument == "--bundle") bundle = value();
        else if (argument == "--trust") keys.push_back(value());
        else if (argument == "warm" && files.empty()) warms = true;
        else if (argument == "-O") settings.optimisation = "-O" + value();
        else if (argument == "-e") expression = value();
        else if (argument.starts_with('-')) throw host::error("no option " + argument + "\n" + std::string(usage));
        else files.push_back(argument);
    }
    if (files.empty() && expression.empty() && collections == 0) {
        std::cout << usage;
        return 2;
    }
    host::start_heap();
    host::define_core();
    host::evaluator evaluator(settings);
    if (!bundle.empty()) {
        std::vector<std::string_view> trusted(keys.begin(), keys.end());
        rekindle::imported imported = evaluator.cache().import(bundle, trusted);
        std::cout << imported.records << " taken over, " << imported.present << " there already\n";
    }
    if (warms) warm(evaluator, std::exchange(files, {}));
    for (const std::string &file : files) {
        std::string program = text_of(file);
        if (times) run_timed(evaluator, program);
        else evaluator.run(program);
    }
    if (!expression.empty()) {
        host::print(std::cout, evaluator.run(expression), true);
        std::cout << '\n';
    }
    if (collections > 0) host::check_collecting(evaluator, collections);
    if (stats) {
        rekindle::statistics statistics = evaluator.session().statistics();
        std::cerr << statistics.definitions << " definitions: " << statistics.hits << " hits, " << statistics.misses << " misses, "
                  << statistics.bypasses << " bypasses, " << statistics.rejected << " rejected in " << double(statistics.eval_ns) / 1e6
                  << " ms\n";
    }
    return 0;
}

} // namespace

int main(int count, char **arguments) {
    try {
        return run(count, arguments);
    } catch (const std::exception &error) {
        std::cerr << "error: " << error.what() << '\n';
        return 1;
    }
}
