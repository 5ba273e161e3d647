//! Tests of words, counting and freeing.

use super::flonum::FLONUM_BIAS;
use super::*;

fn round_trip(value: f64) {
    let back = match Value::float(value).view() {
        View::Float(back) => back,
        other => panic!("{value} became {other:?}"),
    };
    if value.is_nan() {
        assert!(back.is_nan());
    } else {
        assert_eq!(back.to_bits(), value.to_bits(), "{value}");
    }
}

#[test]
fn floats_round_trip_and_the_usual_ones_are_immediate() {
    let usual = [
        0.0, -0.0, 1.0, -1.0, 0.1, 1e-50, 1e60, 2.5e10, -3.75, 1.0e-76,
    ];
    for value in usual {
        round_trip(value);
        assert!(!Value::float(value).is_heap(), "{value}");
    }
    let boxed = [
        f64::MAX,
        f64::MIN_POSITIVE,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
        f64::from_bits(1),
        f64::from_bits(FLONUM_BIAS),
        -f64::from_bits(FLONUM_BIAS),
        f64::from_bits(FLONUM_BIAS + (1 << 61)),
    ];
    for value in boxed {
        round_trip(value);
        assert!(Value::float(value).is_heap(), "{value}");
    }
    round_trip(f64::from_bits(FLONUM_BIAS + 1));
    round_trip(f64::from_bits(FLONUM_BIAS + (1 << 61) - 1));
}

#[test]
fn integers_round_trip_at_the_edges() {
    for value in [
        0,
        1,
        -1,
        Value::MIN_FIXNUM,
        Value::MAX_FIXNUM,
        Value::MIN_FIXNUM - 1,
        Value::MAX_FIXNUM + 1,
        i64::MIN,
        i64::MAX,
    ] {
        let fits = (Value::MIN_FIXNUM..=Value::MAX_FIXNUM).contains(&value);
        assert_eq!(Value::int(value).as_int(), Some(value));
        assert_eq!(Value::int(value).is_heap(), !fits);
    }
}

proptest::proptest! {
    #[test]
    fn any_float_round_trips(bits: u64) {
        round_trip(f64::from_bits(bits));
    }
}

#[test]
fn only_nil_and_false_are_false() {
    assert!(!Value::NIL.is_truthy() && !Value::FALSE.is_truthy());
    for value in [
        Value::TRUE,
        Value::int(0),
        Value::float(0.0),
        Value::string(""),
        Value::list([]),
    ] {
        assert!(value.is_truthy(), "{value:?}");
    }
}

#[test]
fn the_last_word_frees_the_object() {
    let item = Value::string("held");
    let count = || match item.object() {
        Some(object) => object.is_unique(),
        None => panic!("a string is on the heap"),
    };
    assert!(count());
    let list = Value::list([item.clone(), Value::vector([item.clone()])]);
    assert!(!count());
    let other = list.clone();
    drop(list);
    assert!(!count());
    drop(other);
    assert!(count());
}

#[test]
fn a_nest_of_a_million_is_freed_without_recursion() {
    let mut nest = Value::NIL;
    for level in 0..1_000_000 {
        nest = match level % 4 {
            0 => Value::list([nest]),
            1 => Value::vector([nest]),
            2 => Value::map([(Value::TRUE, nest)]),
            _ => Value::atom(nest),
        };
    }
    drop(nest);
}

#[test]
fn positions_are_set_in_place_or_on_a_copy() {
    let symbol = Value::symbol(Name::parse("a"));
    assert_eq!(symbol.position(), None);
    let placed = symbol.clone().with_position(Position::new(3, 4));
    assert_eq!(placed.position(), Some(Position::new(3, 4)));
    assert_eq!(symbol.position(), None);
    assert_eq!(symbol, placed);
    let word = placed.word();
    let moved = placed.with_position(Position::new(5, 6));
    assert_eq!(
        (moved.word(), moved.position()),
        (word, Some(Position::new(5, 6)))
    );
    assert_eq!(
        Value::int(1).with_position(Position::new(1, 1)).position(),
        None
    );
    assert_eq!(
        Value::string("s")
            .with_position(Position::new(1, 1))
            .position(),
        None
    );
}

#[test]
fn words_carry_ownership() {
    let value = Value::string("word");
    let word = value.clone().into_word();
    // SAFETY: the word was just taken out of a value.
    let back = unsafe { Value::from_word(word) }.expect("not zero");
    assert!(back.is_identical(&value));
    // SAFETY: `back` keeps the object.
    assert_eq!(unsafe { Value::borrow_word(&word) }, Some(&value));
    // SAFETY: zero is allowed.
    assert!(unsafe { Value::from_word(0) }.is_none());
}
