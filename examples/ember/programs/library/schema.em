; Tables with checked rows. `deftable` makes the check from the description of the columns while the program is
; compiled, so that making a row runs straight-line code.

(ns library.schema
  (:require [library.text :as text]))

(def kinds
  "The predicate and the noun for each kind of column."
  {:text [`string? "a text"]
   :int [`int? "a whole number"]
   :flag [`boolean? "true or false"]})

(defn column-test
  "A form that raises an error unless the row's column is what it should be."
  [table row [column kind]]
  (let [[pred noun] (or (get kinds kind)
                        (throw (ex-info (str table ": no kind of column is called " kind) {:kind kind})))]
    `(if (~pred (get ~row ~column))
       nil
       (throw (ex-info (str ~(str table ": " (name column) " should be " noun ", not ")
                            (pr-str (get ~row ~column)))
                       {:column ~column})))))

(defn check-extra [table columns row]
  (let [extra (remove columns (keys row))]
    (when (seq extra)
      (throw (ex-info (str table ": unknown column " (text/listing extra)) {:columns extra})))))

(defmacro checker
  "A function that returns a row of the table, or raises what is wrong with it."
  [table columns]
  (let [row (gensym "row")]
    `(fn [~row]
       ~@(map (fn [column] (column-test table row column)) columns)
       (check-extra ~(str table) ~(set (keys columns)) ~row)
       ~row)))

(defn rows-from
  "Rows from lists of values in the order of `columns`."
  [check columns lists]
  (mapv (fn [values]
          (assert (= (count values) (count columns))
                  (str "a row needs " (count columns) " values: " (pr-str values)))
          (check (zipmap columns values)))
        lists))

(defmacro deftable
  "(deftable name [column kind ...] [value ...] ...): a relation with these rows, and name-row, which checks one more"
  [name columns & lists]
  (let [described (partition 2 columns)
        check (symbol (str name "-row"))]
    `(do
       (def ~check (checker ~name ~(into {} (map vec described))))
       (def ~name (rows-from ~check ~(mapv first described) ~(vec lists))))))
