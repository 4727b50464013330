//! Which name was probably meant.

/// Letters that may differ between a name and the one that was meant.
pub(super) const SLIP_MAX: usize = 2;
/// Letters from which on a beginning is enough.
const BEGINNING_MIN: usize = 4;

/// What other programs call the options, and what they are called here.
const SYNONYMS: [(&str, &[&str]); 5] = [
    ("listen", &["port", "host", "bind", "url", "address", "addr", "interface"]),
    ("data-dir", &["data", "dir", "directory", "database", "database-url", "db", "db-path", "path", "storage"]),
    ("log", &["log-level", "loglevel", "level", "verbose", "verbosity", "debug", "rust-log"]),
    ("administrator", &["admin", "admins", "administrators"]),
    ("allowed-host", &["hostname", "domain", "origin", "server-name"]),
];

/// The one of `names` that is nearest to `name`, or that is called `name` elsewhere; none: nothing is near.
pub(super) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let name = same_spelling(name);
    let meant = SYNONYMS.iter().find(|(_, synonyms)| synonyms.contains(&name.as_str())).map(|(option, _)| *option);
    if let Some(found) = names.clone().find(|candidate| meant == Some(same_spelling(candidate).as_str())) {
        return Some(found);
    }
    let near = names.filter_map(|candidate| {
        let other = same_spelling(candidate);
        let begins = name.len() >= BEGINNING_MIN && other.starts_with(&format!("{name}-"));
        match distance(&name, &other) {
            letters if letters <= SLIP_MAX => Some((letters, candidate)),
            _ if begins => Some((SLIP_MAX + 1, candidate)),
            _ => None,
        }
    });
    near.min_by_key(|(letters, _)| *letters).map(|(_, candidate)| candidate)
}

/// The end of a sentence about a name that is not known. `prefix`: what stands before all of `names`.
pub(super) fn hint<'a>(prefix: &str, name: &str, names: impl Iterator<Item = &'a str> + Clone) -> String {
    match nearest(name, names) {
        Some(likely) if same_spelling(likely) == same_spelling(name) => format!("; it is called '{prefix}{likely}'"),
        Some(likely) => format!("; did you mean '{prefix}{likely}'?"),
        None => String::new(),
    }
}

fn same_spelling(text: &str) -> String {
    text.to_ascii_lowercase().replace('_', "-")
}

/// How many letters have to be put in, left out or changed to make one of the other.
pub(super) fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (above, left) in one.bytes().zip(1..) {
        let mut diagonal = left - 1;
        let mut before = left;
        for (cell, beside) in row.iter_mut().skip(1).zip(other.bytes()) {
            let best = (diagonal + usize::from(above != beside)).min(before + 1).min(*cell + 1);
            diagonal = std::mem::replace(cell, best);
            before = best;
        }
        if let Some(first) = row.first_mut() {
            *first = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_no_far_one() {
        let names = ["depth-max", "history-events", "history-days", "heartbeat-seconds", "log", "log-format"];
        for (name, expect) in [
            ("dept-max", Some("depth-max")),
            ("depth_max", Some("depth-max")),
            ("DEPTH_MAX", Some("depth-max")),
            ("history-event", Some("history-events")),
            ("heartbeat", Some("heartbeat-seconds")),
            ("colour", None),
            ("loglevel", Some("log")),
            ("port", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, names.into_iter()), expect, "{name}");
        }
        for (one, other, count) in
            [("", "", 0), ("a", "", 1), ("", "ab", 2), ("kitten", "sitting", 3), ("abc", "abc", 0)]
        {
            assert_eq!(distance(one, other), count, "{one} {other}");
        }
    }
}
