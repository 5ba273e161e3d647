; A tour of the language, one part after the other. Each line shows an expression's value.

(ns tour)

(defmacro show
  "Prints each form and its value."
  [& forms]
  `(do ~@(map (fn [form] `(println ~(str "  " (pr-str form) " =>") (pr-str ~form))) forms)))

(defmacro failure
  "What the error says that the body raises."
  [& forms]
  `(try
     (do ~@forms "no error")
     (catch e# (if (nil? (ex-message e#)) e# (ex-message e#)))))

; ---------------------------------------------------------------------------------------------------------------
(println "Values")

(show 42 0x2a -7 1.5 1e9 ##Inf
      "a\tb" :key :a/b 'symbol
      '(1 2 3) [1 2 3] {:b 2 :a 1} #{3 1 2}
      nil true)
(show (= 1 1.0) (== 1 1.0) (= [1 2] '(1 2)) (/ 6 3) (/ 1 4) (quot -7 2) (rem -7 2) (mod -7 2))
(show (:a {:a 1}) ({:a 1} :a) (:b {:a 1} :none) (#{1 2} 2) ([10 20 30] 1))
(show (conj [1 2] 3) (conj '(1 2) 3) (assoc {:a 1} :b 2) (update {:a 1} :a inc) (get-in {:a {:b [5 6]}} [:a :b 1]))

; The short form of a function, and a form that the reader skips.
(def squared #(* % %))
(def digits->int #(+ (* 10 %1) %2))
(def how-many #(count %&))

(show (map squared [1 2 3]) #_(this is never read) (digits->int 4 2) (how-many :a :b :c))

; ---------------------------------------------------------------------------------------------------------------
(println "Destructuring")

(let [[a [b c] & more :as all] [1 [2 3] 4 5]
      {:keys [name age] :or {age 30} :as person} {:name "Ada" :town "London"}
      {[x y] :at {:strs [unit]} :meta colour :colour} {:at [7 8] :meta {"unit" "mm"} :colour :red}]
  (show a b c more all name age person x y unit colour))

(defn distance
  "Patterns stand in parameters too."
  [[x1 y1] [x2 y2]]
  (let [dx (- x2 x1)
        dy (- y2 y1)]
    (sqrt (float (+ (* dx dx) (* dy dy))))))

(defn greet [name & {:keys [greeting mark] :or {greeting "Hello" mark "!"}}]
  (str greeting ", " name mark))

(show (distance [0 0] [3 4]) (greet "you") (greet "world" :mark "?" :greeting "Bye"))
(show (loop [[x & xs] [1 2 3] total 0] (if x (recur xs (+ total x)) total)))
(show (for [[k {:keys [n]}] {:a {:n 1} :b {:n 2}}] [k n]))

; ---------------------------------------------------------------------------------------------------------------
(println "Functions")

(defn area
  "Several arities."
  ([side] (area side side))
  ([width height] (* width height))
  ([width height & more] (reduce * (area width height) more)))

(defn counter
  "A closure over an atom."
  [start step]
  (let [n (atom start)]
    (fn [] (swap! n + step))))

(defn compose-all [& fs]
  (fn [x] (reduce (fn [x f] (f x)) x fs)))

(show (area 3) (area 3 4) (area 3 4 5 6))
(let [up (counter 0 1)
      down (counter 10 -5)]
  (show [(up) (up) (up)] [(down) (down) (up)]))
(show ((compose-all inc squared str) 4)
      ((comp str inc) 1)
      ((partial + 1 2) 3 4)
      ((juxt min max) 3 1 2)
      (apply + 1 2 [3 4]))
(show (letfn [(even [n] (if (= n 0) true (odd (- n 1))))
              (odd [n] (if (= n 0) false (even (- n 1))))]
        (even 101)))
(show ((fn factorial [n] (if (< n 2) n (* n (factorial (dec n))))) 20))

(def calls (atom 0))
(def slow-square (memoize (fn [n] (swap! calls inc) (* n n))))
(show (mapv slow-square [3 4 3 4 3]) @calls)

; ---------------------------------------------------------------------------------------------------------------
(println "Control")

(defn size [n]
  (cond (< n 10) :small
        (< n 100) :medium
        :else :large))

(defn kind [x]
  (case x
    (1 2 3) "a small number"
    :one "a keyword"
    "one" "a string"
    one "a symbol"
    nil "nothing"
    "something else"))

(show (map size [5 50 500]) (map kind [2 :one "one" 'one nil 4]))
(show (and 1 nil 2) (and 1 2) (or nil false 3) (or) (if-let [[a b] [1 2]] (+ a b) :none) (when-let [x nil] x))
(show (-> 5 (- 3) (* 10) str) (->> (range 10) (filter odd?) (map squared) (reduce +)))
(show (some-> {:a {:b 1}} :a :c inc) (cond-> 1 true inc false (* 100)) (as-> 3 x (* x x) (- x 1)))
(show (for [x (range 1 5) y (range 1 5) :let [z (* x y)] :when (even? z) :while (< y 4)] z))
(show (let [total (atom 0)]
        (dotimes [i 5] (swap! total + i))
        (doseq [x [10 20] y [1 2]] (swap! total + (* x y)))
        (while (> @total 50) (swap! total - 7))
        @total))
(show (condp < 5 10 :above 3 :below) (group-by count ["a" "bb" "c"]) (partition-by odd? [1 3 2 4 5]))

; ---------------------------------------------------------------------------------------------------------------
(println "Macros")

(defmacro unless
  "The simplest kind: a template."
  [test & forms]
  `(if ~test nil (do ~@forms)))

(defn infix-form
  "A function that a macro calls while it expands: (a + b * c) from the left."
  [form]
  (if (and (list? form) (not (symbol? (first form))))
    (let [[left & more] form]
      (reduce (fn [left [operator right]] (list operator left (infix-form right)))
              (infix-form left)
              (partition 2 more)))
    form))

(defmacro infix [& form] (infix-form form))

(defmacro define-unit
  "A macro that defines a function and a macro."
  [unit factor]
  (let [convert (symbol (str unit "->metres"))]
    `(do
       (defn ~convert [n#] (* n# ~factor))
       (defmacro ~unit [n#] (list '~convert n#)))))

(define-unit feet 0.3048)
(define-unit miles 1609.0)

(defmacro define-constants
  "Definitions from data."
  [& clauses]
  `(do ~@(map (fn [[name value]] `(def ~name ~value)) (partition 2 clauses))))

(define-constants
  one 1
  two (+ one 1)
  three (+ two one))

(defmacro my-or
  "A name that the expansion makes up never meets one of the user's."
  [a b]
  `(let [value# ~a] (if value# value# ~b)))

(show (unless false 1 2) (unless true 1 2))
(show (infix 1 + 2 * 3) (infix (1 + 2) - (10 / 5)) (infix-form '(1 + (2 * 3))))
(show (feet 10.0) (miles 2.0) (feet->metres 1.0))
(show [one two three])
(show (let [value 5] (my-or nil value)))
(show (let [when (fn [x] (* x 2))] (when 21)))

; ---------------------------------------------------------------------------------------------------------------
(println "Methods")

(defmulti perimeter :shape)
(defmethod perimeter :circle [{:keys [radius]}] (* 2.0 3.0 radius))
(defmethod perimeter :square [{:keys [side]}] (* 4 side))
(defmethod perimeter :default [shape] [:unknown (:shape shape)])

(show (map perimeter [{:shape :circle :radius 2.0} {:shape :square :side 3} {:shape :blob}]))

; ---------------------------------------------------------------------------------------------------------------
(println "Errors")

(defn risky [n]
  (if (> n 2)
    (throw (ex-info "too large" {:n n :limit 2}))
    n))

(defn forever [n] (+ 1 (forever n)))

(def log (atom []))
(defn note [x] (swap! log conj x) x)

(show (failure (risky 1)) (failure (risky 3)) (failure (throw :any-value)))
(show (try (risky 9) (catch e (ex-data e))))
(show (try (note :body) (risky 9) (catch e (note :catch)) (finally (note :finally))))
(show (failure (try (risky 5) (finally (note :cleaned-up)))) @log)
(show (try (try (risky 3) (catch e (throw (ex-info (str "outer: " (ex-message e)) {})))) (catch e (ex-message e))))
(show (failure (/ 1 0)) (failure (quot 5 0)) (failure (rem 5 0)))
(show (failure (distance [0 0])) (failure ((fn [a b] a) 1 2 3)) (failure (area)))
(show (failure (forever 1)))
(show (failure (* 4000000000 4000000000)))
(show (failure (assert (= 1 2))) (failure (assert (= 1 2) "one is not two")))
(show (failure (nth [1 2] 5)) (failure (kind)) (failure (case 5 1 :one)))
(show (loop [n 0] (if (< n 100000) (recur (inc n)) n)))
