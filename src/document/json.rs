//! Bounds on JSON that are checked before and after it becomes a tree.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::value::RawValue;
use serde_json::{Number, Value};

use crate::base::error::{Error, Kind, Result};
use crate::base::limits;

/// The members of a JSON object in serialised form, without building the tree below them.
pub(super) type Members<'a> = BTreeMap<String, &'a RawValue>;

/// Integers from here on are no longer of 64 bits.
const TWO_TO_64: f64 = 18_446_744_073_709_551_616.0;

/// How deep and how large a state or a body may be.
#[derive(Clone, Copy, Debug)]
pub struct JsonBounds {
    /// Deepest nesting.
    pub depth_max: usize,
    /// Largest serialised state, bytes.
    pub state_bytes_max: usize,
}

impl Default for JsonBounds {
    fn default() -> Self {
        Self { depth_max: limits::DEPTH_MAX, state_bytes_max: limits::STATE_BYTES_MAX }
    }
}

/// Refuses text that nests deeper than `depth_max`, before a parser recurses into it. Counts brackets outside strings;
/// text that is not JSON is the parser's to refuse. Error: `TooLarge`.
pub(crate) fn check_text_depth(text: &[u8], depth_max: usize) -> Result<()> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                if depth > depth_max {
                    return Err(depth_error(depth_max));
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// Refuses text with an integer that does not fit 64 bits: the parser would make the nearest float of it, which is
/// another number. What is written with a point or an exponent is a float and rounded as floats are. Error: `Invalid`.
pub(crate) fn check_text_integers(text: &str) -> Result<()> {
    // The shortest that may not fit has 19 digits; most texts have no run that long.
    let bytes = text.as_bytes();
    let (mut at, mut in_string) = (0, false);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' if in_string => at += 1,
            b'"' => in_string = !in_string,
            b'-' | b'0'..=b'9' if !in_string => {
                let rest = text.get(at..).unwrap_or_default();
                let end = rest.find(|c: char| !c.is_ascii_digit() && !"+-.eE".contains(c)).unwrap_or(rest.len());
                let number = rest.get(..end).unwrap_or_default();
                if !fits(number) {
                    let message = "has an integer that does not fit 64 bits; send it as a string, or as a float";
                    return Err(Error::invalid_field("body", message));
                }
                at += end.saturating_sub(1);
            }
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

/// Whether a number is a float, or an integer of 64 bits, or nothing that the parser would take.
fn fits(number: &str) -> bool {
    let digits = number.strip_prefix('-').unwrap_or(number);
    digits.len() < 19
        || !digits.bytes().all(|b| b.is_ascii_digit())
        || number.parse::<u64>().is_ok()
        || number.parse::<i64>().is_ok()
}

/// The nesting of a tree: 0 for a scalar. Recursion is bounded, because every tree here was checked when it was read
/// and after each step that can deepen it.
pub(crate) fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Whether two trees are equal, numbers by value: 1 and 1.0 are (RFC 6902 §4.6).
pub(crate) fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => numbers_equal(one, other),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| equal(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            // Both are sorted by name.
            let same = |((name, value), (other_name, other))| name == other_name && equal(value, other);
            one.len() == other.len() && one.iter().zip(other).all(same)
        }
        _ => one == other,
    }
}

fn numbers_equal(one: &Number, other: &Number) -> bool {
    match (whole_value(one), whole_value(other)) {
        (Some(one), Some(other)) => one == other,
        (None, None) => one == other,
        _ => false,
    }
}

/// The order of two numbers by value, exactly: no integer is rounded.
pub(crate) fn compare_numbers(one: &Number, other: &Number) -> Ordering {
    match (whole_value(one), whole_value(other)) {
        (Some(one), Some(other)) => one.cmp(&other),
        (Some(one), None) => compare_whole_with_float(one, other),
        (None, Some(other)) => compare_whole_with_float(other, one).reverse(),
        // JSON has no NaN.
        (None, None) => one.as_f64().partial_cmp(&other.as_f64()).unwrap_or(Ordering::Equal),
    }
}

/// `float`: one that is not whole, or beyond 64 bits.
fn compare_whole_with_float(whole: i128, float: &Number) -> Ordering {
    let float = float.as_f64().unwrap_or_default();
    if float.abs() > TWO_TO_64 {
        return if float > 0.0 { Ordering::Less } else { Ordering::Greater };
    }
    #[expect(clippy::cast_possible_truncation, reason = "within bounds, and the part behind the point is dropped")]
    let below = float.floor() as i128;
    if whole <= below { Ordering::Less } else { Ordering::Greater }
}

/// The value of a number that is whole and not beyond 64 bits, exactly.
pub(crate) fn whole_value(number: &Number) -> Option<i128> {
    let integer = number.as_u64().map(i128::from).or_else(|| number.as_i64().map(i128::from));
    integer.or_else(|| {
        let float = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() <= TWO_TO_64)?;
        #[expect(clippy::cast_possible_truncation, reason = "whole and within bounds")]
        Some(float as i128)
    })
}

/// A member's name as a token of a JSON Pointer.
pub(super) fn escape(name: &str) -> Cow<'_, str> {
    if name.contains(['~', '/']) { Cow::Owned(name.replace('~', "~0").replace('/', "~1")) } else { Cow::Borrowed(name) }
}

/// About how many bytes a tree takes when serialised; never less than a third and never more than it really takes
/// plus what escaping adds. For bounding work before it is done.
pub(crate) fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 4,
        Value::Number(_) => 8,
        Value::String(text) => text.len() + 2,
        Value::Array(items) => 2 + items.iter().map(|item| size(item) + 1).sum::<usize>(),
        Value::Object(members) => 2 + members.iter().map(|(k, v)| k.len() + 4 + size(v)).sum::<usize>(),
    }
}

/// Turns every -0.0 into 0.0. The two are equal, so no patch tells them apart; a state rebuilt from the log would
/// differ from the one in memory in their bytes.
pub(crate) fn normalise(value: &mut Value) {
    match value {
        Value::Number(number) if number.as_f64() == Some(0.0) && number.is_f64() => *value = Value::from(0.0),
        Value::Array(items) => items.iter_mut().for_each(normalise),
        Value::Object(members) => members.values_mut().for_each(normalise),
        _ => {}
    }
}

/// The unit in which a state's hidden part counts against [`JsonBounds::state_bytes_max`] where a player writes: 64 KiB
/// or a sixteenth of the bound, whichever is less.
fn hidden_unit(bounds: JsonBounds) -> usize {
    (64 << 10).min(bounds.state_bytes_max / 16).max(1)
}

/// Whether a state of `whole` bytes, of which its writer sees `visible`, is within its bounds. What the writer does not
/// see counts in whole units: how much it is exactly shows in no refusal. Error: `TooLarge`.
pub(crate) fn check_state_size(whole: usize, visible: usize, bounds: JsonBounds) -> Result<()> {
    let hidden = whole.saturating_sub(visible).next_multiple_of(hidden_unit(bounds));
    if visible.saturating_add(hidden) <= bounds.state_bytes_max {
        return Ok(());
    }
    let message = format!("the state would exceed {} bytes", bounds.state_bytes_max);
    Err(Error::new(Kind::TooLarge, message).with("maxBytes", bounds.state_bytes_max))
}

/// Serialises a state within its bounds. Error: `TooLarge`; `Invalid` when it is not an object, or when its `private`
/// is not (then nobody could say whose is what).
pub(crate) fn serialise_state(state: &Value, bounds: JsonBounds) -> Result<Vec<u8>> {
    let Value::Object(members) = state else {
        return Err(Error::invalid_field("state", "must be a JSON object"));
    };
    if members.get("private").is_some_and(|private| !private.is_object()) {
        return Err(Error::invalid_field("state.private", "must be an object with one member per player"));
    }
    if depth(state) > bounds.depth_max {
        return Err(depth_error(bounds.depth_max));
    }
    let bytes = serde_json::to_vec(state).map_err(Error::internal)?;
    check_state_size(bytes.len(), bytes.len(), bounds)?;
    Ok(bytes)
}

/// The refusal of something that nests too deep.
pub(crate) fn depth_error(depth_max: usize) -> Error {
    Error::new(Kind::TooLarge, format!("JSON may nest {depth_max} levels deep, not deeper")).with("maxDepth", depth_max)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;

    #[test]
    fn trees_are_equal_when_their_numbers_are_worth_the_same() {
        for (one, other, expect) in [
            ("1", "1.0", true),
            ("[1,{\"a\":2e1}]", "[1.0,{\"a\":20}]", true),
            ("0", "-0.0", true),
            ("18446744073709551615", "18446744073709551616.0", false),
            ("9007199254740993", "9007199254740992.0", false),
            ("-9223372036854775808", "-9223372036854775808.0", true),
            ("1e300", "1e300", true),
            ("1e300", "1", false),
            ("0.5", "0.50", true),
            ("1", "\"1\"", false),
            ("1", "true", false),
            ("[1]", "[1,1]", false),
            ("{\"a\":1}", "{\"b\":1}", false),
            ("{\"a\":1}", "{\"a\":1,\"b\":1}", false),
        ] {
            let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
            assert_eq!(equal(&parse(one), &parse(other)), expect, "{one} {other}");
            assert_eq!(equal(&parse(other), &parse(one)), expect, "{other} {one}");
        }
    }

    #[test]
    fn integers_beyond_64_bits_are_refused_outside_strings() {
        for fine in [
            "18446744073709551615",
            "-9223372036854775808",
            "[1,2]",
            "1e30",
            "123456789012345678901.5",
            r#"{"12345678901234567890123":"\"12345678901234567890123"}"#,
            "-",
            "",
        ] {
            assert!(check_text_integers(fine).is_ok(), "{fine}");
        }
        for wrong in [
            "18446744073709551616",
            "-9223372036854775809",
            "12345678901234567890123",
            "[0,99999999999999999999]",
            r#"{"a\"":-99999999999999999999}"#,
            r#"["\\",18446744073709551616]"#,
        ] {
            assert!(check_text_integers(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn text_depth_counts_brackets_outside_strings() {
        assert!(check_text_depth(br#"[[{"a":"[[[["}]]"#, 3).is_ok());
        assert!(check_text_depth(br#"[[{"a":"\"[[[["}]]"#, 3).is_ok());
        assert!(check_text_depth(b"[[[[]]]]", 3).is_err());
        assert!(check_text_depth(b"[[]],[[]],[[]]", 2).is_ok());
    }
}
