; Counts the words of a text: the most frequent ones, the longest ones, and how long words are.
; Shows reading a file, strings, `->>`, `frequencies`, `group-by` and sorting by several keys.

(ns words)

(def letters (set "abcdefghijklmnopqrstuvwxyz"))

(defn words-of
  "The words of a text in lower case: what lies between characters that are no letters."
  [text]
  (->> (seq (lower-case text))
       (partition-by (fn [c] (contains? letters c)))
       (filter (fn [part] (contains? letters (first part))))
       (map (partial join ""))))

(defn by-count
  "[word count] pairs, the most frequent first, equal ones in alphabetical order."
  [counts]
  (sort-by (fn [[word n]] [(- n) word]) counts))

(defn bar [n]
  (str-repeat n "*"))

(def text (slurp (program-path "texts/embers.txt")))
(def found (words-of text))
(def counts (frequencies found))

(println "lines:     " (count (split-lines text)))
(println "characters:" (count text))
(println "words:     " (count found))
(println "different: " (count counts))
(println "only once: " (count-where (fn [[_ n]] (= n 1)) counts))

(println)
(println "The most frequent words:")
(doseq [[word n] (take 12 (by-count counts))]
  (println (pad-left 4 n) (pad-right 8 word) (bar n)))

(println)
(println "The longest words:")
(let [by-length (group-by count (keys counts))]
  (doseq [length (take 3 (sort > (keys by-length)))]
    (println (pad-left 4 length) (join ", " (sort (get by-length length))))))

(println)
(println "Words by length:")
(doseq [[length n] (frequencies (map count found))]
  (println (pad-left 4 length) (pad-left 4 n) (bar (quot n 2))))

(println)
(println "The first words of the paragraphs:")
(doseq [paragraph (split (trim text) "\n\n")]
  (println "  " (join " " (take 4 (words paragraph))) "..."))
