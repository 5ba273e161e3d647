//! The C++ of the benchmark: what JIT runtimes hand to a loader, in four shapes.
//!
//! Nothing here has thread-locals, static constructors or destructors: some peers want a platform of
//! the host's for these, and the question is the cost of linking. Each unit exports one factory,
//! `long factory_N(long)`. It is called with 0, which does little, so that the figure is the loader's;
//! but it reaches everything, so that no loader can leave anything out.

use std::fmt::Write;

/// A class with a virtual call, constants, and a factory: 5 KB of object, 30 relocations.
pub(super) fn small(number: usize) -> String {
    format!(
        r#"
using size_t = decltype(sizeof(0));
extern "C" size_t strlen(const char *);
extern "C" int snprintf(char *, size_t, const char *, ...);
namespace def_{number} {{
struct object {{
  virtual ~object();
  virtual long call(long) const = 0;
  virtual const char *name() const = 0;
}};
object::~object() {{}}
struct function : object {{
  long constant;
  explicit function(long value) : constant(value) {{}}
  ~function() override;
  long call(long) const override;
  const char *name() const override;
}};
static const long table[] = {{3, 1, 4, 1, 5, 9, 2, 6}};
function::~function() {{ constant = 0; }}
static long mix(unsigned long x) {{
  unsigned long a = x ^ 0x9e3779b97f4a7c15u, b = x + {number};
  for (unsigned round = 0; round < (x & 15); ++round) {{
    a = (a << 13 | a >> 51) * 0xbf58476d1ce4e5b9u + b;
    b = (b << 29 | b >> 35) ^ a ^ (round * 0x94d049bb133111ebu);
    if (a % 7 == 3) b -= a >> 9;
    if (b % 11 == 5) a += b << 3;
    switch ((a ^ b) & 3) {{
      case 0: a ^= b * 3; break;
      case 1: b += a / 5; break;
      case 2: a -= b % 13; break;
      default: b ^= a << 1;
    }}
  }}
  return static_cast<long>(a % 1000 + b % 1000);
}}
long function::call(long x) const {{
  if (x > 1000) {{
    char text[32];
    return snprintf(text, sizeof text, "value %ld", x) + mix(x);
  }}
  return constant * table[x & 7];
}}
const char *function::name() const {{ return "user/def-{number}"; }}
}}
extern "C" long factory_{number}(long x) {{
  def_{number}::object *made = new def_{number}::function({number} + 35);
  long answer = made->call(x) + static_cast<long>(strlen(made->name()));
  delete made;
  return answer;
}}
"#
    )
}

/// A unit of templates from the standard library, `copies` times instantiated.
pub(super) fn large(number: usize, copies: usize, wide: bool) -> String {
    let mut text = String::from(
        r#"
#include <algorithm>
#include <map>
#include <regex>
#include <sstream>
#include <string>
#include <vector>
template <int N> struct key {
  int value;
  bool operator<(const key &other) const { return value < other.value; }
};
template <int N> long words(const std::string &text) {
  std::map<std::string, key<N>> seen;
  std::istringstream in(text);
  std::string word;
  while (in >> word) seen[word].value += N;
  std::map<key<N>, std::vector<std::string>> by_count;
  for (auto &[name, count] : seen) by_count[count].push_back(name);
  long sum = 0;
  for (auto &[count, names] : by_count) {
    std::sort(names.begin(), names.end());
    sum += count.value * static_cast<long>(names.size());
  }
  std::ostringstream out;
  out << sum << ' ' << N;
  return sum + static_cast<long>(out.str().size());
}
template <class Letter> long matches(const std::basic_string<Letter> &text, const Letter *pattern) {
  using string = std::basic_string<Letter>;
  std::basic_regex<Letter> expression(pattern, std::regex_constants::ECMAScript);
  std::regex_iterator<typename string::const_iterator> first(text.begin(), text.end(), expression);
  return std::distance(first, {});
}
"#,
    );
    let _ = writeln!(
        text,
        r#"extern "C" long factory_{number}(long x) {{
  if (x == 0) return {number} + 42;
  std::string text = "the quick brown fox jumps over the lazy dog";
  long sum = matches<char>(text, "[a-z]+o[a-z]*");"#
    );
    if wide {
        text.push_str("  sum += matches<wchar_t>(L\"a wide text\", L\"[a-z]+\");\n");
    }
    for copy in 1..=copies {
        let copy = 100 * number + copy;
        let _ = writeln!(text, "  sum += words<{copy}>(text);");
    }
    text.push_str("  return sum;\n}\n");
    text
}

/// `count` inline functions, each a COMDAT group of its own that calls the one before.
pub(super) fn comdat_chain(count: usize) -> String {
    let mut text = String::from("#define LINK inline __attribute__((noinline)) long\n");
    text.push_str("LINK link_0(long x) { return x; }\n");
    for number in 1..count {
        let before = number - 1;
        let _ = writeln!(
            text,
            "LINK link_{number}(long x) {{ return x == 0 ? {number} : link_{before}(x - 1) + x; }}"
        );
    }
    let last = count - 1;
    let _ = writeln!(
        text,
        "extern \"C\" long factory_0(long x) {{ return link_{last}(x) + 1; }}"
    );
    text
}
