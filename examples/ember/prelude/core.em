; ember.core: the part of the language that is written in the language.
;
; The host evaluates this file form by form, and every form is compiled before the next one is read. So the order
; matters: the first forms have nothing but special forms and natives, and each macro serves what comes below it.
; Nothing here touches mutable state while it expands; an expansion that did could not be kept in the cache.

; ---------------------------------------------------------------------------------------------------------------
; Destructuring. Patterns become plain `let*` bindings: a vector of names and forms.

(def ^:private bind-pattern)

(def ^:private rest-form
  "The form for what follows the first `index` items of `holder`: nil when nothing does."
  (fn* rest-form [holder index]
    (if (= index 0)
      `(seq ~holder)
      (if (= index 1)
        `(next ~holder)
        `(seq (drop ~index ~holder))))))

(def ^:private bind-rest
  "A map pattern after `&` takes the rest as alternating keys and values."
  (fn* bind-rest [bindings pattern form]
    (if (map? pattern)
      (bind-pattern bindings pattern `(apply hash-map ~form))
      (bind-pattern bindings pattern form))))

(def ^:private bind-vector
  (fn* bind-vector [bindings pattern holder]
    (loop* [bindings bindings items (seq pattern) index 0]
      (if (nil? items)
        bindings
        (let* [item (first items)]
          (if (= item '&)
            (recur (bind-rest bindings (first (next items)) (rest-form holder index))
                   (next (next items))
                   index)
            (if (= item :as)
              (recur (conj bindings (first (next items)) holder) (next (next items)) index)
              (recur (bind-pattern bindings item `(nth ~holder ~index nil))
                     (next items)
                     (+ index 1)))))))))

(def ^:private bind-key
  (fn* bind-key [bindings local key defaults holder]
    (conj bindings
          local
          (if (contains? defaults local)
            `(get ~holder ~key ~(get defaults local))
            `(get ~holder ~key)))))

(def ^:private bind-keys
  "Binds each of `names` to the value under the key that `key-of` makes of the name."
  (fn* bind-keys [bindings names key-of defaults holder]
    (reduce (fn* [bindings item]
              (bind-key bindings (symbol (name item)) (key-of item) defaults holder))
            bindings
            names)))

(def ^:private keyword-of
  (fn* keyword-of [item]
    (if (namespace item)
      (keyword (namespace item) (name item))
      (keyword (name item)))))

(def ^:private bind-map
  (fn* bind-map [bindings pattern holder]
    (let* [defaults (get pattern :or {})]
      (reduce (fn* [bindings entry]
                (let* [left (nth entry 0)
                       right (nth entry 1)]
                  (if (= left :keys)
                    (bind-keys bindings right keyword-of defaults holder)
                    (if (= left :strs)
                      (bind-keys bindings right name defaults holder)
                      (if (= left :syms)
                        (bind-keys bindings right (fn* [item] (list 'quote item)) defaults holder)
                        (if (= left :as)
                          (conj bindings right holder)
                          (if (= left :or)
                            bindings
                            (if (symbol? left)
                              (bind-key bindings left right defaults holder)
                              (bind-pattern bindings left `(get ~holder ~right))))))))))
              bindings
              pattern))))

(def ^:private bind-pattern
  "Adds to `bindings` what `pattern` takes from `form`. The form is evaluated once."
  (fn* bind-pattern [bindings pattern form]
    (if (symbol? pattern)
      (conj bindings pattern form)
      (let* [holder (gensym "value")
             bindings (conj bindings holder form)]
        (if (vector? pattern)
          (bind-vector bindings pattern holder)
          (if (map? pattern)
            (bind-map bindings pattern holder)
            (throw (ex-info (str "cannot destructure with the pattern " (pr-str pattern)) {:pattern pattern}))))))))

(def ^:private pairs
  "The items of a binding vector, two by two."
  (fn* pairs [macro bindings]
    (if (if (vector? bindings) (= (rem (count bindings) 2) 0) false)
      (loop* [items (seq bindings) out []]
        (if (nil? items)
          out
          (recur (next (next items)) (conj out [(first items) (first (next items))]))))
      (throw (ex-info (str macro " needs a vector with an even number of forms") {:bindings bindings})))))

(def ^:private plain?
  "Are all of these names, so that there is nothing to destructure?"
  (fn* plain? [patterns]
    (reduce (fn* [plain pattern] (if (symbol? pattern) plain (reduced false))) true patterns)))

(def ^:private destructure
  (fn* destructure [pairs]
    (reduce (fn* [bindings pair] (bind-pattern bindings (nth pair 0) (nth pair 1))) [] pairs)))

(def ^:macro let
  "(let [pattern value ...] body...)"
  (fn* let [bindings & body]
    (let* [pairs (pairs "let" bindings)]
      (cons 'let* (cons (destructure pairs) body)))))

; ---------------------------------------------------------------------------------------------------------------
; Functions

(def ^:private destructured-arity
  "([a [b c]] body...) as fn* takes it: a made-up name for each pattern, taken apart in the body."
  (fn* destructured-arity [arity]
    (loop* [items (seq (first arity)) params [] bindings [] variadic false]
      (if (nil? items)
        (list params (cons 'let* (cons bindings (rest arity))))
        (let* [item (first items)]
          (if (symbol? item)
            (recur (next items) (conj params item) bindings (if variadic true (= item '&)))
            (let* [param (gensym "param")
                   form (if (if variadic (map? item) false) `(apply hash-map ~param) param)]
              (recur (next items)
                     (conj params param)
                     (if (vector? item)
                       (bind-vector bindings item param)
                       (if (= form param)
                         (bind-map bindings item param)
                         (bind-pattern bindings item form)))
                     variadic))))))))

(def ^:private arity
  (fn* arity [arity]
    (if (if (list? arity) (vector? (first arity)) false)
      (if (plain? (first arity)) arity (destructured-arity arity))
      (throw (ex-info (str "a function needs a vector of parameters, not " (pr-str (first arity))) {:arity arity})))))

(def ^:private function
  "The fn* form for `decl`: [params] body..., or ([params] body...) once or several times."
  (fn* function [prefix decl]
    (let* [arities (if (list? (first decl)) decl (list decl))]
      (concat (cons 'fn* prefix)
              (reverse (reduce (fn* [out item] (cons (arity item) out)) () arities))))))

(def ^:macro fn
  "(fn name? [params] body...) or (fn name? ([params] body...) ...), with patterns as parameters"
  (fn* fn [& decl]
    (if (symbol? (first decl))
      (function (list (first decl)) (rest decl))
      (function () decl))))

(def ^:private definition
  "The def form of defn and its like: `flagged` is the name with its flags; `decl` may begin with a docstring."
  (fn* definition [flagged name decl]
    (if (if (string? (first decl)) (next decl) false)
      (list 'def flagged (first decl) (function (list name) (rest decl)))
      (list 'def flagged (function (list name) decl)))))

(def ^:macro defn
  "(defn name docstring? [params] body...) or with several arities"
  (fn* defn [name & decl]
    (definition name name decl)))

(def ^:macro defn-
  "A defn that only its own namespace sees"
  (fn* defn- [name & decl]
    (definition (with-flag name :private) name decl)))

(def ^:macro defmacro
  "(defmacro name docstring? [params] body...): a function from forms to a form, run when the compiler meets its name"
  (fn* defmacro [name & decl]
    (definition (with-flag name :macro) name decl)))

(defmacro declare
  "Names that are defined further down"
  [& names]
  (cons 'do (reverse (reduce (fn* [out name] (cons (list 'def name) out)) () names))))

; ---------------------------------------------------------------------------------------------------------------
; Conditions

(defn- body
  "One form for many: no `do` around a single one."
  [forms]
  (if (next forms) (cons 'do forms) (first forms)))

(defn- odd-count? [forms] (= (rem (count forms) 2) 1))

(defmacro when
  "(when test body...)"
  [test & forms]
  (list 'if test (body forms)))

(defmacro when-not [test & forms]
  (list 'if test nil (body forms)))

(defmacro if-not
  ([test then] (list 'if test nil then))
  ([test then else] (list 'if test else then)))

(defn- one-binding [macro bindings]
  (let [found (pairs macro bindings)]
    (if (= (count found) 1)
      (first found)
      (throw (ex-info (str macro " binds one pattern to one value") {:bindings bindings})))))

(defmacro if-let
  "(if-let [pattern value] then else): `then` with the pattern bound when the value is true"
  ([bindings then] `(if-let ~bindings ~then nil))
  ([bindings then else]
   (let [[pattern value] (one-binding "if-let" bindings)]
     `(let* [value# ~value]
        (if value# (let [~pattern value#] ~then) ~else)))))

(defmacro when-let [bindings & forms]
  (let [[pattern value] (one-binding "when-let" bindings)]
    (if (symbol? pattern)
      `(let* [~pattern ~value] (if ~pattern ~(body forms)))
      `(let* [value# ~value]
         (if value# (let [~pattern value#] ~@forms))))))

(defmacro if-some
  "if-let for values of which only nil counts as missing"
  ([bindings then] `(if-some ~bindings ~then nil))
  ([bindings then else]
   (let [[pattern value] (one-binding "if-some" bindings)]
     `(let* [value# ~value]
        (if (nil? value#) ~else (let [~pattern value#] ~then))))))

(defmacro when-some [bindings & forms]
  (let [[pattern value] (one-binding "when-some" bindings)]
    `(let* [value# ~value]
       (if (nil? value#) nil (let [~pattern value#] ~@forms)))))

(defmacro cond
  "(cond test value ... :else value)"
  [& clauses]
  (if (odd-count? clauses)
    (throw (ex-info "cond needs an even number of forms" {}))
    (loop* [clauses (reverse clauses) form nil]
      (if (seq clauses)
        (let [[value test & clauses] clauses]
          (recur clauses
                 (if (keyword? test)
                   value
                   (if (nil? form) (list 'if test value) (list 'if test value form)))))
        form))))

(defn- chain
  "Nested ifs: (step form rest) for each form but the last. A form is evaluated once."
  [forms step]
  (let [backwards (reverse forms)]
    (loop* [forms (next backwards) out (first backwards)]
      (if (nil? forms)
        out
        (recur (next forms)
               (let [form (first forms)]
                 (if (symbol? form)
                   (step form out)
                   (let [value (gensym "value")]
                     (list 'let* [value form] (step value out))))))))))

(defmacro and
  ([] true)
  ([form] form)
  ([form & more] (chain (cons form more) (fn [value others] (list 'if value others value)))))

(defmacro or
  ([] nil)
  ([form] form)
  ([form & more] (chain (cons form more) (fn [value others] (list 'if value value others)))))

(defn- constant
  "A form that evaluates to `value` itself."
  [value]
  (if (or (symbol? value) (coll? value)) (list 'quote value) value))

(defn- case-test [value choice]
  (cond
    (not (list? choice)) `(= ~value ~(constant choice))
    (= (count choice) 1) `(= ~value ~(constant (first choice)))
    :else `(contains? ~(list 'quote (set choice)) ~value)))

(defn- case-clauses [value clauses]
  (cond
    (nil? clauses) `(throw (ex-info (str "no case for " (pr-str ~value)) {:value ~value}))
    (nil? (next clauses)) (first clauses)
    :else (let [[choice result & clauses] clauses]
            (list 'if (case-test value choice) result (case-clauses value clauses)))))

(defmacro case
  "(case value constant result ... default?): a constant is not evaluated; a list holds several of them"
  [value & clauses]
  (if (symbol? value)
    (case-clauses value (seq clauses))
    (let [name (gensym "value")]
      (list 'let* [name value] (case-clauses name (seq clauses))))))

(defn- condp-clauses [pred value clauses]
  (let [[test result more] clauses]
    (cond
      (nil? clauses) `(throw (ex-info (str "no clause for " (pr-str ~value)) {:value ~value}))
      (nil? (next clauses)) test
      (= result :>>) `(if-let [found# (~pred ~test ~value)]
                        (~more found#)
                        ~(condp-clauses pred value (seq (drop 3 clauses))))
      :else (list 'if (list pred test value) result (condp-clauses pred value (seq (drop 2 clauses)))))))

(defmacro condp
  "(condp pred value test result ... default?): the first result whose (pred test value) is true;
  test :>> f calls f with what the predicate returned"
  [pred value & clauses]
  (let [pred-name (gensym "pred")
        value-name (gensym "value")]
    (list 'let* [pred-name pred value-name value] (condp-clauses pred-name value-name (seq clauses)))))

(defmacro assert
  "Raises an error that shows `test` unless it is true."
  ([test] `(assert ~test ~(str "assertion failed: " (pr-str test))))
  ([test message] `(if ~test nil (throw (ex-info ~message {:assertion ~(constant test)})))))

(defmacro comment [& forms] nil)

; ---------------------------------------------------------------------------------------------------------------
; Threading

(defn- thread-first [value form]
  (if (list? form)
    (cons (first form) (cons value (rest form)))
    (list form value)))

(defn- thread-last [value form]
  (if (list? form)
    (concat form (list value))
    (list form value)))

(defmacro ->
  "(-> x (f a) g): (g (f x a))"
  [value & forms]
  (reduce thread-first value forms))

(defmacro ->>
  "(->> x (f a) g): (g (f a x))"
  [value & forms]
  (reduce thread-last value forms))

(defmacro as->
  "(as-> value name form ...): each form sees the value of the one before under the name"
  [value name & forms]
  (list 'let* (reduce (fn [bindings form] (conj bindings name form)) [name value] forms) name))

(defn- some-thread [thread value forms]
  (if (seq forms)
    (let [name (gensym "value")]
      `(let* [~name ~value]
         (if (nil? ~name) nil ~(some-thread thread (thread name (first forms)) (rest forms)))))
    value))

(defmacro some->
  "-> that stops at the first nil"
  [value & forms]
  (some-thread thread-first value forms))

(defmacro some->> [value & forms]
  (some-thread thread-last value forms))

(defn- cond-thread [macro thread value clauses]
  (let [name (gensym "value")
        step (fn [bindings [test form]]
               (conj bindings name (list 'if test (thread name form) name)))]
    (list 'let* (reduce step [name value] (pairs macro (vec clauses))) name)))

(defmacro cond->
  "(cond-> x test (f a) ...): -> through the forms whose test is true"
  [value & clauses]
  (cond-thread "cond->" thread-first value clauses))

(defmacro cond->> [value & clauses]
  (cond-thread "cond->>" thread-last value clauses))

(defmacro doto
  "Threads the value into each form for its effect, and returns the value."
  [value & forms]
  (let [name (gensym "value")
        calls (reduce (fn [calls form] (conj calls (thread-first name form))) [] forms)]
    `(let* [~name ~value] ~@calls ~name)))

; ---------------------------------------------------------------------------------------------------------------
; Loops

(defmacro loop
  "(loop [pattern value ...] body...): `recur` goes back to its head"
  [bindings & forms]
  (let [found (pairs "loop" bindings)
        step (fn [[outer inner heads] [pattern value]]
               (if (symbol? pattern)
                 [(conj outer pattern value) inner (conj heads pattern pattern)]
                 (let [head (gensym "head")]
                   [(bind-pattern (conj outer head value) pattern head)
                    (bind-pattern inner pattern head)
                    (conj heads head head)])))]
    (if (plain? (reduce (fn [patterns [pattern]] (conj patterns pattern)) [] found))
      (cons 'loop* (cons bindings forms))
      (let [[outer inner heads] (reduce step [[] [] []] found)]
        (list 'let* outer (list 'loop* heads (cons 'let* (cons inner forms))))))))

(defmacro while [test & forms]
  `(loop* [] (if ~test (do ~@forms (recur)))))

(defmacro dotimes
  "(dotimes [i n] body...): i from 0 up to n - 1"
  [bindings & forms]
  (let [[name limit] (one-binding "dotimes" bindings)]
    `(let* [limit# ~limit]
       (loop* [~name 0]
         (if (< ~name limit#)
           (do ~@forms (recur (+ ~name 1))))))))

(defn- levels
  "The bindings of doseq and for, as [pattern collection modifiers] for each level of nesting."
  [macro bindings]
  (reduce (fn [out [left right]]
            (if (keyword? left)
              (if (empty? out)
                (throw (ex-info (str macro " begins with a name and a collection, not with " left) {}))
                (let [[pattern coll modifiers] (peek out)]
                  (conj (pop out) [pattern coll (conj modifiers [left right])])))
              (conj out [left right []])))
          []
          (pairs macro bindings)))

(defn- modified
  "Wraps `inner` in the modifiers of its level. `skip` goes on with the next item, `stop` ends the level."
  [macro modifiers inner skip stop]
  (reduce (fn [form [kind value]]
            (case kind
              :let (list `let value form)
              :when (list 'if value form skip)
              :while (list 'if value form stop)
              (throw (ex-info (str macro " does not know the modifier " kind) {:modifier kind}))))
          inner
          (reverse modifiers)))

(defn- doseq-form [levels forms]
  (if (empty? levels)
    (body forms)
    (let [[pattern coll modifiers] (first levels)
          items (gensym "items")
          again `(recur (next ~items))
          inner `(do ~(doseq-form (rest levels) forms) ~again)]
      `(loop* [~items (seq ~coll)]
         (if (nil? ~items)
           nil
           (let [~pattern (first ~items)]
             ~(modified "doseq" modifiers inner again nil)))))))

(defmacro doseq
  "(doseq [pattern coll :let [...] :when test :while test ...] body...): for effects"
  [bindings & forms]
  (doseq-form (levels "doseq" bindings) forms))

(defn- for-form [levels out form]
  (if (empty? levels)
    `(conj ~out ~form)
    (let [[pattern coll modifiers] (first levels)
          items (gensym "items")
          again `(recur (next ~items) ~(for-form (rest levels) out form))]
      `(loop* [~items (seq ~coll) ~out ~out]
         (if (nil? ~items)
           ~out
           (let [~pattern (first ~items)]
             ~(modified "for" modifiers again `(recur (next ~items) ~out) out)))))))

(defmacro for
  "(for [pattern coll :let [...] :when test :while test ...] form): the list of what the form gives; the last level
  varies fastest"
  [bindings form]
  (let [out (gensym "out")]
    `(let* [~out ()]
       (reverse ~(for-form (levels "for" bindings) out form)))))

; ---------------------------------------------------------------------------------------------------------------
; Local functions, values that are made later

(defn- numbered [items]
  (reduce (fn [out item] (conj out [(count out) item])) [] items))

(defn- letfn-arity
  "Parameters are bound after the siblings, so that they may hide them; `recur` still meets the function itself."
  [siblings [params & forms]]
  (let [rename (fn [names item] (conj names (if (= item '&) item (gensym "param"))))
        names (reduce rename [] params)
        bind (fn [bindings [index item]]
               (let [name (nth names index)]
                 (cond
                   (= item '&) bindings
                   (and (> index 0) (= (nth params (- index 1)) '&)) (bind-rest bindings item name)
                   :else (bind-pattern bindings item name))))]
    (list names (cons 'let* (cons (reduce bind siblings (numbered params)) forms)))))

(defmacro letfn
  "(letfn [(name [params] body...) ...] body...): local functions that may call each other"
  [functions & forms]
  (let [table (gensym "table")
        index (gensym "index")
        siblings (reduce (fn [out [number [name]]] (conj out name (list table number))) [] (numbered functions))
        choose (reduce (fn [form [number [name & decl]]]
                         (let [arities (if (list? (first decl)) decl (list decl))
                               arities (reduce (fn [out item] (conj out (letfn-arity siblings item))) [] arities)
                               function (concat (list 'fn* name) arities)]
                           (if (nil? form)
                             function
                             (list 'if `(= ~index ~number) function form))))
                       nil
                       (reverse (numbered functions)))]
    `(let* [~table (fn* ~table [~index] ~choose)
            ~@siblings]
       ~@forms)))

(defmacro with-gensyms
  "(with-gensyms [a b] body...): binds each name to a symbol that occurs nowhere else, for the bodies of macros"
  [names & forms]
  (list 'let*
        (reduce (fn [bindings symbol] (conj bindings symbol `(gensym ~(name symbol)))) [] names)
        (body forms)))

(defmacro with-reset
  "(with-reset [atom value] body...): the atom holds the value while the body runs, and then what it held before"
  [bindings & forms]
  (let [[place value] (one-binding "with-reset" bindings)]
    `(let* [place# ~place
            before# (deref place#)]
       (reset! place# ~value)
       (try ~@forms (finally (reset! place# before#))))))

; ---------------------------------------------------------------------------------------------------------------
; Numbers

(defn even? [n] (= (rem n 2) 0))
(defn odd? [n] (not= (rem n 2) 0))

(defn clamp
  "`n`, or the bound that it lies beyond"
  [low high n]
  (min high (max low n)))

(defn gcd [a b]
  (if (= b 0) (abs a) (recur b (rem a b))))

(defn sum [numbers] (reduce + 0 numbers))
(defn product [numbers] (reduce * 1 numbers))

; ---------------------------------------------------------------------------------------------------------------
; Functions of functions

(defn identity [x] x)

(defn constantly
  "A function that returns `x` whatever it is given."
  [x]
  (fn [& args] x))

(defn complement
  "The opposite of a predicate."
  [pred]
  (fn
    ([x] (not (pred x)))
    ([x & more] (not (apply pred x more)))))

(defn comp
  "((comp f g) x): (f (g x))"
  ([] identity)
  ([f] f)
  ([f g]
   (fn
     ([] (f (g)))
     ([x] (f (g x)))
     ([x & more] (f (apply g x more)))))
  ([f g & more] (reduce comp (comp f g) more)))

(defn partial
  "`f` with its first arguments given."
  ([f] f)
  ([f a]
   (fn
     ([] (f a))
     ([x] (f a x))
     ([x y] (f a x y))
     ([x y & more] (apply f a x y more))))
  ([f a & given] (fn [& more] (apply f a (concat given more)))))

(defn juxt
  "((juxt f g) x): [(f x) (g x)]"
  [& fs]
  (fn [& args] (reduce (fn [out f] (conj out (apply f args))) [] fs)))

(defn fnil
  "`f` that takes `default` for a first argument of nil."
  [f default]
  (fn [x & more] (apply f (if (nil? x) default x) more)))

(defn memoize
  "`f` that remembers its results by its arguments."
  [f]
  (let [known (atom {})]
    (fn [& args]
      (if (contains? @known args)
        (get @known args)
        (let [result (apply f args)]
          (swap! known assoc args result)
          result)))))

(defn every-pred
  "A predicate that holds where all of `preds` do."
  [& preds]
  (fn [x] (reduce (fn [_ pred] (if (pred x) true (reduced false))) true preds)))

(defn some-fn
  "The first true result of `fs`, called with the same argument."
  [& fs]
  (fn [x] (reduce (fn [_ f] (let [found (f x)] (if found (reduced found) nil))) nil fs)))

(defn trampoline
  "Calls `f`, then what it returns for as long as that is a function: mutual recursion in constant space."
  [f & args]
  (loop [result (apply f args)]
    (if (fn? result) (recur (result)) result)))

(defmacro delay
  "A function without arguments that evaluates the body when it is first called, and remembers the result: see force"
  [& forms]
  `(memoize (fn* [] ~@forms)))

(defn force [delayed] (delayed))

; ---------------------------------------------------------------------------------------------------------------
; Sequences. All of them are eager; what is not said to be a vector is a list.

(defn ffirst [coll] (first (first coll)))
(defn nnext [coll] (next (next coll)))
(defn not-empty "`coll`, or nil when it is empty" [coll] (if (empty? coll) nil coll))

(defn butlast
  "All but the last item; nil when nothing is left."
  [coll]
  (seq (take (- (count coll) 1) coll)))

(defn empty
  "An empty collection of the same kind."
  [coll]
  (cond
    (vector? coll) []
    (map? coll) {}
    (set? coll) #{}
    (list? coll) ()))

(defn mapv
  "The vector of (f item)."
  ([f coll] (reduce (fn [out x] (conj out (f x))) [] coll))
  ([f a b]
   (loop [a (seq a) b (seq b) out []]
     (if (and a b)
       (recur (next a) (next b) (conj out (f (first a) (first b))))
       out)))
  ([f a b & more]
   (loop [colls (mapv seq (concat (list a b) more)) out []]
     (if (reduce (fn [_ coll] (if coll true (reduced false))) true colls)
       (recur (mapv next colls) (conj out (apply f (mapv first colls))))
       out))))

(defn map
  "The list of (f item), or of (f item-of-a item-of-b ...) until the shortest collection ends."
  ([f coll] (reverse (reduce (fn [out x] (conj out (f x))) () coll)))
  ([f a b] (apply list (mapv f a b)))
  ([f a b & more] (apply list (apply mapv f a b more))))

(defn mapcat
  "The results of map, put end to end."
  [f & colls]
  (apply concat (apply map f colls)))

(defn map-indexed
  "The list of (f index item)."
  [f coll]
  (loop [items (seq coll) index 0 out ()]
    (if items
      (recur (next items) (+ index 1) (conj out (f index (first items))))
      (reverse out))))

(defn filterv [pred coll]
  (reduce (fn [out x] (if (pred x) (conj out x) out)) [] coll))

(defn filter
  "The items for which `pred` is true."
  [pred coll]
  (reverse (reduce (fn [out x] (if (pred x) (conj out x) out)) () coll)))

(defn remove [pred coll]
  (reverse (reduce (fn [out x] (if (pred x) out (conj out x))) () coll)))

(defn keep
  "The results of `f` that are not nil."
  [f coll]
  (reverse (reduce (fn [out x] (let [y (f x)] (if (nil? y) out (conj out y)))) () coll)))

(defn keep-indexed [f coll]
  (remove nil? (map-indexed f coll)))

(defn some
  "The first true (pred item), else nil."
  [pred coll]
  (reduce (fn [_ x] (let [found (pred x)] (if found (reduced found) nil))) nil coll))

(defn every? [pred coll]
  (reduce (fn [_ x] (if (pred x) true (reduced false))) true coll))

(defn not-any? [pred coll] (not (some pred coll)))
(defn not-every? [pred coll] (not (every? pred coll)))

(defn first-where
  "The first item for which `pred` is true, else nil. Looks no further than that."
  [pred coll]
  (reduce (fn [_ x] (if (pred x) (reduced x) nil)) nil coll))

(defn index-where
  "The index of the first item for which `pred` is true, else nil."
  [pred coll]
  (loop [items (seq coll) index 0]
    (cond
      (nil? items) nil
      (pred (first items)) index
      :else (recur (next items) (+ index 1)))))

(defn count-where [pred coll]
  (reduce (fn [n x] (if (pred x) (+ n 1) n)) 0 coll))

(defn take-while [pred coll]
  (reverse (reduce (fn [out x] (if (pred x) (conj out x) (reduced out))) () coll)))

(defn drop-while [pred coll]
  (loop [items (seq coll)]
    (cond
      (nil? items) ()
      (pred (first items)) (recur (next items))
      :else items)))

(defn take-last [n coll] (drop (- (count coll) n) coll))
(defn drop-last [n coll] (take (- (count coll) n) coll))

(defn take-nth
  "Every n-th item, beginning with the first."
  [n coll]
  (keep-indexed (fn [index x] (if (= (rem index n) 0) x)) coll))

(defn nthrest [coll n] (drop n coll))
(defn nthnext [coll n] (seq (drop n coll)))
(defn split-at [n coll] [(take n coll) (drop n coll)])
(defn split-with [pred coll] [(take-while pred coll) (drop-while pred coll)])

(defn repeatedly
  "The results of n calls of `f`."
  [n f]
  (loop [n n out ()]
    (if (> n 0) (recur (- n 1) (conj out (f))) (reverse out))))

(defn iterate-n
  "The list of x, (f x), (f (f x)) ...: n items."
  [n f x]
  (loop [n n x x out ()]
    (if (> n 1)
      (recur (- n 1) (f x) (conj out x))
      (if (= n 1) (reverse (conj out x)) ()))))

(defn apply-n
  "`f` applied n times, beginning with x."
  [n f x]
  (if (> n 0) (recur (- n 1) f (f x)) x))

(defn reductions
  "The list of what reduce would have reached after each item, beginning with `init`."
  ([f coll] (if (empty? coll) (list (f)) (reductions f (first coll) (rest coll))))
  ([f init coll]
   (reverse (reduce (fn [out x] (conj out (f (first out) x))) (list init) coll))))

(defn run!
  "Calls `f` on each item, for its effects."
  [f coll]
  (reduce (fn [_ x] (f x) nil) nil coll))

(defn partition
  "Lists of n items each, `step` items apart; what is left over is dropped, or filled from `pad`."
  ([n coll] (partition n n coll))
  ([n step coll]
   (loop [items (seq coll) out ()]
     (let [part (take n items)]
       (if (= (count part) n)
         (recur (seq (drop step items)) (conj out part))
         (reverse out)))))
  ([n step pad coll]
   (loop [items (seq coll) out ()]
     (let [part (take n items)]
       (cond
         (nil? items) (reverse out)
         (= (count part) n) (recur (seq (drop step items)) (conj out part))
         :else (reverse (conj out (take n (concat part pad)))))))))

(defn partition-all
  "partition that keeps what is left over as a shorter list."
  [n coll]
  (partition n n () coll))

(defn partition-by
  "Splits where the value of `f` changes."
  [f coll]
  (if (empty? coll)
    ()
    (loop [items (next coll) key (f (first coll)) part (list (first coll)) out ()]
      (if items
        (let [x (first items)
              k (f x)]
          (if (= k key)
            (recur (next items) key (conj part x) out)
            (recur (next items) k (list x) (conj out (reverse part)))))
        (reverse (conj out (reverse part)))))))

(defn group-by
  "A map from (f item) to the vector of such items."
  [f coll]
  (reduce (fn [groups x]
            (let [key (f x)]
              (assoc groups key (conj (get groups key []) x))))
          {}
          coll))

(defn frequencies
  "A map from each item to how often it occurs."
  [coll]
  (reduce (fn [counts x] (assoc counts x (+ (get counts x 0) 1))) {} coll))

(defn interleave
  "One item of each in turn, until the shortest ends."
  [& colls]
  (apply concat (apply map list colls)))

(defn interpose
  "The items with `sep` between them."
  [sep coll]
  (rest (mapcat (fn [x] (list sep x)) coll)))

(defn distinct
  "The items without repetitions."
  [coll]
  (let [step (fn [[seen out] x]
               (if (contains? seen x)
                 [seen out]
                 [(conj seen x) (conj out x)]))]
    (reverse (second (reduce step [#{} ()] coll)))))

(defn dedupe
  "The items without repetitions in a row."
  [coll]
  (map first (partition-by identity coll)))

(defn flatten
  "The items of nested lists and vectors, in one list."
  [x]
  (if (sequential? x) (mapcat flatten x) (list x)))

(defn tree-seq
  "The nodes of a tree, each before its children."
  [branch? children root]
  (cons root (if (branch? root)
               (mapcat (partial tree-seq branch? children) (children root))
               ())))

(defn min-key
  "The item with the least (f item); the first of several."
  [f & items]
  (reduce (fn [best x] (if (< (compare (f x) (f best)) 0) x best)) items))

(defn max-key
  "The item with the greatest (f item); the first of several."
  [f & items]
  (reduce (fn [best x] (if (> (compare (f x) (f best)) 0) x best)) items))

; ---------------------------------------------------------------------------------------------------------------
; Maps and sets

(defn key [[key _]] key)
(defn val [[_ value]] value)

(defn find
  "The entry [key value], or nil when the map has no such key."
  [m key]
  (if (contains? m key) [key (get m key)]))

(defn reduce-kv
  "reduce whose function takes the key and the value (of a vector: index and item)."
  [f init coll]
  (if (vector? coll)
    (first (reduce (fn [[out index] x] [(f out index x) (+ index 1)]) [init 0] coll))
    (reduce (fn [out [key value]] (f out key value)) init coll)))

(defn zipmap
  "A map from the keys to the values at the same places."
  [keys values]
  (into {} (mapv vector keys values)))

(defn update
  "`m` with (f value args...) in place of the value under `key`."
  ([m key f] (assoc m key (f (get m key))))
  ([m key f & args] (assoc m key (apply f (get m key) args))))

(defn get-in
  "The value at the end of a path of keys."
  ([m path] (reduce get m path))
  ([m path default]
   (reduce (fn [m key]
             (let [found (get m key ::missing)]
               (if (= found ::missing) (reduced default) found)))
           m
           path)))

(defn assoc-in [m [key & path] value]
  (assoc m key (if path (assoc-in (get m key) path value) value)))

(defn update-in [m path f & args]
  (assoc-in m path (apply f (get-in m path) args)))

(defn dissoc-in
  "`m` without what lies at the end of the path."
  [m [key & path]]
  (cond
    (nil? path) (dissoc m key)
    (contains? m key) (assoc m key (dissoc-in (get m key) path))
    :else m))

(defn merge
  "The maps in one; a later value replaces an earlier one."
  [& maps]
  (reduce (fn [out m] (if (nil? m) out (into (if (nil? out) {} out) m))) nil maps))

(defn merge-with
  "The maps in one; (f earlier later) where a key has two values."
  [f & maps]
  (let [add (fn [out [key value]]
              (assoc out key (if (contains? out key) (f (get out key) value) value)))]
    (reduce (fn [out m] (reduce add out m)) {} maps)))

(defn select-keys
  "The part of the map with these keys."
  [m keys]
  (reduce (fn [out key] (if (contains? m key) (assoc out key (get m key)) out)) {} keys))

(defn rename-keys
  "`names` maps old keys to new ones."
  [m names]
  (reduce (fn [out [old new]] (if (contains? m old) (assoc out new (get m old)) out))
          (apply dissoc m (keys names))
          names))

(defn update-vals [m f]
  (reduce (fn [out [key value]] (assoc out key (f value))) {} m))

(defn update-keys [m f]
  (reduce (fn [out [key value]] (assoc out (f key) value)) {} m))

(defn filter-vals [pred m]
  (reduce (fn [out [key value]] (if (pred value) (assoc out key value) out)) {} m))

(defn index-by
  "A map from (f item) to the item; the last of several."
  [f coll]
  (reduce (fn [out x] (assoc out (f x) x)) {} coll))

(defn map-invert
  "A map from the values to the keys."
  [m]
  (reduce (fn [out [key value]] (assoc out value key)) {} m))

(defn union [& sets] (reduce into #{} sets))

(defn intersection [first-set & sets]
  (reduce (fn [out other] (into #{} (filter (fn [x] (contains? other x)) out))) first-set sets))

(defn difference [first-set & sets]
  (reduce (fn [out other] (reduce disj out other)) first-set sets))

(defn subset? [a b] (every? (fn [x] (contains? b x)) a))
(defn superset? [a b] (subset? b a))

; ---------------------------------------------------------------------------------------------------------------
; Trees of any kind

(defn walk
  "The collection with `inner` applied to its items, and then `outer` to the whole."
  [inner outer form]
  (cond
    (list? form) (outer (map inner form))
    (vector? form) (outer (mapv inner form))
    (map? form) (outer (into {} (map inner form)))
    (set? form) (outer (into #{} (map inner form)))
    :else (outer form)))

(defn postwalk
  "Rebuilds a tree from the leaves up: each part is what `f` returns for it."
  [f form]
  (walk (partial postwalk f) f form))

(defn prewalk
  "Rebuilds a tree from the root down: `f` comes first, then the parts of what it returned."
  [f form]
  (walk (partial prewalk f) identity (f form)))

(defn postwalk-replace
  "Replaces the parts that are keys of `smap`."
  [smap form]
  (postwalk (fn [x] (if (contains? smap x) (get smap x) x)) form))

; ---------------------------------------------------------------------------------------------------------------
; Strings

(defn blank? [s] (or (nil? s) (= (trim s) "")))

(defn printf
  "Prints what `format` makes of the template and the values."
  [template & values]
  (print (apply format template values)))

(defn str-repeat [n s] (join "" (repeat n s)))

(defn pad-left
  "`x` as a string, with spaces in front up to the width."
  ([width x] (pad-left width " " x))
  ([width fill x]
   (let [s (str x)]
     (str (str-repeat (- width (count s)) fill) s))))

(defn pad-right
  ([width x] (pad-right width " " x))
  ([width fill x]
   (let [s (str x)]
     (str s (str-repeat (- width (count s)) fill)))))

(defn capitalize [s]
  (if (empty? s) s (str (upper-case (subs s 0 1)) (lower-case (subs s 1)))))

(defn reverse-str [s] (join "" (reverse s)))

(defn split-lines
  "The lines of a text; a line feed at its end begins no other line."
  [s]
  (let [lines (split s "\n")]
    (if (= (peek lines) "") (pop lines) lines)))

(defn words
  "The parts of a text between blanks, tabs and line feeds."
  [s]
  (filterv (complement empty?) (split (replace (replace s "\n" " ") "\t" " ") " ")))

; ---------------------------------------------------------------------------------------------------------------
; Functions that are chosen by their arguments

(defn- methods-name [multi]
  (let [name (str (name multi) "-methods")]
    (if (namespace multi) (symbol (namespace multi) name) (symbol name))))

(defn choose-method
  "What a multimethod does: the method for the value, or the one for :default."
  [name methods value]
  (or (get methods value)
      (get methods :default)
      (throw (ex-info (str "no method of " name " for " (pr-str value)) {:value value}))))

(defmacro defmulti
  "(defmulti name docstring? choose): calls the method that was defined for (choose args...)"
  ([name choose] `(defmulti ~name ~(str "Chooses by " (pr-str choose)) ~choose))
  ([name doc choose]
   (let [methods (methods-name name)]
     `(do
        (def ~methods (atom {}))
        (def ~name ~doc
          (let* [choose# ~choose]
            (fn* ~name [& args#]
              (apply (choose-method '~name (deref ~methods) (apply choose# args#)) args#))))))))

(defmacro defmethod
  "(defmethod name value [params] body...)"
  [name value & decl]
  `(swap! ~(methods-name name) assoc ~value (fn ~@decl)))

; ---------------------------------------------------------------------------------------------------------------
; Time and chance

(defmacro time
  "Prints how long the form takes, and returns its value."
  [form]
  `(let* [start# (nano-time)
          value# ~form]
     (println "took" (/ (float (- (nano-time) start#)) 1000000.0) "ms")
     value#))

(defn rand-nth
  "An item of the vector, by chance."
  [items]
  (nth items (rand-int (count items))))
