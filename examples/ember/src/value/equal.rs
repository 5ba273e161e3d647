//! Equality, the total order, and hashes of values.
//!
//! Nested values are walked with a stack on the heap, so no nest is too deep. Equality is the order's
//! equality: `-0.0` differs from `0.0`, NaN equals itself, `1` differs from `1.0`. Equal values can
//! stand for each other anywhere but in their positions and symbol flags.

use std::cell::Cell;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use rustc_hash::FxHasher;

use super::{Map, Set, Value, View};

thread_local! {
    /// Whether objects without contents of their own were ordered or hashed: that goes by their age,
    /// which is a matter of all that ran before.
    static ORDERED_BY_AGE: Cell<bool> = const { Cell::new(false) };
}

/// Whether functions, atoms or exceptions were ordered or hashed on this thread since the last call.
pub(crate) fn take_order_by_age() -> bool {
    ORDERED_BY_AGE.take()
}

/// The order of two different objects by their serial numbers.
fn by_age(a: u64, b: u64) -> Ordering {
    ORDERED_BY_AGE.set(true);
    a.cmp(&b)
}

fn hash_age<H: Hasher>(serial: u64, state: &mut H) {
    ORDERED_BY_AGE.set(true);
    serial.hash(state);
}

/// Where a kind stands in the order of all values. Lists and vectors share a rank.
fn rank(view: &View<'_>) -> u8 {
    match view {
        View::Nil => 0,
        View::Boolean(_) => 1,
        View::Int(_) | View::Float(_) => 2,
        View::String(_) => 3,
        View::Symbol(_) => 4,
        View::Keyword(_) => 5,
        View::List(_) | View::Vector(_) => 6,
        View::Map(_) => 7,
        View::Set(_) => 8,
        View::Function(_) => 9,
        View::Native(_) => 10,
        View::Atom(_) => 11,
        View::Var(_) => 12,
        View::Exception(_) => 13,
        View::Reduced(_) => 14,
    }
}

/// Compares an integer with a float by value, without rounding either; `None` for NaN.
fn int_with_float(int: i64, float: f64) -> Option<Ordering> {
    // The first float above all integers. Its negation is an integer itself.
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    if float.is_nan() {
        return None;
    }
    if float >= BEYOND {
        return Some(Ordering::Less);
    }
    if float < -BEYOND {
        return Some(Ordering::Greater);
    }
    let whole = float.trunc();
    let by_whole = int.cmp(&(whole as i64));
    // `trunc` moved towards zero: what it cut off says on which side the float lies.
    Some(by_whole.then_with(|| 0.0.partial_cmp(&(float - whole)).unwrap_or(Ordering::Equal)))
}

/// Compares two numbers by value, as `<` and `==` do: `None` if one is NaN or no number.
#[inline]
pub fn compare_numbers(a: &Value, b: &Value) -> Option<Ordering> {
    match (a.view(), b.view()) {
        (View::Int(a), View::Int(b)) => Some(a.cmp(&b)),
        (View::Float(a), View::Float(b)) => a.partial_cmp(&b),
        (View::Int(a), View::Float(b)) => int_with_float(a, b),
        (View::Float(a), View::Int(b)) => int_with_float(b, a).map(Ordering::reverse),
        _ => None,
    }
}

/// The order of floats: by value, `-0.0` before `0.0`, NaN last.
fn float_order(a: f64, b: f64) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (false, false) => a
            .partial_cmp(&b)
            .unwrap_or(Ordering::Equal)
            .then_with(|| b.is_sign_negative().cmp(&a.is_sign_negative())),
        (a, b) => a.cmp(&b),
    }
}

/// Two collections that are compared item by item.
enum Pairs<'a> {
    Items(Items<'a>, Items<'a>),
    /// Entries, and the values of the two entries whose keys were equal.
    Entries(Entries<'a>, Entries<'a>, Option<(&'a Value, &'a Value)>),
}

type Items<'a> = Box<dyn Iterator<Item = &'a Value> + 'a>;
type Entries<'a> = Box<dyn Iterator<Item = (&'a Value, &'a Value)> + 'a>;

/// What looking at two values without their items tells.
enum Step<'a> {
    Known(Ordering),
    Open(Pairs<'a>),
}

fn items<'a>(view: &View<'a>) -> Items<'a> {
    match *view {
        View::List(list) => Box::new(list.iter()),
        View::Vector(vector) => Box::new(vector.iter()),
        View::Set(set) => Box::new(set.iter()),
        _ => Box::new(std::iter::empty()),
    }
}

fn entries(map: &Map) -> Entries<'_> {
    Box::new(map.iter())
}

fn length(view: &View<'_>) -> Option<usize> {
    match view {
        View::List(list) => Some(list.len()),
        View::Vector(vector) => Some(vector.len()),
        View::Map(map) => Some(map.size()),
        View::Set(set) => Some(set.size()),
        _ => None,
    }
}

#[inline]
fn step<'a>(a: &'a Value, b: &'a Value) -> Step<'a> {
    use Step::Known;
    if a.is_identical(b) {
        return Known(Ordering::Equal);
    }
    let (left, right) = (a.view(), b.view());
    Known(match (&left, &right) {
        (View::Int(a), View::Int(b)) => a.cmp(b),
        (View::Float(a), View::Float(b)) => float_order(*a, *b),
        (View::Int(a), View::Float(b)) => int_before_float(*a, *b),
        (View::Float(a), View::Int(b)) => int_before_float(*b, *a).reverse(),
        (View::Boolean(a), View::Boolean(b)) => a.cmp(b),
        (View::String(a), View::String(b)) => a.cmp(b),
        (View::Symbol(a), View::Symbol(b)) | (View::Keyword(a), View::Keyword(b)) => a.cmp(b),
        (View::Map(a), View::Map(b)) if a.ptr_eq(b) => Ordering::Equal,
        (View::Map(a), View::Map(b)) => {
            return Step::Open(Pairs::Entries(entries(a), entries(b), None));
        }
        (View::Set(a), View::Set(b)) if Set::ptr_eq(a, b) => Ordering::Equal,
        (View::Set(_), View::Set(_))
        | (View::List(_) | View::Vector(_), View::List(_) | View::Vector(_)) => {
            return Step::Open(Pairs::Items(items(&left), items(&right)));
        }
        (View::Function(a), View::Function(b)) => by_age(a.serial(), b.serial()),
        (View::Native(a), View::Native(b)) => a.name.cmp(b.name),
        (View::Atom(a), View::Atom(b)) => by_age(a.serial(), b.serial()),
        (View::Var(a), View::Var(b)) => a.name().cmp(b.name()),
        (View::Exception(a), View::Exception(b)) => by_age(a.serial(), b.serial()),
        (View::Reduced(a), View::Reduced(b)) => {
            let (a, b): (Items<'a>, Items<'a>) =
                (Box::new(std::iter::once(*a)), Box::new(std::iter::once(*b)));
            return Step::Open(Pairs::Items(a, b));
        }
        _ => rank(&left).cmp(&rank(&right)),
    })
}

/// The order of an integer and a float: by value, the integer first when they are the same number.
fn int_before_float(int: i64, float: f64) -> Ordering {
    int_with_float(int, float).map_or(Ordering::Less, |order| order.then(Ordering::Less))
}

fn compare(a: &Value, b: &Value) -> Ordering {
    let mut open = match step(a, b) {
        Step::Known(order) => return order,
        Step::Open(pairs) => vec![pairs],
    };
    while let Some(pairs) = open.last_mut() {
        let next = match pairs {
            Pairs::Items(a, b) => (a.next(), b.next()),
            Pairs::Entries(a, b, values) => match values.take() {
                Some((a, b)) => (Some(a), Some(b)),
                None => {
                    let (a, b) = (a.next(), b.next());
                    if let (Some(a), Some(b)) = (a, b) {
                        *values = Some((a.1, b.1));
                    }
                    (a.map(|entry| entry.0), b.map(|entry| entry.0))
                }
            },
        };
        match next {
            (None, None) => {
                open.pop();
            }
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(a), Some(b)) => match step(a, b) {
                Step::Known(Ordering::Equal) => {}
                Step::Known(order) => return order,
                Step::Open(pairs) => open.push(pairs),
            },
        }
    }
    Ordering::Equal
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        if self.is_identical(other) {
            return true;
        }
        // Two different words of which one is no heap object are different values: what fits into
        // a word is always there.
        if !self.is_heap() || !other.is_heap() {
            return false;
        }
        let (a, b) = (self.view(), other.view());
        length(&a) == length(&b) && rank(&a) == rank(&b) && compare(self, other).is_eq()
    }
}

impl Eq for Value {}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Value {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        compare(self, other)
    }
}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut open: Vec<Items<'_>> = Vec::new();
        hash_shallow(self, state, &mut open);
        while let Some(items) = open.last_mut() {
            match items.next() {
                Some(item) => hash_shallow(item, state, &mut open),
                None => drop(open.pop()),
            }
        }
    }
}

fn hash_shallow<'a, H: Hasher>(value: &'a Value, state: &mut H, open: &mut Vec<Items<'a>>) {
    let view = value.view();
    state.write_u8(rank(&view));
    if let Some(length) = length(&view) {
        state.write_usize(length);
    }
    match view {
        View::Nil => {}
        View::Boolean(value) => value.hash(state),
        View::Int(value) => value.hash(state),
        View::Float(value) => value.to_bits().hash(state),
        View::String(text) => text.hash(state),
        View::Symbol(name) | View::Keyword(name) => name.hash(state),
        View::List(_) | View::Vector(_) | View::Set(_) => open.push(items(&view)),
        View::Map(map) => open.push(Box::new(map.iter().flat_map(|(key, value)| [key, value]))),
        View::Function(closure) => hash_age(closure.serial(), state),
        View::Native(native) => native.name.hash(state),
        View::Atom(atom) => hash_age(atom.serial(), state),
        View::Var(var) => var.name().hash(state),
        View::Exception(exception) => hash_age(exception.serial(), state),
        View::Reduced(value) => open.push(Box::new(std::iter::once(value))),
    }
}

/// The hash that ember's `hash` gives: the same in every process for equal values without identity.
pub fn structural_hash(value: &Value) -> i64 {
    let mut hasher = FxHasher::default();
    value.hash(&mut hasher);
    // Positive and small enough for a fixnum, so that arithmetic on it does not overflow at once.
    (hasher.finish() >> 32) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Name;

    fn ordered() -> Vec<Value> {
        let keyword = |text: &str| Value::keyword(Name::parse(text));
        vec![
            Value::NIL,
            Value::FALSE,
            Value::TRUE,
            Value::float(f64::NEG_INFINITY),
            Value::int(i64::MIN),
            Value::float(-9_223_372_036_854_775_808.0),
            Value::int(-1),
            Value::float(-0.5),
            Value::int(0),
            Value::float(-0.0),
            Value::float(0.0),
            Value::float(0.5),
            Value::int(1),
            Value::float(1.0),
            Value::int((1 << 53) + 1),
            Value::float(9_007_199_254_740_994.0),
            Value::int(i64::MAX),
            Value::float(9_223_372_036_854_775_808.0),
            Value::float(f64::INFINITY),
            Value::float(f64::NAN),
            Value::string(""),
            Value::string("a"),
            Value::string("aa"),
            Value::symbol(Name::parse("a")),
            Value::symbol(Name::parse("a/a")),
            keyword("a"),
            keyword("b"),
            Value::list([]),
            Value::vector([Value::int(1)]),
            Value::list([Value::int(1), Value::int(0)]),
            Value::vector([Value::int(2)]),
            Value::map([]),
            Value::map([(keyword("a"), Value::int(1))]),
            Value::map([(keyword("a"), Value::int(2))]),
            Value::map([(keyword("b"), Value::int(0))]),
            Value::set([]),
            Value::set([Value::int(5)]),
            Value::atom(Value::NIL),
            Value::atom(Value::NIL),
        ]
    }

    #[test]
    fn the_order_is_total() {
        let values = ordered();
        for (i, a) in values.iter().enumerate() {
            for (j, b) in values.iter().enumerate() {
                assert_eq!(a.cmp(b), i.cmp(&j), "{a:?} and {b:?}");
                assert_eq!(a == b, i == j, "{a:?} and {b:?}");
            }
        }
    }

    #[test]
    fn lists_and_vectors_with_equal_items_are_equal() {
        let items = [Value::int(1), Value::string("two"), Value::vector([])];
        let (list, vector) = (Value::list(items.clone()), Value::vector(items));
        assert_eq!(list, vector);
        assert_eq!(structural_hash(&list), structural_hash(&vector));
        assert_ne!(list, Value::list([Value::int(1)]));
    }

    #[test]
    fn numbers_compare_by_value() {
        let same = |a: Value, b: Value| compare_numbers(&a, &b);
        assert_eq!(
            same(Value::int(1), Value::float(1.0)),
            Some(Ordering::Equal)
        );
        assert_eq!(
            same(Value::float(-0.0), Value::float(0.0)),
            Some(Ordering::Equal)
        );
        assert_eq!(same(Value::float(f64::NAN), Value::float(f64::NAN)), None);
        assert_eq!(
            same(
                Value::int(i64::MAX),
                Value::float(9_223_372_036_854_775_808.0)
            ),
            Some(Ordering::Less)
        );
        assert_eq!(
            same(Value::float(-1.5), Value::int(-1)),
            Some(Ordering::Less)
        );
        assert_eq!(same(Value::int(1), Value::string("1")), None);
    }

    #[test]
    fn depth_is_no_limit() {
        let nest = || (0..300_000).fold(Value::NIL, |inner, _| Value::vector([inner]));
        let (a, b) = (nest(), nest());
        assert_eq!(a, b);
        assert_eq!(structural_hash(&a), structural_hash(&b));
        assert_eq!(a.cmp(&Value::vector([a.clone()])), Ordering::Less);
    }
}
