; The library's tables.

(ns library.data
  (:require [library.schema :refer [deftable]]))

(deftable authors
  [:id :text :name :text]
  ["a1" "Jane Austen"]
  ["a2" "Mary Shelley"]
  ["a3" "Herman Melville"]
  ["a4" "Leo Tolstoy"]
  ["a5" "Virginia Woolf"])

(deftable books
  [:id :text :title :text :author :text :year :int :copies :int]
  ["b1" "Emma" "a1" 1815 2]
  ["b2" "Persuasion" "a1" 1817 1]
  ["b3" "Frankenstein" "a2" 1818 3]
  ["b4" "Moby-Dick" "a3" 1851 2]
  ["b5" "War and Peace" "a4" 1869 1]
  ["b6" "Anna Karenina" "a4" 1878 1]
  ["b7" "Orlando" "a5" 1928 1]
  ["b8" "The Waves" "a5" 1931 1]
  ["b9" "Sense and Sensibility" "a1" 1811 1])

(deftable members
  [:id :text :name :text :child :flag]
  ["m1" "Ada" false]
  ["m2" "Ben" false]
  ["m3" "Cleo" false]
  ["m4" "Dan" true])
