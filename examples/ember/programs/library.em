; A lending library on top of a small relational engine that is itself written as macros.
;
; library/text.em      tables and sentences as text
; library/relation.em  relations, which are vectors of rows, and the algebra on them
; library/schema.em    `deftable`: tables whose rows are checked when they are made
; library/query.em     `query`: clauses become a pipeline of the algebra while the program is compiled
; library/rules.em     `defrules`: the house rules, each with a condition and a reason
; library/data.em      who and what there is
; library/desk.em      lending and returning, one day after the other
;
; Shows macros that have functions to help them, macros of one namespace used in several others, and a program whose
; state is a value that is handed on.

(ns library
  (:require [library.text :as text :refer [heading]]
            [library.relation :as relation]
            [library.query :as query :refer [query defquery]]
            [library.data :as data :refer [books authors members]]
            [library.desk :as desk]))

; ---------------------------------------------------------------------------------------------------------------
(heading "The shelves")

(text/print-table
  [:title :author :year]
  (query
    (from books)
    (join authors :author :id)
    (rename {:name :author})
    (order :year)
    (select :title :author :year)))

(heading "Old books, by hand and by query")

(let [by-hand (->> books
                   (filter (fn [row] (< (:year row) 1850)))
                   (map (fn [row] (select-keys row [:title :year])))
                   (sort-by :year)
                   vec)
      by-query (query
                 (from books)
                 (where (< :year 1850))
                 (select :title :year)
                 (order :year))]
  (text/print-table [:year :title] by-query)
  (println "They are the same:" (= by-hand by-query)))

(heading "Authors with several books, and long titles")

(text/print-table
  [:name :books :first :last :copies]
  (query
    (from books)
    (join authors :author :id)
    (group [:name]
      (books (count rows))
      (first (reduce min (column :year)))
      (last (reduce max (column :year)))
      (copies (sum (column :copies))))
    (where (> :books 1))
    (order (- :books) :name)))

; The three with the most words in their titles, as far as blanks tell.
(text/print-table
  [:title :words]
  (query
    (from books)
    (extend (words (count (words :title))))
    (order (- :words) :title)
    (select :title :words)
    (limit 3)))

(heading "Centuries")

(text/print-table
  [:century :books :titles]
  (query
    (from books)
    (extend (century (inc (quot :year 100))))
    (group [:century]
      (books (count rows))
      (titles (join ", " (sort (column :title)))))
    (order :century)))

; ---------------------------------------------------------------------------------------------------------------
(heading "Three weeks at the desk")

(def events
  [[:lend 1 "m1" "b1"]
   [:lend 1 "m1" "b4"]
   [:lend 1 "m2" "b4"]
   [:lend 2 "m3" "b4"]
   [:lend 2 "m9" "b1"]
   [:lend 3 "m1" "b5"]
   [:lend 3 "m1" "b6"]
   [:return 9 "m2" "b4"]
   [:lend 9 "m3" "b4"]
   [:lend 18 "m1" "b7"]
   [:return 20 "m1" "b1"]
   [:return 20 "m1" "b4"]
   [:lend 20 "m1" "b2"]
   [:return 20 "m1" "b5"]
   [:lend 20 "m1" "b2"]
   [:return 20 "m2" "b8"]
   [:lend 21 "m4" "b3"]
   [:lend 21 "m4" "b9"]
   [:lend 21 "m4" "b9"]
   [:lend 22 "m2" "b42"]])

(def final
  (reduce (fn [state event]
            (let [[state line] (desk/handle state event)]
              (println line)
              state))
          desk/opening
          events))

(heading "What is out at the end")

(text/print-table
  [:title :member :day :due]
  (query
    (from (:loans final))
    (join books :book :id)
    (join members :member :id)
    (extend (member :name)
            (due (+ :day desk/days-to-keep)))
    (order :day :title)
    (select :title :member :day :due)))

(heading "Fines")

(doseq [[member fine] (:fines final)]
  (println (desk/member-name member) "owes" (text/money fine)))

(defquery loans-of
  "The titles that a member has, in alphabetical order."
  [loans who]
  (from loans)
  (where (= :member who))
  (join books :book :id)
  (order :title)
  (select :title))

(heading "Who has what")

(doseq [{:keys [id name]} members]
  (println (str name ":")
           (text/listing (map :title (loans-of (:loans final) id)))))

; ---------------------------------------------------------------------------------------------------------------
(heading "Mistakes are caught")

(println (text/complaint (data/books-row {:id "b99" :title "No Author" :author 7 :year 1999 :copies 1})))
(println (text/complaint (data/books-row {:id "b99" :title "No Year" :author "a1" :copies 1})))
(println (text/complaint (data/books-row {:id "b99" :title "Extra" :author "a1" :year 1999 :copies 1 :colour :red})))
(println (text/complaint (relation/check-columns books [:title :shelf])))
(println (text/complaint (query/plan '((where (> :year 1900))))))
(println (text/complaint (query/plan '((from books) (sort :year)))))

(println "The steps of a query:"
         (map first (drop 2 (query/plan '((from books) (where (< :year 1900)) (select :title))))))
