; Conway's game of life on a board without edges: the living cells are a set of [x y].
; Shows sets and maps as the data structure of an algorithm, `frequencies`, and destructuring in `for`.

(ns life)

(defn neighbours [[x y]]
  (for [dx [-1 0 1]
        dy [-1 0 1]
        :when (not= [dx dy] [0 0])]
    [(+ x dx) (+ y dy)]))

(defn step
  "The next generation: three neighbours give life, two keep it."
  [cells]
  (set (for [[cell n] (frequencies (mapcat neighbours cells))
             :when (or (= n 3)
                       (and (= n 2) (contains? cells cell)))]
         cell)))

(defn generations [n cells]
  (iterate-n n step cells))

(defn parse
  "The set of cells that a drawing shows as #."
  [lines]
  (set (apply concat
              (map-indexed (fn [y line]
                             (keep-indexed (fn [x c] (if (= c "#") [x y])) line))
                           lines))))

(defn draw [cells [width height]]
  (for [y (range height)]
    (join "" (for [x (range width)]
               (if (contains? cells [x y]) "#" ".")))))

(defn shifted [cells dx dy]
  (set (map (fn [[x y]] [(+ x dx) (+ y dy)]) cells)))

(defn show
  "Draws several generations beside each other."
  [title cells n size]
  (println title)
  (let [drawings (map (fn [cells] (draw cells size)) (generations n cells))]
    (run! println (apply map (fn [& lines] (str "  " (join "   " lines))) drawings))))

(def blinker (parse ["....."
                     "..#.."
                     "..#.."
                     "..#.."
                     "....."]))

(def glider (parse [".#...."
                    "..#..."
                    "###..."
                    "......"
                    "......"]))

(def acorn (parse [".#....."
                   "...#..."
                   "##..###"]))

(show "The blinker:" blinker 3 [5 5])
(println "It returns after two generations:" (= blinker (apply-n 2 step blinker)))

(show "The glider:" glider 5 [6 6])
(println "After four generations it is itself, one cell further:"
         (= (apply-n 4 step glider) (shifted glider 1 1)))

(println "The acorn's cells, generation by generation:" (map count (generations 16 acorn)))
