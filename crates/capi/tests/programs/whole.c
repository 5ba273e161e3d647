// Everything that the header offers, once cold and once warm: `whole cold|warm FOLDER`.

#include "check.h"

#include <unistd.h>

typedef long (*factory)(void);

// What the host saw.
static struct {
    int compiled, generated, replayed, tables, listened, logged, released;
    size_t placed;
    void *placed_at;
    char last[512];
} seen;

static bool warm;

long host_add(long a, long b) { return a + b; }

static bool resolution(void *data, rekindle_text name_space, rekindle_text symbol, rekindle_digest *digest) {
    CHECK(data == &seen && is(name_space, "user"));
    must(rekindle_digest_of(rekindle_text_of("test"), (rekindle_bytes){symbol.data, symbol.size}, digest));
    return true;
}

static bool interface_of(void *data, rekindle_text name, rekindle_digest *digest) {
    CHECK(data == &seen);
    must(rekindle_digest_of(rekindle_text_of("interface"), (rekindle_bytes){name.data, name.size}, digest));
    return true;
}

static bool dependency(void *data, rekindle_text kind, rekindle_text name, rekindle_digest *digest) {
    CHECK(data == &seen && is(kind, "protocol"));
    must(rekindle_digest_of(rekindle_text_of("protocol"), (rekindle_bytes){name.data, name.size}, digest));
    return true;
}

static const char *folder;

static void locate(void *data, rekindle_text name, rekindle_path *path) {
    CHECK(data == &seen);
    char text[512];
    snprintf(text, sizeof text, "%s/%.*s", folder, (int)name.size, name.data);
    rekindle_path_set(path, rekindle_text_of(text));
}

static bool replay(void *data, rekindle_text kind, rekindle_bytes payload) {
    CHECK(data == &seen && is(kind, "intern") && payload.size == 3 && memcmp(payload.data, "a\0b", 3) == 0);
    seen.replayed++;
    return true;
}

static void side_table(void *data, rekindle_text name, rekindle_bytes table) {
    CHECK(data == &seen && is(name, "lines") && table.size == 2);
    seen.tables++;
}

static bool symbol(void *data, rekindle_text name, uint64_t hash, rekindle_word *word) {
    CHECK(data == &seen && hash != 0);
    if (is(name, "word_seven")) {
        *word = (rekindle_word){7, REKINDLE_WORD_KIND_VALUE};
        return true;
    }
    if (is(name, "host_length")) {
        *word = (rekindle_word){(uint64_t)(uintptr_t)&getpagesize, REKINDLE_WORD_KIND_ADDRESS};
        return true;
    }
    if (is(name, "host_nowhere")) {
        *word = (rekindle_word){8, REKINDLE_WORD_KIND_ADDRESS};
        return true;
    }
    return false;
}

static void placed(void *data, rekindle_range range) {
    CHECK(data == &seen);
    seen.placed = range.size;
    seen.placed_at = range.data;
}

static const rekindle_host host = {
    sizeof(rekindle_host), &seen,  resolution, interface_of, dependency,
    locate,                replay, side_table, symbol,       placed,
};

static bool compile(void *data, rekindle_recorder *recorder, rekindle_compilation *compilation) {
    (void)recorder;
    const rekindle_definition *definition = data;
    seen.compiled++;
    give_object(rekindle_compilation_unit(compilation), definition->text);
    rekindle_compilation_factory(compilation, rekindle_text_of("factory"));
    rekindle_compilation_defines(compilation, definition->name);
    return true;
}

// Evaluates, expects an outcome and a value, and gives the code.
static rekindle_code *run(rekindle_session *session, rekindle_definition definition, rekindle_compile how,
                          uint32_t outcome, long value) {
    rekindle_evaluation *evaluation;
    must(rekindle_eval(session, &definition, &host, how, &definition, &evaluation));
    rekindle_text reason = rekindle_evaluation_reason(evaluation);
    if (rekindle_evaluation_outcome(evaluation) != outcome) {
        fprintf(stderr, "%.*s: %.*s\n", (int)definition.name.size, definition.name.data, (int)reason.size,
                reason.data);
        exit(1);
    }
    CHECK(reason.size > 0);
    factory factory = (rekindle_evaluation_factory(evaluation) != NULL)
                          ? (long (*)(void))(uintptr_t)rekindle_evaluation_factory(evaluation)
                          : NULL;
    CHECK(factory != NULL && factory() == value);
    const rekindle_code *borrowed = rekindle_evaluation_code(evaluation);
    CHECK(rekindle_code_symbol(borrowed, rekindle_text_of("factory")) == rekindle_evaluation_factory(evaluation));
    rekindle_code *code;
    rekindle_evaluation_finish(evaluation, REKINDLE_RAN_PURE, &code);
    return code;
}

static uint32_t cold_or_hit(void) { return warm ? REKINDLE_OUTCOME_HIT : REKINDLE_OUTCOME_MISS; }

static bool compile_dependent(void *data, rekindle_recorder *recorder, rekindle_compilation *compilation) {
    rekindle_recorder_resolved(recorder, rekindle_text_of("user"), rekindle_text_of("x"));
    rekindle_recorder_read(recorder, rekindle_text_of("user/other"));
    rekindle_recorder_ran(recorder, rekindle_text_of("user/answer"));
    rekindle_recorder_host(recorder, rekindle_text_of("protocol"), rekindle_text_of("Seq"));
    rekindle_bytes content = {"there", 5};
    rekindle_recorder_file(recorder, rekindle_text_of("included"), &content);
    rekindle_recorder_file(recorder, rekindle_text_of("absent"), NULL);
    rekindle_text names[] = {rekindle_text_of("included")};
    rekindle_recorder_files(recorder, names, 1);
    rekindle_text value = rekindle_text_of("set");
    rekindle_recorder_variable(recorder, rekindle_text_of("TEST_VARIABLE"), &value);
    rekindle_recorder_variable(recorder, rekindle_text_of("TEST_NO_VARIABLE"), NULL);
    rekindle_recorder_effect(recorder, rekindle_text_of("intern"), (rekindle_bytes){"a\0b", 3});
    rekindle_compilation_side_table(compilation, rekindle_text_of("lines"), (rekindle_bytes){"12", 2});
    rekindle_compilation_references(compilation, rekindle_text_of("user/answer"));
    rekindle_compilation_defines_later(compilation, rekindle_text_of("user/later"));
    return compile(data, recorder, compilation);
}

static bool generate(void *data, rekindle_unit *unit) {
    seen.generated++;
    give_object(unit, ((const rekindle_definition *)data)->text);
    return true;
}

static bool compile_analysed(void *data, rekindle_recorder *recorder, rekindle_compilation *compilation) {
    (void)recorder;
    rekindle_digest form;
    must(rekindle_digest_of(rekindle_text_of("form"), (rekindle_bytes){"the form", 8}, &form));
    rekindle_compilation_factory(compilation, rekindle_text_of("factory"));
    rekindle_compilation_analysed(compilation, &form, generate, data);
    return true;
}

static bool compile_bypass(void *data, rekindle_recorder *recorder, rekindle_compilation *compilation) {
    rekindle_recorder_bypass(recorder, rekindle_text_of("it asked the user"));
    return compile(data, recorder, compilation);
}

static bool compile_invalid_name(void *data, rekindle_recorder *recorder, rekindle_compilation *compilation) {
    rekindle_recorder_ran(recorder, (rekindle_text){"\xff", 1});
    return compile(data, recorder, compilation);
}

static bool compile_failing(void *data, rekindle_recorder *recorder, rekindle_compilation *compilation) {
    (void)data;
    (void)recorder;
    rekindle_compilation_fail(compilation, rekindle_text_of("line 3: no such thing"));
    return false;
}

static bool compile_silent(void *data, rekindle_recorder *recorder, rekindle_compilation *compilation) {
    (void)data;
    (void)recorder;
    rekindle_compilation_factory(compilation, rekindle_text_of("factory"));
    return true;
}

static bool compile_nonsense(void *data, rekindle_recorder *recorder, rekindle_compilation *compilation) {
    (void)data;
    (void)recorder;
    rekindle_unit_object(rekindle_compilation_unit(compilation), (rekindle_bytes){"no object", 9}, NULL);
    rekindle_compilation_factory(compilation, rekindle_text_of("factory"));
    return true;
}

static bool generate_failing(void *data, rekindle_unit *unit) {
    (void)data;
    rekindle_unit_fail(unit, rekindle_text_of("no code for this form"));
    return false;
}

static bool compile_failing_late(void *data, rekindle_recorder *recorder, rekindle_compilation *compilation) {
    (void)data;
    (void)recorder;
    rekindle_digest form = {{1}};
    rekindle_compilation_factory(compilation, rekindle_text_of("factory"));
    rekindle_compilation_analysed(compilation, &form, generate_failing, NULL);
    return true;
}

static void listen(void *data, const rekindle_event *event) {
    CHECK(data == &seen && event->definition->text.size > 0);
    CHECK(event->explanation.size < sizeof seen.last);
    memcpy(seen.last, event->explanation.data, event->explanation.size);
    seen.last[event->explanation.size] = 0;
    seen.listened++;
}

static void take_line(void *data, uint32_t level, rekindle_text target, rekindle_text message) {
    CHECK(data == &seen && level <= REKINDLE_LOG_LEVEL_DEBUG && target.size > 0 && message.size > 0);
    seen.logged++;
}

static void refused_arguments(void) {
    rekindle_cache *cache = NULL;
    must_fail(rekindle_open(REKINDLE_ABI_VERSION + 1, NULL, &cache), REKINDLE_ERROR_CODE_ABI, "compile the host anew");
    must_fail(rekindle_open(REKINDLE_ABI_VERSION, NULL, NULL), REKINDLE_ERROR_CODE_ARGUMENT, "null");
    CHECK(cache == NULL && rekindle_abi_version() == REKINDLE_ABI_VERSION);
    rekindle_options *options = rekindle_options_new();
    rekindle_options_target(options, (rekindle_text){"\xff\xfe", 2});
    rekindle_options_mode(options, 77);
    must_fail(rekindle_open(REKINDLE_ABI_VERSION, options, &cache), REKINDLE_ERROR_CODE_ARGUMENT, "the target is not UTF-8");
    rekindle_options_free(options);
    must_fail(rekindle_set_log(9, NULL, NULL), REKINDLE_ERROR_CODE_ARGUMENT, "rekindle_log_level");
    rekindle_imported imported;
    must_fail(rekindle_import(NULL, rekindle_text_of("/nowhere"), NULL, 0, &imported, 3), REKINDLE_ERROR_CODE_ARGUMENT, "size");
    must_fail(rekindle_cache_flush(NULL), REKINDLE_ERROR_CODE_ARGUMENT, "null");
    must_fail(rekindle_code_unload(NULL), REKINDLE_ERROR_CODE_ARGUMENT, "null");
    // What is null is nothing, and nothing comes of it.
    rekindle_error_free(NULL);
    rekindle_options_free(NULL);
    rekindle_options_folder(NULL, rekindle_text_of("x"));
    rekindle_cache_free(NULL);
    rekindle_session_free(NULL);
    rekindle_session_begin_epoch(NULL);
    rekindle_evaluation_free(NULL);
    rekindle_evaluation_finish(NULL, REKINDLE_RAN_PURE, NULL);
    rekindle_code_free(NULL);
    rekindle_recorder_ran(NULL, rekindle_text_of("x"));
    rekindle_compilation_fail(NULL, rekindle_text_of("x"));
    rekindle_unit_fail(rekindle_compilation_unit(NULL), rekindle_text_of("x"));
    rekindle_path_set(NULL, rekindle_text_of("x"));
    CHECK(rekindle_error_code_of(NULL) == REKINDLE_ERROR_CODE_NONE && rekindle_error_text(NULL).size == 0);
    CHECK(rekindle_evaluation_factory(NULL) == NULL && rekindle_evaluation_code(NULL) == NULL);
    CHECK(rekindle_code_data(NULL).size == 0 && rekindle_code_symbol(NULL, rekindle_text_of("x")) == NULL);
    CHECK(rekindle_text_of(NULL).size == 0);
}

static void release(void *data) {
    CHECK(data == &seen);
    seen.released++;
}

// What is lent is given back, although there is nothing to call with it.
static bool compile_never_better(void *data, rekindle_recorder *recorder, rekindle_compilation *compilation) {
    (void)data, (void)recorder;
    rekindle_unit_better(rekindle_compilation_unit(compilation), NULL, &seen, release);
    rekindle_compilation_factory(compilation, rekindle_text_of("factory"));
    return true;
}

// The warming's figures: where there is no room for them, nothing is done.
static void warming(rekindle_session *session) {
    rekindle_warming *warming;
    rekindle_warmed warmed;
    must(rekindle_warming_new(session, NULL, &warming));
    must_fail(rekindle_warming_finish(warming, &warmed, 3), REKINDLE_ERROR_CODE_ARGUMENT, "size");
    must_fail(rekindle_warming_catch_up(warming), REKINDLE_ERROR_CODE_STATE, "`run`");
    must(rekindle_warming_finish(warming, &warmed, sizeof warmed));
    CHECK(warmed.done == 0 && warmed.ran == 0);
    rekindle_warming_free(warming);
}

static void failing(rekindle_session *session) {
    struct {
        rekindle_compile compile;
        uint32_t code;
        const char *word;
    } cases[] = {
        {compile_failing, REKINDLE_ERROR_CODE_HOST, "line 3: no such thing"},
        {compile_silent, REKINDLE_ERROR_CODE_HOST, "rekindle_unit_object"},
        {compile_nonsense, REKINDLE_ERROR_CODE_RUN, "cannot be run"},
        {compile_failing_late, REKINDLE_ERROR_CODE_COMPILE, "no code for this form"},
        {compile_never_better, REKINDLE_ERROR_CODE_ARGUMENT, "the better unit"},
        {NULL, REKINDLE_ERROR_CODE_ARGUMENT, "no compile callback"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rekindle_definition failing = definition("user/failing", "a text that nothing is kept of");
        rekindle_evaluation *evaluation = (void *)&seen;
        must_fail(rekindle_eval(session, &failing, &host, cases[i].compile, &failing, &evaluation), cases[i].code,
                  cases[i].word);
        CHECK(evaluation == NULL);
    }
    CHECK(seen.released == 1);
    rekindle_definition other = definition("user/failing", "long other(void) { return 1; }");
    rekindle_evaluation *evaluation;
    must_fail(rekindle_eval(session, &other, &host, compile, &other, &evaluation), REKINDLE_ERROR_CODE_RUN, "factory");
    rekindle_definition nowhere =
        definition("user/failing", "extern long host_nowhere(void); long factory(void) { return host_nowhere(); }");
    must_fail(rekindle_eval(session, &nowhere, &host, compile, &nowhere, &evaluation), REKINDLE_ERROR_CODE_RUN,
              "host_nowhere");
    rekindle_host short_host = host;
    short_host.size = 3;
    must_fail(rekindle_eval(session, &other, &short_host, compile, &other, &evaluation), REKINDLE_ERROR_CODE_ARGUMENT,
              "sizeof(rekindle_host)");
}

int main(int count, char **arguments) {
    CHECK(count == 3);
    warm = strcmp(arguments[1], "warm") == 0;
    folder = arguments[2];
    refused_arguments();

    must(rekindle_set_log(REKINDLE_LOG_LEVEL_DEBUG, take_line, &seen));
    rekindle_options *options = rekindle_options_new();
    char path[512];
    snprintf(path, sizeof path, "%s/cache", folder);
    rekindle_options_folder(options, rekindle_text_of(path));
    rekindle_options_compiler(options, (rekindle_bytes){"cc -O1 -fPIC", 12});
    rekindle_options_target(options, rekindle_text_of("x86_64-unknown-linux-gnu"));
    rekindle_options_cpu_feature(options, rekindle_text_of("sse2"));
    rekindle_options_expected_cost(options, 30000);
    rekindle_options_limits(options, 64 << 20, 10000);
    rekindle_options_explain(options, true);
    rekindle_options_deadline(options, 20000);
    rekindle_options_mode(options, REKINDLE_MODE_ON);
    rekindle_options_on_event(options, listen, &seen, release);
    rekindle_digest input = {{7}};
    rekindle_options_input(options, rekindle_text_of("a switch"), &input);
    rekindle_symbol_word symbols[] = {{rekindle_text_of("host_add"), (uint64_t)(uintptr_t)&host_add}};
    rekindle_options_symbols(options, symbols, 1);
    rekindle_cache *cache;
    must(rekindle_open(REKINDLE_ABI_VERSION, options, &cache));
    rekindle_options_free(options);
    rekindle_session *session;
    must(rekindle_session_new(cache, &session));
    rekindle_digest environment = {{0}}, none = {{0}};
    must(rekindle_cache_environment(cache, &environment));
    CHECK(memcmp(&environment, &none, sizeof none) != 0);

    // Symbols by table, by callback as a word, and by callback as the address of a library's function.
    rekindle_code *code =
        run(session,
            definition("user/answer", "extern long host_add(long, long); extern char word_seven;"
                                      "long factory(void) { return host_add(35, (long)&word_seven); }"),
            compile, cold_or_hit(), 42);
    CHECK(rekindle_code_data(code).size == 0 && rekindle_code_text(code).size > 0);
    CHECK(rekindle_code_payload(code).size >= rekindle_code_text(code).size);
    rekindle_code_free(code);
    rekindle_code_free(run(session,
                           definition("user/length", "extern int host_length(void);"
                                                     "long factory(void) { return host_length() == 4096; }"),
                           compile, cold_or_hit(), getpagesize() == 4096));

    // Dependencies of every sort, an effect and a side table.
    rekindle_definition dependent = definition("user/dependent", "long factory(void) { return 5; }");
    rekindle_code_free(run(session, dependent, compile_dependent, cold_or_hit(), 5));
    CHECK(seen.tables == 1 && seen.replayed == (warm ? 1 : 0));
    rekindle_code_free(run(session, dependent, compile_dependent, REKINDLE_OUTCOME_HIT, 5));
    must(rekindle_session_changed(session, rekindle_text_of("user/answer")));
    rekindle_code_free(run(session, dependent, compile_dependent, REKINDLE_OUTCOME_BYPASS, 5));
    CHECK(strstr(seen.last, "user/answer") != NULL);
    rekindle_session_begin_epoch(session);

    // Writable data: told before the code runs; and an object's own tables and constants.
    int constructed = seen.placed != 0;
    CHECK(!constructed);
    code = run(session,
               definition("user/data",
                          "static long data[4] = {1, 2, 3, 4};"
                          "long slots[2] __attribute__((aligned(8), section(\".rekindle.constants,\\\"aw\\\"#\"))) = {30, 40};"
                          "const char table[] __attribute__((section(\".rekindle.side.map,\\\"a\\\"#\"))) = {1, 2, 3};"
                          "long factory(void) { data[0]++; return data[0] + slots[0]; }"),
               compile, cold_or_hit(), 32);
    rekindle_range data = rekindle_code_data(code);
    CHECK(seen.placed == data.size && seen.placed_at == data.data && data.size >= 48);
    rekindle_range constants = rekindle_code_constants(code);
    CHECK(constants.size == 16 && ((long *)constants.data)[1] == 40);
    CHECK((char *)constants.data >= (char *)data.data);
    rekindle_text name;
    rekindle_bytes table;
    CHECK(rekindle_code_side_table_count(code) == 1 && rekindle_code_side_table(code, 0, &name, &table));
    CHECK(is(name, "map") && table.size == 3 && ((const char *)table.data)[2] == 3);
    CHECK(!rekindle_code_side_table(code, 1, &name, &table));
    CHECK(rekindle_code_thread_data(code).size == 0);

    // Taken out again.
    rekindle_memory before, after;
    must(rekindle_memory_statistics(&before, sizeof before));
    must(rekindle_code_unload(code));
    must(rekindle_memory_statistics(&after, sizeof after));
    CHECK(after.unloaded == before.unloaded + 1 && after.loaded == before.loaded);

    // Found by its form under another text; and what must not be kept.
    rekindle_code_free(run(session, definition("user/form", "long factory(void) { return 9; }"), compile_analysed,
                           cold_or_hit(), 9));
    rekindle_code_free(run(session, definition("user/form", "long factory(void)   { return 9; }"), compile_analysed,
                           warm ? REKINDLE_OUTCOME_HIT : REKINDLE_OUTCOME_SECOND_HIT, 9));
    CHECK(seen.generated == (warm ? 0 : 1));
    rekindle_code_free(run(session, definition("user/asked", "long factory(void) { return 3; }"), compile_bypass,
                           REKINDLE_OUTCOME_BYPASS, 3));
    CHECK(strstr(seen.last, "it asked the user") != NULL);
    rekindle_code_free(run(session, definition("user/odd", "long factory(void) { return 4; }"), compile_invalid_name,
                           REKINDLE_OUTCOME_BYPASS, 4));

    // Defined anew: the old code goes on, and what differs is explained.
    rekindle_definition first = definition("user/again", "long factory(void) { return 1; }");
    rekindle_evaluation *evaluation;
    must(rekindle_eval(session, &first, NULL, compile, &first, &evaluation));
    factory old = (factory)(uintptr_t)rekindle_evaluation_factory(evaluation);
    rekindle_evaluation_finish(evaluation, REKINDLE_RAN_IMPURE, NULL);
    rekindle_code_free(run(session, definition("user/again", "long factory(void) { return 2; }"), compile, cold_or_hit(), 2));
    CHECK(old() == 1);
    CHECK(warm || strstr(seen.last, "its text has changed") != NULL);
    must(rekindle_eval(session, &first, NULL, compile, &first, &evaluation));
    CHECK(rekindle_evaluation_outcome(evaluation) == REKINDLE_OUTCOME_HIT);
    rekindle_evaluation_free(evaluation);

    failing(session);
    warming(session);

    rekindle_statistics statistics;
    must(rekindle_session_statistics(session, &statistics, sizeof statistics));
    CHECK(statistics.definitions == statistics.hits + statistics.misses + statistics.bypasses + statistics.rejected);
    CHECK(statistics.definitions == (uint64_t)seen.listened);
    CHECK(statistics.second_hits == (warm ? 0 : 1) && statistics.eval_ns > 0 && statistics.loaded_bytes > 0);
    uint64_t first_two[2];
    must(rekindle_session_statistics(session, (rekindle_statistics *)(void *)first_two, sizeof first_two));
    CHECK(first_two[0] == statistics.definitions && first_two[1] == statistics.hits);
    CHECK(seen.logged > 0);

    must(rekindle_cache_flush(cache));
    rekindle_cache_free(cache);
    // The session keeps it open.
    rekindle_code_free(run(session, dependent, compile_dependent, REKINDLE_OUTCOME_BYPASS, 5));
    CHECK(seen.released == 1);
    rekindle_session_free(session);
    // By the close, which waited for all that had it.
    CHECK(seen.released == 2);
    printf("%d compiled\n", seen.compiled);
    return 0;
}
