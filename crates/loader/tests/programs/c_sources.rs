//! Sources of features of C programs that are the same but for a few numbers.

pub(crate) const VARARGS: &str = r#"
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

pub(crate) const RECURSION: &str = r#"
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

pub(crate) const STRINGS: &str = r#"
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

pub(crate) const FLOATS: &str = r#"
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

pub(crate) const WEAK: &str = r#"
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

pub(crate) const SETJMP: &str = r#"
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

pub(crate) const CONSTRUCTORS: &str = r#"
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

pub(crate) const THREAD_LOCALS: &str = r#"
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

pub(crate) const LISTS: &str = r#"
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

pub(crate) const COMPUTED_GOTO: &str = r#"
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

pub(crate) const WIDE: &str = r#"
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

pub(crate) const ATEXIT: &str = r#"
static int left_@ = $m;
static void first_@(void) { printf("at exit, first %d\n", left_@); }
static void second_@(void) { left_@ += $s; printf("at exit, second\n"); }
void feature_@(void) { atexit(first_@); atexit(second_@); left_@++; }"#;

pub(crate) const FILES: &str = r#"
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

pub(crate) const SIGNALS: &str = r#"
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

pub(crate) const ATOMICS: &str = r#"
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

pub(crate) const STACK: &str = r#"
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
