; The Mandelbrot set in letters: the sooner a point escapes, the lighter its letter.
; Shows arithmetic on floats in a tight loop, and strings built with `map` and `join`.

(ns mandelbrot)

(def width 78)
(def height 32)
(def limit 100)

; From the first letter, which escapes at once, to the last one before the blank of the set itself.
(def shades (vec ".,:;-~+=*oxO%&#@"))

(defn escape-time
  "How many steps it takes z -> z*z + c to leave the circle of radius 2; `limit` when it does not."
  [cx cy]
  (loop [x 0.0
         y 0.0
         steps 0]
    (let [xx (* x x)
          yy (* y y)]
      (if (or (= steps limit) (> (+ xx yy) 4.0))
        steps
        (recur (+ (- xx yy) cx)
               (+ (* 2.0 x y) cy)
               (inc steps))))))

(defn shade [steps]
  (if (= steps limit)
    " "
    (nth shades (min (dec steps) (dec (count shades))))))

(defn scale
  "The value at step `i` of `n` on the way from `low` to `high`."
  [low high i n]
  (+ low (* (- high low) (/ (float i) (float (dec n))))))

(defn row [j]
  (let [cy (scale 1.15 -1.15 j height)]
    (join "" (map (fn [i] (shade (escape-time (scale -2.1 0.7 i width) cy)))
                  (range width)))))

(doseq [j (range height)]
  (println (row j)))
