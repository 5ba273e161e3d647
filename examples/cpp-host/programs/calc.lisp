; What the experiment evaluated: a mixed function of three arguments, and five small ones.
(ns calc)

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

(println "complex-calc" (complex-calc 3 4 5))
