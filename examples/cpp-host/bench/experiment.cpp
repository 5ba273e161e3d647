// What is measured beside Rekindle: each definition compiled to an object by clang, kept as a file under a hash of its
// form, and loaded by LLVM's ORC. `experiment FOLDER LEVEL FILE` says what each form took, in nanoseconds.

#include "codegen.hpp"
#include "core.hpp"
#include "evaluator.hpp"
#include "heap.hpp"

#include <llvm-c/Core.h>
#include <llvm-c/LLJIT.h>
#include <llvm-c/LLJITUtils.h>
#include <llvm-c/Orc.h>
#include <llvm-c/Target.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sys/wait.h>
#include <spawn.h>

extern char **environ;

namespace {

void check(LLVMErrorRef error) {
    if (!error) return;
    char *message = LLVMGetErrorMessage(error);
    std::string text = message;
    LLVMDisposeErrorMessage(message);
    throw host::error(text);
}

class loader {
public:
    loader() {
        LLVMInitializeX86TargetInfo();
        LLVMInitializeX86Target();
        LLVMInitializeX86TargetMC();
        LLVMInitializeX86AsmPrinter();
        check(LLVMOrcCreateLLJIT(&jit_, LLVMOrcCreateLLJITBuilder()));
        // As clang's interpreter has it, by which the experiment's host loaded objects.
        check(LLVMOrcLLJITEnableDebugSupport(jit_));
        LLVMOrcDefinitionGeneratorRef process;
        check(LLVMOrcCreateDynamicLibrarySearchGeneratorForProcess(&process, LLVMOrcLLJITGetGlobalPrefix(jit_), nullptr, nullptr));
        LLVMOrcJITDylibAddGenerator(LLVMOrcLLJITGetMainJITDylib(jit_), process);
    }

    host::factory *load(const std::string &object, const std::string &symbol) {
        LLVMMemoryBufferRef buffer;
        char *message = nullptr;
        if (LLVMCreateMemoryBufferWithContentsOfFile(object.c_str(), &buffer, &message)) throw host::error(message);
        check(LLVMOrcLLJITAddObjectFile(jit_, LLVMOrcLLJITGetMainJITDylib(jit_), buffer));
        LLVMOrcExecutorAddress address;
        check(LLVMOrcLLJITLookup(jit_, &address, symbol.c_str()));
        return reinterpret_cast<host::factory *>(address);
    }

private:
    LLVMOrcLLJITRef jit_;
};

class experiment {
public:
    experiment(std::string folder, const host::settings &settings) : folder_(std::move(folder)), flags_(host::flags(settings)) {
        std::filesystem::create_directories(folder_);
        // The compiled one is no good once its text is newer.
        if (!std::filesystem::exists(folder_ + "/prelude.pch")) {
            std::ofstream(folder_ + "/prelude.hpp") << host::prelude;
            // The experiment's was made without its templates: each unit took longer then.
            clang({"-fPIC", "-fpch-instantiate-templates", "-x", "c++-header", folder_ + "/prelude.hpp", "-o",
                   folder_ + "/prelude.pch"});
        }
    }

    void evaluate(std::string_view form) {
        auto [head, name] = host::heading_of(form);
        if (head == "ns") {
            name_space_ = name;
            return;
        }
        bool defines = head == "def" || head == "defn";
        if (!defines) name = {};
        // After reading, as the experiment had it.
        host::object *read = host::read(form);
        std::ostringstream hash;
        hash << std::hex << std::hash<std::string>()(name_space_ + host::shown(read));
        std::string object = folder_ + "/" + hash.str() + ".o", symbol = "factory_" + hash.str();
        if (!std::filesystem::exists(object)) {
            std::string source = host::generate(name_space_, name, read).source;
            source.replace(source.find(host::factory_name), host::factory_name.size(), symbol);
            std::string file = folder_ + "/" + hash.str() + ".cpp";
            std::ofstream(file) << source;
            clang({"-fPIC", "-include-pch", folder_ + "/prelude.pch", "-c", file, "-o", object});
        }
        host::object *value = loader_.load(object, symbol)();
        if (defines) host::intern(name_space_, name)->value = value;
    }

private:
    void clang(std::vector<std::string> more) {
        std::vector<std::string> command{"clang++-22"};
        command.insert(command.end(), flags_.begin(), flags_.end());
        command.insert(command.end(), more.begin(), more.end());
        std::vector<char *> arguments;
        for (std::string &argument : command) arguments.push_back(argument.data());
        arguments.push_back(nullptr);
        pid_t child;
        int status;
        if (posix_spawnp(&child, arguments[0], nullptr, nullptr, arguments.data(), environ) != 0) throw host::error("no clang++-22");
        if (waitpid(child, &status, 0) < 0 || status != 0) throw host::error("clang++-22 failed");
    }

    std::string folder_, name_space_ = "user";
    std::vector<std::string> flags_;
    loader loader_;
};

} // namespace

int main(int count, char **arguments) {
    try {
        if (count != 4) throw host::error("experiment FOLDER LEVEL FILE");
        host::settings settings;
        settings.headers = CPP_HOST_HEADERS;
        settings.optimisation = std::string("-O") + arguments[2];
        host::start_heap();
        host::define_core();
        experiment experiment(arguments[1], settings);
        std::ifstream in(arguments[3]);
        std::string program{std::istreambuf_iterator<char>(in), {}};
        std::string_view rest = program;
        for (std::string_view form = host::delimit(rest); !form.empty(); form = host::delimit(rest)) {
            auto start = std::chrono::steady_clock::now();
            experiment.evaluate(form);
            std::chrono::nanoseconds took = std::chrono::steady_clock::now() - start;
            std::cerr << "time " << took.count() << ' ' << host::heading_of(form).name << '\n';
        }
        std::cout.flush();
        // What LLVM does at the end is not measured.
        std::quick_exit(0);
    } catch (const std::exception &error) {
        std::cerr << "error: " << error.what() << '\n';
        return 1;
    }
}
