; Queries. A query is written as clauses, and turned into a pipeline of the algebra of library.relation while the
; program is compiled. In the forms inside a clause a keyword stands for that column of the row.

(ns library.query
  (:require [library.relation :as relation]))

; ---------------------------------------------------------------------------------------------------------------
; What the macro does: functions from forms to forms

(defn columns->gets
  "`form` with (get row :column) in the place of each keyword."
  [row form]
  (cond
    (keyword? form) `(get ~row ~form)
    (list? form) (if (= (first form) 'quote)
                   form
                   (map (partial columns->gets row) form))
    (vector? form) (mapv (partial columns->gets row) form)
    :else form))

(defn row-function
  "A function of a row, from a form about columns."
  [form]
  (let [row (gensym "row")]
    `(fn [~row] ~(columns->gets row form))))

(defn named-columns
  "The clauses ((name form) ...) as a map form. `translate` makes code of each form."
  [clauses translate]
  (into {} (map (fn [[column form]] [(keyword (name column)) (translate form)]) clauses)))

(defn extend-function [clauses]
  (let [row (gensym "row")]
    `(fn [~row] ~(named-columns clauses (partial columns->gets row)))))

(defn column-calls
  "In a group, `rows` is its rows and (column :name) the values of one column."
  [rows form]
  (cond
    (= form 'rows) rows
    (list? form) (if (= (first form) 'column)
                   `(relation/column ~rows ~(second form))
                   (map (partial column-calls rows) form))
    :else form))

(defn group-function [clauses]
  (let [rows (gensym "rows")]
    `(fn [~rows] ~(named-columns clauses (partial column-calls rows)))))

(defn clause->step
  "The step of the pipeline that a clause stands for."
  [[kind & parts :as clause]]
  (case kind
    where `(relation/where ~(row-function (if (next parts) (cons `and parts) (first parts))))
    select `(relation/select ~(vec parts))
    extend `(relation/extend ~(extend-function parts))
    rename `(relation/rename ~(first parts))
    join (let [[others left right] parts]
           `(relation/join ~others ~left ~right))
    group (let [[by & clauses] parts]
            `(relation/group ~by ~(group-function clauses)))
    order `(relation/order ~(row-function (vec parts)))
    limit `(relation/limit ~(first parts))
    (throw (ex-info (str "no clause is called " (pr-str kind)) {:clause clause}))))

(defn plan
  "The pipeline for the clauses of a query."
  [clauses]
  (let [[source & more] clauses]
    (if (and (list? source) (= (first source) 'from))
      `(-> ~(second source) ~@(map clause->step more))
      (throw (ex-info (str "a query begins with (from relation), not with " (pr-str source)) {:clause source})))))

; ---------------------------------------------------------------------------------------------------------------
; The macros

(defmacro query
  "(query (from relation) clause...): see clause->step"
  [& clauses]
  (plan clauses))

(defmacro defquery
  "A query with parameters."
  [name doc params & clauses]
  `(defn ~name ~doc ~params
     ~(plan clauses)))
