; A parser and a printer for JSON, with round trips, and errors that say line and column.
; Shows a recursive descent parser without mutable state: each parser takes the source and a place in it, and returns
; [value next-place]. Objects become maps with strings as keys, arrays vectors, null nil.

(ns json)

; ---------------------------------------------------------------------------------------------------------------
; Places and errors

(defn place
  "Line and column, from 1, of the character at `at`."
  [source at]
  (let [before (subvec source 0 at)
        line-start (inc (or (last (keep-indexed (fn [i c] (if (= c "\n") i)) before)) -1))]
    {:line (inc (count-where (partial = "\n") before))
     :column (inc (- at line-start))}))

(defn fail [source at & message]
  (let [{:keys [line column] :as data} (place source at)]
    (throw (ex-info (str line ":" column ": " (apply str message)) data))))

(defn shown
  "The character at `at`, for a message."
  [source at]
  (if-let [c (nth source at nil)]
    (pr-str c)
    "the end"))

; ---------------------------------------------------------------------------------------------------------------
; Parsing

(declare parse-value)

(def blank-characters #{" " "\t" "\n" "\r"})

(defn skip-blanks [source at]
  (if (contains? blank-characters (nth source at nil))
    (recur source (inc at))
    at))

(defn expect
  "The place after `c`, which has to stand at `at`."
  [source at c]
  (if (= (nth source at nil) c)
    (inc at)
    (fail source at "expected " (pr-str c) ", found " (shown source at))))

(defn parse-word [source at word value]
  (let [end (+ at (count word))]
    (if (and (<= end (count source))
             (= word (join "" (subvec source at end))))
      [value end]
      (fail source at "expected a value, found " (shown source at)))))

(def digits (zipmap (seq "0123456789abcdef") (range 16)))

(defn hex-digit [source at]
  (or (get digits (lower-case (nth source at "")))
      (fail source at "expected a hexadecimal digit, found " (shown source at))))

(def escapes
  {"\"" "\"", "\\" "\\", "/" "/", "b" "\u0008", "f" "\u000c", "n" "\n", "r" "\r", "t" "\t"})

(defn parse-escape
  "What the escape stands for; `at` is the place after the backslash."
  [source at]
  (let [c (nth source at nil)]
    (cond
      (= c "u") (let [code (reduce (fn [n i] (+ (* n 16) (hex-digit source i)))
                                   0
                                   (range (+ at 1) (+ at 5)))]
                  [(char-from code) (+ at 5)])
      (contains? escapes c) [(get escapes c) (inc at)]
      :else (fail source at "unknown escape " (shown source at)))))

(defn parse-string [source at]
  (loop [at (expect source at "\"")
         out []]
    (let [c (nth source at nil)]
      (case c
        nil (fail source at "the string does not end")
        "\"" [(join "" out) (inc at)]
        "\n" (fail source at "a line ends inside a string")
        "\\" (let [[c at] (parse-escape source (inc at))]
               (recur at (conj out c)))
        (recur (inc at) (conj out c))))))

(def number-characters (set "+-.0123456789eE"))

(defn parse-number [source at]
  (let [text (join "" (take-while (partial contains? number-characters) (subvec source at)))
        end (+ at (count text))
        body (if (starts-with? text "-") (subs text 1) text)
        value (or (parse-int text) (parse-float text))]
    (if (or (nil? value)
            (starts-with? text "+")
            (starts-with? body ".")
            (ends-with? body ".")
            (and (starts-with? body "0") (> (count body) 1) (parse-int (subs body 1 2))))
      (fail source at "not a number: " text)
      [value end])))

(defn parse-items
  "The items up to `close`; `parse-item` adds one to what is there and returns [items next-place]."
  [source at close empty parse-item]
  (let [at (skip-blanks source at)]
    (if (= (nth source at nil) close)
      [empty (inc at)]
      (loop [[items at] (parse-item empty at)]
        (let [at (skip-blanks source at)]
          (if (= (nth source at nil) ",")
            (recur (parse-item items (skip-blanks source (inc at))))
            [items (expect source at close)]))))))

(defn parse-array [source at]
  (parse-items source (inc at) "]" []
               (fn [items at]
                 (let [[value at] (parse-value source at)]
                   [(conj items value) at]))))

(defn parse-object [source at]
  (parse-items source (inc at) "}" {}
               (fn [items at]
                 (let [key-at at
                       [key at] (parse-string source at)
                       at (expect source (skip-blanks source at) ":")
                       [value at] (parse-value source at)]
                   (when (contains? items key)
                     (fail source key-at "the key " (pr-str key) " occurs twice"))
                   [(assoc items key value) at]))))

(defn parse-value [source at]
  (let [at (skip-blanks source at)
        c (nth source at nil)]
    (case c
      "{" (parse-object source at)
      "[" (parse-array source at)
      "\"" (parse-string source at)
      "t" (parse-word source at "true" true)
      "f" (parse-word source at "false" false)
      "n" (parse-word source at "null" nil)
      (if (contains? number-characters c)
        (parse-number source at)
        (fail source at "expected a value, found " (shown source at))))))

(defn parse
  "The value of a JSON text."
  [text]
  (let [source (vec (seq text))
        [value at] (parse-value source 0)
        at (skip-blanks source at)]
    (if (= at (count source))
      value
      (fail source at "expected the end, found " (shown source at)))))

; ---------------------------------------------------------------------------------------------------------------
; Printing

(defn hex [n width]
  (loop [n n out ""]
    (if (> n 0)
      (recur (quot n 16) (str (nth "0123456789abcdef" (rem n 16)) out))
      (pad-left width "0" out))))

(def escaped
  "What has to be escaped, and how."
  (into {"\"" "\\\"", "\\" "\\\\", "\n" "\\n", "\r" "\\r", "\t" "\\t"}
        (for [code (range 32)
              :when (not (contains? #{9 10 13} code))]
          [(char-from code) (str "\\u" (hex code 4))])))

(defn quoted [s]
  (str "\"" (join "" (map (fn [c] (get escaped c c)) s)) "\""))

(defn scalar [value]
  (cond
    (nil? value) "null"
    (string? value) (quoted value)
    (keyword? value) (quoted (name value))
    (or (boolean? value) (number? value)) (str value)
    :else (throw (ex-info (str "no JSON for " (pr-str value)) {:value value}))))

(defn compact
  "The shortest text of a value."
  [value]
  (cond
    (map? value) (str "{" (join "," (for [[k v] value] (str (scalar k) ":" (compact v)))) "}")
    (sequential? value) (str "[" (join "," (map compact value)) "]")
    :else (scalar value)))

(defn pretty
  "A text with a line for each item, except for collections of scalars that are short."
  ([value] (pretty value ""))
  ([value indent]
   (let [short (compact value)
         items (if (map? value) (vals value) value)
         deeper (str indent "  ")
         block (fn [open items close]
                 (str open "\n" deeper (join (str ",\n" deeper) items) "\n" indent close))]
     (cond
       (not (coll? value)) short
       (and (<= (count short) 24) (not-any? coll? items)) short
       (map? value) (block "{" (for [[k v] value] (str (scalar k) ": " (pretty v deeper))) "}")
       :else (block "[" (map (fn [item] (pretty item deeper)) value) "]")))))

; ---------------------------------------------------------------------------------------------------------------
; Trying it out

(def sample "
{
  \"name\": \"ember\",
  \"version\": [0, 1, 2],
  \"ratio\": -1.5e2,
  \"quote\": \"she said \\\"burn\\\"\\n\\tand it did\",
  \"letters\": \"\\u00e9\\u4e2d \\/\",
  \"nested\": {\"empty\": {}, \"list\": [[], [null, true, false], {\"a\": {\"b\": [1, 2.25]}}]}
}")

(def value (parse sample))

(println "The value:")
(prn value)
(println "Compact:")
(println (compact value))
(println "Pretty:")
(println (pretty value))

(println "Round trips:")
(doseq [text ["null" "-0.5" "[]" "{}" "[1,[2,[3,[4]]]]" "\"\\u0001 \\\\ \\\"\"" "{\"a\":[{\"b\":null},1000000]}"]]
  (println (pad-right 34 text) (if (= text (compact (parse text))) "same" (compact (parse text)))))
(println "The sample, compact and back:" (= value (parse (compact value))))
(println "The sample, pretty and back: " (= value (parse (pretty value))))

(println "Paths:" (get-in value ["nested" "list" 2 "a" "b" 1]) (get-in value ["version" 2]))
(println "Keywords as keys:" (compact {:b [1 2] :a {:c nil}}))

(println "Errors:")
(doseq [text ["" "[1, 2" "[1 2]" "{\"a\" 1}" "{\"a\": 1,\n \"b\": tru}" "\"abc" "\"\\x\"" "\"\\u12g4\"" "[1,\n 2,\n ]"
              "01" "1." "-" "{\"a\":1, \"a\":2}" "[] []" "@" "[\"a\nb\"]"]]
  (try
    (println (pr-str text) "gives" (pr-str (parse text)))
    (catch e
      (println (pad-right 24 (pr-str text)) (ex-message e)))))
(try
  (compact {"f" inc})
  (catch e (println (subs (ex-message e) 0 11) "a function")))
