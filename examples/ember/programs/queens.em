; The eight queens: every way to put eight queens on a board so that none attacks another.
; Shows `for` with several levels and a condition, `loop`, and lists as stacks.

(ns queens)

(defn attacks?
  "Does a queen in the column `other`, `distance` rows above, attack `column`?"
  [other column distance]
  (or (= other column)
      (= (abs (- other column)) distance)))

(defn safe?
  "`placed` holds the columns of the rows above, the nearest row first."
  [placed column]
  (loop [placed (seq placed)
         distance 1]
    (cond
      (nil? placed) true
      (attacks? (first placed) column distance) false
      :else (recur (next placed) (inc distance)))))

(defn add-row [size boards]
  (for [placed boards
        column (range size)
        :when (safe? placed column)]
    (conj placed column)))

(defn solutions
  "All boards, each as the list of its columns from the last row up."
  [size]
  (apply-n size (partial add-row size) [()]))

(defn board-lines [board]
  (let [size (count board)]
    (for [column (reverse board)]
      (join " " (for [x (range size)] (if (= x column) "Q" "."))))))

(defn mirrored [board]
  (map (fn [column] (- (count board) 1 column)) board))

(doseq [size (range 1 9)]
  (println size "queens:" (count (solutions size)) "solutions"))

(let [boards (solutions 8)
      known (set boards)]
  (println "The first of" (count boards) "boards:")
  (run! println (board-lines (first boards)))
  (println "Its columns:" (reverse (first boards)))
  (println "Every mirror image is a solution too:" (every? (comp known mirrored) boards)))
