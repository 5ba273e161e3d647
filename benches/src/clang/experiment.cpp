// What the experiment did when a definition was evaluated for the first time: it compiled it twice, in the process to
// run it, and by clang to an object to keep it.
//
//     experiment FLAGS UNIT...
//
// FLAGS is a file with a flag on each line, and a precompiled header among them; each UNIT is a file of C++. Prints
// for each unit but the first the nanoseconds that the one took and those that the other did. What the units refer to
// in their host is defined as empty functions, and the code is not run.

#include <clang/Frontend/CompilerInstance.h>
#include <clang/Interpreter/Interpreter.h>
#include <llvm/ExecutionEngine/Orc/Shared/ExecutorAddress.h>
#include <llvm/Support/TargetSelect.h>
#include <llvm/Support/raw_ostream.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <regex>
#include <set>
#include <spawn.h>
#include <sys/wait.h>

extern char **environ;

namespace {

[[noreturn]] void fail(const std::string &what) {
    std::cerr << "error: " << what << '\n';
    std::exit(1);
}

void check(llvm::Error error) {
    if (error) fail(llvm::toString(std::move(error)));
}

template <class T> T take(llvm::Expected<T> value) {
    if (!value) check(value.takeError());
    return std::move(*value);
}

std::string read(const char *path) {
    std::ifstream in(path);
    if (!in) fail(std::string("cannot read ") + path);
    return {std::istreambuf_iterator<char>(in), {}};
}

void run(std::vector<std::string> command) {
    std::vector<char *> arguments;
    for (std::string &argument : command) arguments.push_back(argument.data());
    arguments.push_back(nullptr);
    pid_t child;
    int status;
    if (posix_spawnp(&child, arguments[0], nullptr, nullptr, arguments.data(), environ) != 0) fail("no " + command[0]);
    if (waitpid(child, &status, 0) < 0 || status != 0) fail(command[0] + " failed");
}

} // namespace

int main(int count, char **arguments) {
    if (count < 3) fail("experiment FLAGS UNIT...");
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
    std::vector<std::string> flags;
    std::ifstream lines(arguments[1]);
    for (std::string line; std::getline(lines, line);) flags.push_back(line);

    clang::IncrementalCompilerBuilder builder;
    std::vector<const char *> given;
    for (const std::string &flag : flags) given.push_back(flag.c_str());
    builder.SetCompilerArgs(given);
    auto interpreter = take(clang::Interpreter::create(take(builder.CreateCpp())));

    // The units share a process, so each has names of its own.
    const std::regex own("ember_(word|call|read|function)_(?=[0-9])|ember_factory");
    const std::regex outside("__asm__\\(\"((?:[^\"\\\\]|\\\\.)+)\"\\)");
    std::vector<std::string> units;
    std::set<std::string> names;
    for (int index = 2; index < count; ++index) {
        std::string unit = read(arguments[index]);
        for (std::sregex_iterator at(unit.begin(), unit.end(), outside), end; at != end; ++at) names.insert((*at)[1]);
        units.push_back(std::regex_replace(unit, own, "unit_" + std::to_string(units.size()) + "_$&"));
    }
    std::string host;
    for (const std::string &name : names) {
        std::string function = "host_" + std::to_string(host.size());
        host += "extern \"C\" void " + function + "() __asm__(\"" + name + "\");\nextern \"C\" void " + function + "() {}\n";
    }
    check(interpreter->ParseAndExecute(host));

    for (std::size_t index = 0; index < units.size(); ++index) {
        std::string file = std::string(arguments[index + 2]) + ".cpp";
        auto start = std::chrono::steady_clock::now();
        check(interpreter->ParseAndExecute(units[index]));
        take(interpreter->getSymbolAddress("unit_" + std::to_string(index) + "_ember_factory"));
        auto ready = std::chrono::steady_clock::now();
        std::ofstream(file) << units[index];
        std::vector<std::string> command{"clang++-22"};
        command.insert(command.end(), flags.begin(), flags.end());
        command.insert(command.end(), {"-c", file, "-o", file + ".o"});
        run(command);
        auto end = std::chrono::steady_clock::now();
        if (index > 0) std::cout << (ready - start).count() << ' ' << (end - ready).count() << '\n';
    }
    std::cout.flush();
    // What LLVM does at the end is not measured.
    std::quick_exit(0);
}
