; A compiler and an interpreter for a language of eight letters: > < + - . , [ ]
; The program becomes a tree in which runs of the same letter are one step, and the common loop [-] is one too.
; Shows recursive functions over trees, `case`, `loop` with destructuring, and errors with data.

(ns brainf)

; A step is [:add n], [:move n], [:print], [:clear] or [:loop steps].

(defn add-step
  "Appends a step; joins it with the last one when both add or both move."
  [steps [kind n :as step]]
  (let [[last-kind last-n] (peek steps)]
    (if (and (= kind last-kind) (contains? #{:add :move} kind))
      (conj (pop steps) [kind (+ last-n n)])
      (conj steps step))))

(defn loop-step [steps]
  (if (contains? #{[[:add 1]] [[:add -1]]} steps)
    [:clear]
    [:loop steps]))

(defn fail [message position]
  (throw (ex-info (str message " at " position) {:position position})))

(defn parse
  "The steps of a program: a stack of unfinished loops, each with the place where it began."
  [source]
  (loop [letters (seq source)
         position 0
         steps []
         open ()]
    (if (nil? letters)
      (if (empty? open)
        steps
        (fail "[ without ]" (second (first open))))
      (let [more (next letters)
            after (inc position)]
        (case (first letters)
          ">" (recur more after (add-step steps [:move 1]) open)
          "<" (recur more after (add-step steps [:move -1]) open)
          "+" (recur more after (add-step steps [:add 1]) open)
          "-" (recur more after (add-step steps [:add -1]) open)
          "." (recur more after (conj steps [:print]) open)
          "[" (recur more after [] (conj open [steps position]))
          "]" (if (empty? open)
                (fail "] without [" position)
                (let [[outer] (first open)]
                  (recur more after (conj outer (loop-step steps)) (rest open))))
          (recur more after steps open))))))

(defn cell [tape at] (get tape at 0))

(declare run)

(defn run-step
  "The machine after one step: the tape is a map, `at` the place of the head, `out` what was printed."
  [{:keys [tape at out] :as machine} [kind n]]
  (case kind
    :add (assoc machine :tape (assoc tape at (mod (+ (cell tape at) n) 256)))
    :move (assoc machine :at (+ at n))
    :print (assoc machine :out (conj out (cell tape at)))
    :clear (assoc machine :tape (assoc tape at 0))
    :loop (loop [machine machine]
            (if (= 0 (cell (:tape machine) (:at machine)))
              machine
              (recur (run machine n))))))

(defn run [machine steps]
  (reduce run-step machine steps))

(defn output [source]
  (let [machine (run {:tape {} :at 0 :out []} (parse source))]
    (join "" (map char-from (:out machine)))))

(def hello
  "++++++++[>++++[>++>+++>+++>+<<<<-]>+>+>->>+[<]<-]>>.>---.+++++++..+++.>>.<-.<.+++.------.--------.>>+.>++.")

(def squares
  ; Every character that is no instruction is a comment, so the program explains itself.
  "++++++++++++++++ sixteen squares to print
   >+               the distance to the next square
   <[
     >>[->+>+<<]>>[-<<+>>]<                    copy the square
     >++++++++++<[->-[>+>>]>[+[-<+>]>+>>]<<<<<]  divide by ten
     >[-]>>                                    keep the remainder
     >++++++++++<[->-[>+>>]>[+[-<+>]>+>>]<<<<<]  divide by ten again
     >[-]>>
     >++++++[-<++++++++>]<.[-]                 the hundreds
     ++++++[-<++++++++>]<.[-]                  the tens
     <<<>++++++[-<++++++++>]<.[-]              the ones
     ++++++++[->++++<]>.[-]<                   a blank
     <<<<[->+>+<<]>>[-<<+>>]<<                 add the distance
     ++<-
   ]
   ++++++++++.")

(println "Steps of [-]>+++<:" (parse "[-]>+++<"))
(print (output hello))
(println "Squares:" (trim (output squares)))

(doseq [source ["+[>+" "+]" "[[]"]]
  (try
    (parse source)
    (catch e
      (println (pr-str source) "->" (ex-message e)))))
