; House rules as data and code: a rule has a condition, and a reason that may use what the condition saw.

(ns library.rules)

(defn facts
  "The bindings under which a rule's forms are compiled: a name for each fact."
  [names situation]
  (vec (mapcat (fn [name] [name `(get ~situation ~(keyword (str name)))]) names)))

(defn rule-clause
  "One clause of the nested conditions that a set of rules becomes."
  [[kind condition & reason] otherwise]
  (case kind
    unless `(if ~condition ~otherwise (str ~@reason))
    refuse-if `(if ~condition (str ~@reason) ~otherwise)
    (throw (ex-info (str "a rule is (unless ...) or (refuse-if ...), not " (pr-str kind)) {:kind kind}))))

(defmacro defrules
  "(defrules name docstring [fact ...] rule ...): a function from a situation, which is a map with these facts, to the
  reason of the first rule that is broken, or nil. Rules: (unless condition reason...), (refuse-if condition reason...)"
  [name doc names & rules]
  (let [situation (gensym "situation")]
    `(defn ~name ~doc [~situation]
       (let ~(facts names situation)
         ~(reduce (fn [otherwise rule] (rule-clause rule otherwise)) nil (reverse rules))))))
