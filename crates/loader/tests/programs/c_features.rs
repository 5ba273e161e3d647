//! Features of C programs, which C++ compilers take as well.

use crate::generate::{Feature, fill};
use crate::random::Random;
use std::fmt::Write;

/// All of them.
pub(crate) const C_FEATURES: &[Feature] = &[
    Feature {
        name: "expressions",
        headers: &[],
        write: expressions,
    },
    Feature {
        name: "structs",
        headers: &[],
        write: structs,
    },
    Feature {
        name: "bit-fields",
        headers: &[],
        write: bit_fields,
    },
    Feature {
        name: "tables of functions",
        headers: &[],
        write: function_tables,
    },
    Feature {
        name: "switch tables",
        headers: &[],
        write: switches,
    },
    Feature {
        name: "static data",
        headers: &["string.h"],
        write: data,
    },
    Feature {
        name: "varargs",
        headers: &["stdarg.h", "string.h"],
        write: |r| fill(r, VARARGS),
    },
    Feature {
        name: "recursion",
        headers: &[],
        write: |r| fill(r, RECURSION),
    },
    Feature {
        name: "strings",
        headers: &["string.h", "ctype.h"],
        write: |r| fill(r, STRINGS),
    },
    Feature {
        name: "floats",
        headers: &["math.h"],
        write: |r| fill(r, FLOATS),
    },
    Feature {
        name: "weak functions",
        headers: &[],
        write: |r| fill(r, WEAK),
    },
    Feature {
        name: "setjmp",
        headers: &["setjmp.h"],
        write: |r| fill(r, SETJMP),
    },
    Feature {
        name: "constructors",
        headers: &[],
        write: |r| fill(r, CONSTRUCTORS),
    },
    Feature {
        name: "thread-locals",
        headers: &["pthread.h"],
        write: |r| fill(r, THREAD_LOCALS),
    },
    Feature {
        name: "heap and lists",
        headers: &["string.h"],
        write: |r| fill(r, LISTS),
    },
    Feature {
        name: "a graph of calls",
        headers: &[],
        write: call_graph,
    },
    Feature {
        name: "computed goto",
        headers: &[],
        write: |r| fill(r, COMPUTED_GOTO),
    },
    Feature {
        name: "128 bits",
        headers: &[],
        write: |r| fill(r, WIDE),
    },
    Feature {
        name: "atexit",
        headers: &[],
        write: |r| fill(r, ATEXIT),
    },
    Feature {
        name: "files",
        headers: &["string.h"],
        write: |r| fill(r, FILES),
    },
    Feature {
        name: "signals",
        headers: &["signal.h"],
        write: |r| fill(r, SIGNALS),
    },
    Feature {
        name: "threads and atomics",
        headers: &["pthread.h"],
        write: |r| fill(r, ATOMICS),
    },
    Feature {
        name: "variable arrays",
        headers: &["string.h", "alloca.h"],
        write: |r| fill(r, STACK),
    },
];

/// An expression of unsigned operands that is defined for all their values.
fn expression(random: &mut Random, depth: u32) -> String {
    if depth == 0 {
        let number = random.within(0, u32::MAX.into());
        return match random.within(0, 2) {
            0 => "a".to_owned(),
            1 => "b".to_owned(),
            _ => format!("{number}u"),
        };
    }
    let left = expression(random, depth - 1);
    let right = expression(random, depth - 1);
    match random.within(0, 9) {
        0 => format!("({left} + {right})"),
        1 => format!("({left} - {right})"),
        2 => format!("({left} * {right})"),
        3 => format!("({left} / (({right}) | 1u))"),
        4 => format!("({left} % (({right}) | 1u))"),
        5 => format!("({left} ^ {right})"),
        6 => format!("({left} << (({right}) & 31u))"),
        7 => format!("({left} >> (({right}) & 31u))"),
        8 => format!("({left} < {right} ? {left} : ~{right})"),
        _ => format!("(({left} & {right}) | a)"),
    }
}

fn expressions(random: &mut Random) -> String {
    let count = random.within(2, 6);
    let mut code = String::new();
    let mut calls = String::new();
    for index in 0..count {
        let depth = random.within(2, 5) as u32;
        let body = expression(random, depth);
        let linkage = random.pick(&["static ", "", "static __attribute__((noinline)) "]);
        let _ = writeln!(
            code,
            "{linkage}unsigned compute_@_{index}(unsigned a, unsigned b) {{ return {body}; }}"
        );
        let _ = writeln!(
            calls,
            "        sum = sum * 31u + compute_@_{index}(i * 7u, sum);"
        );
    }
    let rounds = random.within(5, 50);
    format!(
        "{code}void feature_@(void) {{
    unsigned sum = 1u;
    for (unsigned i = 0; i < {rounds}u; i++) {{\n{calls}    }}
    printf(\"%u\\n\", sum);
}}"
    )
}

fn structs(random: &mut Random) -> String {
    let types = [
        "char",
        "short",
        "int",
        "long",
        "float",
        "double",
        "unsigned char",
        "long long",
        "unsigned",
    ];
    let count = random.within(1, 9);
    let mut fields = String::new();
    let mut fill_in = String::new();
    let mut total = String::new();
    for index in 0..count {
        let length = random.within(1, 5);
        let _ = writeln!(fields, "    {} f{index}[{length}];", random.pick(&types));
        let _ = writeln!(
            fill_in,
            "    for (int i = 0; i < {length}; i++) s.f{index}[i] = (seed + i * {}) % 100;",
            random.within(1, 20)
        );
        let _ = writeln!(
            total,
            "    for (int i = 0; i < {length}; i++) sum += (double)s.f{index}[i] * {};",
            random.within(1, 9)
        );
    }
    let elements = random.within(2, 20);
    format!(
        "struct record_@ {{\n{fields}}};
static struct record_@ make_@(int seed) {{
    struct record_@ s;
{fill_in}    return s;
}}
__attribute__((noinline)) double total_@(struct record_@ s) {{
    double sum = 0;
{total}    return sum;
}}
static struct record_@ array_@[{elements}];
void feature_@(void) {{
    double sum = 0;
    for (int i = 0; i < {elements}; i++) array_@[i] = make_@(i * 13);
    struct record_@ *end = array_@ + {elements};
    for (struct record_@ *at = array_@; at != end; at++) sum = sum / 2 + total_@(*at);
    printf(\"%zu %.6f\\n\", sizeof(struct record_@), sum);
}}"
    )
}

fn bit_fields(random: &mut Random) -> String {
    let count = random.within(2, 8);
    let mut fields = String::new();
    let mut print = String::new();
    for index in 0..count {
        let sign = random.pick(&["unsigned", "signed"]);
        let bits = random.within(2, 29);
        let _ = writeln!(fields, "    {sign} b{index} : {bits};");
        let value = random.within(0, (1 << (bits - 1)) - 1);
        let _ = writeln!(
            print,
            "    bits.b{index} = {value}; bits.b{index} ^= (n & 1); printf(\"%d \", (int)bits.b{index});"
        );
    }
    format!(
        "struct bits_@ {{\n{fields}}};
static struct bits_@ global_bits_@;
__attribute__((noinline)) static void set_@(struct bits_@ *to, int n) {{
    struct bits_@ bits = *to;
{print}    *to = bits;
}}
void feature_@(void) {{
    for (int i = 0; i < 3; i++) set_@(&global_bits_@, i);
    printf(\"%d %d\\n\", (int)global_bits_@.b0, (int)sizeof global_bits_@);
}}"
    )
}

fn function_tables(random: &mut Random) -> String {
    let count = random.within(2, 12);
    let mut code = "typedef long (*step_@)(long);\n".to_owned();
    let mut names = Vec::new();
    for index in 0..count {
        let linkage = random.pick(&[
            "static ",
            "",
            "__attribute__((visibility(\"hidden\"))) ",
            "static __attribute__((noinline)) ",
        ]);
        let body = random.pick(&["n * 3 + 1", "n - 7", "n ^ 85", "n % 1000 + 5", "-n"]);
        let _ = writeln!(
            code,
            "{linkage}long step_@_{index}(long n) {{ return {body}; }}"
        );
        names.push(format!("step_@_{index}"));
    }
    let names = names.join(", ");
    let rounds = random.within(5, 60);
    format!(
        "{code}static const step_@ constant_@[] = {{ {names} }};
static step_@ variable_@[] = {{ {names} }};
step_@ *visible_@ = variable_@ + 1;
void feature_@(void) {{
    long n = {rounds};
    for (int i = 0; i < {rounds}; i++) {{
        step_@ step = constant_@[i % {count}];
        variable_@[(i + 1) % {count}] = step;
        n = variable_@[i % {count}](step(n)) + visible_@[-1](n % 10);
        n %= 1000003;
    }}
    printf(\"%ld %d\\n\", n, variable_@[0] == constant_@[0]);
}}"
    )
}

fn switches(random: &mut Random) -> String {
    let mut dense = String::new();
    for case in 0..random.within(4, 30) {
        let what = match random.within(0, 3) {
            0 => format!("return \"word {}\";", random.within(0, 99)),
            1 => format!("calls_@ += {}; break;", random.within(1, 9)),
            2 => "return \"same\";".to_owned(),
            _ => "calls_@++; /* on to the next */".to_owned(),
        };
        let _ = writeln!(dense, "    case {case}: {what}");
    }
    let mut sparse = String::new();
    let mut value = random.within(0, 50);
    for _ in 0..random.within(2, 12) {
        let _ = writeln!(
            sparse,
            "    case {value}: return {};",
            random.within(0, 1000)
        );
        value += random.within(1, 5000);
    }
    let far = random.within(40, 9000);
    format!(
        "static int calls_@;
__attribute__((noinline)) static const char *dense_@(int n) {{
    switch (n) {{\n{dense}    default: return \"other\";
    }}
    return \"behind\";
}}
__attribute__((noinline)) int sparse_@(int n) {{
    switch (n) {{\n{sparse}    default: return n / 2;
    }}
}}
void feature_@(void) {{
    long sum = 0;
    for (int i = -3; i < 35; i++) printf(\"%s,\", dense_@(i));
    for (int i = 0; i < {far}; i++) sum = (sum * 3 + sparse_@(i)) % 99991;
    printf(\"%d %ld\\n\", calls_@, sum);
}}"
    )
}

fn data(random: &mut Random) -> String {
    let size = random.within(10, 5000);
    let alignment = 1 << random.within(3, 8);
    let mut numbers = String::new();
    for _ in 0..random.within(3, 40) {
        let _ = write!(numbers, "{}, ", random.next() as i16);
    }
    let offset = random.within(0, 2);
    let zero = random.within(0, size - 1);
    format!(
        "static int numbers_@[] = {{ {numbers} }};
int visible_numbers_@[3] = {{ 7, 8, 9 }};
static char zeros_@[{size}];
long aligned_@[4] __attribute__((aligned({alignment})));
static const char text_@[] = \"constant text\";
static const char *const words_@[] = {{ \"alpha\", text_@ + 9, \"gamma\", &text_@[{offset}] }};
int *pointers_@[] = {{ &numbers_@[{offset}], &visible_numbers_@[{offset}], numbers_@ + 1 }};
struct node_@ {{ const char *name; struct node_@ *next; int *number; }};
extern struct node_@ first_@;
static struct node_@ second_@ = {{ \"second\", &first_@, &numbers_@[2] }};
struct node_@ first_@ = {{ \"first\", &second_@, visible_numbers_@ + 2 }};
void feature_@(void) {{
    int nonzero = 0, count = sizeof numbers_@ / sizeof *numbers_@;
    unsigned sum = 0;
    for (unsigned i = 0; i < sizeof zeros_@; i++) nonzero += zeros_@[i]++ != 0;
    for (int i = 0; i < count; i++) sum = sum * 5u + (unsigned)numbers_@[i];
    *pointers_@[0] += 3; *pointers_@[1] -= 4;
    zeros_@[{zero}] = 'z';
    printf(\"%d %u %d %d %c\\n\", nonzero, sum, *pointers_@[0], *pointers_@[1], zeros_@[{zero}]);
    printf(\"%s %s %s %zu\\n\", words_@[0], words_@[1], words_@[3], strlen(words_@[1]));
    printf(\"%d\\n\", (int)((unsigned long)aligned_@ % {alignment}));
    struct node_@ *at = &first_@;
    for (int i = 0; i < 5; i++, at = at->next) printf(\"%s %d \", at->name, (*at->number)++);
    printf(\"\\n\");
}}"
    )
}

fn call_graph(random: &mut Random) -> String {
    let count = random.within(5, 40);
    let mut declarations = String::new();
    let mut code = String::new();
    for index in 0..count {
        let linkage = random.pick(&[
            "static ",
            "",
            "__attribute__((noinline)) ",
            "__attribute__((visibility(\"hidden\"))) ",
            "__attribute__((weak)) ",
            "__attribute__((cold)) ",
            "__attribute__((section(\".text.own\"))) ",
        ]);
        let _ = writeln!(declarations, "{linkage}int node_@_{index}(int n);");
        let mut body = format!("n = (n * {} + {index}) % 10007;", random.within(1, 50));
        // Calls go to higher numbers alone, so that they end.
        for _ in 0..random.within(0, 3) {
            if index + 1 < count {
                let callee = random.within(index + 1, count - 1);
                let odd = random.within(2, 5);
                let _ = write!(body, " if (n % {odd}) n += node_@_{callee}(n / 2) % 97;");
            }
        }
        let _ = writeln!(code, "int node_@_{index}(int n) {{ {body} return n; }}");
    }
    format!(
        "{declarations}{code}void feature_@(void) {{
    for (int i = 0; i < 5; i++) printf(\"%d \", node_@_0(i * {}));
    printf(\"\\n\");
}}",
        random.within(1, 1000)
    )
}

const VARARGS: &str = r#"
static int sum_@(int count, ...) {
    va_list list; va_start(list, count);
    int sum = 0;
    for (int i = 0; i < count; i++)
        sum += i % 3 == 2 ? (int)va_arg(list, double) : va_arg(list, int);
    va_end(list);
    return sum;
}
__attribute__((format(printf, 2, 3))) static int say_@(char *to, const char *how, ...) {
    va_list list; va_start(list, how);
    int length = vsnprintf(to, 100, how, list);
    va_end(list);
    return length;
}
void feature_@(void) {
    char buffer[100];
    printf("%d\n", sum_@(9, $s, $m, $m.5, $s, 1, 2.25, $l, -$l, -$s.75));
    int length = say_@(buffer, "%5d|%-8s|%08.3f|%c|%x|%lld", $m, "left", $m.125, 'q', (unsigned)$x, $xLL);
    printf("%d %s %zu\n", length, buffer, strlen(buffer));
}"#;

const RECURSION: &str = r#"
static unsigned ackermann_@(unsigned m, unsigned n) {
    return m == 0 ? n + 1 : n == 0 ? ackermann_@(m - 1, 1) : ackermann_@(m - 1, ackermann_@(m, n - 1));
}
static int is_odd_@(unsigned n);
static int is_even_@(unsigned n) { return n == 0 ? 1 : is_odd_@(n - 1); }
static int is_odd_@(unsigned n) { return n == 0 ? 0 : is_even_@(n - 1); }
long moves_@;
void hanoi_@(int n, int from, int to, int by) {
    if (n == 0) return;
    hanoi_@(n - 1, from, by, to); moves_@ = moves_@ * 3 % 1000003 + from * to; hanoi_@(n - 1, by, to, from);
}
void feature_@(void) {
    hanoi_@(8 + $s % 4, 1, 2, 3);
    printf("%u %d %d %ld\n", ackermann_@(2, $s), is_even_@($m), is_odd_@($l % 1000), moves_@);
}"#;

const STRINGS: &str = r#"
static int compare_@(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}
static void reverse_@(char *s) {
    for (size_t i = 0, n = strlen(s); i < n / 2; i++) { char c = s[i]; s[i] = s[n - 1 - i]; s[n - 1 - i] = c; }
}
void feature_@(void) {
    char line[] = "pear $m,apple $s,fig $l,quince,date $m,apple";
    const char *words[10]; int count = 0;
    for (char *word = strtok(line, ","); word; word = strtok(NULL, ",")) words[count++] = word;
    qsort(words, count, sizeof *words, compare_@);
    for (int i = 0; i < count; i++) {
        char copy[40];
        strcpy(copy, words[i]); reverse_@(copy);
        for (char *at = copy; *at; at++) *at = toupper((unsigned char)*at);
        printf("%s<%s>%ld ", copy, words[i], strtol(words[i] + strcspn(words[i], "0123456789"), NULL, 10));
    }
    char big[300];
    memset(big, 'a' + $s, sizeof big); big[$m] = 0; big[$s] = '.';
    printf("\n%zu %s %d\n", strlen(big), strchr(big, '.'), memcmp(big, big + 1, 3) > 0);
}"#;

const FLOATS: &str = r#"
static double root_@(double n) {
    double x = n;
    for (int i = 0; i < 40; i++) x = (x + n / x) / 2;
    return x;
}
static float series_@(int n) { float sum = 0.0f; for (int i = 1; i <= n; i++) sum += 1.0f / i; return sum; }
__attribute__((noinline)) long double wide_@(long double x) { return x * $s.5L + 0.1L; }
static const double table_@[] = { $m.25, -$s.5, 1e$s, 1e-$s };
void feature_@(void) {
    double sum = 0;
    for (int i = 0; i < 4; i++) sum = sum * 0.5 + table_@[i];
    printf("%.12f %.6f %.9Lf %.9f\n", root_@($m.0), (double)series_@($m), wide_@($l), sum);
    printf("%.9f %.9f %.9f %d\n", sin($s), pow(1.5, $s), fmod($l, $m.5), (int)floor(-$s.5));
    printf("%d %d %lld %u\n", (int)-$m.9, isnan(sqrt(-$s.0)) != 0, (long long)1e15, (unsigned)$l.99f);
}"#;

const WEAK: &str = r#"
#ifdef __cplusplus
extern "C" {
#endif
__attribute__((weak)) int chosen_@(int n) { return n + $m; }
extern int nobody_has_this_@(int n) __attribute__((weak));
extern int nor_this_@ __attribute__((weak));
__attribute__((weak)) int weak_number_@ = $l;
int strong_@(int n) { return n * $s; }
int alias_@(int n) __attribute__((alias("strong_@")));
int weak_alias_@(int n) __attribute__((weak, alias("strong_@")));
#ifdef __cplusplus
}
#endif
void feature_@(void) {
    printf("%d %d %d\n", chosen_@($s), nobody_has_this_@ ? nobody_has_this_@(1) : -1, &nor_this_@ ? nor_this_@ : -2);
    printf("%d %d %d\n", weak_number_@++, alias_@($m), weak_alias_@($m));
}"#;

const SETJMP: &str = r#"
static jmp_buf back_@;
static int depth_@;
__attribute__((noinline)) static void dive_@(int n) {
    depth_@++;
    if (n == 0) longjmp(back_@, $m);
    dive_@(n - 1);
    depth_@ = -1;
}
void feature_@(void) {
    volatile int rounds = 0;
    int code = setjmp(back_@);
    rounds++;
    if (rounds < 4) dive_@($s + rounds);
    printf("%d %d %d\n", code, rounds, depth_@);
}"#;

const CONSTRUCTORS: &str = r#"
static int order_@[8], count_@;
__attribute__((constructor)) static void plain_@(void) { order_@[count_@++] = 1; }
__attribute__((constructor(2$m))) static void late_@(void) { order_@[count_@++] = 2; }
__attribute__((constructor(1$m))) static void early_@(void) { order_@[count_@++] = 3; }
__attribute__((constructor)) static void other_@(void) { order_@[count_@++] = 4; }
__attribute__((destructor)) static void end_@(void) { printf("end %d\n", count_@); }
__attribute__((destructor(1$m))) static void last_@(void) { printf("very end %d\n", order_@[0]); }
void feature_@(void) {
    for (int i = 0; i < count_@; i++) printf("%d ", order_@[i]);
    count_@ += $m;
    printf("\n");
}"#;

const THREAD_LOCALS: &str = r#"
static __thread int counter_@ = $m;
__thread long visible_@[3] = { $s, $m, $l };
static __thread char zeros_@[$m];
__attribute__((noinline)) static int bump_@(int by) { counter_@ += by; zeros_@[by % 10]++; return counter_@; }
static void *work_@(void *at) {
    long n = *(int *)at;
    for (int i = 0; i < 10; i++) n = n * 3 + bump_@(i) + visible_@[i % 3]++;
    return (void *)(n % 100003);
}
void feature_@(void) {
    pthread_t threads[4]; int given[4];
    bump_@(1000);
    for (int i = 0; i < 4; i++) { given[i] = i * $s; pthread_create(&threads[i], NULL, work_@, &given[i]); }
    for (int i = 0; i < 4; i++) { void *result; pthread_join(threads[i], &result); printf("%ld ", (long)result); }
    printf("%d %ld %d\n", counter_@, visible_@[2], zeros_@[0]);
}"#;

const LISTS: &str = r#"
struct item_@ { struct item_@ *next; int key; char name[]; };
static struct item_@ *buckets_@[7];
static struct item_@ *find_@(const char *name) {
    unsigned hash = $x;
    for (const char *at = name; *at; at++) hash = hash * 33u + (unsigned char)*at;
    struct item_@ **bucket = &buckets_@[hash % 7];
    for (struct item_@ *item = *bucket; item; item = item->next) if (!strcmp(item->name, name)) return item;
    struct item_@ *item = (struct item_@ *)calloc(1, sizeof *item + strlen(name) + 1);
    strcpy(item->name, name); item->next = *bucket; *bucket = item;
    return item;
}
void feature_@(void) {
    char name[20]; long sum = 0;
    for (int i = 0; i < $m * 10; i++) { snprintf(name, sizeof name, "n%d", i * $s % 57); find_@(name)->key += i; }
    for (int b = 0; b < 7; b++)
        for (struct item_@ *item = buckets_@[b], *next; item; item = next) {
            next = item->next; sum = sum * 7 % 1000003 + item->key + item->name[1]; free(item);
        }
    printf("%ld\n", sum);
}"#;

const COMPUTED_GOTO: &str = r#"
__attribute__((noinline)) static long interpret_@(const char *program) {
    static const void *const labels[] = { &&add, &&twice, &&drop, &&stop };
    long n = $s;
next: goto *labels[*program++ & 3];
add: n += $m; goto next;
twice: n *= 2; goto next;
drop: n /= 3; goto next;
stop: return n;
}
void feature_@(void) { printf("%ld %ld\n", interpret_@("\0\1\2\0\1\1\3"), interpret_@("\1\1\1\3")); }"#;

const WIDE: &str = r#"
__attribute__((noinline)) static unsigned __int128 power_@(unsigned long n, int e) {
    unsigned __int128 p = 1; while (e--) p *= n; return p;
}
void feature_@(void) {
    unsigned __int128 big = power_@($xul, 4);
    __int128 negative = -(__int128)power_@($lul, 5);
    unsigned long d = $lul;
    printf("%lx %lu %ld %lu\n", (unsigned long)(big >> 64), (unsigned long)(big / d),
           (long)(negative / (long)d), (unsigned long)(big % d));
    printf("%.3e %d\n", (double)big, __builtin_popcountll((unsigned long)big));
}"#;

const ATEXIT: &str = r#"
static int left_@ = $m;
static void first_@(void) { printf("at exit, first %d\n", left_@); }
static void second_@(void) { left_@ += $s; printf("at exit, second\n"); }
void feature_@(void) { atexit(first_@); atexit(second_@); left_@++; }"#;

const FILES: &str = r#"
void feature_@(void) {
    FILE *file = tmpfile();
    for (int i = 0; i < $m; i++) fprintf(file, "%d %x\n", i * $s, (unsigned)i * $xu);
    rewind(file);
    int a; unsigned b, sum = 0, lines = 0;
    while (fscanf(file, "%d %x", &a, &b) == 2) { sum = sum * 3u + b + (unsigned)a; lines++; }
    printf("%u %u %d\n", lines, sum, feof(file) != 0);
    fclose(file);
    char path[] = "/nobody/has/this";
    printf("%d\n", fopen(path, "r") == NULL);
}"#;

const SIGNALS: &str = r#"
static volatile sig_atomic_t seen_@;
static void handle_@(int number) { seen_@ += number == SIGUSR1 ? $m : 1; }
void feature_@(void) {
    struct sigaction action;
    __builtin_memset(&action, 0, sizeof action);
    action.sa_handler = handle_@;
    sigaction(SIGUSR1, &action, NULL); sigaction(SIGUSR2, &action, NULL);
    for (int i = 0; i < $s; i++) raise(i % 2 ? SIGUSR1 : SIGUSR2);
    printf("%d\n", (int)seen_@);
}"#;

const ATOMICS: &str = r#"
static long total_@; static int turns_@;
static pthread_mutex_t lock_@ = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once_@ = PTHREAD_ONCE_INIT;
static void begin_@(void) { turns_@ += 1000; }
static void *work_@(void *unused) {
    pthread_once(&once_@, begin_@);
    for (int i = 0; i < $m * 10; i++) __atomic_fetch_add(&total_@, i, __ATOMIC_SEQ_CST);
    pthread_mutex_lock(&lock_@); turns_@++; pthread_mutex_unlock(&lock_@);
    return unused;
}
void feature_@(void) {
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, work_@, NULL);
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    printf("%ld %d\n", total_@, turns_@);
}"#;

const STACK: &str = r#"
__attribute__((noinline)) static int use_@(int n) {
    int array[n];
    char *more = (char *)alloca(n * 3);
    memset(more, n, n * 3);
    for (int i = 0; i < n; i++) array[i] = more[i] * i;
    int sum = 0;
    for (int i = 0; i < n; i++) sum += array[n - 1 - i] - i;
    return sum;
}
struct large_@ { int numbers[$l % 500 + 1]; };
__attribute__((noinline)) static struct large_@ copy_@(struct large_@ from) { from.numbers[0] += $s; return from; }
void feature_@(void) {
    struct large_@ large;
    for (unsigned i = 0; i < sizeof large / sizeof(int); i++) large.numbers[i] = i * $s;
    large = copy_@(copy_@(large));
    printf("%d %d %d\n", use_@($m), use_@($s), large.numbers[0]);
}"#;
