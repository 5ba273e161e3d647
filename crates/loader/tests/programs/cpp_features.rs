//! Features of C++ programs.

use crate::generate::{Feature, fill};
use crate::random::Random;
use std::fmt::Write;

/// All of them.
pub(crate) const CPP_FEATURES: &[Feature] = &[
    Feature {
        name: "virtual calls",
        headers: &["memory", "vector"],
        write: hierarchy,
    },
    Feature {
        name: "diamonds",
        headers: &[],
        write: |r| fill(r, DIAMOND),
    },
    Feature {
        name: "templates",
        headers: &[],
        write: |r| fill(r, TEMPLATES),
    },
    Feature {
        name: "exceptions",
        headers: &["stdexcept", "string"],
        write: |r| fill(r, EXCEPTIONS),
    },
    Feature {
        name: "exceptions through C",
        headers: &["stdlib.h"],
        write: |r| fill(r, THROUGH_C),
    },
    Feature {
        name: "exceptions kept",
        headers: &["exception", "stdexcept"],
        write: |r| fill(r, KEPT),
    },
    Feature {
        name: "casts at run time",
        headers: &["typeinfo"],
        write: |r| fill(r, CASTS),
    },
    Feature {
        name: "containers",
        headers: &["map", "vector", "string", "algorithm"],
        write: |r| fill(r, CONTAINERS),
    },
    Feature {
        name: "hashed containers",
        headers: &["unordered_map", "set", "deque", "string"],
        write: |r| fill(r, HASHED),
    },
    Feature {
        name: "local statics",
        headers: &[],
        write: |r| fill(r, LOCAL_STATICS),
    },
    Feature {
        name: "global objects",
        headers: &[],
        write: |r| fill(r, GLOBALS),
    },
    Feature {
        name: "thread_local objects",
        headers: &["thread", "string"],
        write: |r| fill(r, THREAD_LOCAL),
    },
    Feature {
        name: "lambdas",
        headers: &["functional", "vector"],
        write: |r| fill(r, LAMBDAS),
    },
    Feature {
        name: "streams",
        headers: &["iostream", "sstream", "iomanip"],
        write: |r| fill(r, STREAMS),
    },
    Feature {
        name: "ownership",
        headers: &["memory", "utility"],
        write: |r| fill(r, OWNERSHIP),
    },
    Feature {
        name: "inline variables",
        headers: &[],
        write: |r| fill(r, INLINE),
    },
    Feature {
        name: "operator new",
        headers: &["new", "cstdlib"],
        write: |r| fill(r, OPERATOR_NEW),
    },
    Feature {
        name: "pointers to members",
        headers: &["initializer_list"],
        write: |r| fill(r, MEMBERS),
    },
    Feature {
        name: "variants",
        headers: &["variant", "optional", "tuple", "string_view"],
        write: |r| fill(r, VARIANTS),
    },
    Feature {
        name: "threads",
        headers: &["thread", "mutex", "vector", "condition_variable"],
        write: |r| fill(r, THREADS),
    },
];

/// A random chain of classes, each with some of its ancestors' functions overridden.
fn hierarchy(random: &mut Random) -> String {
    let functions = random.within(1, 5);
    let classes = random.within(2, 8);
    let mut code = "struct base_@ {\n    long value = 1;\n    virtual ~base_@() {}\n".to_owned();
    for function in 0..functions {
        let number = random.within(1, 99);
        let _ = writeln!(
            code,
            "    virtual long f{function}(long n) {{ return n + {number}; }}"
        );
    }
    code += "};\n";
    let mut pushes = String::new();
    for class in 0..classes {
        let parent = match random.within(0, class) {
            0 => "base_@".to_owned(),
            other => format!("class_@_{}", other - 1),
        };
        let _ = writeln!(code, "struct class_@_{class} : {parent} {{");
        let _ = writeln!(code, "    long own{class} = {};", random.within(1, 999));
        for function in 0..functions {
            if random.one_in(2) {
                let _ = writeln!(
                    code,
                    "    long f{function}(long n) override {{ return {parent}::f{function}(n) * {} + own{class}++ + value; }}",
                    random.within(1, 7)
                );
            }
        }
        let is_final = random.one_in(4);
        let _ = writeln!(
            code,
            "    ~class_@_{class}() {}",
            match is_final {
                true => "override;",
                false => "override { printf(\"~%ld \", value); }",
            }
        );
        code += "};\n";
        if is_final {
            let _ = writeln!(
                code,
                "class_@_{class}::~class_@_{class}() {{ printf(\"~out of line \"); }}"
            );
        }
        let _ = writeln!(pushes, "    all.emplace_back(new class_@_{class});");
    }
    let mut calls = String::new();
    for function in 0..functions {
        let _ = write!(
            calls,
            " sum = (sum + one->f{function}(i)) % 1000003; one->value++;"
        );
    }
    format!(
        "{code}void feature_@() {{
    std::vector<std::unique_ptr<base_@>> all;
{pushes}    long sum = 0;
    for (int i = 0; i < 20; i++) for (auto &one : all) {{{calls} }}
    all.clear();
    printf(\"%ld\\n\", sum);
}}"
    )
}

const DIAMOND: &str = r#"
struct root_@ { int r = $m; virtual int get() const { return r; } virtual ~root_@() { printf("~root "); } };
struct left_@ : virtual root_@ { int l = $s; int get() const override { return l + r; } };
struct right_@ : virtual root_@ { int x = $l; virtual int other() { return x; } ~right_@() { printf("~right "); } };
struct both_@ : left_@, right_@ { int b = $m; int get() const override { return left_@::get() * 2 + b; }
    int other() override { return right_@::other() - b; } };
__attribute__((noinline)) static int ask_@(const root_@ &root) { return root.get(); }
__attribute__((noinline)) static int other_@(right_@ *right) { return right->other(); }
void feature_@() {
    both_@ both; left_@ left; right_@ *right = new both_@;
    printf("%d %d %d ", ask_@(both), ask_@(left), other_@(&both));
    right->r = 5; printf("%d ", ask_@(*right));
    delete right; printf("\n");
}"#;

const TEMPLATES: &str = r#"
template <int N> struct power_@ { static constexpr long value = $s * power_@<N - 1>::value; };
template <> struct power_@<0> { static constexpr long value = 1; };
template <typename T, int N> class stack_@ {
    T items[N]; int count = 0;
public:
    bool push(const T &item) { if (count == N) return false; items[count++] = item; return true; }
    T pop() { return items[--count]; }
    static int instances; stack_@() { instances++; } ~stack_@() { instances--; }
};
template <typename T, int N> int stack_@<T, N>::instances = $m;
template <typename... Ts> long total_@(Ts... values) { return (0L + ... + static_cast<long>(values)); }
template <typename T> __attribute__((noinline)) T largest_@(T a, T b) { return a < b ? b : a; }
void feature_@() {
    stack_@<int, 5> ints; stack_@<double, 3> doubles;
    for (int i = 0; i < 7; i++) { ints.push(i * $m); doubles.push(i * 0.5); }
    printf("%ld %d %.2f %d %d\n", power_@<5>::value, ints.pop() + ints.pop(), doubles.pop(),
           stack_@<int, 5>::instances, stack_@<double, 3>::instances);
    printf("%ld %d %.3f %c\n", total_@(1, 2.5, 'a', $l), largest_@($s, $m), largest_@(1.5, $s.25), largest_@('a', 'z'));
}"#;

const EXCEPTIONS: &str = r#"
struct error_@ { int code; error_@(int code = 0) : code(code) {} virtual ~error_@() {} };
struct special_@ : error_@ { std::string words; };
struct guard_@ { int n; explicit guard_@(int n) : n(n) {} ~guard_@() { printf("~%d ", n); } };
__attribute__((noinline)) static int throw_@(int n) {
    guard_@ guard(n);
    switch (n % 6) {
    case 0: throw n;
    case 1: { special_@ special; special.code = n; special.words = "special $m"; throw special; }
    case 2: throw std::runtime_error("run time $l");
    case 3: throw "text";
    case 4: throw error_@(n * $s);
    default: return n;
    }
}
static int middle_@(int n) {
    guard_@ guard(n + 100);
    try { return throw_@(n); } catch (const char *text) { printf("[%s] ", text); throw std::out_of_range(text); }
}
static int careful_@(int n) noexcept {
    try { return middle_@(n); }
    catch (int &i) { return i + 1; }
    catch (const special_@ &special) { printf("%s ", special.words.c_str()); return special.code; }
    catch (const error_@ &error) { return error.code; }
    catch (const std::logic_error &error) { printf("logic %s ", error.what()); return -1; }
    catch (const std::exception &error) { printf("%s ", error.what()); return -2; }
}
void feature_@() {
    for (int i = 0; i < 12; i++) printf("= %d\n", careful_@(i));
    try { try { throw_@(6); } catch (...) { guard_@ guard(77); throw; } } catch (int n) { printf("again %d\n", n); }
}"#;

const THROUGH_C: &str = r#"
static int limit_@ = $s;
struct seen_@ { ~seen_@() { printf("~ "); } };
static int compare_@(const void *a, const void *b) {
    seen_@ seen;
    if (limit_@-- == 0) throw $m.5;
    return *(const int *)a - *(const int *)b;
}
void feature_@() {
    int numbers[20];
    for (int i = 0; i < 20; i++) numbers[i] = i * $m % 23;
    try { qsort(numbers, 20, sizeof(int), compare_@); printf("sorted\n"); } catch (double n) { printf("%.1f\n", n); }
    limit_@ = -1;
    qsort(numbers, 20, sizeof(int), compare_@);
    printf("%d %d\n", numbers[0], numbers[19]);
}"#;

const KEPT: &str = r#"
static std::exception_ptr keep_@(int n) {
    try { if (n % 2) throw std::invalid_argument("kept $m"); throw n * $s; }
    catch (...) { return std::current_exception(); }
}
struct outer_@ : std::exception { const char *what() const noexcept override { return "outer $m"; } };
void feature_@() {
    for (int i = 0; i < 4; i++) {
        std::exception_ptr kept = keep_@(i);
        try { std::rethrow_exception(kept); }
        catch (const std::invalid_argument &error) { printf("%s ", error.what()); }
        catch (int n) { printf("%d ", n); }
    }
    try {
        try { throw std::domain_error("inner"); } catch (...) { std::throw_with_nested(outer_@()); }
    } catch (const std::exception &error) {
        printf("%s ", error.what());
        try { std::rethrow_if_nested(error); } catch (const std::exception &inner) { printf("in %s", inner.what()); }
    }
    printf(" %d\n", std::uncaught_exceptions());
}"#;

const CASTS: &str = r#"
namespace n_@ {
struct animal { virtual ~animal() {} };
struct named { virtual const char *name() { return "named $m"; } virtual ~named() {} };
struct dog : animal, named { const char *name() override { return "dog"; } int tail = $m; };
struct cat : animal { int lives = $s; };
struct puppy final : dog { };
}
__attribute__((noinline)) static void ask_@(n_@::animal *animal) {
    using namespace n_@;
    printf("%s ", typeid(*animal).name());
    if (dog *found = dynamic_cast<dog *>(animal)) printf("tail %d ", found->tail++);
    if (named *found = dynamic_cast<named *>(animal)) printf("%s ", found->name());
    if (dynamic_cast<cat *>(animal)) printf("cat %d ", dynamic_cast<cat *>(animal)->lives);
    printf("%d\n", dynamic_cast<void *>(animal) == (void *)animal);
}
void feature_@() {
    n_@::dog dog; n_@::cat cat; n_@::puppy puppy;
    ask_@(&dog); ask_@(&cat); ask_@(&puppy); ask_@(&dog);
    try { n_@::animal &animal = cat; dynamic_cast<n_@::dog &>(animal).tail = 1; } catch (const std::bad_cast &error) { printf("%s\n", error.what()); }
    printf("%d %d\n", typeid(int) == typeid(signed), typeid(dog) == typeid(puppy));
}"#;

const CONTAINERS: &str = r#"
void feature_@() {
    std::map<std::string, std::vector<int>> index;
    for (int i = 0; i < $m * 3; i++) index["key " + std::to_string(i * $s % 17)].push_back(i);
    for (auto &[key, numbers] : index) {
        std::sort(numbers.begin(), numbers.end(), [](int a, int b) { return a % 10 != b % 10 ? a % 10 < b % 10 : a > b; });
        printf("%s:%zu:%d ", key.c_str(), numbers.size(), numbers.front());
    }
    std::string text = "a longer text that is not kept inside, $l";
    text += text.substr($s, 12); text.insert($s, "<>"); std::reverse(text.begin(), text.end());
    printf("\n%s %zu\n", text.c_str(), text.find("ton"));
    try { index.at("absent"); } catch (const std::exception &error) { printf("absent\n"); }
    std::vector<std::string> words(5, "w$m"); words.erase(words.begin() + 1); words.insert(words.begin(), std::string(30, 'x'));
    std::string all; for (const auto &word : words) all += word + ";";
    printf("%s %ld\n", all.c_str(), (long)std::count(all.begin(), all.end(), 'x'));
}"#;

const HASHED: &str = r#"
void feature_@() {
    std::unordered_map<std::string, long> counts; std::set<long> seen; std::deque<int> queue;
    for (int i = 0; i < $m * 5; i++) { counts[std::to_string(i % $m)] += i; seen.insert((long)((unsigned)i * $xu % 101u)); i % 3 ? queue.push_back(i) : queue.push_front(-i); }
    long sum = 0;
    for (const auto &[key, count] : counts) sum += std::stol(key) * count % 1009;
    for (long one : seen) sum = (sum * 3 + one) % 1000003;
    while (queue.size() > 1) { sum += queue.front() - queue.back(); queue.pop_front(); queue.pop_back(); }
    printf("%zu %zu %ld\n", counts.size(), seen.size(), sum);
}"#;

const LOCAL_STATICS: &str = r#"
struct noisy_@ { int n; noisy_@(int n) : n(n) { printf("+%d ", n); } ~noisy_@() { printf("-%d ", n); } };
__attribute__((noinline)) static noisy_@ &one_@(int n) { static noisy_@ kept(n + $m); return kept; }
inline int counter_@() { static int count = $l; return count++; }
static int fails_@(int n) {
    static int tries = 0;
    static noisy_@ kept = [](int n) { if (tries++ < 2) throw n; return noisy_@(n); }(n);
    return kept.n;
}
void feature_@() {
    for (int i = 0; i < 3; i++) { printf("%d %d ", one_@(i).n++, counter_@()); }
    for (int i = 0; i < 4; i++) try { printf("ok %d ", fails_@(i)); } catch (int n) { printf("failed %d ", n); }
    printf("\n");
}"#;

const GLOBALS: &str = r#"
struct global_@ { int n; global_@(int n) : n(n) { printf("up %d\n", n); } ~global_@() { printf("down %d\n", n); } };
global_@ first_@($m);
static global_@ second_@(first_@.n + $s);
__attribute__((init_priority(2$m))) global_@ early_@(-$s);
static int computed_@ = second_@.n * $s;
namespace { global_@ array_@[2] = { $s, $m }; }
void feature_@() { printf("%d %d %d %d\n", first_@.n, computed_@, early_@.n, array_@[1].n); first_@.n++; }"#;

const THREAD_LOCAL: &str = r#"
static int ended_@;
struct local_@ { std::string name; local_@() : name("local $m") {} ~local_@() { ended_@ += (int)name.size(); } };
static thread_local local_@ mine_@;
thread_local int plain_@ = $s;
static void use_@(int n) { plain_@ += n; for (int i = 0; i < n; i++) mine_@.name += "+"; }
void feature_@() {
    for (int i = 0; i < 3; i++) { std::thread other([i] { use_@(i); use_@($s); }); other.join(); printf("%d ", ended_@); }
    use_@(2);
    printf("%s %d\n", mine_@.name.c_str(), plain_@);
}"#;

const LAMBDAS: &str = r#"
static std::function<int(int)> adder_@(int by) { return [by](int n) { return n + by; }; }
template <typename F> static int twice_@(F f, int n) { return f(f(n)); }
void feature_@() {
    std::vector<std::function<int(int)>> steps; int calls = 0;
    for (int i = 0; i < $s + 2; i++) steps.push_back(adder_@(i * $m));
    steps.push_back([&calls](int n) { calls++; return n * $s; });
    int n = 0;
    for (auto &step : steps) n = step(n);
    auto counter = [count = $m]() mutable { return count++; };
    counter();
    int (*plain)(int) = [](int n) { return n - $s; };
    printf("%d %d %d %d\n", n, calls, counter(), twice_@(plain, 100) + twice_@(steps.back(), 3));
    try { std::function<void()> empty; empty(); } catch (const std::bad_function_call &) { printf("empty\n"); }
}"#;

const STREAMS: &str = r#"
struct point_@ { int x, y; };
static std::ostream &operator<<(std::ostream &out, const point_@ &p) { return out << '(' << p.x << ", " << p.y << ')'; }
void feature_@() {
    fflush(stdout);
    std::cout << "point " << point_@{$s, $m} << ' ' << std::hex << $l << std::dec << ' ' << std::setprecision(4) << $m.12345 << std::endl;
    std::istringstream in("$m words $s.5 more"); int a; std::string word; double d; std::string rest;
    in >> a >> word >> d; std::getline(in, rest);
    std::ostringstream out; out << std::setw(8) << std::setfill('*') << a << word << d << rest;
    std::cout << out.str() << (in.eof() ? " end" : " more") << std::endl;
}"#;

const OWNERSHIP: &str = r#"
struct owned_@ { int n; explicit owned_@(int n) : n(n) {} owned_@(owned_@ &&other) : n(other.n) { other.n = 0; printf("moved "); } ~owned_@() { if (n) printf("gone %d ", n); } };
static std::unique_ptr<owned_@> make_@(int n) { return std::make_unique<owned_@>(n); }
void feature_@() {
    std::shared_ptr<owned_@> shared = make_@($m); std::weak_ptr<owned_@> weak = shared;
    { auto again = shared; again->n++; printf("%ld ", shared.use_count()); }
    shared.reset(); printf("%d ", weak.expired());
    owned_@ first($s); owned_@ second(std::move(first)); printf("%d ", second.n);
    auto owned = make_@($l); auto taken = std::move(owned); printf("%d %d\n", owned == nullptr, taken->n);
}"#;

const INLINE: &str = r#"
inline int shared_@ = $m;
struct holder_@ { static inline long count = $l; int n = static_cast<int>(count++); };
template <typename T> inline T zero_@ = T($s);
constexpr int squares_@[] = { 0, 1, 4, 9, 16 };
enum class colour_@ : unsigned char { red = $s, green };
void feature_@() {
    holder_@ a, b; shared_@ += b.n; zero_@<int> += 3; zero_@<double> *= 1.5;
    const int &square = squares_@[shared_@ % 5];
    printf("%d %ld %d %.2f %d %d\n", shared_@, holder_@::count, zero_@<int>, zero_@<double>, square, (int)colour_@::green);
}"#;

const OPERATOR_NEW: &str = r#"
static long live_@;
struct pooled_@ {
    int n[4];
    static void *operator new(std::size_t size) { live_@ += (long)size; return std::malloc(size); }
    static void operator delete(void *at, std::size_t size) { live_@ -= (long)size; std::free(at); }
    pooled_@(int k) { if (k == $s) throw k; for (int &one : n) one = k++; }
};
void feature_@() {
    long sum = 0;
    for (int i = 0; i < 10; i++) try { pooled_@ *one = new pooled_@(i); sum += one->n[3] + live_@; delete one; } catch (int k) { printf("no %d ", k); }
    alignas(pooled_@) unsigned char place[sizeof(pooled_@)];
    pooled_@ *placed = ::new (place) pooled_@(100); sum += placed->n[1]; placed->~pooled_@();
    int *many = new int[$m](); for (int i = 0; i < $s; i++) sum += many[i]; delete[] many;
    printf("%ld %ld %d\n", sum, live_@, new (std::nothrow) char[1L << 60] == nullptr);
}"#;

const MEMBERS: &str = r#"
struct machine_@ {
    int n = $m; int other = $s;
    int up(int by) { return n += by; } int down(int by) { return n -= by; }
    virtual int turn(int by) { return n * by; } virtual ~machine_@() {}
};
struct better_@ : machine_@ { int turn(int by) override { return -n * by; } };
using step_@ = int (machine_@::*)(int);
static const step_@ steps_@[] = { &machine_@::up, &machine_@::turn, &machine_@::down };
static int machine_@::*const fields_@[] = { &machine_@::n, &machine_@::other };
void feature_@() {
    better_@ better; machine_@ plain; int sum = 0;
    for (machine_@ *one : { static_cast<machine_@ *>(&better), &plain })
        for (step_@ step : steps_@) sum = sum * 3 + (one->*step)($s);
    printf("%d %d\n", sum, better.*fields_@[0] + plain.*fields_@[1]);
}"#;

const VARIANTS: &str = r#"
struct visit_@ { int operator()(int n) const { return n; } int operator()(double d) const { return (int)(d * 10); } int operator()(std::string_view s) const { return (int)s.size(); } };
static std::optional<int> maybe_@(int n) { if (n % $s == 0) return n; return std::nullopt; }
static std::tuple<int, double, const char *> three_@() { return { $m, $s.5, "three" }; }
void feature_@() {
    std::variant<int, double, std::string_view> all[] = { $m, $s.25, std::string_view("viewed") };
    int sum = 0;
    for (auto &one : all) sum += std::visit(visit_@(), one) * (int)(one.index() + 1);
    for (int i = 1; i < 20; i++) sum += maybe_@(i).value_or(-1);
    try { sum += std::get<double>(all[0]); } catch (const std::bad_variant_access &) { printf("not a double "); }
    auto [a, b, c] = three_@();
    printf("%d %d %.1f %s\n", sum, a, b, c);
}"#;

const THREADS: &str = r#"
static std::mutex lock_@; static std::condition_variable ready_@; static int turn_@;
static long long sums_@[4];
void feature_@() {
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; i++) threads.emplace_back([i] {
        std::unique_lock<std::mutex> hold(lock_@);
        ready_@.wait(hold, [i] { return turn_@ == i; });
        try { if (i == $s % 4) throw i; sums_@[i] = i * $l; } catch (int n) { sums_@[n] = -$s; }
        turn_@++; ready_@.notify_all();
    });
    for (auto &thread : threads) thread.join();
    std::once_flag once; int calls = 0;
    for (int i = 0; i < 3; i++) std::call_once(once, [&] { calls++; });
    printf("%lld %lld %lld %lld %d\n", sums_@[0], sums_@[1], sums_@[2], sums_@[3], calls);
}"#;
