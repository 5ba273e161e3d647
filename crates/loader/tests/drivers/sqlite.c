/* Fills a table by prepared statements, then answers the queries that come on stdin as the sqlite3
 * shell prints them. Arguments: the database, the number of rows. */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static sqlite3 *database;

static int check(int code, const char *what) {
    if (code != SQLITE_OK && code != SQLITE_DONE && code != SQLITE_ROW) {
        fprintf(stderr, "%s: %s\n", what, sqlite3_errmsg(database));
        exit(3);
    }
    return code;
}

static void run(const char *sql) { check(sqlite3_exec(database, sql, NULL, NULL, NULL), sql); }

/* A function of our own, which the library calls back. */
static void digits(sqlite3_context *context, int count, sqlite3_value **values) {
    long long n = sqlite3_value_int64(values[0]), sum = 0;
    for (; n; n /= 10) sum += n % 10;
    sqlite3_result_int64(context, sum + count - 1);
}

static void fill(long rows) {
    sqlite3_stmt *insert;
    run("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, weight REAL, tag INTEGER, body BLOB)");
    run("BEGIN");
    check(sqlite3_prepare_v2(database, "INSERT INTO item VALUES (?, ?, ?, ?, ?)", -1, &insert, NULL), "prepare");
    for (long i = 1; i <= rows; i++) {
        char name[40];
        unsigned char body[16];
        snprintf(name, sizeof name, "item %ld", i * 7919 % 100003);
        for (int k = 0; k < 16; k++) body[k] = (unsigned char)('A' + i * (k + 3) % 26);
        sqlite3_bind_int64(insert, 1, i);
        sqlite3_bind_text(insert, 2, name, -1, SQLITE_TRANSIENT);
        sqlite3_bind_double(insert, 3, (double)(i % 1000) / 8.0);
        if (i % 10) sqlite3_bind_int64(insert, 4, i % 97); else sqlite3_bind_null(insert, 4);
        sqlite3_bind_blob(insert, 5, body, 16, SQLITE_TRANSIENT);
        check(sqlite3_step(insert), "insert");
        sqlite3_reset(insert);
    }
    sqlite3_finalize(insert);
    run("COMMIT");
    run("CREATE INDEX item_name ON item (name)");
    run("CREATE INDEX item_tag ON item (tag, weight DESC)");
}

static int print(void *unused, int count, char **values, char **names) {
    (void)unused; (void)names;
    for (int i = 0; i < count; i++) printf("%s%s", i ? "|" : "", values[i] ? values[i] : "");
    printf("\n");
    return 0;
}

int main(int argc, char **argv) {
    static char queries[1 << 16];
    char *error = NULL;
    if (argc != 3) return 2;
    queries[fread(queries, 1, sizeof queries - 1, stdin)] = 0;
    check(sqlite3_open(argv[1], &database), "open");
    fill(atol(argv[2]));
    if (sqlite3_exec(database, queries, print, NULL, &error)) {
        fprintf(stderr, "%s\n", error);
        return 4;
    }
    check(sqlite3_create_function(database, "digits", 1, SQLITE_UTF8, NULL, digits, NULL, NULL), "function");
    fprintf(stderr, "digits: ");
    sqlite3_stmt *query;
    check(sqlite3_prepare_v2(database, "SELECT sum(digits(id)) FROM item", -1, &query, NULL), "prepare");
    check(sqlite3_step(query), "step");
    fprintf(stderr, "%lld\n", (long long)sqlite3_column_int64(query, 0));
    sqlite3_finalize(query);
    return check(sqlite3_close(database), "close");
}
