//! Counting words.

use unicode_segmentation::UnicodeSegmentation as _;

/// The words of a text, by the word boundaries of Unicode (UAX #29): what has a letter or a digit in it. Han, Hiragana
/// and Katakana count by character; Korean, which has spaces, by word.
pub(crate) fn count_words(text: &str) -> u64 {
    let words = text.unicode_words().map(|word| if word.is_ascii() { 1 } else { count_in_word(word) });
    words.sum()
}

/// Unicode keeps runs of Katakana together, and only those.
fn count_in_word(word: &str) -> u64 {
    let kana = word.chars().filter(|c| is_katakana(*c)).fold(0, |count, _| count + 1);
    kana.max(1)
}

/// Without the marks that only change the character before them.
fn is_katakana(c: char) -> bool {
    matches!(c, '\u{30a1}'..='\u{30fa}' | '\u{30fc}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{ff66}'..='\u{ff9d}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::property_tests::cases;

    #[test]
    fn words_are_counted_as_their_writers_do() {
        let cases: &[(&str, u64)] = &[
            ("", 0),
            (" \n\t — … !", 0),
            ("It was the best of times.", 6),
            ("Don't stop: it's 3.14, isn't it?", 6),
            ("a well-known man", 4),
            ("Größe, naïveté et œuvre", 4),
            ("cafe\u{301} e\u{301}te\u{301}", 2),
            ("我是一个学生。", 6),
            ("私は学生です", 6),
            ("カタカナ", 4),
            ("コーヒーを飲む", 7),
            ("ｶﾞｷﾞ", 2),
            ("나는 학생입니다", 2),
            ("東京 2026 Tokyo", 4),
            ("слово за слово", 3),
            ("🎉 party 🎉", 1),
        ];
        for (text, count) in cases {
            assert_eq!(count_words(text), *count, "{text}");
        }
    }

    proptest! {
        #![proptest_config(cases(256))]

        #[test]
        fn words_of_two_texts_with_a_line_between_add_up(one in ".{0,60}", other in ".{0,60}") {
            let both = format!("{one}\n{other}");
            prop_assert_eq!(count_words(&both), count_words(&one) + count_words(&other));
        }

        #[test]
        fn ascii_words_are_what_stands_between_spaces(words in prop::collection::vec("[a-zA-Z0-9]{1,9}", 0..40)) {
            prop_assert_eq!(count_words(&words.join(" ")), words.len() as u64);
        }
    }
}
