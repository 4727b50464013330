//! What a caller is told about input that does not fit: our words, not the deserialiser's, whose messages name Rust
//! types and repeat what was sent. Pure.

/// Longest unknown name that is repeated to whoever sent it, bytes.
const NAME_LENGTH_MAX: usize = 64;

/// Which member the deserialiser's message is about, if it says so, and what is to be said of it.
pub(super) fn parse_message(message: &str) -> (Option<&str>, String) {
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
        return (None, kind_of(wanted));
    }
    if message.contains("json pointer") {
        return (None, "has a path that is not a JSON Pointer (RFC 6901)".to_owned());
    }
    (
        None,
        if names_rust(message) { "has none of the forms that are taken here".to_owned() } else { message.to_owned() },
    )
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
fn kind_of(wanted: &str) -> String {
    let kind = match wanted {
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
        _ => return other_kind(wanted),
    };
    kind.to_owned()
}

/// The same for what is no type of Rust's own: a list of a certain length, or what a type says of itself.
fn other_kind(wanted: &str) -> String {
    let count = wanted.strip_prefix("an array of length ").or_else(|| wanted.strip_prefix("a tuple of size "));
    if let Some(count) = count {
        return format!("must be an array of {count} items");
    }
    let is_phrase = wanted.starts_with("a ") || wanted.starts_with("an ");
    if is_phrase && !names_rust(wanted) { format!("must be {wanted}") } else { "has the wrong type".to_owned() }
}

/// Whether a message has words that mean something in Rust alone.
fn names_rust(message: &str) -> bool {
    ["struct", "enum", "variant", "tuple"].iter().any(|word| message.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_member_and_no_rust() {
        for (message, member, detail) in [
            ("missing field `state`", Some("state"), "is missing"),
            ("duplicate field `state`", Some("state"), "is given more than once"),
            ("unknown field `x`, expected `id` or `state`", Some("x"), "is not known here; taken: id, state"),
            ("unknown field `x`, expected one of `a`, `b`, `c`", Some("x"), "is not known here; taken: a, b, c"),
            ("unknown field `x`, there are no fields", Some("x"), "is not known here"),
            ("unknown variant `z`, expected `a` or `b`", None, "is none of the values that are taken; taken: a, b"),
            ("invalid type: string \"secret\", expected u64", None, "must be a whole number, not negative"),
            ("invalid type: string \", expected u8\", expected a string", None, "must be a string"),
            ("invalid type: sequence, expected struct CreateBody", None, "must be an object"),
            ("invalid length 3, expected an array of length 2", None, "must be an array of 2 items"),
            ("invalid type: map, expected something odd", None, "has the wrong type"),
            ("invalid type: map, expected a card such as Ah", None, "must be a card such as Ah"),
            ("invalid type: map, expected a struct of ours", None, "has the wrong type"),
            ("data did not match any variant of untagged enum W", None, "has none of the forms that are taken here"),
            ("an id is 1 to 64 characters", None, "an id is 1 to 64 characters"),
        ] {
            assert_eq!(parse_message(message), (member, detail.to_owned()), "{message}");
        }
        let long = format!("unknown field `{}`, expected `a`", "x".repeat(65));
        assert_eq!(parse_message(&long), (None, "is not known here; taken: a".to_owned()));
    }
}
