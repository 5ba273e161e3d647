// A library gives a function, by table or by callback: `modules table|callback FOLDER LIBRARY` prints the outcome,
// the value, and why.

#include "check.h"

#include <dlfcn.h>

static void *provided;

static bool symbol(void *data, rekindle_text name, uint64_t hash, rekindle_word *word) {
    (void)data;
    (void)hash;
    *word = (rekindle_word){(uint64_t)(uintptr_t)provided, REKINDLE_WORD_KIND_ADDRESS};
    return is(name, "provided");
}

static bool compile(void *data, rekindle_recorder *recorder, rekindle_compilation *compilation) {
    (void)recorder;
    give_object(rekindle_compilation_unit(compilation), *(const rekindle_text *)data);
    rekindle_compilation_factory(compilation, rekindle_text_of("factory"));
    return true;
}

int main(int count, char **arguments) {
    CHECK(count == 4);
    void *library = dlopen(arguments[3], RTLD_NOW | RTLD_LOCAL);
    CHECK(library != NULL);
    provided = dlsym(library, "provided");
    CHECK(provided != NULL);

    rekindle_options *options = rekindle_options_new();
    rekindle_options_folder(options, rekindle_text_of(arguments[2]));
    rekindle_host host = {.size = sizeof host};
    if (strcmp(arguments[1], "table") == 0) {
        rekindle_symbol_word word = {rekindle_text_of("provided"), (uint64_t)(uintptr_t)provided};
        rekindle_options_symbols(options, &word, 1);
    } else {
        host.symbol = symbol;
    }
    rekindle_cache *cache;
    rekindle_error *error = rekindle_open(REKINDLE_ABI_VERSION, options, &cache);
    if (error != NULL) {
        must_fail(error, REKINDLE_ERROR_CODE_MODULE, "build-id");
        puts("refused");
        return 0;
    }
    rekindle_options_free(options);
    rekindle_session *session;
    must(rekindle_session_new(cache, &session));
    rekindle_definition one =
        definition("user/one", "extern long provided(void); long factory(void) { return provided(); }");
    rekindle_evaluation *evaluation;
    must(rekindle_eval(session, &one, &host, compile, &one.text, &evaluation));
    // The library stays in the process: code calls into it.
    CHECK(dlclose(library) == 0);
    long (*factory)(void) = (long (*)(void))(uintptr_t)rekindle_evaluation_factory(evaluation);
    rekindle_text reason = rekindle_evaluation_reason(evaluation);
    printf("%ld %.*s\n", factory(), (int)reason.size, reason.data);
    rekindle_evaluation_finish(evaluation, REKINDLE_RAN_PURE, NULL);
    rekindle_session_free(session);
    rekindle_cache_free(cache);
    return 0;
}
