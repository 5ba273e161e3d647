; A little of everything: closures, recursion, constants, exceptions, patterns.
(ns tour)

(def greeting "hello")
(def table (quote (1 2.5 "three" :four (five six))))

(defn factorial [n] (if (< n 2) 1 (* n (factorial (- n 1)))))

(defn map [f items]
  (if (= items nil) nil (cons (f (first items)) (map f (rest items)))))

(defn adder [n] (fn [x] (+ x n)))

(defn careful [thunk]
  (try (thunk) (catch why (str "caught: " why))))

(defn is-word [text] (matches "^[a-z]+$" text))

(println greeting (first table) (rest table))
(println (factorial 10) (map (adder 5) (list 1 2 3)))
(println (careful (fn [] (/ 1 0))))
(println (careful (fn [] (throw "from the program"))))
(println (careful (fn [] (factorial "ten"))))
(println (is-word "word") (is-word "two words"))
(let [x 1 y (+ x 1)] (println x y (let [x 10] (+ x y))))
(println (/ 1 3) (+ (/ 1 3) (/ 2 3)) (* 1.5 (/ 1 3)) (< (/ 1 3) (/ 1 2)))
