//! The functions of `ember.core` that are compiled in place: which they are and what they do when
//! the fast way fails.
//!
//! This is sound because the host refuses to redefine these vars. A call with another number of
//! arguments than the table has is an ordinary call.

/// A function that is compiled in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intrinsic {
    /// `(+ a b)`
    Add,
    /// `(- a b)`
    Subtract,
    /// `(* a b)`
    Multiply,
    /// `(/ a b)`
    Divide,
    /// `(quot a b)`
    Quotient,
    /// `(rem a b)`
    Remainder,
    /// `(mod a b)`
    Modulus,
    /// `(inc a)`
    Increment,
    /// `(dec a)`
    Decrement,
    /// `(< a b)`
    Less,
    /// `(<= a b)`
    LessOrEqual,
    /// `(> a b)`
    Greater,
    /// `(>= a b)`
    GreaterOrEqual,
    /// `(== a b)`
    NumericallyEqual,
    /// `(= a b)`
    Equal,
    /// `(not= a b)`
    NotEqual,
    /// `(identical? a b)`
    Identical,
    /// `(not a)`
    Not,
    /// `(nil? a)`
    IsNil,
    /// `(some? a)`
    IsSome,
    /// `(true? a)`
    IsTrue,
    /// `(false? a)`
    IsFalse,
    /// `(zero? a)`
    IsZero,
    /// `(pos? a)`
    IsPositive,
    /// `(neg? a)`
    IsNegative,
}

/// Which arguments a call may have to be compiled in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arguments {
    One,
    Two,
    /// Two, or more by folding from the left: `(+ a b c)` is `(+ (+ a b) c)`.
    TwoOrMore,
}

const TABLE: &[(&str, Intrinsic, Arguments)] = &[
    ("+", Intrinsic::Add, Arguments::TwoOrMore),
    ("-", Intrinsic::Subtract, Arguments::TwoOrMore),
    ("*", Intrinsic::Multiply, Arguments::TwoOrMore),
    ("/", Intrinsic::Divide, Arguments::TwoOrMore),
    ("quot", Intrinsic::Quotient, Arguments::Two),
    ("rem", Intrinsic::Remainder, Arguments::Two),
    ("mod", Intrinsic::Modulus, Arguments::Two),
    ("inc", Intrinsic::Increment, Arguments::One),
    ("dec", Intrinsic::Decrement, Arguments::One),
    ("<", Intrinsic::Less, Arguments::Two),
    ("<=", Intrinsic::LessOrEqual, Arguments::Two),
    (">", Intrinsic::Greater, Arguments::Two),
    (">=", Intrinsic::GreaterOrEqual, Arguments::Two),
    ("==", Intrinsic::NumericallyEqual, Arguments::Two),
    ("=", Intrinsic::Equal, Arguments::Two),
    ("not=", Intrinsic::NotEqual, Arguments::Two),
    ("identical?", Intrinsic::Identical, Arguments::Two),
    ("not", Intrinsic::Not, Arguments::One),
    ("nil?", Intrinsic::IsNil, Arguments::One),
    ("some?", Intrinsic::IsSome, Arguments::One),
    ("true?", Intrinsic::IsTrue, Arguments::One),
    ("false?", Intrinsic::IsFalse, Arguments::One),
    ("zero?", Intrinsic::IsZero, Arguments::One),
    ("pos?", Intrinsic::IsPositive, Arguments::One),
    ("neg?", Intrinsic::IsNegative, Arguments::One),
];

/// The names in `ember.core` that the compiler knows: the host must refuse to give them another
/// value.
pub fn sealed_names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, _, _)| *name)
}

/// What a call of `ember.core/name` with `count` arguments is compiled to in place, if it is.
pub fn find(name: &str, count: usize) -> Option<Intrinsic> {
    let (_, intrinsic, arguments) = TABLE.iter().find(|(known, _, _)| *known == name)?;
    let fits = match arguments {
        Arguments::One => count == 1,
        Arguments::Two => count == 2,
        Arguments::TwoOrMore => count >= 2,
    };
    fits.then_some(*intrinsic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_calls_that_the_table_has_are_compiled_in_place() {
        assert_eq!(find("+", 3), Some(Intrinsic::Add));
        assert_eq!(find("+", 1), None);
        assert_eq!(find("<", 3), None);
        assert_eq!(find("inc", 1), Some(Intrinsic::Increment));
        assert_eq!(find("str", 1), None);
    }
}
