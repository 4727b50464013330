//! Words of features: nothing below `features` knows them.

use crate::source::code_and_literals;

/// The words of each feature, in the singular. What the server has whatever features there are is no feature's word:
/// documents, flags, jobs, limits on requests, and the sessions by which callers are known.
const WORDS: &[(&str, &[&str])] = &[
    ("client_errors", &["client errors"]),
    ("encounters", &["encounter", "combatant"]),
    ("games", &["game", "seat", "reconnect"]),
    ("interactions", &["interaction"]),
    ("invitations", &["invitation", "invite", "invited"]),
    ("notifications", &["notification"]),
    ("projects", &["project", "chapter", "plot loop"]),
    ("reconciliation", &["reconciliation", "scrub", "discrepancy"]),
    ("usage", &["usage", "quota", "tally", "party", "creature"]),
];

/// Where features' words do not belong.
const BELOW: &[&str] = &["base", "document", "net", "store", "live", "tailnet", "engine", "http", "jobs", "consumers"];

/// The words that identifiers and texts are made of, in small letters, one space around each: `MaxSeats` and
/// `max_seats` have two.
fn words(code: &str) -> String {
    let mut words = String::from(" ");
    let mut before = ' ';
    for c in code.chars() {
        if (c.is_uppercase() && before.is_lowercase()) || (!c.is_alphabetic() && before.is_alphabetic()) {
            words.push(' ');
        }
        words.extend(c.to_lowercase().filter(|c| c.is_alphabetic()));
        before = c;
    }
    words.push(' ');
    words
}

/// The features' words that `text` has, comments and tests left out.
fn found(text: &str) -> Vec<(&'static str, &'static str)> {
    let words = words(&code_and_literals(text));
    let has = |word: &str| {
        let plural = word.strip_suffix('y').map_or_else(|| format!("{word}s"), |stem| format!("{stem}ies"));
        words.contains(&format!(" {word} ")) || words.contains(&format!(" {plural} "))
    };
    let pairs = WORDS.iter().flat_map(|(feature, list)| list.iter().map(|word| (*feature, *word)));
    pairs.filter(|(_, word)| has(word)).collect()
}

/// Words of features below them.
pub fn check<'a>(texts: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    let mut complaints = Vec::new();
    for (path, text) in texts {
        let Some(folder) = path.strip_prefix("src/").and_then(|path| path.split(['/', '.']).next()) else { continue };
        if !BELOW.contains(&folder) {
            continue;
        }
        let complaint = |(feature, word)| format!("{path}: '{word}' is a word of {feature}");
        complaints.extend(found(text).into_iter().map(complaint));
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn expect(path: &str, text: &str, expect: &[&str]) {
        assert_eq!(check([(path, text)].into_iter()), expect, "{text}");
    }

    #[test]
    fn words_of_features_below_them_are_found() {
        let complaint = "src/store/a.rs: 'seat' is a word of games";
        for text in ["fn f(max_seats: u8) {}", "struct MaxSeats;", "const A: &str = \"a seat\";"] {
            expect("src/store/a.rs", text, &[complaint]);
            expect("src/features/games/a.rs", text, &[]);
            expect("src/app.rs", text, &[]);
        }
        expect("src/http/a.rs", "enum Party { Parties }", &["src/http/a.rs: 'party' is a word of usage"]);
        for text in ["struct ClientErrors;", "\"client-errors\"", "CLIENT_ERRORS"] {
            expect("src/http.rs", text, &["src/http.rs: 'client errors' is a word of client_errors"]);
        }
    }

    #[test]
    fn comments_tests_and_other_words_are_none() {
        expect("src/store/a.rs", "/// A seat.\nfn seated() {} // games", &[]);
        expect("src/store/a.rs", "#[cfg(test)]\nmod tests { fn f() { g(\"games/g1\") } }", &[]);
        expect("src/store/a.rs", "let client = f(); let errors = client; struct ClientError;", &[]);
    }
}
