; Text for people: headings, tables, lists, amounts of money.

(ns library.text)

(defn heading [title]
  (println)
  (println title)
  (println (str-repeat (count title) "-")))

(defn cell [value]
  (if (keyword? value) (name value) (str value)))

(defn column-width [column rows]
  (reduce max (count (name column)) (map (fn [row] (count (cell (get row column)))) rows)))

(defn aligned
  "Numbers to the right, the rest to the left."
  [width value]
  (if (number? value)
    (pad-left width value)
    (pad-right width (cell value))))

(defn trim-right [s]
  (join "" (reverse (drop-while (partial = " ") (reverse s)))))

(defn print-table
  "The columns of the rows under their names."
  [columns rows]
  (let [widths (mapv (fn [column] (column-width column rows)) columns)
        line (fn [values] (println (trim-right (join "  " (map aligned widths values)))))]
    (line columns)
    (line (map (fn [width] (str-repeat width "=")) widths))
    (doseq [row rows]
      (line (map (partial get row) columns)))))

(defn listing
  "a, b and c"
  [items]
  (cond
    (empty? items) "nothing"
    (= (count items) 1) (str (first items))
    :else (str (join ", " (butlast items)) " and " (last items))))

(defn money
  "An amount in cents as a price."
  [cents]
  (str (quot cents 100) "." (pad-left 2 "0" (rem cents 100))))

(defmacro complaint
  "What the error says that the form raises."
  [form]
  `(try
     (do ~form "no complaint")
     (catch e# (ex-message e#))))
