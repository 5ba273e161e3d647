// Rekindle for C++20: a header over rekindle.h that frees what has to be freed, takes callables, and lets
// exceptions of the host's through.
//
// Functions that can fail come twice: one throws `rekindle::error`, and one takes `std::nothrow` and returns a
// `rekindle::result`. Without exceptions (`-fno-exceptions`) only the second is there.
//
// What a callable or a `host` throws while Rekindle calls it is kept, and thrown again when Rekindle has returned, so
// that no exception crosses its frames. `std::string_view` and `std::span` are looked at during the call that they
// are passed to. What rekindle.h says of threads holds for the classes that stand for its types.

#ifndef REKINDLE_HPP
#define REKINDLE_HPP

#include <rekindle.h>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#if defined(__cpp_exceptions)
#define REKINDLE_EXCEPTIONS 1
#include <exception>
#else
#define REKINDLE_EXCEPTIONS 0
#endif

namespace rekindle {

using digest = rekindle_digest;
using statistics = rekindle_statistics;
using memory = rekindle_memory;
using imported = rekindle_imported;
using warmed = rekindle_warmed;

enum class outcome : std::uint32_t {
    hit = REKINDLE_OUTCOME_HIT,
    second_hit = REKINDLE_OUTCOME_SECOND_HIT,
    miss = REKINDLE_OUTCOME_MISS,
    bypass = REKINDLE_OUTCOME_BYPASS,
    rejected = REKINDLE_OUTCOME_REJECTED,
};

enum class ran : std::uint32_t {
    pure = REKINDLE_RAN_PURE,
    impure = REKINDLE_RAN_IMPURE,
    failed = REKINDLE_RAN_FAILED,
};

enum class mode : std::uint32_t {
    on = REKINDLE_MODE_ON,
    read_only = REKINDLE_MODE_READ_ONLY,
    off = REKINDLE_MODE_OFF,
};

enum class log_level : std::uint32_t {
    off = REKINDLE_LOG_LEVEL_OFF,
    error = REKINDLE_LOG_LEVEL_ERROR,
    warn = REKINDLE_LOG_LEVEL_WARN,
    info = REKINDLE_LOG_LEVEL_INFO,
    debug = REKINDLE_LOG_LEVEL_DEBUG,
    trace = REKINDLE_LOG_LEVEL_TRACE,
};

namespace detail {

inline rekindle_text text(std::string_view text) noexcept { return {text.data(), text.size()}; }

inline std::string_view view(rekindle_text text) noexcept { return {text.data, text.size}; }

inline rekindle_bytes bytes(std::span<const std::byte> bytes) noexcept { return {bytes.data(), bytes.size()}; }

inline std::span<const std::byte> view(rekindle_bytes bytes) noexcept {
    return {static_cast<const std::byte *>(bytes.data), bytes.size};
}

inline std::span<std::byte> view(rekindle_range range) noexcept {
    return {static_cast<std::byte *>(range.data), range.size};
}

template <auto Free> struct freed_by {
    template <class T> void operator()(T *pointer) const noexcept { Free(pointer); }
};

template <class T, auto Free> using owned = std::unique_ptr<T, freed_by<Free>>;

} // namespace detail

// Numbers by their names.
using counts = std::map<std::string, std::uint64_t, std::less<>>;

namespace detail {

inline void take_count(void *data, rekindle_text name, std::uint64_t count) noexcept {
    static_cast<counts *>(data)->insert_or_assign(std::string(view(name)), count);
}

} // namespace detail

// The bytes of a text or of anything trivial, as Rekindle takes them.
inline std::span<const std::byte> bytes_of(std::string_view text) noexcept {
    return std::as_bytes(std::span(text.data(), text.size()));
}

// Why something failed.
class failure {
public:
    explicit failure(rekindle_error *error) noexcept : error_(error) {}

    rekindle_error_code code() const noexcept {
        return static_cast<rekindle_error_code>(rekindle_error_code_of(error_.get()));
    }

    // Lives as long as the failure.
    std::string_view text() const noexcept { return detail::view(rekindle_error_text(error_.get())); }

private:
    detail::owned<rekindle_error, rekindle_error_free> error_;
};

#if REKINDLE_EXCEPTIONS
// A failure as an exception.
class error : public std::runtime_error {
public:
    explicit error(const failure &failure)
        : std::runtime_error(std::string(failure.text())), code_(failure.code()) {}

    rekindle_error_code code() const noexcept { return code_; }

private:
    rekindle_error_code code_;
};
#endif

// A value, or why there is none.
template <class T> class [[nodiscard]] result {
public:
    result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
    result(failure failure) : state_(std::in_place_index<1>, std::move(failure)) {}

    explicit operator bool() const noexcept { return state_.index() == 0; }

    // Only where there is a value.
    T &operator*() & noexcept { return *std::get_if<0>(&state_); }
    T &&operator*() && noexcept { return std::move(*std::get_if<0>(&state_)); }
    T *operator->() noexcept { return std::get_if<0>(&state_); }

    // Only where there is none.
    const failure &why() const noexcept { return *std::get_if<1>(&state_); }

#if REKINDLE_EXCEPTIONS
    // The value; throws where there is none.
    T value() && {
        if (!*this) throw error(why());
        return std::move(**this);
    }
#endif

private:
    std::variant<T, failure> state_;
};

// Nothing, or why it failed.
template <> class [[nodiscard]] result<void> {
public:
    result() noexcept = default;
    result(failure failure) noexcept : failure_(std::move(failure)) {}
    explicit result(rekindle_error *error) noexcept {
        if (error) failure_.emplace(error);
    }

    explicit operator bool() const noexcept { return !failure_; }
    const failure &why() const noexcept { return *failure_; }
    failure take_failure() && noexcept { return std::move(*failure_); }

#if REKINDLE_EXCEPTIONS
    void value() && {
        if (failure_) throw error(*failure_);
    }
#endif

private:
    std::optional<failure> failure_;
};

// The digest of bytes. `domain` says what they are, and is a constant of the host's in UTF-8.
inline digest digest_of(std::string_view domain, std::span<const std::byte> bytes) noexcept {
    digest digest{};
    failure failed(rekindle_digest_of(detail::text(domain), detail::bytes(bytes), &digest));
    return digest;
}

inline digest digest_of(std::string_view domain, std::string_view text) noexcept {
    return digest_of(domain, bytes_of(text));
}

// A definition, as its text is there before anything has read it.
struct definition {
    std::string_view name;
    std::string_view text;
    std::string_view context = {};
};

// The word for a name: an address in a module of the process, or any word that the host and its code agree on.
class word {
public:
    template <class T> static word address(T *pointer) noexcept {
        return word(reinterpret_cast<std::uintptr_t>(pointer), REKINDLE_WORD_KIND_ADDRESS);
    }
    static word value(std::uint64_t value) noexcept { return word(value, REKINDLE_WORD_KIND_VALUE); }
    // The address of something that lies in no module: the host keeps it, as no collector sees the code's word for it.
    static word value(const void *pointer) noexcept {
        return value(static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(pointer)));
    }

    rekindle_word raw() const noexcept { return word_; }

private:
    word(std::uint64_t value, std::uint32_t kind) noexcept : word_{value, kind} {}
    rekindle_word word_;
};

// What Rekindle asks of a host: to be derived from. What is not overridden is the default of rekindle.h.
class host {
public:
    host() = default;
    host(const host &) = default;
    host &operator=(const host &) = default;
    virtual ~host() = default;

    virtual std::optional<digest> resolution(std::string_view name_space, std::string_view symbol) {
        (void)name_space, (void)symbol;
        return std::nullopt;
    }
    virtual std::optional<digest> interface_of(std::string_view name) {
        (void)name;
        return std::nullopt;
    }
    virtual std::optional<digest> dependency(std::string_view kind, std::string_view name) {
        (void)kind, (void)name;
        return std::nullopt;
    }
    virtual std::string locate(std::string_view name) { return std::string(name); }
    virtual bool replay(std::string_view kind, std::span<const std::byte> payload) {
        (void)kind, (void)payload;
        return false;
    }
    virtual void side_table(std::string_view name, std::span<const std::byte> table) { (void)name, (void)table; }
    virtual std::optional<word> symbol(std::string_view name, std::uint64_t hash) {
        (void)name, (void)hash;
        return std::nullopt;
    }
    virtual void placed(std::span<std::byte> data) { (void)data; }
};

// Gathers what a compilation depends on: see rekindle.h. There as long as the compile callable runs.
class recorder {
public:
    explicit recorder(rekindle_recorder *raw) noexcept : raw_(raw) {}
    recorder(const recorder &) = delete;
    recorder &operator=(const recorder &) = delete;

    // Before `name` runs, and before what it is is looked at: where a program is warmed, it gets its value here.
    void ran(std::string_view name) noexcept { rekindle_recorder_ran(raw_, detail::text(name)); }
    void read(std::string_view name) noexcept { rekindle_recorder_read(raw_, detail::text(name)); }
    void resolved(std::string_view name_space, std::string_view symbol) noexcept {
        rekindle_recorder_resolved(raw_, detail::text(name_space), detail::text(symbol));
    }
    // `content` is what the file held; nothing if there was none.
    void file(std::string_view name, std::optional<std::span<const std::byte>> content) noexcept {
        rekindle_bytes bytes = detail::bytes(content.value_or(std::span<const std::byte>()));
        rekindle_recorder_file(raw_, detail::text(name), content ? &bytes : nullptr);
    }
    template <class Names> void files(const Names &names) {
        std::vector<rekindle_text> texts;
        for (const auto &name : names) texts.push_back(detail::text(name));
        rekindle_recorder_files(raw_, texts.data(), texts.size());
    }
    void variable(std::string_view name, std::optional<std::string_view> value) noexcept {
        rekindle_text text = detail::text(value.value_or(std::string_view()));
        rekindle_recorder_variable(raw_, detail::text(name), value ? &text : nullptr);
    }
    void host(std::string_view kind, std::string_view name) noexcept {
        rekindle_recorder_host(raw_, detail::text(kind), detail::text(name));
    }
    void effect(std::string_view kind, std::span<const std::byte> payload) noexcept {
        rekindle_recorder_effect(raw_, detail::text(kind), detail::bytes(payload));
    }
    void bypass(std::string_view reason) noexcept { rekindle_recorder_bypass(raw_, detail::text(reason)); }

private:
    rekindle_recorder *raw_;
};

// What is compiled. There as long as the callable that got it runs.
class unit {
public:
    explicit unit(rekindle_unit *raw) noexcept : raw_(raw) {}

    // An object; `made` tells how it was made, or else its bytes do.
    void object(std::span<const std::byte> object, const digest *made = nullptr) noexcept {
        rekindle_unit_object(raw_, detail::bytes(object), made);
    }
    // Source text, for clang.
    void source(std::string_view text) noexcept { rekindle_unit_source(raw_, detail::text(text)); }
    // What makes better code of it, in idle time and on another thread, maybe after the cache has ended: it holds what it
    // needs by value, and an exception of its says that there is none. Only where `options::better` was called.
    void better(std::function<void(unit &)> generate);
    void fail(std::string_view why) noexcept { rekindle_unit_fail(raw_, detail::text(why)); }

private:
    rekindle_unit *raw_;
};

namespace detail {

// What was thrown while Rekindle called the host; the first stands.
class thrown {
public:
    template <class F, class T> T call(T otherwise, F &&function) noexcept {
#if REKINDLE_EXCEPTIONS
        try {
            return function();
        } catch (...) {
            if (!first_) first_ = std::current_exception();
            return otherwise;
        }
#else
        (void)otherwise;
        return function();
#endif
    }

#if REKINDLE_EXCEPTIONS
    bool is_there() const noexcept { return first_ != nullptr; }
    [[noreturn]] void rethrow() { std::rethrow_exception(std::exchange(first_, nullptr)); }

private:
    std::exception_ptr first_;
#endif
};

// A host during one evaluation.
struct asked {
    host *answers;
    // Where what the host throws is kept.
    thrown *caught;

    template <class T, class F> static T ask(void *data, T otherwise, F &&function) noexcept {
        auto &self = *static_cast<asked *>(data);
        return self.caught->call(otherwise, [&] { return function(*self.answers); });
    }

    template <class F> static bool put(void *data, digest *place, F &&function) noexcept {
        return ask(data, false, [&](host &host) {
            std::optional<digest> found = function(host);
            if (found) *place = *found;
            return found.has_value();
        });
    }

    rekindle_host raw() noexcept {
        rekindle_host raw{};
        raw.size = sizeof raw;
        raw.data = this;
        raw.resolution = [](void *data, rekindle_text name_space, rekindle_text symbol, digest *place) {
            return put(data, place, [&](host &host) { return host.resolution(view(name_space), view(symbol)); });
        };
        raw.interface_of = [](void *data, rekindle_text name, digest *place) {
            return put(data, place, [&](host &host) { return host.interface_of(view(name)); });
        };
        raw.dependency = [](void *data, rekindle_text kind, rekindle_text name, digest *place) {
            return put(data, place, [&](host &host) { return host.dependency(view(kind), view(name)); });
        };
        raw.locate = [](void *data, rekindle_text name, rekindle_path *path) {
            ask(data, false, [&](host &host) {
                rekindle_path_set(path, text(host.locate(view(name))));
                return true;
            });
        };
        raw.replay = [](void *data, rekindle_text kind, rekindle_bytes payload) {
            return ask(data, false, [&](host &host) { return host.replay(view(kind), view(payload)); });
        };
        raw.side_table = [](void *data, rekindle_text name, rekindle_bytes table) {
            ask(data, false, [&](host &host) { return host.side_table(view(name), view(table)), true; });
        };
        raw.symbol = [](void *data, rekindle_text name, std::uint64_t hash, rekindle_word *place) {
            return ask(data, false, [&](host &host) {
                std::optional<word> found = host.symbol(view(name), hash);
                if (found) *place = found->raw();
                return found.has_value();
            });
        };
        raw.placed = [](void *data, rekindle_range range) {
            ask(data, false, [&](host &host) { return host.placed(view(range)), true; });
        };
        return raw;
    }
};

// Has a unit made where nobody is that an exception could be thrown at: it becomes the unit's failure.
inline bool generated(const std::function<void(unit &)> &generate, unit made) noexcept {
#if REKINDLE_EXCEPTIONS
    try {
        generate(made);
        return true;
    } catch (const std::exception &thrown) {
        made.fail(thrown.what());
    } catch (...) {
        made.fail("an exception of the host's that is no std::exception");
    }
    return false;
#else
    generate(made);
    return true;
#endif
}

// What makes a unit after the compile callable has returned, during the same call.
struct deferred {
    std::function<void(unit &)> generate;
    thrown *caught;

    static bool run(void *data, rekindle_unit *raw) noexcept {
        auto &self = *static_cast<deferred *>(data);
        return self.caught->call(false, [&] {
            unit unit(raw);
            self.generate(unit);
            return true;
        });
    }
};

// Gives back what was made for callbacks.
template <class T> void release(void *data) noexcept { delete static_cast<T *>(data); }

// What makes a unit on any thread, once.
struct unit_later {
    std::function<void(unit &)> generate;

    static bool run(void *data, rekindle_unit *raw) noexcept {
        // What it holds is given back as soon as it is made.
        auto generate = std::move(static_cast<unit_later *>(data)->generate);
        return generated(generate, unit(raw));
    }
};

} // namespace detail

inline void unit::better(std::function<void(unit &)> generate) {
    using later = detail::unit_later;
    rekindle_unit_better(raw_, later::run, new later{std::move(generate)}, detail::release<later>);
}

// What a compile callable fills: see rekindle.h. There as long as it runs.
class compilation {
public:
    compilation(rekindle_compilation *raw, detail::deferred &later) noexcept
        : raw_(raw), unit_(rekindle_compilation_unit(raw)), later_(&later) {}
    // For units that are made on other threads, and kept in `kept`.
    compilation(rekindle_compilation *raw, std::vector<std::unique_ptr<detail::unit_later>> &kept) noexcept
        : raw_(raw), unit_(rekindle_compilation_unit(raw)), kept_(&kept) {}
    compilation(const compilation &) = delete;
    compilation &operator=(const compilation &) = delete;

    rekindle::unit &unit() noexcept { return unit_; }
    void object(std::span<const std::byte> object, const digest *made = nullptr) noexcept {
        unit_.object(object, made);
    }
    void source(std::string_view text) noexcept { unit_.source(text); }
    void factory(std::string_view symbol) noexcept { rekindle_compilation_factory(raw_, detail::text(symbol)); }
    void defines(std::string_view name) noexcept { rekindle_compilation_defines(raw_, detail::text(name)); }
    void defines_later(std::string_view name) noexcept {
        rekindle_compilation_defines_later(raw_, detail::text(name));
    }
    void references(std::string_view name) noexcept { rekindle_compilation_references(raw_, detail::text(name)); }
    void side_table(std::string_view name, std::span<const std::byte> table) noexcept {
        rekindle_compilation_side_table(raw_, detail::text(name), detail::bytes(table));
    }
    void fail(std::string_view why) noexcept {
        rekindle_compilation_fail(raw_, detail::text(why));
        failed_ = true;
    }
    // The analysed form in place of a unit. `generate` is called with a unit if no code of an equal form is kept, after
    // the compile callable has returned (for `warming` on another thread): it holds what it needs by value.
    void analysed(const digest &canonical, std::function<void(rekindle::unit &)> generate) {
        if (kept_) {
            kept_->push_back(std::make_unique<detail::unit_later>(std::move(generate)));
            rekindle_compilation_analysed(raw_, &canonical, detail::unit_later::run, kept_->back().get());
            return;
        }
        later_->generate = std::move(generate);
        rekindle_compilation_analysed(raw_, &canonical, detail::deferred::run, later_);
    }

    bool failed() const noexcept { return failed_; }

private:
    rekindle_compilation *raw_;
    rekindle::unit unit_;
    detail::deferred *later_ = nullptr;
    std::vector<std::unique_ptr<detail::unit_later>> *kept_ = nullptr;
    bool failed_ = false;
};

// Code that is in the process. Ending a handle leaves the code where it is.
class code {
public:
    explicit code(rekindle_code *raw) noexcept : raw_(raw) {}

    std::span<std::byte> text() const noexcept { return detail::view(rekindle_code_text(raw_.get())); }
    std::span<std::byte> payload() const noexcept { return detail::view(rekindle_code_payload(raw_.get())); }
    std::span<std::byte> data() const noexcept { return detail::view(rekindle_code_data(raw_.get())); }
    std::span<std::byte> thread_data() const noexcept {
        return detail::view(rekindle_code_thread_data(raw_.get()));
    }
    std::span<std::uint64_t> constants() const noexcept {
        rekindle_range range = rekindle_code_constants(raw_.get());
        return {static_cast<std::uint64_t *>(range.data), range.size / sizeof(std::uint64_t)};
    }
    void *symbol(std::string_view name) const noexcept {
        return rekindle_code_symbol(raw_.get(), detail::text(name));
    }
    // The first table of a name; empty if there is none.
    std::span<const std::byte> side_table(std::string_view name) const noexcept {
        for (std::size_t index = 0; index < rekindle_code_side_table_count(raw_.get()); index++) {
            rekindle_text found;
            rekindle_bytes table;
            if (rekindle_code_side_table(raw_.get(), index, &found, &table) && detail::view(found) == name)
                return detail::view(table);
        }
        return {};
    }

    // Takes the code out of the process. The caller vouches that nothing of it remains: rekindle.h says what that is.
    static result<void> unload(code code, std::nothrow_t) noexcept {
        return result<void>(rekindle_code_unload(code.raw_.release()));
    }
#if REKINDLE_EXCEPTIONS
    static void unload(code code) { unload(std::move(code), std::nothrow).value(); }
#endif

private:
    detail::owned<rekindle_code, rekindle_code_free> raw_;
};

// A definition whose code is in the process and whose factory the host now calls. One that ends without `finish`
// counts as failed.
class evaluation {
public:
    explicit evaluation(rekindle_evaluation *raw) noexcept : raw_(raw) {}

    // The factory, as a function of the host's type: `factory<object *()>()`.
    template <class Function> Function *factory() const noexcept {
        return reinterpret_cast<Function *>(rekindle_evaluation_factory(raw_.get()));
    }
    rekindle::outcome outcome() const noexcept {
        return static_cast<rekindle::outcome>(rekindle_evaluation_outcome(raw_.get()));
    }
    bool is_hit() const noexcept {
        return outcome() == rekindle::outcome::hit || outcome() == rekindle::outcome::second_hit;
    }
    // In words. Lives as long as the evaluation.
    std::string_view reason() const noexcept { return detail::view(rekindle_evaluation_reason(raw_.get())); }

    // Says how the factory went, and gives the handle of the code.
    code finish(ran how) && noexcept {
        rekindle_code *code = nullptr;
        rekindle_evaluation_finish(raw_.release(), static_cast<std::uint32_t>(how), &code);
        return rekindle::code(code);
    }

    // Calls the factory and finishes; one that throws has failed.
    template <class Function, class... Arguments> auto run(ran how, Arguments &&...arguments) && {
        auto value = factory<Function>()(std::forward<Arguments>(arguments)...);
        rekindle_evaluation_finish(raw_.release(), static_cast<std::uint32_t>(how), nullptr);
        return value;
    }

private:
    detail::owned<rekindle_evaluation, rekindle_evaluation_free> raw_;
};

// An evaluation, as a listener sees it.
struct event {
    rekindle::definition definition;
    rekindle::outcome outcome;
    std::string_view explanation;
};

using listener = std::function<void(const event &)>;

using better_listener = std::function<void(const definition &)>;

namespace detail {

inline definition view(const rekindle_definition &raw) noexcept { return {view(raw.name), view(raw.text), view(raw.context)}; }

inline rekindle_definition raw(const definition &definition) noexcept {
    return {text(definition.name), text(definition.text), text(definition.context)};
}

} // namespace detail

// How a cache is to be opened: see rekindle.h.
class options {
public:
    options() : raw_(rekindle_options_new()) {}

    options &compiler(std::string_view fingerprint) {
        rekindle_options_compiler(raw_.get(), detail::bytes(bytes_of(fingerprint)));
        return *this;
    }
    options &target(std::string_view triple) {
        rekindle_options_target(raw_.get(), detail::text(triple));
        return *this;
    }
    options &cpu_feature(std::string_view feature) {
        rekindle_options_cpu_feature(raw_.get(), detail::text(feature));
        return *this;
    }
    options &expected_cost_us(std::uint64_t microseconds) {
        rekindle_options_expected_cost(raw_.get(), microseconds);
        return *this;
    }
    // Units may be source text, compiled by clang with these flags after this prelude; its precompiled headers lie in
    // `headers`, or for the time that the cache is open in a temporary folder.
    options &clang(std::span<const std::string_view> flags = {}, std::string_view prelude = {},
                   std::string_view headers = {}) {
        rekindle_options_clang(raw_.get());
        for (std::string_view flag : flags) rekindle_options_clang_flag(raw_.get(), detail::text(flag));
        if (!prelude.empty()) rekindle_options_clang_prelude(raw_.get(), detail::text(prelude));
        if (!headers.empty()) rekindle_options_clang_folder(raw_.get(), detail::text(headers));
        return *this;
    }
    options &clang_program(std::string_view path) {
        rekindle_options_clang_program(raw_.get(), detail::text(path));
        return *this;
    }
    options &clang_is_c(bool is_c) {
        rekindle_options_clang_is_c(raw_.get(), is_c);
        return *this;
    }
    options &clang_directory(std::string_view path) {
        rekindle_options_clang_directory(raw_.get(), detail::text(path));
        return *this;
    }
    options &clang_variable(std::string_view name) {
        rekindle_options_clang_variable(raw_.get(), detail::text(name));
        return *this;
    }
    options &clang_time_limit_ms(std::uint64_t milliseconds) {
        rekindle_options_clang_time_limit(raw_.get(), milliseconds);
        return *this;
    }
    options &folder(std::string_view path) {
        rekindle_options_folder(raw_.get(), detail::text(path));
        return *this;
    }
    options &in_memory() {
        rekindle_options_in_memory(raw_.get());
        return *this;
    }
    options &mode(rekindle::mode mode) {
        rekindle_options_mode(raw_.get(), static_cast<std::uint32_t>(mode));
        return *this;
    }
    options &limits(std::uint64_t max_bytes, std::uint64_t max_entries) {
        rekindle_options_limits(raw_.get(), max_bytes, max_entries);
        return *this;
    }
    options &explain(bool explain) {
        rekindle_options_explain(raw_.get(), explain);
        return *this;
    }
    options &deadline_ms(std::uint64_t milliseconds) {
        rekindle_options_deadline(raw_.get(), milliseconds);
        return *this;
    }
    options &input(std::string_view name, const digest &digest) {
        rekindle_options_input(raw_.get(), detail::text(name), &digest);
        return *this;
    }
    // A name that code may refer to, and its address.
    template <class T> options &symbol(std::string_view name, T *address) {
        rekindle_symbol_word symbol{detail::text(name), reinterpret_cast<std::uintptr_t>(address)};
        rekindle_options_symbols(raw_.get(), &symbol, 1);
        return *this;
    }
    // Units that are source text are compiled once more in idle time, with these flags behind the others.
    options &better_clang(std::span<const std::string_view> flags) {
        for (std::string_view flag : flags) rekindle_options_better_flag(raw_.get(), detail::text(flag));
        return *this;
    }
    // Units may bring better code: `unit::better`. The fingerprint is that of its compiler.
    options &better(std::string_view fingerprint) {
        rekindle_options_better(raw_.get(), detail::bytes(bytes_of(fingerprint)));
        return *this;
    }
    options &improving(std::uint64_t costly_us, double share, std::uint64_t at_close_ms) {
        rekindle_options_improving(raw_.get(), costly_us, share, at_close_ms);
        return *this;
    }
    // Is told of every definition for which there is better code from now on, by another thread: see rekindle.h for when it
    // is right to evaluate it again. An exception of its ends the process. It may be told after the cache has ended, if that
    // did not wait long enough, so it holds what it needs by value; caches that are open keep the listener that they have.
    options &on_better(rekindle::better_listener listener) {
        using function = rekindle::better_listener;
        auto tell = [](void *data, const rekindle_definition *definition) noexcept {
            (*static_cast<function *>(data))(detail::view(*definition));
        };
        rekindle_options_on_better(raw_.get(), tell, new function(std::move(listener)), detail::release<function>);
        return *this;
    }
    // Is told of every evaluation, by any thread. An exception of its ends the process. Where hits are verified, what was
    // said of `on_better` holds here too.
    options &listener(rekindle::listener listener) {
        using function = rekindle::listener;
        auto tell = [](void *data, const rekindle_event *event) noexcept {
            (*static_cast<function *>(data))({.definition = detail::view(*event->definition),
                                              .outcome = static_cast<rekindle::outcome>(event->outcome),
                                              .explanation = detail::view(event->explanation)});
        };
        rekindle_options_on_event(raw_.get(), tell, new function(std::move(listener)), detail::release<function>);
        return *this;
    }

private:
    friend class cache;
    detail::owned<rekindle_options, rekindle_options_free> raw_;
};

class session;

// A cache that is open, until it and its sessions, their evaluations and their warmings end.
class cache {
public:
    static result<cache> open(const options &options, std::nothrow_t) noexcept {
        rekindle_cache *raw = nullptr;
        if (rekindle_error *error = rekindle_open(REKINDLE_ABI_VERSION, options.raw_.get(), &raw)) return failure(error);
        return cache(raw);
    }
    // What all processes have counted that used the folder, as far as they have written it.
    result<counts> lifetime(std::nothrow_t) const {
        counts counts;
        if (rekindle_error *error = rekindle_cache_lifetime(raw_.get(), &detail::take_count, &counts)) return failure(error);
        return counts;
    }
    result<void> flush(std::nothrow_t) const noexcept { return result<void>(rekindle_cache_flush(raw_.get())); }
    // Takes over what a bundle holds that somebody signed who is trusted: by one of `keys`, or by who the user trusts.
    result<imported> import(std::string_view bundle, std::span<const std::string_view> keys, std::nothrow_t) const {
        std::vector<rekindle_text> texts;
        for (std::string_view key : keys) texts.push_back(detail::text(key));
        imported imported{};
        if (rekindle_error *error = rekindle_import(raw_.get(), detail::text(bundle), texts.data(), texts.size(), &imported, sizeof imported))
            return failure(error);
        return imported;
    }
    digest environment() const noexcept {
        digest digest{};
        failure failed(rekindle_cache_environment(raw_.get(), &digest));
        return digest;
    }
#if REKINDLE_EXCEPTIONS
    static cache open(const options &options) { return open(options, std::nothrow).value(); }
    void flush() const { flush(std::nothrow).value(); }
    imported import(std::string_view bundle, std::span<const std::string_view> keys = {}) const {
        return import(bundle, keys, std::nothrow).value();
    }
    counts lifetime() const { return lifetime(std::nothrow).value(); }
#endif

private:
    friend class session;
    explicit cache(rekindle_cache *raw) noexcept : raw_(raw) {}
    detail::owned<rekindle_cache, rekindle_cache_free> raw_;
};

// One runtime instance on a cache.
class session {
public:
    static result<session> start(const cache &cache, std::nothrow_t) noexcept {
        rekindle_session *raw = nullptr;
        if (rekindle_error *error = rekindle_session_new(cache.raw_.get(), &raw)) return failure(error);
        return session(raw);
    }

    // Evaluates a definition up to its factory. `compile` is called with a `recorder &` and a `compilation &` if nothing
    // that is kept can be used. What it or `host` throws is thrown from here; but not if there is a hit, for which it was
    // called to make better code or to verify.
    template <std::invocable<recorder &, compilation &> Compile>
    result<evaluation> eval(const definition &definition, host &host, Compile &&compile, std::nothrow_t) const {
        detail::thrown caught;
        detail::asked asked{&host, &caught};
        rekindle_host raw_host = asked.raw();
        call<std::remove_reference_t<Compile>> call{&compile, &asked};
        rekindle_definition raw_definition = detail::raw(definition);
        rekindle_evaluation *raw = nullptr;
        rekindle_error *error = rekindle_eval(raw_.get(), &raw_definition, &raw_host, &call.compiled, &call, &raw);
        evaluation evaluated(raw);
        std::optional<failure> failed;
        if (error) failed.emplace(error);
#if REKINDLE_EXCEPTIONS
        if (caught.is_there()) caught.rethrow();
        if (call.caught.is_there() && evaluated.outcome() != outcome::hit) call.caught.rethrow();
#endif
        if (failed) return std::move(*failed);
        return evaluated;
    }

    // Has better code made of a definition in idle time; `compile` is called as on a miss. Whether that will be done.
    template <std::invocable<recorder &, compilation &> Compile>
    result<bool> improve(const definition &definition, host &host, Compile &&compile, std::nothrow_t) const {
        detail::thrown caught;
        detail::asked asked{&host, &caught};
        rekindle_host raw_host = asked.raw();
        call<std::remove_reference_t<Compile>> call{&compile, &asked};
        rekindle_definition raw_definition = detail::raw(definition);
        bool will = false;
        result<void> asked_for(rekindle_improve(raw_.get(), &raw_definition, &raw_host, &call.compiled, &call, &will));
#if REKINDLE_EXCEPTIONS
        if (caught.is_there()) caught.rethrow();
        if (call.caught.is_there()) call.caught.rethrow();
#endif
        if (!asked_for) return std::move(asked_for).take_failure();
        return will;
    }

    void begin_epoch() const noexcept { rekindle_session_begin_epoch(raw_.get()); }
    // Why definitions were no hits by their text, such as `miss: behaviour`, and how often.
    counts reasons() const {
        counts counts;
        failure failed(rekindle_session_reasons(raw_.get(), &detail::take_count, &counts));
        return counts;
    }
    result<void> changed(std::string_view name, std::nothrow_t) const noexcept {
        return result<void>(rekindle_session_changed(raw_.get(), detail::text(name)));
    }
    rekindle::statistics statistics() const noexcept {
        rekindle::statistics statistics{};
        failure failed(rekindle_session_statistics(raw_.get(), &statistics, sizeof statistics));
        return statistics;
    }
#if REKINDLE_EXCEPTIONS
    explicit session(const cache &cache) : session(start(cache, std::nothrow).value()) {}
    template <std::invocable<recorder &, compilation &> Compile>
    evaluation eval(const definition &definition, host &host, Compile &&compile) const {
        return eval(definition, host, std::forward<Compile>(compile), std::nothrow).value();
    }
    template <std::invocable<recorder &, compilation &> Compile>
    bool improve(const definition &definition, host &host, Compile &&compile) const {
        return improve(definition, host, std::forward<Compile>(compile), std::nothrow).value();
    }
    void changed(std::string_view name) const { changed(name, std::nothrow).value(); }
#endif

private:
    // What a compile callable needs while it is called.
    template <class Compile> struct call {
        Compile *compile;
        detail::asked *host;
        // What is thrown from its start on, by the host too: after a hit that is nothing of the evaluation's.
        detail::thrown caught = {};
        detail::deferred later = {{}, &caught};

        static bool compiled(void *data, rekindle_recorder *raw_recorder, rekindle_compilation *raw) noexcept {
            auto &self = *static_cast<call *>(data);
            self.host->caught = &self.caught;
            return self.caught.call(false, [&] {
                recorder recorder(raw_recorder);
                compilation compilation(raw, self.later);
                (*self.compile)(recorder, compilation);
                return !compilation.failed();
            });
        }
    };

    explicit session(rekindle_session *raw) noexcept : raw_(raw) {}
    friend class warming;
    detail::owned<rekindle_session, rekindle_session_free> raw_;
};

// A definition whose factory runs though it was put off: what it defines is needed while something is compiled.
class needed {
public:
    needed(const rekindle_definition *definition, const rekindle_evaluation *evaluation) noexcept
        : definition_(detail::view(*definition)), evaluation_(evaluation) {}

    const rekindle::definition &definition() const noexcept { return definition_; }
    template <class Function> Function *factory() const noexcept {
        return reinterpret_cast<Function *>(rekindle_evaluation_factory(evaluation_));
    }

private:
    rekindle::definition definition_;
    const rekindle_evaluation *evaluation_;
};

// How warming goes. What is left empty is not done.
struct warmer {
    // How many threads make code, with the one that warms; 0 for as many as there are cores.
    std::size_t threads = 0;
    // Calls the factory, gives its value to what it defines, and says how it went. One that throws has failed.
    std::function<rekindle::ran(const needed &)> run = {};
    // Is told how far warming has come.
    std::function<void(const warmed &)> progress = {};
    // Is told of what could not be compiled after `warm` had returned, and of what was put off and cannot run any more.
    std::function<void(const definition &, std::string_view why)> failed = {};
};

// Warming of a session: a program's definitions are compiled on all cores and kept, and do not run. For one thread at a
// time. `warm` wants a `host` that lasts as long as the warming. What the callables of `warmer` and a `host` throw is thrown
// from the next function that returns here, but for `run`: there it says that the factory failed.
class warming {
public:
    warming(warming &&) noexcept = default;
    warming &operator=(warming &&other) noexcept {
        // What this was ends first: it may be calling what its state holds.
        raw_ = std::move(other.raw_);
        state_ = std::move(other.state_);
        return *this;
    }

    static result<warming> start(const session &session, warmer warmer, std::nothrow_t) {
        warming made(std::move(warmer));
        rekindle_warmer raw{};
        raw.size = sizeof raw;
        raw.data = made.state_.get();
        raw.threads = made.state_->warmer.threads;
        if (made.state_->warmer.run) raw.run = &state::run;
        if (made.state_->warmer.progress) raw.progress = &state::progress;
        if (made.state_->warmer.failed) raw.failed = &state::failed;
        rekindle_warming *started = nullptr;
        if (rekindle_error *error = rekindle_warming_new(session.raw_.get(), &raw, &started)) return failure(error);
        made.raw_.reset(started);
        return made;
    }

    // So many more definitions will come.
    void expect(std::uint64_t definitions) const noexcept { rekindle_warming_expect(raw_.get(), definitions); }

    // Warms a definition, in its place in the program, with what `session::eval` would get; its factory is put off. On a
    // hit `compile` is not called. What it throws is thrown from here, and the next definition may follow.
    template <std::invocable<recorder &, compilation &> Compile>
    result<outcome> warm(const definition &definition, host &host, Compile &&compile, std::nothrow_t) {
        rekindle_host raw_host = state_->asked_of(host).raw();
        call<std::remove_reference_t<Compile>> call{&compile, state_.get()};
        rekindle_definition raw_definition = detail::raw(definition);
        std::uint32_t came = REKINDLE_OUTCOME_BYPASS;
        result<void> warmed(rekindle_warm(raw_.get(), &raw_definition, &raw_host, &call.compiled, &call, &came));
        state_->rethrow();
        if (!warmed) return std::move(warmed).take_failure();
        return static_cast<outcome>(came);
    }

    // Runs what was put off so far, by the warmer's `run`: before anything is evaluated in the session, which defines nothing anew then that
    // has not run.
    result<void> catch_up(std::nothrow_t) {
        result<void> caught_up(rekindle_warming_catch_up(raw_.get()));
        state_->rethrow();
        return caught_up;
    }

    // Waits for the code that is in the making, makes all of it durable, and says what came of all definitions.
    result<warmed> finish(std::nothrow_t) {
        rekindle::warmed warmed{};
        result<void> finished(rekindle_warming_finish(raw_.get(), &warmed, sizeof warmed));
        state_->rethrow();
        if (!finished) return std::move(finished).take_failure();
        return warmed;
    }

#if REKINDLE_EXCEPTIONS
    explicit warming(const session &session, warmer warmer = {})
        : warming(start(session, std::move(warmer), std::nothrow).value()) {}
    template <std::invocable<recorder &, compilation &> Compile>
    outcome warm(const definition &definition, host &host, Compile &&compile) {
        return warm(definition, host, std::forward<Compile>(compile), std::nothrow).value();
    }
    void catch_up() { catch_up(std::nothrow).value(); }
    warmed finish() { return finish(std::nothrow).value(); }
#endif

private:
    // What lies still while this is moved.
    struct state {
        rekindle::warmer warmer;
        detail::thrown caught = {};
        std::map<host *, detail::asked> hosts = {};
        std::vector<std::unique_ptr<detail::unit_later>> units = {};

        detail::asked &asked_of(host &host) { return hosts.try_emplace(&host, detail::asked{&host, &caught}).first->second; }

        void rethrow() {
#if REKINDLE_EXCEPTIONS
            if (caught.is_there()) caught.rethrow();
#endif
        }

        static std::uint32_t run(void *data, const rekindle_definition *definition, const rekindle_evaluation *evaluation) noexcept {
            auto &self = *static_cast<state *>(data);
            detail::thrown failed;
            auto ran = failed.call(rekindle::ran::failed, [&] { return self.warmer.run(needed(definition, evaluation)); });
            return static_cast<std::uint32_t>(ran);
        }
        static void progress(void *data, const rekindle_warmed *warmed) noexcept {
            auto &self = *static_cast<state *>(data);
            self.caught.call(false, [&] { return self.warmer.progress(*warmed), true; });
        }
        static void failed(void *data, const rekindle_definition *definition, rekindle_text why) noexcept {
            auto &self = *static_cast<state *>(data);
            self.caught.call(false, [&] { return self.warmer.failed(detail::view(*definition), detail::view(why)), true; });
        }
    };

    template <class Compile> struct call {
        Compile *compile;
        warming::state *state;

        static bool compiled(void *data, rekindle_recorder *raw_recorder, rekindle_compilation *raw) noexcept {
            auto &self = *static_cast<call *>(data);
            return self.state->caught.call(false, [&] {
                recorder recorder(raw_recorder);
                compilation compilation(raw, self.state->units);
                (*self.compile)(recorder, compilation);
                return !compilation.failed();
            });
        }
    };

    explicit warming(rekindle::warmer warmer) : state_(std::make_unique<state>(state{std::move(warmer)})) {}
    // Ends after the warming.
    std::unique_ptr<state> state_;
    detail::owned<rekindle_warming, rekindle_warming_free> raw_;
};

// Has lines up to `level` given to `take`, by any thread, for as long as the process lives. An exception of its ends the
// process.
inline result<void> set_log(log_level level, std::function<void(log_level, std::string_view, std::string_view)> take,
                            std::nothrow_t) {
    using function = decltype(take);
    // Never freed: a line may be on its way when another function takes over.
    auto *kept = new function(std::move(take));
    auto tell = [](void *data, std::uint32_t how, rekindle_text target, rekindle_text message) noexcept {
        (*static_cast<function *>(data))(static_cast<log_level>(how), detail::view(target), detail::view(message));
    };
    return result<void>(rekindle_set_log(static_cast<std::uint32_t>(level), tell, kept));
}

#if REKINDLE_EXCEPTIONS
inline void set_log(log_level level, std::function<void(log_level, std::string_view, std::string_view)> take) {
    set_log(level, std::move(take), std::nothrow).value();
}
#endif

// How the memory of loaded code is used, of all caches of this process together.
inline memory memory_statistics() noexcept {
    memory memory{};
    failure failed(rekindle_memory_statistics(&memory, sizeof memory));
    return memory;
}

} // namespace rekindle

#endif
