; What the experiment measured, after one definition that has the process touch its memory first.
(ns bench)

(def first-of-the-process 1)

(defn square [x] (* x x))
(defn double [x] (+ x x))
(defn increment [x] (+ x 1))
(defn average [a b] (/ (+ a b) 2.0))
(defn smaller? [a b] (if (< a b) true false))

(defn complex-calc [a b c]
  (let [sum (+ (* a b) c)
        half (/ sum 2.0)
        bound (* c (+ a b))]
    (if (< half bound)
      (+ half (- bound sum))
      (- (* sum half) bound))))
