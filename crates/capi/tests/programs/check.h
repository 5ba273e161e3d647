// Checks for test programs in C and C++: a program that sees what it does not expect says where, and ends.

#ifndef CHECK_H
#define CHECK_H

#include <rekindle.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                              \
    do {                                                                              \
        if (!(condition)) {                                                           \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            exit(1);                                                                  \
        }                                                                             \
    } while (0)

// Ends the program if there is an error, and says what.
static inline void must(rekindle_error *error) {
    if (error != NULL) {
        rekindle_text text = rekindle_error_text(error);
        fprintf(stderr, "error %u: %.*s\n", (unsigned)rekindle_error_code_of(error), (int)text.size, text.data);
        exit(1);
    }
}

// Takes an error that has to be there, of a kind and with a word in its text.
static inline void must_fail(rekindle_error *error, uint32_t code, const char *word) {
    CHECK(error != NULL);
    rekindle_text text = rekindle_error_text(error);
    if (rekindle_error_code_of(error) != code || strstr(text.data, word) == NULL) {
        fprintf(stderr, "error %u, not %u with %s: %.*s\n", (unsigned)rekindle_error_code_of(error),
                (unsigned)code, word, (int)text.size, text.data);
        exit(1);
    }
    rekindle_error_free(error);
}

static inline bool is(rekindle_text text, const char *expected) {
    return text.size == strlen(expected) && memcmp(text.data, expected, text.size) == 0;
}

static inline rekindle_definition definition(const char *name, const char *text) {
    rekindle_definition definition = {rekindle_text_of(name), rekindle_text_of(text), rekindle_text_of("user")};
    return definition;
}

// Compiles `text` with the compiler that the variable `variable` names, into memory of malloc's.
static inline rekindle_bytes compiled_by(const char *variable, const char *suffix, rekindle_text text) {
    char source[] = "/tmp/rekindle-unit-XXXXXX";
    int file = mkstemp(source);
    CHECK(file >= 0);
    FILE *out = fdopen(file, "w");
    CHECK(out != NULL && fwrite(text.data, 1, text.size, out) == text.size && fclose(out) == 0);
    char command[512];
    const char *compiler = getenv(variable);
    CHECK(compiler != NULL);
    snprintf(command, sizeof command, "%s -x %s -c -O1 -fPIC -o %s.o %s", compiler, suffix, source, source);
    CHECK(system(command) == 0);
    char object[64];
    snprintf(object, sizeof object, "%s.o", source);
    FILE *in = fopen(object, "rb");
    CHECK(in != NULL && fseek(in, 0, SEEK_END) == 0);
    long size = ftell(in);
    CHECK(size > 0);
    rewind(in);
    void *bytes = malloc((size_t)size);
    CHECK(bytes != NULL && fread(bytes, 1, (size_t)size, in) == (size_t)size);
    fclose(in);
    remove(source);
    remove(object);
    rekindle_bytes result = {bytes, (size_t)size};
    return result;
}

// Makes the unit the object of `text`.
static inline void give_object(rekindle_unit *unit, rekindle_text text) {
    rekindle_bytes object = compiled_by("CC", "c", text);
    rekindle_unit_object(unit, object, NULL);
    free((void *)object.data);
}

#ifdef __cplusplus
#include <rekindle.hpp>

// Makes the unit the object of a text in C.
inline void give_object_of(rekindle::unit &unit, std::string_view text) {
    rekindle_bytes object = compiled_by("CC", "c", rekindle::detail::text(text));
    unit.object({static_cast<const std::byte *>(object.data), object.size});
    free(const_cast<void *>(object.data));
}
#endif

#endif
