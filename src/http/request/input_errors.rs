//! What a caller is told about input that does not fit: our words, not the deserialiser's, whose messages name Rust
//! types and repeat what was sent. Pure.

use crate::base::error::Error;

/// Longest unknown name that is repeated to whoever sent it, bytes.
const NAME_LENGTH_MAX: usize = 64;

/// The error for input that could not be read as what was expected: `path` is where (as `serde_path_to_error` has it),
/// `message` is what the deserialiser said.
pub(super) fn misfit(path: &str, message: &str) -> Error {
    let (member, detail) = explain(message);
    let path = if path == "." { "" } else { path };
    let field = match member {
        Some(member) if path == member || path.ends_with(&format!(".{member}")) => path.to_owned(),
        Some(member) if path.is_empty() => member.to_owned(),
        Some(member) => format!("{path}.{member}"),
        None if path.is_empty() => "body".to_owned(),
        None => path.to_owned(),
    };
    Error::invalid_field(&field, detail)
}

/// Which member the message is about, if it says so, and what is to be said of it.
fn explain(message: &str) -> (Option<&str>, String) {
    if let Some(rest) = message.strip_prefix("missing field ") {
        return (quoted(rest), "is missing".to_owned());
    }
    if let Some(rest) = message.strip_prefix("duplicate field ") {
        return (quoted(rest), "is given more than once".to_owned());
    }
    // The list at the end is of our own making; the name before it is what was sent, and may hold anything.
    if let Some(rest) = message.strip_prefix("unknown field `") {
        let (name, known) =
            rest.rsplit_once("`, expected ").unwrap_or((rest.trim_end_matches("`, there are no fields"), ""));
        return (Some(name).filter(|name| name.len() <= NAME_LENGTH_MAX), choice("is not known here", known));
    }
    if let Some(rest) = message.strip_prefix("unknown variant `") {
        let known = rest.rsplit_once("`, expected ").map_or("", |(_, known)| known);
        return (None, choice("is none of the values that are taken", known));
    }
    let expected = ["invalid type: ", "invalid value: ", "invalid length "].iter().any(|p| message.starts_with(p));
    if expected {
        let wanted = message.rsplit_once(", expected ").map_or("", |(_, wanted)| wanted);
        return (None, kind_of(wanted).to_owned());
    }
    let leaks = ["struct", "enum", "variant", "tuple"].iter().any(|word| message.contains(word));
    (None, if leaks { "has none of the forms that are taken here".to_owned() } else { message.to_owned() })
}

/// The name between back quotes.
fn quoted(text: &str) -> Option<&str> {
    text.strip_prefix('`')?.strip_suffix('`')
}

/// Adds the list of what would be taken, when there is one.
fn choice(what: &str, known: &str) -> String {
    let known = known.trim_start_matches("one of ").replace('`', "").replace(" or ", ", ");
    if known.is_empty() { what.to_owned() } else { format!("{what}; taken: {known}") }
}

/// What the deserialiser wanted, in the words of JSON.
fn kind_of(wanted: &str) -> &'static str {
    match wanted {
        "a string" | "a borrowed string" | "string" | "str" => "must be a string",
        "a boolean" => "must be true or false",
        "u8" | "u16" | "u32" | "u64" | "u128" | "usize" => "must be a whole number, not negative",
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => "must be a whole number",
        "f32" | "f64" => "must be a number",
        "a map" => "must be an object",
        "a sequence" => "must be an array",
        "unit" => "must be null",
        _ if wanted.starts_with("struct ") => "must be an object",
        _ if wanted.starts_with("a nonzero ") => "must be a whole number other than 0",
        _ => "has the wrong type",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_field_and_no_rust() {
        let long = format!("unknown field `{}`, expected `a`", "x".repeat(65));
        for (path, message, field, detail) in [
            (".", "missing field `state`", "state", "is missing"),
            ("operations[2]", "missing field `op`", "operations[2].op", "is missing"),
            (".", "unknown field `x`, expected `id` or `state`", "x", "is not known here; taken: id, state"),
            ("x", "unknown field `x`, expected one of `a`, `b`, `c`", "x", "is not known here; taken: a, b, c"),
            (".", "unknown field `x`, there are no fields", "x", "is not known here"),
            (".", long.as_str(), "body", "is not known here; taken: a"),
            (
                "op",
                "unknown variant `z`, expected `a` or `b`",
                "op",
                "is none of the values that are taken; taken: a, b",
            ),
            ("n", "invalid type: string \"secret\", expected u64", "n", "must be a whole number, not negative"),
            ("n", "invalid type: string \", expected u8\", expected a string", "n", "must be a string"),
            (".", "invalid type: sequence, expected struct CreateBody", "body", "must be an object"),
            (
                "a",
                "data did not match any variant of untagged enum Writers",
                "a",
                "has none of the forms that are taken here",
            ),
            ("id", "an id is 1 to 64 characters", "id", "an id is 1 to 64 characters"),
        ] {
            let error = misfit(path, message);
            let expect = serde_json::json!([{ "field": field, "detail": detail }]);
            assert_eq!(error.details().get("errors"), Some(&expect), "{message}");
        }
    }
}
