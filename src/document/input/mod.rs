//! Reading what callers send as a Rust type: numbers by value, and every member that does not fit named, in words of
//! JSON. Pure.

use serde::Deserialize as _;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::json;
use crate::base::error::{Error, FieldError, Result};
use crate::base::limits::FIELD_ERRORS_MAX;

mod error_messages;
mod invalid_value;
mod numbers_by_value;

pub(crate) use invalid_value::InvalidValue;
use invalid_value::{PathStep, RemovedItems};
use numbers_by_value::NumbersByValue;

/// Bytes that are read again to find what else is wrong: a large body must not be read a hundred times. Past it the
/// refusal names what was found so far.
const REREAD_BYTES_MAX: usize = 4 << 20;
/// What takes the place of a member that does not fit, so that those after it are looked at: the first that it takes.
const PLACEHOLDERS: [&str; 8] = ["null", "0", "\"a\"", "{}", "[]", "false", "\"1970-01-01T00:00:00Z\"", "\"\""];

/// Reads `text`, which is JSON; `name` is what it is called where it is an array or a scalar, empty: the body. Error:
/// `Invalid` with each member that does not fit, or the place where it stops being JSON.
pub(crate) fn from_text<T: DeserializeOwned>(text: &str, name: &str) -> Result<T> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = T::deserialize(NumbersByValue(&mut deserializer)).and_then(|value| deserializer.end().map(|()| value));
    read.map_err(|error| match serde_json::from_str(text) {
        Ok(tree) if error.is_data() => every_error::<T>(tree, text.len(), name, &error),
        _ => {
            let place = format!("line {}, column {}", error.line(), error.column());
            Error::invalid_field("body", format!("is not valid JSON ({place})"))
        }
    })
}

/// Reads the part `name` of what was sent. Error: `Invalid` with each member that does not fit.
pub(crate) fn from_value<T: DeserializeOwned>(value: &Value, name: &str) -> Result<T> {
    T::deserialize(NumbersByValue(value))
        .map_err(|error| every_error::<T>(value.clone(), json::size(value), name, &error))
}

/// The whole number that a value is, however it is spelled; none: it is something else, or negative.
pub(crate) fn whole_number(value: &Value) -> Option<u64> {
    u64::deserialize(NumbersByValue(value)).ok()
}

/// What does not fit in `tree`. `first` was said when the text was read: of a member that is there twice the tree has
/// one, and nothing wrong.
fn every_error<T: DeserializeOwned>(tree: Value, length: usize, name: &str, first: &serde_json::Error) -> Error {
    let placeholders: Vec<Value> = PLACEHOLDERS.iter().filter_map(|text| serde_json::from_str(text).ok()).collect();
    let read = |tree: &Value| {
        let read = serde_path_to_error::deserialize::<_, T>(NumbersByValue(tree));
        read.map(drop).map_err(|error| InvalidValue::new(error.path(), &error.inner().to_string()))
    };
    collect(tree, length, name, &placeholders, read).unwrap_or_else(|| {
        let tail = format!(" at line {} column {}", first.line(), first.column());
        let message = first.to_string();
        let message = message.strip_suffix(&tail).unwrap_or(&message);
        Error::invalid_fields(vec![InvalidValue::at_path(Vec::new(), message).field(name)])
    })
}

/// What `read` finds wrong in `tree`, one thing after the other; `None`: nothing. It reads about `length` bytes.
pub(crate) fn collect(
    mut tree: Value,
    length: usize,
    name: &str,
    placeholders: &[Value],
    read: impl Fn(&Value) -> Result<(), InvalidValue>,
) -> Option<Error> {
    let mut tries = REREAD_BYTES_MAX / length.max(1);
    let mut next = read(&tree).err();
    let mut found: Vec<FieldError> = Vec::new();
    let mut removed = RemovedItems::default();
    while let Some(invalid) = next.take().filter(|_| found.len() < FIELD_ERRORS_MAX) {
        found.push(removed.as_sent(&invalid).field(name));
        // A name that is not known is not known with any value.
        let placeholders = if invalid.is_unknown { &[] } else { placeholders };
        let mended = placeholders.iter().map(|placeholder| (&*invalid.place, Some(placeholder)));
        // What no value mends goes, and else the innermost item that it is in: one of a kind that does not exist.
        let item = invalid.place.iter().rposition(|step| matches!(step, PathStep::Item(_)));
        let within = item.and_then(|index| invalid.place.get(..=index)).filter(|item| item.len() < invalid.place.len());
        let without = [Some(&*invalid.place), within].into_iter().flatten().map(|place| (place, None));
        for (place, placeholder) in mended.chain(without) {
            if tries == 0 || !invalid_value::replace_at(&mut tree, place, placeholder.cloned()) {
                continue;
            }
            tries -= 1;
            // What takes the place of an item that is taken away is another item.
            let is_gone = placeholder.is_none() && removed.note_removed(place);
            match read(&tree) {
                // Of an enum with a tag it is said of the whole that a member does not fit.
                Err(same) if !is_gone && (same.place.starts_with(place) || place.starts_with(&same.place)) => {}
                other => {
                    next = other.err();
                    break;
                }
            }
        }
    }
    (!found.is_empty()).then(|| Error::invalid_fields(found))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct SentForm {
        count: u32,
        signed: Option<i8>,
        ratio: Option<f64>,
        kept: Option<Value>,
        seats: Option<Vec<SentSeat>>,
        name: Option<crate::base::ids::UserId>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct SentSeat {
        player: String,
        stack: u64,
    }

    fn error_details(text: &str) -> Vec<(String, String)> {
        let error = from_text::<SentForm>(text, "").unwrap_err();
        let errors = error.details()["errors"].as_array().unwrap().clone();
        let text = |error: &Value, member: &str| error[member].as_str().unwrap().to_owned();
        errors.iter().map(|error| (text(error, "field"), text(error, "detail"))).collect()
    }

    #[test]
    fn whole_numbers_are_read_by_value_and_values_are_kept_as_spelled() {
        let sent: SentForm = from_text(
            r#"{"count":2e1,"signed":-1.0,"ratio":1,"kept":[1.0,{"a":2e0}],"seats":[{"player":"a","stack":1e3}]}"#,
            "",
        )
        .unwrap();
        assert_eq!((sent.count, sent.signed, sent.ratio), (20, Some(-1), Some(1.0)));
        assert_eq!(sent.kept.unwrap().to_string(), r#"[1.0,{"a":2.0}]"#);
        assert_eq!(sent.seats.unwrap(), [SentSeat { player: "a".to_owned(), stack: 1000 }]);
        for (text, number) in
            [("1.0", Some(1)), ("-0.0", Some(0)), ("1.5", None), ("-1", None), ("1e20", None), ("\"1\"", None)]
        {
            assert_eq!(whole_number(&serde_json::from_str(text).unwrap()), number, "{text}");
        }
    }

    #[test]
    fn each_member_that_does_not_fit_is_named() {
        let fields = |text: &str| error_details(text).into_iter().map(|(field, _)| field).collect::<Vec<_>>();
        assert_eq!(fields(r#"{"signed":"x","name":"a b","other":1}"#), ["name", "other", "signed", "count"]);
        assert_eq!(
            fields(r#"{"count":1,"seats":[{"player":1},{"player":"a","stack":1},5,{"stack":-1,"x":0}]}"#),
            ["seats[0].player", "seats[0].stack", "seats[2]", "seats[3].stack", "seats[3].x", "seats[3].player"]
        );
        assert_eq!(
            fields(r#"{"count":1,"seats":[5,{"player":1},6,7,{"stack":-1}],"ratio":"x"}"#),
            [
                "ratio",
                "seats[0]",
                "seats[1].player",
                "seats[1].stack",
                "seats[2]",
                "seats[3]",
                "seats[4].stack",
                "seats[4].player"
            ]
        );
        assert_eq!(fields(r#"{"count":1.5,"ratio":[]}"#), ["count", "ratio"]);
        assert_eq!(fields(r#"{"count":1,"count":2,"ratio":"x"}"#), ["ratio"], "the tree has it once");
        assert_eq!(
            error_details(r#"{"count":1,"count":2}"#),
            [("count".to_owned(), "is given more than once".to_owned())]
        );
        assert_eq!(error_details("[1,2]"), [("body".to_owned(), "must be an object".to_owned())]);
        assert_eq!(error_details("5"), [("body".to_owned(), "must be an object".to_owned())]);
        assert_eq!(
            error_details(r#"{"count":1,"seats":[["a",1]]}"#),
            [("seats[0]".to_owned(), "must be an object".to_owned())]
        );
    }

    #[test]
    fn a_large_input_is_not_read_again_and_again() {
        let many: Vec<Value> = (0..1000).map(|_| json!({ "player": 1, "stack": "x".repeat(3000) })).collect();
        let text = json!({ "count": 1, "seats": many }).to_string();
        assert!((1..=2).contains(&error_details(&text).len()));
        let many: Vec<Value> = (0..1000).map(|_| json!({ "player": 1, "stack": "x" })).collect();
        assert_eq!(error_details(&json!({ "count": 1, "seats": many }).to_string()).len(), FIELD_ERRORS_MAX);
    }
}
