//! Where names stand in a text: whole words, as Unicode has them, and the case counts. In Chinese, Japanese and Korean
//! there are no spaces to go by: there a name may stand anywhere. `Alice's` is a place where `Alice` stands.

use std::collections::BTreeSet;

use aho_corasick::{AhoCorasick, MatchKind};
use unicode_segmentation::UnicodeSegmentation;

/// Bytes to both sides of a name that are looked at to find out whether it is a word of its own.
const WINDOW_BYTES: usize = 200;
/// What makes a genitive of a name.
const GENITIVES: [&str; 2] = ["'s", "\u{2019}s"];

/// Finds many names in one pass.
#[derive(Debug)]
pub(crate) struct NameFinder {
    automaton: AhoCorasick,
}

impl NameFinder {
    /// Of these names, none of which is empty. `None`: they are too many or too long to be looked for.
    pub(crate) fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let automaton = AhoCorasick::builder().match_kind(MatchKind::Standard).build(names).ok()?;
        Some(Self { automaton })
    }

    /// Which of the names stand in `text`, by their place in the list.
    pub(crate) fn find(&self, text: &str) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        if self.automaton.patterns_len() == 0 {
            return found;
        }
        for hit in self.automaton.find_overlapping_iter(text) {
            let name = hit.pattern().as_usize();
            if !found.contains(&name) && is_whole(text, hit.start(), hit.end()) {
                found.insert(name);
            }
        }
        found
    }
}

/// Whether `text[start..end]` is no part of a longer word.
fn is_whole(text: &str, start: usize, end: usize) -> bool {
    let (before, after) = (text.get(..start).unwrap_or_default(), text.get(end..).unwrap_or_default());
    let name = text.get(start..end).unwrap_or_default();
    let (free_start, free_end) =
        (name.chars().next().is_some_and(is_unspaced), name.chars().next_back().is_some_and(is_unspaced));
    if free_start && free_end {
        return true;
    }
    // A space always parts words, so that what is beyond one need not be looked at.
    let near = |c: char| c.is_whitespace();
    let from = before.rfind(near).unwrap_or(0).max(floor(text, start.saturating_sub(WINDOW_BYTES)));
    let to = after.find(near).map_or(text.len(), |space| end + space).min(floor(text, end + WINDOW_BYTES).max(end));
    let window = text.get(from..to).unwrap_or_default();
    let mut bounds: BTreeSet<usize> = window.split_word_bound_indices().map(|(at, _)| from + at).collect();
    bounds.insert(to);
    let ends_at = |at: usize| bounds.contains(&at);
    let genitive = || GENITIVES.iter().any(|suffix| after.starts_with(suffix) && ends_at(end + suffix.len()));
    (free_start || ends_at(start)) && (free_end || ends_at(end) || genitive())
}

/// The last place up to `at` where a character begins.
fn floor(text: &str, at: usize) -> usize {
    text.floor_char_boundary(at)
}

/// Whether a character is of a script that is written without spaces between words, or, in Korean, with words that
/// have endings.
fn is_unspaced(c: char) -> bool {
    matches!(u32::from(c),
        0x1100..=0x11FF | 0x3005..=0x3007 | 0x3040..=0x30FF | 0x3130..=0x318F | 0x31F0..=0x31FF | 0x3400..=0x4DBF
        | 0x4E00..=0x9FFF | 0xAC00..=0xD7AF | 0xF900..=0xFAFF | 0x20000..=0x3FFFF)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;

    #[track_caller]
    fn expect(name: &str, text: &str, expected: bool) {
        let found = NameFinder::new([name]).unwrap().find(text).contains(&0);
        assert_eq!(found, expected, "{name} in {text}");
    }

    #[test]
    fn names_are_whole_words_with_their_case() {
        for text in ["Alice", "said Alice, and", "(Alice)", "\u{201c}Alice!\u{201d}", "Alice's cat", "Alice\u{2019}s"] {
            expect("Alice", text, true);
        }
        for text in ["Alicen", "MAlice", "alice", "ALICE", "Alice_2", "", "Al ice", "Alice'sx"] {
            expect("Alice", text, false);
        }
        expect("White Rabbit", "the White Rabbit's gloves", true);
        expect("White Rabbit", "the White Rabbits", false);
        expect("James", "James' hat", true);
        expect("Zo\u{eb}", "und Zo\u{eb}.", true);
        expect("St. Mary", "to St. Mary's", true);
        expect("Alice", &format!("{}Alice", "x".repeat(500)), false);
        expect("Alice", &format!("{} Alice {}", "\u{e4}".repeat(500), "\u{e4}".repeat(500)), true);
    }

    #[test]
    fn where_words_are_not_parted_a_name_stands_anywhere() {
        expect("\u{611b}\u{9e97}\u{7d72}", "\u{6709}\u{4e00}\u{5929}\u{611b}\u{9e97}\u{7d72}\u{5750}", true);
        expect("\u{30a2}\u{30ea}\u{30b9}", "\u{4eca}\u{65e5}\u{30a2}\u{30ea}\u{30b9}\u{306f}", true);
        expect("\u{c568}\u{b9ac}\u{c2a4}", "\u{c568}\u{b9ac}\u{c2a4}\u{b294} \u{c5b8}\u{b2c8}", true);
    }

    #[test]
    fn names_within_names_are_found_too() {
        let finder = NameFinder::new(["Rabbit", "White Rabbit", "Rabbit Hole", "Hole"]).unwrap();
        assert_eq!(finder.find("a White Rabbit Hole"), BTreeSet::from([0, 1, 2, 3]));
        assert!(NameFinder::new([]).unwrap().find("anything").is_empty());
    }
}
