; The desk: lends and takes back. The library's state is a map of the loans and the fines; an event gives the next one.

(ns library.desk
  (:require [library.text :as text]
            [library.query :refer [query]]
            [library.rules :refer [defrules]]
            [library.data :refer [books members]]))

(def days-to-keep 14)
(def most-books 3)
(def fine-per-day 10)

(def opening
  "The state before the first event."
  {:loans [] :fines {}})

(defn find-row [rows id]
  (first-where (fn [row] (= (:id row) id)) rows))

(defn member-name [id]
  (:name (find-row members id) (str "stranger " id)))

(defn book-title [id]
  (:title (find-row books id)))

(defn situation
  "What the rules look at."
  [{:keys [loans fines]} day member book]
  (let [theirs (query (from loans) (where (= :member member)))]
    {:member (find-row members member)
     :book (find-row books book)
     :held (count theirs)
     :late (query (from theirs) (where (> day (+ :day days-to-keep))))
     :out (count (query (from loans) (where (= :book book))))
     :same (count-where (fn [loan] (= (:book loan) book)) theirs)
     :fine (get fines member 0)}))

(defrules lending-refusal
  "Why a member may not have a book, or nil."
  [member book held late out same fine]
  (unless member "we do not know you")
  (unless book "we have no such book")
  (refuse-if (and (:child member) (= (:title book) "Frankenstein")) "it is not for children")
  (refuse-if (seq late) "first bring back " (text/listing (map (comp book-title :book) late)))
  (refuse-if (> fine 50) "there is a fine of " (text/money fine))
  (refuse-if (>= held most-books) "you have " held " books already")
  (refuse-if (> same 0) "you have it already")
  (refuse-if (>= out (:copies book)) "all " out " copies are out"))

(defn lend [state day member book]
  (let [reason (lending-refusal (situation state day member book))]
    (if reason
      [state (str "is refused " (or (book-title book) book) ": " reason)]
      [(update state :loans conj {:member member :book book :day day})
       (str "takes " (book-title book))])))

(defn days-late [loan day]
  (max 0 (- day (:day loan) days-to-keep)))

(defn take-back [state day member book]
  (let [mine? (fn [loan] (and (= (:member loan) member) (= (:book loan) book)))
        loan (first-where mine? (:loans state))]
    (if (nil? loan)
      [state (str "cannot return " (book-title book) ", which was not lent")]
      (let [late (days-late loan day)
            fine (* late fine-per-day)]
        [(cond-> (update state :loans (partial filterv (complement mine?)))
           (> fine 0) (update-in [:fines member] (fnil + 0) fine))
         (str "returns " (book-title book)
              (if (> late 0) (str ", " late " days late, and owes " (text/money fine)) ""))]))))

(defn handle
  "The state after an event, and the line for the journal."
  [state [kind day member book]]
  (let [[state what] (case kind
                       :lend (lend state day member book)
                       :return (take-back state day member book))]
    [state (str "day " (pad-left 2 day) ": " (member-name member) " " what)]))
