// Rekindle: a cache for the machine code of definitions that a runtime compiles while it runs.
//
// Made by `cargo xtask header` from crates/capi/src; docs/embedding.md is a guide to it.
//
// What holds of every function here, unless it says otherwise:
//
// - Ownership. What a function puts into a place of type `T **` belongs to the caller, who gives it back with
//   the function that the type names; functions that give something back take null too. Everything else that
//   is passed stays the caller's, and is copied if it has to last. Pointers that callbacks get are there until
//   the callback returns.
// - Errors. Functions that can fail return null, or an error that the caller frees. What they were to put
//   somewhere is null then. An error that is left unread is a leak and nothing worse.
// - Threads. "Any thread" means several at once as well. Where it does not stand, the object is for one thread
//   at a time, whichever it is. Threads may come and go.
// - Exceptions. None leaves a function of this library. None may leave a callback: that ends the process with a
//   message. Loaded code has unwind tables, so that its exceptions reach whoever called it.
// - Processes. After `fork` parent and child may both go on; what the parent had not flushed is the parent's.
//   So is a warming: a child frees it, or leaves it alone, and calls nothing else of it.
// - Trust. Whoever may write to the cache's folder has code run in this process.


#ifndef REKINDLE_H
#define REKINDLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// The version of this interface. `rekindle_open` gets it from the header that a host was compiled with and
// refuses another than that of the library.
#define REKINDLE_ABI_VERSION 1

// What went wrong, by kind.
enum rekindle_error_code
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Nothing: what `rekindle_error_code_of` says of null.
    REKINDLE_ERROR_CODE_NONE = 0,
    // An argument cannot be used: null, not UTF-8, or not of the values that are listed.
    REKINDLE_ERROR_CODE_ARGUMENT = 1,
    // The library has another version of the interface than the header that the host was compiled with.
    REKINDLE_ERROR_CODE_ABI = 2,
    // A module that provides symbols cannot be told from other builds of it.
    REKINDLE_ERROR_CODE_MODULE = 3,
    // A callback of the host failed; the text is the callback's.
    REKINDLE_ERROR_CODE_HOST = 4,
    // The unit cannot be compiled.
    REKINDLE_ERROR_CODE_COMPILE = 5,
    // The compiled code cannot be brought into this process.
    REKINDLE_ERROR_CODE_RUN = 6,
    // The code has no factory of the name that the host gave.
    REKINDLE_ERROR_CODE_FACTORY = 7,
    // The folder of the cache cannot be written.
    REKINDLE_ERROR_CODE_STORE = 8,
    // The code cannot be taken out of the process, and goes on as before.
    REKINDLE_ERROR_CODE_UNLOAD = 9,
    // What was asked for cannot be done now.
    REKINDLE_ERROR_CODE_STATE = 10,
    // A fault of this library.
    REKINDLE_ERROR_CODE_PANIC = 11,
    // There is no clang that can be used, or its prelude cannot be compiled.
    REKINDLE_ERROR_CODE_COMPILER = 12,
    // A bundle is damaged, or nobody who is trusted signed it.
    REKINDLE_ERROR_CODE_BUNDLE = 13,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum rekindle_error_code rekindle_error_code;
#else
typedef uint32_t rekindle_error_code;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What came of a look-up.
enum rekindle_outcome
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Code that was kept was loaded; nothing was read or compiled.
    REKINDLE_OUTCOME_HIT = 0,
    // The text was not found; code that was kept for an equal analysed form was loaded.
    REKINDLE_OUTCOME_SECOND_HIT = 1,
    // Nothing usable was there; compiled and kept.
    REKINDLE_OUTCOME_MISS = 2,
    // Compiled and run, but not kept.
    REKINDLE_OUTCOME_BYPASS = 3,
    // Something was there and failed a check; compiled and kept.
    REKINDLE_OUTCOME_REJECTED = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum rekindle_outcome rekindle_outcome;
#else
typedef uint32_t rekindle_outcome;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// How running a factory went.
enum rekindle_ran
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // It ended, and the values it defined follow from its code and from what that reaches.
    REKINDLE_RAN_PURE = 0,
    // It ended, and read or changed mutable state or the outside world on the way.
    REKINDLE_RAN_IMPURE = 1,
    // It did not end as it should, and may have defined a part of its names.
    REKINDLE_RAN_FAILED = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum rekindle_ran rekindle_ran;
#else
typedef uint32_t rekindle_ran;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What a cache may do.
enum rekindle_mode
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Find what was kept, and keep what is compiled.
    REKINDLE_MODE_ON = 0,
    // Find what was kept, and change nothing in the folder.
    REKINDLE_MODE_READ_ONLY = 1,
    // Keep nothing: every definition is compiled.
    REKINDLE_MODE_OFF = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum rekindle_mode rekindle_mode;
#else
typedef uint32_t rekindle_mode;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What the word for a name is.
enum rekindle_word_kind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // The address of a function or variable in a module of the process. The build of a library that it
    // lies in becomes a dependency of the code, and the library stays in the process.
    REKINDLE_WORD_KIND_ADDRESS = 0,
    // Any word that the host and its code agree on: a variable of the language, a constant, a number. Loaded
    // code holds it where no collector looks: the host keeps what it points at.
    REKINDLE_WORD_KIND_VALUE = 1,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum rekindle_word_kind rekindle_word_kind;
#else
typedef uint32_t rekindle_word_kind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// How much a line matters.
enum rekindle_log_level
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Nothing is said.
    REKINDLE_LOG_LEVEL_OFF = 0,
    // Something does not work.
    REKINDLE_LOG_LEVEL_ERROR = 1,
    // The cache cannot do its work, and the host goes on without.
    REKINDLE_LOG_LEVEL_WARN = 2,
    // Explanations that were asked for.
    REKINDLE_LOG_LEVEL_INFO = 3,
    // Every definition that was not a hit.
    REKINDLE_LOG_LEVEL_DEBUG = 4,
    // All there is.
    REKINDLE_LOG_LEVEL_TRACE = 5,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum rekindle_log_level rekindle_log_level;
#else
typedef uint32_t rekindle_log_level;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// A cache that is open. Any number of threads may use it at once, and there may be several.
typedef struct rekindle_cache rekindle_cache;

// A handle of loaded code. Any number of threads may ask it at once. Freeing it frees the handle alone: code
// stays for the life of the process unless it is unloaded.
typedef struct rekindle_code rekindle_code;

// What a compile callback fills: a unit, its factory, and what the code defines and refers to. There from
// the callback's start to its end, for its thread alone. A call that is given something wrong makes the
// evaluation fail with what it was, as soon as the callback has returned.
typedef struct rekindle_compilation rekindle_compilation;

typedef struct rekindle_error rekindle_error;

// A definition whose code is in the process and whose factory the host now calls. Belongs to who evaluated it,
// for one thread at a time. To be given back with `rekindle_evaluation_finish` when the factory has run.
typedef struct rekindle_evaluation rekindle_evaluation;

// How a cache is to be opened. Belongs to who made it, for one thread at a time. A setter that is given
// something wrong makes `rekindle_open` fail with what it was. What is not set, the environment says
// (`REKINDLE`, `REKINDLE_DIR`, `REKINDLE_MAX_BYTES`, `REKINDLE_MAX_ENTRIES`, `REKINDLE_EXPLAIN`), and what that
// does not say is the default.
typedef struct rekindle_options rekindle_options;

// Where the host's `locate` puts a path, with `rekindle_path_set`.
typedef struct rekindle_path rekindle_path;

// Gathers what a compilation depends on. There from the compile callback's start to its end, for its
// thread alone.
//
// What is not told is not checked on the next look-up, and not repeated on a hit: a host that cannot tell
// calls `rekindle_recorder_bypass`. A call that is given something wrong counts as that.
typedef struct rekindle_recorder rekindle_recorder;

// One runtime instance on a cache: its definitions, and what came of them. Any number of threads may use it
// at once.
typedef struct rekindle_session rekindle_session;

// What is compiled: an object, or source text. There as long as what it was got from.
typedef struct rekindle_unit rekindle_unit;

// Warming of one session. For one thread at a time, whichever it is; its callbacks may use it. It keeps its session.
typedef struct rekindle_warming rekindle_warming;

// Bytes, as `rekindle_text` is text.
typedef struct rekindle_bytes {
    // The first byte.
    const void *data;
    // How many.
    size_t size;
} rekindle_bytes;

// A text: UTF-8 that ends after `size` bytes and not with a zero. `data` may be null if `size` is 0.
// Whoever passes one keeps its bytes; whoever gets one copies what is to last.
typedef struct rekindle_text {
    // Its first byte.
    const char *data;
    // How many bytes.
    size_t size;
} rekindle_text;

// A definition, as its text is there before anything has read it.
typedef struct rekindle_definition {
    // Its name, with its namespace; empty for a form that defines nothing.
    struct rekindle_text name;
    // Its source text, to the byte.
    struct rekindle_text text;
    // What else says what the text means: namespace, aliases, reader and compiler flags.
    struct rekindle_text context;
} rekindle_definition;

// Is told of a definition for which there is better code from now on, on the thread that made it. All of it is there until
// it returns. Must not let an exception out.
typedef void (*rekindle_better)(void *data, const struct rekindle_definition *definition);

// Gives back what other callbacks got: none of them is called with it any more. On any thread, once. Must not let an
// exception out, nor call Rekindle.
typedef void (*rekindle_release)(void *data);

// 256 bits that tell whether two things are the same. All zeroes is a digest like others.
typedef struct rekindle_digest {
    // The bits.
    uint8_t bytes[32];
} rekindle_digest;

// The word for a name.
typedef struct rekindle_word {
    // The word.
    uint64_t value;
    // A `rekindle_word_kind`.
    uint32_t kind;
} rekindle_word;

// Memory of this process; empty if `size` is 0.
typedef struct rekindle_range {
    // Its first byte.
    void *data;
    // How many bytes.
    size_t size;
} rekindle_range;

// What Rekindle asks of a host, as callbacks; a null one is the default that stands beside it. All get
// `data`, are called during `rekindle_eval` on its thread (and those of `rekindle_warm` on that of any call that takes
// the warming), and must not let an exception out. Texts and bytes that they get are there until they return. They may
// evaluate other definitions.
typedef struct rekindle_host {
    // `sizeof(rekindle_host)`, so that hosts compiled with another header are understood.
    size_t size;
    // What the callbacks get.
    void *data;
    // Puts a digest of what `symbol` means in `name_space` at this moment into `digest`; absence has a digest
    // too. `false` if it cannot be told, as by default.
    bool (*resolution)(void *data,
                       struct rekindle_text name_space,
                       struct rekindle_text symbol,
                       struct rekindle_digest *digest);
    // Puts a digest of what compiling against the definition `name` reads of it at this moment into `digest`.
    // `false` if it cannot be told, as by default.
    bool (*interface_of)(void *data, struct rekindle_text name, struct rekindle_digest *digest);
    // Puts the digest of something that was recorded by `rekindle_recorder_host` into `digest`. `false` if it
    // cannot be told, as by default.
    bool (*dependency)(void *data,
                       struct rekindle_text kind,
                       struct rekindle_text name,
                       struct rekindle_digest *digest);
    // Says by `rekindle_path_set` where the file lies that was recorded as `name`. By default, and if it sets
    // nothing, the name is the path.
    void (*locate)(void *data, struct rekindle_text name, struct rekindle_path *path);
    // Repeats what compiling did, recorded by `rekindle_recorder_effect`. `false` if that is not possible, as
    // by default: then the definition is compiled, so that an effect has to bear being repeated.
    bool (*replay)(void *data, struct rekindle_text kind, struct rekindle_bytes payload);
    // Takes a table that came with the code that was loaded just now. By default it is dropped.
    void (*side_table)(void *data, struct rekindle_text name, struct rekindle_bytes table);
    // Puts the word for a name that the code refers to, and that the table of `rekindle_options_symbols` does
    // not hold, into `word`. `false` if the host does not know it, as by default: then the process's symbols
    // are asked. `hash` is the same for the same name, in every process.
    bool (*symbol)(void *data, struct rekindle_text name, uint64_t hash, struct rekindle_word *word);
    // Is told of the writable data of code that is in place and has not run yet, for a collector that has to
    // scan it from now on. It stays until the code is unloaded.
    void (*placed)(void *data, struct rekindle_range range);
} rekindle_host;

// Compiles a definition that was not found: tells `recorder` what it looks at, and fills `compilation`.
// `data` is what `rekindle_eval` got. `false` says that it failed, after `rekindle_compilation_fail`. Must not
// let an exception out: in C++, catch it, keep it, and throw it again after `rekindle_eval` has returned, as
// `rekindle.hpp` does.
typedef bool (*rekindle_compile)(void *data,
                                 struct rekindle_recorder *recorder,
                                 struct rekindle_compilation *compilation);

// What came of the definitions that a session evaluated: `definitions` is the sum of `hits`, `misses`,
// `bypasses` and `rejected`.
typedef struct rekindle_statistics {
    // Definitions evaluated.
    uint64_t definitions;
    // Loaded from the cache.
    uint64_t hits;
    // Those of them that were found by their analysed form and not by their text.
    uint64_t second_hits;
    // Not found, compiled.
    uint64_t misses;
    // Compiled, and not to be kept.
    uint64_t bypasses;
    // Found, refused, and compiled.
    uint64_t rejected;
    // Time spent evaluating, without the factories' own, in nanoseconds.
    uint64_t eval_ns;
    // What compiling the hits took when they were compiled, in nanoseconds.
    uint64_t saved_ns;
    // Bytes of code and data loaded.
    uint64_t loaded_bytes;
    // Hits that were compiled again and compared, so far.
    uint64_t verified;
    // Those of them that were wrong.
    uint64_t wrong;
    // Definitions that took the place of others of the same name.
    uint64_t redefined;
    // Bytes of code and data that they left behind, which stay loaded.
    uint64_t superseded_bytes;
    // Hits whose code was the better one.
    uint64_t better_hits;
    // Definitions that better code was made of, so far.
    uint64_t improved;
    // Definitions that were put off while warming, and could not run any more when they were to.
    uint64_t not_run;
} rekindle_statistics;

// Makes the unit of an analysed form: `data` is what `rekindle_compilation_analysed` got. `false` says that
// it failed, after `rekindle_unit_fail`. Must not let an exception out. During `rekindle_eval` on its thread, and for
// `rekindle_warm` on any.
typedef bool (*rekindle_generate)(void *data, struct rekindle_unit *unit);

// What was taken over from a bundle.
typedef struct rekindle_imported {
    // Records that were taken over.
    uint64_t records;
    // Records that were there already.
    uint64_t present;
    // Records that another version wrote, which were passed over.
    uint64_t other_version;
} rekindle_imported;

// Takes a line. Called by any thread, several at once, threads of Rekindle's own among them. The texts are there
// until it returns. Must not let an exception out, nor call Rekindle.
typedef void (*rekindle_log)(void *data,
                             uint32_t level,
                             struct rekindle_text target,
                             struct rekindle_text message);

// A name that stays the same for the life of the process, with its address.
typedef struct rekindle_symbol_word {
    // The name, as objects have it.
    struct rekindle_text name;
    // Its address, or any other word.
    uint64_t word;
} rekindle_symbol_word;

// An evaluation, as a listener sees it. All of it is there until the listener returns.
typedef struct rekindle_event {
    // The definition.
    const struct rekindle_definition *definition;
    // What came of the look-up: a `rekindle_outcome`.
    uint32_t outcome;
    // The outcome in words, with the reason for a miss, a bypass or a rejection.
    struct rekindle_text explanation;
} rekindle_event;

// Is told of every evaluation, after the look-up and before the factory runs, on the thread that evaluates;
// so several threads may call it at once. Of a hit that was verified and found wrong it is told once more, on a thread
// of Rekindle's. Must not let an exception out.
typedef void (*rekindle_listener)(void *data, const struct rekindle_event *event);

// How the memory of loaded code is used, of all caches of this process together. Sizes are in bytes.
typedef struct rekindle_memory {
    // Windows that are mapped.
    uint64_t windows;
    // What code takes up, with what was unloaded and waits.
    uint64_t used;
    // Images that were loaded.
    uint64_t loaded;
    // Images that were unloaded.
    uint64_t unloaded;
    // Memory of unloaded images that waits until it can be used again.
    uint64_t waiting;
    // Memory of unloaded images that can be used again.
    uint64_t free;
} rekindle_memory;

// Takes a count. The name is there until it returns. Must not let an exception out, nor call Rekindle.
typedef void (*rekindle_take_count)(void *data, struct rekindle_text name, uint64_t count);

// Calls the factory of a definition that was put off, gives its value to what it defines, and returns a `rekindle_ran`.
// Definition and evaluation are there until it returns; the evaluation is finished after that. Must not let an
// exception out. On the thread of the call that led to it: of `rekindle_warm`, or, inside of a compile callback, of
// `rekindle_recorder_ran`, so that a macro is expanded after that. May warm and evaluate other definitions.
typedef uint32_t (*rekindle_run)(void *data,
                                 const struct rekindle_definition *definition,
                                 const struct rekindle_evaluation *evaluation);

// What came of the definitions that were warmed.
typedef struct rekindle_warmed {
    // Definitions that the host has announced, or has handed over if those are more.
    uint64_t expected;
    // Those that are done: the sum of the next four.
    uint64_t done;
    // Kept already.
    uint64_t found;
    // Compiled and kept.
    uint64_t compiled;
    // Compiled, and not to be kept: a run compiles them again.
    uint64_t bypasses;
    // Not compiled: a run finds out what is wrong with them.
    uint64_t failed;
    // Factories that ran after all, as something that runs at compile time needed what they define.
    uint64_t ran;
    // Factories that could not run when they were needed, as what they define was evaluated in the session before:
    // `rekindle_warming_catch_up` was not called before that. They are among those above all the same; what
    // reaches them at compile time is a bypass.
    uint64_t not_run;
} rekindle_warmed;

// Is told how far warming has come, after each step, on the host's thread. The counts are there until it returns.
// Must not let an exception out, nor call Rekindle.
typedef void (*rekindle_progress)(void *data, const struct rekindle_warmed *warmed);

// Is told of a definition whose code could not be made after `rekindle_warm` had returned, or that was put off and cannot
// run any more, and why, on the host's thread. Both are there until it returns. Must not let an exception out, nor call Rekindle.
typedef void (*rekindle_failed)(void *data,
                                const struct rekindle_definition *definition,
                                struct rekindle_text why);

// How a host warms, as callbacks that get `data`; each may be null.
typedef struct rekindle_warmer {
    // `sizeof(rekindle_warmer)`.
    size_t size;
    // What the callbacks get.
    void *data;
    // How many threads make code, the host's own included; 0 for as many as there are cores.
    size_t threads;
    // Runs a factory after all. Without it, what needs that is a bypass.
    rekindle_run run;
    // Is told of progress.
    rekindle_progress progress;
    // Is told of what failed late.
    rekindle_failed failed;
} rekindle_warmer;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The version of the interface that this library has. Any thread.
uint32_t rekindle_abi_version(void);

// Says that units may bring better code (`rekindle_unit_better`), and what tells the compiler of it from every other. May be
// called several times: all count, in their order.
void rekindle_options_better(struct rekindle_options *options,
                             struct rekindle_bytes fingerprint);

// Has clang compile units that are source text once more in idle time, with this flag behind all others: `-O3`. May be
// called several times.
void rekindle_options_better_flag(struct rekindle_options *options,
                                  struct rekindle_text flag);

// Says of what better code is made: of what took longer to compile than `costly_us` microseconds (2,000 by default), when it
// has been compiled; and of a `share` from 0 to 1 of the hits whose code is not the better (an eighth by default), for
// which the compile callback is called: what comes of that changes nothing for the hit. `at_close_ms` is how long closing the
// cache goes on with what waits; 0 by default. What is under way is waited for up to the deadline beyond that.
void rekindle_options_improving(struct rekindle_options *options,
                                uint64_t costly_us,
                                double share,
                                uint64_t at_close_ms);

// Has `listener` told of definitions for which there is better code from now on, with `data`. Caches that were opened before
// keep their listener. `release`, which may be null, is called with `data` when `listener` is not called any more: a cache
// may be closed by then for a while, if code that was made better meanwhile took longer than closing waits for. Whoever evaluates such a definition again gets a factory of that code. That is right only if the text is still
// what its name was last defined by, which the host knows; and a factory that runs again does again whatever else it does.
void rekindle_options_on_better(struct rekindle_options *options,
                                rekindle_better listener,
                                void *data,
                                rekindle_release release);

// Has better code made of a definition in idle time, as the host has found out that it is worth it: if it is kept, and its
// code is not the better. The arguments are those of `rekindle_eval`, and `compile` is called as on a miss, unless nothing is
// kept. `will` may be null, or gets whether it will be tried. Any thread.
struct rekindle_error *rekindle_improve(const struct rekindle_session *session,
                                        const struct rekindle_definition *definition,
                                        const struct rekindle_host *host,
                                        rekindle_compile compile,
                                        void *data,
                                        bool *will);

// The text of a string that ends with a zero, which has to outlive it. Null gives an empty text. Any
// thread.
struct rekindle_text rekindle_text_of(const char *string);

// Gives a cache back, which may be null. It is closed when its sessions, their evaluations and their warmings are freed as
// well, by the call that frees the last of them: what was compiled is written then. Closing goes on with better code for as
// long as `rekindle_options_improving` says, and then waits for what is under way in the background and for the disk, up
// to the deadline of the options for both, and a quarter of it more for the disk. What takes longer goes on behind the back of who closed: callbacks that make
// better code, and listeners, may be called until their `release` is. Code stays.
void rekindle_cache_free(struct rekindle_cache *cache);

// Makes what was compiled durable, and visible to other processes. Any thread.
struct rekindle_error *rekindle_cache_flush(const struct rekindle_cache *cache);

// Puts the digest that every key of this cache holds into `digest`: of formats, compiler, target, features,
// modules and inputs. Any thread.
struct rekindle_error *rekindle_cache_environment(const struct rekindle_cache *cache,
                                                  struct rekindle_digest *digest);

// Starts a session, to be freed with `rekindle_session_free`. It keeps its cache open. Any thread.
struct rekindle_error *rekindle_session_new(const struct rekindle_cache *cache,
                                            struct rekindle_session **session);

// Gives a session back, which may be null. Evaluations and warmings that came of it keep what they need.
void rekindle_session_free(struct rekindle_session *session);

// Begins a validation epoch: files and environment variables that code depends on are looked at again. To be
// called before reading a file that was asked for, and at each input of an interactive session. Any thread.
void rekindle_session_begin_epoch(const struct rekindle_session *session);

// Says that the host gave `name` another value by itself, and not by evaluating a definition: what runs at
// compile time and reaches it is not recorded from now on, until it is defined again. Any thread.
struct rekindle_error *rekindle_session_changed(const struct rekindle_session *session,
                                                struct rekindle_text name);

// Puts what came of the definitions of a session into `statistics`, of which `size` bytes are there:
// `sizeof(rekindle_statistics)`. Any thread.
struct rekindle_error *rekindle_session_statistics(const struct rekindle_session *session,
                                                   struct rekindle_statistics *statistics,
                                                   size_t size);

// Has clang compile units that are source text: C++ at `-O2`, unless the functions below say otherwise, each of which
// has clang compile as well. The compiler, its flags and its prelude are part of every key, and the headers of a
// unit are dependencies of its code. `rekindle_open` fails where there is no clang of version 15 or newer, or the
// prelude cannot be compiled.
void rekindle_options_clang(struct rekindle_options *options);

// Names the clang to run, by path. Else it is what `REKINDLE_CLANG` names, or one of the search path.
void rekindle_options_clang_program(struct rekindle_options *options, struct rekindle_text path);

// Says whether units are C rather than C++.
void rekindle_options_clang_is_c(struct rekindle_options *options, bool is_c);

// Adds one flag, or a flag's value, for clang. No shell sees it.
void rekindle_options_clang_flag(struct rekindle_options *options, struct rekindle_text flag);

// Gives the text that every unit begins with: its headers are compiled once, and kept in the folder of
// `rekindle_options_clang_folder`.
void rekindle_options_clang_prelude(struct rekindle_options *options, struct rekindle_text text);

// Names the folder that relative paths in flags and `#include "..."` start from; `/` by default.
void rekindle_options_clang_directory(struct rekindle_options *options, struct rekindle_text path);

// Names the folder for precompiled headers, which nobody else may write. By default it is a temporary one that goes
// away with the cache.
void rekindle_options_clang_folder(struct rekindle_options *options,
                                   struct rekindle_text path);

// Names an environment variable that clang gets to see. Its value counts.
void rekindle_options_clang_variable(struct rekindle_options *options, struct rekindle_text name);

// Says how long one run of clang may take, in milliseconds; 120,000 by default.
void rekindle_options_clang_time_limit(struct rekindle_options *options, uint64_t milliseconds);

// Frees a handle, which may be null. The code stays.
void rekindle_code_free(struct rekindle_code *code);

// Takes code out of the process, and frees its handle in any case: its finalisers run, its unwind table
// goes, its memory is used again. An error says that it stays.
//
// The host vouches that nothing of it remains: no frame on any stack, no pointer to its functions or data that
// is followed again (in tables of virtual functions, of exceptions in flight, in the host's variables), no
// destructor of a thread-local that is yet to run. A collector has to forget its data beforehand. Any
// thread; finalisers run on it, and must not let an exception out.
struct rekindle_error *rekindle_code_unload(struct rekindle_code *code);

// The address of an exported symbol of the code: of the factory, or null.
void *rekindle_code_symbol(const struct rekindle_code *code, struct rekindle_text name);

// The machine code: for profilers and stack walkers.
struct rekindle_range rekindle_code_text(const struct rekindle_code *code);

// Everything that is read-only: the machine code, then slots, constants and unwind tables.
struct rekindle_range rekindle_code_payload(const struct rekindle_code *code);

// The writable data, which a collector has to scan: the same that the host's `placed` was told.
struct rekindle_range rekindle_code_data(const struct rekindle_code *code);

// What the calling thread has of the code's thread-locals; empty if there are none, or the thread has not
// used them.
struct rekindle_range rekindle_code_thread_data(const struct rekindle_code *code);

// The words that stand for objects of the host's: what the object had in sections `.rekindle.constants`, eight
// bytes each, one after the other. A collector that moves objects may write new addresses there while the
// code does not run.
struct rekindle_range rekindle_code_constants(const struct rekindle_code *code);

// How many tables came with the code in sections of its object: `.rekindle.side.NAME`, `.llvm_stackmaps` and
// `.llvm_faultmaps`.
size_t rekindle_code_side_table_count(const struct rekindle_code *code);

// Puts the table of number `index` into `name` and `table`, which stay as long as the code; `false` if there is
// none.
bool rekindle_code_side_table(const struct rekindle_code *code,
                              size_t index,
                              struct rekindle_text *name,
                              struct rekindle_bytes *table);

// The unit of a compilation. It belongs to the compilation.
struct rekindle_unit *rekindle_compilation_unit(struct rekindle_compilation *compilation);

// Makes the unit an object: position-independent ELF for x86-64, which is copied. `made` tells how it was
// made (from what, by what); equal digests stand for interchangeable objects. If `made` is null, the bytes
// tell.
//
// What a compiler read to make it has to be recorded by the callback: the cache does not see it.
void rekindle_unit_object(struct rekindle_unit *unit,
                          struct rekindle_bytes object,
                          const struct rekindle_digest *made);

// Makes the unit source text, in C++ or C as the options say: clang compiles it after the prelude of the options, and
// records the headers that it reads.
void rekindle_unit_source(struct rekindle_unit *unit,
                          struct rekindle_text text);

// Says that better code can be had of this unit, where `rekindle_options_better` was called: `generate` is called with
// `data` at most once, in idle time, on a thread of Rekindle's, after `rekindle_eval` has returned, and makes a unit of the
// same meaning and with the same factory; what it reads to do so has to be recorded by the compile callback. `release`,
// which may be null, is called with `data` in any case, when `generate` will not be called any more: soon if nobody asks for
// better code, and after the cache is closed if closing did not wait for it that long. Neither may let an exception out.
void rekindle_unit_better(struct rekindle_unit *unit,
                          rekindle_generate generate,
                          void *data,
                          rekindle_release release);

// Says why there is no unit; the callback then returns `false`.
void rekindle_unit_fail(struct rekindle_unit *unit, struct rekindle_text why);

// Says why compiling failed; the callback then returns `false`, and the evaluation fails with `why`.
void rekindle_compilation_fail(struct rekindle_compilation *compilation, struct rekindle_text why);

// Names the exported function that returns the definition's value. Every compilation needs one.
void rekindle_compilation_factory(struct rekindle_compilation *compilation, struct rekindle_text symbol);

// Adds a name that running the factory defines.
void rekindle_compilation_defines(struct rekindle_compilation *compilation, struct rekindle_text name);

// Adds a name that the code may define later, when it is called, with a value that follows from no code.
void rekindle_compilation_defines_later(struct rekindle_compilation *compilation, struct rekindle_text name);

// Adds the name of a definition that the code refers to, and so can reach when it runs.
void rekindle_compilation_references(struct rekindle_compilation *compilation, struct rekindle_text name);

// Adds a table that belongs to the definition's text, such as positions: copied, kept with the code, and
// given to the host's `side_table` each time that the code is loaded.
void rekindle_compilation_side_table(struct rekindle_compilation *compilation,
                                     struct rekindle_text name,
                                     struct rekindle_bytes table);

// Gives the digest of the definition's analysed form in place of a unit. Where code for an equal form is
// kept it is loaded; otherwise `generate` is called with `data`, once, after the compile callback has
// returned and before `rekindle_eval` does (for `rekindle_warm` see there). The form has to be all that the unit is made of, with names
// resolved; what does not reach the code, such as positions, is better left out.
void rekindle_compilation_analysed(struct rekindle_compilation *compilation,
                                   const struct rekindle_digest *canonical,
                                   rekindle_generate generate,
                                   void *data);

// Puts the digest (BLAKE3) of `bytes` into `digest`. `domain` says what the bytes are: digests of different
// domains never meet. Any thread.
struct rekindle_error *rekindle_digest_of(struct rekindle_text domain,
                                          struct rekindle_bytes bytes,
                                          struct rekindle_digest *digest);

// The kind of `error`.
rekindle_error_code rekindle_error_code_of(const struct rekindle_error *error);

// What `error` says: what, where, what to do. The text belongs to the error.
struct rekindle_text rekindle_error_text(const struct rekindle_error *error);

// Frees `error`, which may be null.
void rekindle_error_free(struct rekindle_error *error);

// Evaluates a definition up to its factory, into `evaluation`.
//
// On a hit neither `compile` nor anything else of the host's front end runs; `host` is asked only for the
// meaning of what was recorded and for the words that the code is bound to. Otherwise `compile` is called
// once with `data`, on this thread. `host` may be null: then it answers nothing.
//
// An error is what `compile` failed with, or says that its unit cannot be compiled or run. The cache's own
// faults are outcomes, not errors. Any thread; several at once, of one session too; callbacks may evaluate
// other definitions.
struct rekindle_error *rekindle_eval(const struct rekindle_session *session,
                                     const struct rekindle_definition *definition,
                                     const struct rekindle_host *host,
                                     rekindle_compile compile,
                                     void *data,
                                     struct rekindle_evaluation **evaluation);

// The address of the factory, a function of the host's own type.
void *rekindle_evaluation_factory(const struct rekindle_evaluation *evaluation);

// What came of the look-up.
rekindle_outcome rekindle_evaluation_outcome(const struct rekindle_evaluation *evaluation);

// The outcome in words, with the reason for a miss, a bypass or a rejection. The text belongs to the evaluation.
struct rekindle_text rekindle_evaluation_reason(const struct rekindle_evaluation *evaluation);

// The handle of the code while the factory runs. It belongs to the evaluation.
const struct rekindle_code *rekindle_evaluation_code(const struct rekindle_evaluation *evaluation);

// Says how the factory went (a `rekindle_ran`) and frees the evaluation. If `code` is not null, the handle of the
// code is put there, to be freed with `rekindle_code_free` or unloaded; the code itself stays either way.
void rekindle_evaluation_finish(struct rekindle_evaluation *evaluation,
                                uint32_t ran,
                                struct rekindle_code **code);

// Gives an evaluation back whose factory failed or did not run; it may be null.
void rekindle_evaluation_free(struct rekindle_evaluation *evaluation);

// Takes the path that the host's `locate` found. Any bytes but zero.
void rekindle_path_set(struct rekindle_path *path, struct rekindle_text text);

// Takes over what the bundle at `path` (any bytes but zero) holds, so that its definitions are hits here: all of it, or
// nothing if it is damaged. It has to be signed by who is trusted: by one of the `count` texts `keys`, such as
// `ed25519:0123...`, which may be null, or by a key that the user trusts (`rekindle key trust`, `REKINDLE_TRUSTED_KEYS`).
// What came of it is put into `imported`, of which `size` bytes are there; it may be null. `rekindle_warm` compiles what
// it did not hold. Any thread.
struct rekindle_error *rekindle_import(const struct rekindle_cache *cache,
                                       struct rekindle_text path,
                                       const struct rekindle_text *keys,
                                       size_t count,
                                       struct rekindle_imported *imported,
                                       size_t size);

// Has lines up to `level` (a `rekindle_log_level`) given to `callback` with `data`, from all caches of this
// process; a null `callback` ends that. By default nothing is said. A line may still be on its way when this
// returns, so that callback and data have to last as long as the process. Any thread.
struct rekindle_error *rekindle_set_log(uint32_t level, rekindle_log callback, void *data);

// Options with nothing set; freed with `rekindle_options_free`. Any thread.
struct rekindle_options *rekindle_options_new(void);

// Frees options, which may be null. Caches that were opened with them stay.
void rekindle_options_free(struct rekindle_options *options);

// Says what tells the host's compiler from every other: its version, its flags, whatever else reaches the
// code of the objects that it makes. May be called several times: all count, in their order.
void rekindle_options_compiler(struct rekindle_options *options, struct rekindle_bytes fingerprint);

// Names the target triple that the host's compiler compiles for; `x86_64-unknown-linux-gnu` by default.
void rekindle_options_target(struct rekindle_options *options, struct rekindle_text triple);

// Adds a feature of the processor that the code requires, such as `avx2`. Where one is missing or another is
// there, nothing that was kept is found. Code for any x86-64 needs none.
void rekindle_options_cpu_feature(struct rekindle_options *options, struct rekindle_text feature);

// Says what compiling a definition takes as a rule, in microseconds; 50,000 by default. Where it is long,
// processes that want the same definition wait for each other.
void rekindle_options_expected_cost(struct rekindle_options *options, uint64_t microseconds);

// Keeps the records in the folder `path`, which may be any bytes but zero.
void rekindle_options_folder(struct rekindle_options *options, struct rekindle_text path);

// Keeps the records in memory, for as long as the cache is open.
void rekindle_options_in_memory(struct rekindle_options *options);

// Says what the cache may do: a `rekindle_mode`.
void rekindle_options_mode(struct rekindle_options *options, uint32_t mode);

// Says how large the folder may become: bytes of all its files, and records.
void rekindle_options_limits(struct rekindle_options *options, uint64_t max_bytes, uint64_t max_entries);

// Whether each miss is explained in full: which part of what differs from what was kept under the same name.
void rekindle_options_explain(struct rekindle_options *options, bool explain);

// Says how long closing the cache waits for the disk, and for what is under way in the background, in milliseconds;
// 10,000 by default.
void rekindle_options_deadline(struct rekindle_options *options,
                               uint64_t milliseconds);

// Adds something of the host's own that reaches its code and that nothing else tells, such as a switch.
void rekindle_options_input(struct rekindle_options *options,
                            struct rekindle_text name,
                            const struct rekindle_digest *digest);

// Adds `count` names that the code may refer to. Names are copied. The modules that the words lie in become
// a part of every key, by build id, and stay in the process.
void rekindle_options_symbols(struct rekindle_options *options,
                              const struct rekindle_symbol_word *symbols,
                              size_t count);

// Has `listener` told of every evaluation, with `data`, as `rekindle_options_on_event` without a `release`: `data` has to last
// as long as the cache, and where hits are verified (`REKINDLE_VERIFY`) as long as the process.
void rekindle_options_listener(struct rekindle_options *options,
                               rekindle_listener listener,
                               void *data);

// Has `listener` told of every evaluation, with `data`, in place of whom an earlier call named. Caches that were opened before
// keep their listener. `release`, which may be null, is called with `data` when `listener` is not called any more: a cache
// may be closed by then for a while, if a hit was being verified for longer than closing waits for that.
void rekindle_options_on_event(struct rekindle_options *options,
                               rekindle_listener listener,
                               void *data,
                               rekindle_release release);

// Opens a cache into `cache`, to be freed with `rekindle_cache_free`. `abi` is `REKINDLE_ABI_VERSION`.
// `options` may be null: all is default then. A folder that cannot be used is no error: it is told to the
// log, and memory is used in its place. Any thread.
struct rekindle_error *rekindle_open(uint32_t abi,
                                     const struct rekindle_options *options,
                                     struct rekindle_cache **cache);

// Notes that the definition `name` runs while compiling: a macro that is expanded. It counts with all that
// it can reach. To be called before `name` runs, and before the host looks at what it is: while a program is warmed,
// `name` and what it needs get their values during this call, as a newer definition of it may have been put off. A host that
// expands first is told nothing, and what it compiled of an older definition is kept as that of the newer.
void rekindle_recorder_ran(struct rekindle_recorder *recorder,
                           struct rekindle_text name);

// Notes that the definition `name` was read while compiling, and did not run: its type, its arities. It
// counts by what the host's `interface_of` says of it.
void rekindle_recorder_read(struct rekindle_recorder *recorder, struct rekindle_text name);

// Notes that `symbol` was looked up in `name_space`, whatever it was found to mean. To be called before
// compiling itself changes the answer. It counts by what the host's `resolution` says of it.
void rekindle_recorder_resolved(struct rekindle_recorder *recorder,
                                struct rekindle_text name_space,
                                struct rekindle_text symbol);

// Notes that a file was looked for while compiling, and what it held: `content` is null if there was none.
// `name` is what the host's `locate` finds it by; a path otherwise.
void rekindle_recorder_file(struct rekindle_recorder *recorder,
                            struct rekindle_text name,
                            const struct rekindle_bytes *content);

// Notes that several files were read while compiling: a set of headers. They are looked at now, and count
// as one dependency.
void rekindle_recorder_files(struct rekindle_recorder *recorder,
                             const struct rekindle_text *names,
                             size_t count);

// Notes that an environment variable was looked at while compiling, and its value: null if it was not set.
void rekindle_recorder_variable(struct rekindle_recorder *recorder,
                                struct rekindle_text name,
                                const struct rekindle_text *value);

// Notes that something of a sort of the host's own was looked at while compiling. It counts by what the
// host's `dependency` says of it.
void rekindle_recorder_host(struct rekindle_recorder *recorder,
                            struct rekindle_text kind,
                            struct rekindle_text name);

// Notes that compiling did something besides making code, which the host's `replay` does again on a hit,
// after the code is in the process and before its factory runs; in the order of these calls.
void rekindle_recorder_effect(struct rekindle_recorder *recorder,
                              struct rekindle_text kind,
                              struct rekindle_bytes payload);

// Declares that the code must not be kept, and why. The first reason stands.
void rekindle_recorder_bypass(struct rekindle_recorder *recorder, struct rekindle_text reason);

// Puts how the memory of loaded code is used into `statistics`, of which `size` bytes are there:
// `sizeof(rekindle_memory_statistics)`. Any thread.
struct rekindle_error *rekindle_memory_statistics(struct rekindle_memory *statistics, size_t size);

// Gives `take`, with `data`, why definitions of a session were no hits by their text, and how often: names such as
// `miss: behaviour`, `bypass: volatile` and `rejected: deaths`. Those are left out that did not come up. Any thread.
struct rekindle_error *rekindle_session_reasons(const struct rekindle_session *session,
                                                rekindle_take_count take,
                                                void *data);

// Gives `take`, with `data`, what all processes have counted that used the folder of a cache, as far as they have
// written it: `processes`, and the second since 1970 `since` which they count; `definitions`, `hits` and the
// others of `rekindle_statistics` by those names; and reasons as `miss behaviour` and `rejected deaths`. What is 0
// may be left out. Of a cache without a folder to write to, nothing. Any thread.
struct rekindle_error *rekindle_cache_lifetime(const struct rekindle_cache *cache,
                                               rekindle_take_count take,
                                               void *data);

// Starts warming: the definitions of a session are compiled and kept, and do not run. For this, a session is best
// one that nothing else is evaluated in. `warmer` is copied, may be null, and its data has to last until the
// warming is freed, with `rekindle_warming_free`. Any thread.
struct rekindle_error *rekindle_warming_new(const struct rekindle_session *session,
                                            const struct rekindle_warmer *warmer,
                                            struct rekindle_warming **warming);

// Says that so many more definitions will come, for who is told of progress.
void rekindle_warming_expect(const struct rekindle_warming *warming, uint64_t definitions);

// Warms a definition, in the place that it has in its program: as `rekindle_eval`, without running its factory. If it is
// not kept, `compile` is called once with `data`, on this thread, and its unit is compiled by another one while this
// goes on. What the definition would make known to those after it, the host makes known by itself, without a value. Where
// `compile` expands a macro, it calls `rekindle_recorder_ran` before that, which gets the macro its value.
//
// `host` is copied; it is asked on the host's thread, of this definition also later, so that its `data` has to last
// until the warming is freed. So has what `rekindle_compilation_analysed` got: what makes the unit of an analysed form is
// called on any thread, at once or later, or never. Those are no threads that a collector knows: what it has from a
// collected heap the host keeps. `outcome` may be null, or gets a `rekindle_outcome`: on a hit `compile`
// was not called; a miss may turn out to be no more than a bypass.
//
// An error is what `compile` failed with, and says that a run will find out; the next definition may follow.
struct rekindle_error *rekindle_warm(const struct rekindle_warming *warming,
                                     const struct rekindle_definition *definition,
                                     const struct rekindle_host *host,
                                     rekindle_compile compile,
                                     void *data,
                                     uint32_t *outcome);

// Runs what was put off so far, in the program's order: for a host that meets a form which it can only evaluate. To be called
// before anything is evaluated in the session that is warmed: that finds nothing of what was put off, and what it defines
// anew does not run any more. An error says that the warmer has no `run`.
struct rekindle_error *rekindle_warming_catch_up(const struct rekindle_warming *warming);

// Waits for the code that is in the making, makes what was compiled durable and visible to other processes, and puts
// what came of all definitions into `warmed`, of which `size` bytes are there: `sizeof(rekindle_warmed)`; it may be null. An
// error says that what was compiled may not be kept. More definitions may follow.
struct rekindle_error *rekindle_warming_finish(const struct rekindle_warming *warming,
                                               struct rekindle_warmed *warmed,
                                               size_t size);

// Ends warming, and gives it back; it may be null. Code that is in the making and was not waited for is not kept. When this
// returns, none of its callbacks is called any more. Not from a callback of its own. A child that is forked meanwhile
// frees its parent's warming, or leaves it alone, and calls nothing else of it: its threads are the parent's.
void rekindle_warming_free(struct rekindle_warming *warming);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* REKINDLE_H */


