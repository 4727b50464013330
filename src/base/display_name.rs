//! What people call a person or a program.

use super::error::{Error, Result};

/// Most characters of a name.
pub(crate) const DISPLAY_NAME_CHARS_MAX: usize = 40;

/// A name for people to read: 1 to [`DISPLAY_NAME_CHARS_MAX`] characters without space around them, at least one of
/// which can be seen, and none of which ends a line or turns the direction of writing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DisplayName(String);

impl DisplayName {
    /// Trims and checks `text`. Error: `Invalid`, naming `field`.
    pub(crate) fn new(field: &str, text: &str) -> Result<Self> {
        let name = Self(text.trim().to_owned());
        let good = name.0.chars().count() <= DISPLAY_NAME_CHARS_MAX
            && !name.0.chars().any(|c| c.is_control() || turns_or_breaks(c))
            && !name.folded().is_empty();
        if good {
            return Ok(name);
        }
        let rule = format!("must be 1 to {DISPLAY_NAME_CHARS_MAX} characters that can be read, on one line");
        Err(Error::invalid_field(field, rule))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// What two names have in common that count as one: see [`fold`].
    pub(crate) fn folded(&self) -> String {
        fold(&self.0)
    }
}

/// `text` without what two names may differ in and still look alike: case, the number of spaces between words, and
/// characters that are not seen.
pub(crate) fn fold(text: &str) -> String {
    let seen: String = text.chars().filter(|c| !is_unseen(*c)).collect();
    // By way of upper case, of which some letters have one for several lower-case ones; lower-case first, since the
    // large sharp s is no upper case of anything.
    let folded = seen.to_lowercase().to_uppercase().to_lowercase();
    folded.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Line and paragraph separators, and what makes what follows read from the other side.
fn turns_or_breaks(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// What takes no room of its own: joiners, soft hyphens, selectors of variants.
fn is_unseen(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;
    use crate::property_tests::cases;
    use proptest::prelude::*;

    #[test]
    fn a_name_is_short_and_can_be_read() {
        let long = "ä".repeat(DISPLAY_NAME_CHARS_MAX);
        for (text, kept) in [
            ("Ann", "Ann"),
            ("  Ann B.\t", "Ann B."),
            ("明", "明"),
            ("O'Neill 3", "O'Neill 3"),
            ("👩‍🚀", "👩‍🚀"),
            (&long, &long),
        ] {
            assert_eq!(DisplayName::new("name", text).unwrap().as_str(), kept);
        }
        for bad in ["", "   ", "\u{200b}", "a\nb", "a\u{2028}b", "\u{202e}nna", "a\u{7}", &format!("{long}x")] {
            let error = DisplayName::new("name", bad).unwrap_err();
            assert!(format!("{:?}", error.details()).contains("name"), "{bad:?}");
        }
    }

    #[test]
    fn names_that_look_alike_are_one() {
        let folded = |text: &str| DisplayName::new("name", text).unwrap().folded();
        for (one, other) in [
            ("Ann", "aNN"),
            ("ANN  B", "ann b"),
            ("Straße", "STRASSE"),
            ("STRAẞE", "strasse"),
            ("ΟΔΟΣ", "οδος"),
            ("A\u{ad}nn", "ann"),
        ] {
            assert_eq!(folded(one), folded(other), "{one} {other}");
        }
        assert_ne!(folded("Ann"), folded("Anna"));
    }

    #[test]
    fn folding_twice_is_folding_once_whatever_the_letter() {
        // Beyond this plane no letter has a case.
        for c in (0..0x20000).filter_map(char::from_u32) {
            for text in [format!("{c}"), format!("a{c}b"), format!("a{c} b")] {
                assert_eq!(fold(&fold(&text)), fold(&text), "{c:?}");
            }
        }
    }

    proptest! {
        #![proptest_config(cases(256))]

        #[test]
        fn whatever_is_taken_is_taken_again_as_it_is(text in ".{0,50}") {
            if let Ok(name) = DisplayName::new("name", &text) {
                prop_assert_eq!(&DisplayName::new("name", name.as_str()).unwrap(), &name);
                prop_assert_eq!(fold(&name.folded()), name.folded());
            }
        }
    }
}
