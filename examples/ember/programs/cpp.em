;; C++ in ember: headers and text of C++, and calls of what they declare.
(ns cpp)

(cpp/include "cpp/shapes.hpp" "<algorithm>" "<vector>")

(cpp/raw "
// The n-th prime number, by a sieve.
inline long prime(long n) {
    std::vector<bool> composite(n * 12 + 13);
    long found = 0;
    for (long i = 2;; i++) {
        if (composite[i]) continue;
        if (++found == n) return i;
        for (long j = i * i; j < (long)composite.size(); j += i) composite[j] = true;
    }
}

inline std::string shout(std::string_view text) {
    std::string loud(text);
    for (char &letter : loud) letter = std::toupper(letter);
    return loud + \"!\";
}

inline long checked(long n) {
    if (n < 0) throw std::runtime_error(\"it is negative\");
    return n;
}")

(defn area [width height] (cpp/shapes.area width height))

(println "areas" (area 3 4) (area 1.5 2) (cpp/shapes.is_square 2 2) (cpp/shapes.is_square 2 3))
(println "primes" (map (fn [n] (cpp/prime n)) [1 2 3 10 1000]))
(println (cpp/shout "hello, c++"))
(println (try (cpp/checked -1) (catch e (ex-message e))))
(println (try (cpp/prime "one") (catch e (ex-message e))))

(defn sum [n]
  (loop [i 0 total 0]
    (if (< i n) (recur (+ i 1) (+ total (cpp/checked i))) total)))
(println "sum" (sum 100000))
