//! Features of C programs, which C++ compilers take as well.

use crate::c_sources::{
    ATEXIT, ATOMICS, COMPUTED_GOTO, CONSTRUCTORS, FILES, FLOATS, LISTS, RECURSION, SETJMP, SIGNALS,
    STACK, STRINGS, THREAD_LOCALS, VARARGS, WEAK, WIDE,
};
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
