; Relations: vectors of rows, each row a map from columns to values, and the algebra on them.
; Every function takes the relation first, so that they can be threaded.

(ns library.relation
  (:require [library.text :as text]))

(defn columns [rows]
  (set (keys (first rows))))

(defn check-columns
  "The rows, if they have the columns."
  [rows wanted]
  (let [there (columns rows)
        missing (remove there wanted)]
    (if (or (empty? rows) (empty? missing))
      rows
      (throw (ex-info (str "no column " (text/listing missing) " among " (text/listing there))
                      {:missing missing})))))

(defn where [rows pred]
  (filterv pred rows))

(defn select [rows wanted]
  (mapv (fn [row] (select-keys row wanted))
        (check-columns rows wanted)))

(defn extend
  "Rows with the columns of (f row) added."
  [rows f]
  (mapv (fn [row] (merge row (f row))) rows))

(defn rename [rows names]
  (mapv (fn [row] (rename-keys row names)) rows))

(defn join
  "Each row with each of `others` whose column `right` equals its column `left`.
  A column that both have keeps the value of the left one."
  [rows others left right]
  (let [partners (group-by right (check-columns others [right]))]
    (vec (for [row (check-columns rows [left])
               other (get partners (get row left))]
           (merge (dissoc other right) row)))))

(defn group
  "One row for each combination of values in the columns `by`: these values, and what (f rows) gives."
  [rows by f]
  (vec (for [[shared members] (group-by (fn [row] (select-keys row by)) (check-columns rows by))]
         (merge shared (f members)))))

(defn order
  "Rows sorted by (f row)."
  [rows f]
  (vec (sort-by f rows)))

(defn column
  "The values of one column."
  [rows name]
  (mapv name (check-columns rows [name])))

(defn limit [rows n]
  (vec (take n rows)))
