// A callback in plain C lets an exception out: the process ends and says so.

#include "check.h"

static bool compile(void *, rekindle_recorder *, rekindle_compilation *) { throw 1; }

int main() {
    rekindle_options *options = rekindle_options_new();
    rekindle_options_in_memory(options);
    rekindle_cache *cache;
    must(rekindle_open(REKINDLE_ABI_VERSION, options, &cache));
    rekindle_session *session;
    must(rekindle_session_new(cache, &session));
    rekindle_definition throwing = definition("user/throwing", "text");
    rekindle_evaluation *evaluation;
    try {
        rekindle_error_free(rekindle_eval(session, &throwing, nullptr, compile, nullptr, &evaluation));
    } catch (...) {
        puts("it came through");
    }
    puts("still here");
    return 0;
}
