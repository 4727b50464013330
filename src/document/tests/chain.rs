use super::*;
use crate::document::chain::{Hash, Position, ShortHash, Tag, verify};
use crate::property_tests::cases;

fn number() -> impl Strategy<Value = u64> {
    let max = u64::try_from(i64::MAX).unwrap();
    prop_oneof![1..=max, 1..100_u64, Just(max)]
}

fn short() -> impl Strategy<Value = ShortHash> {
    any::<[u8; 8]>().prop_map(|seed| Hash::ZERO.after(&seed).short())
}

/// Text that is near to a position: right, or wrong by little.
fn near() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-9]{0,21}-?[0-9a-f]{0,14}",
        "[+ -]?[0-9]{1,3}[- ][0-9a-fA-F]{12}[ \n]?",
        "0{0,2}[0-9]{1,3}-[0-9a-f]{12}",
        "[0-9a-fA-F]{64}",
        "[0-9٠-٩]{1,3}-[0-9a-f]{12}",
        "\\PC{0,20}",
    ]
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn positions_tags_and_hashes_are_read_as_they_are_written(
        number in number(), hash in short(), whole in any::<[u8; 8]>(),
    ) {
        let position = Position::After { seq: Seq(number), hash };
        prop_assert_eq!(Position::parse(&position.to_string()), Some(position));
        let tag = Tag { version: Version(number), hash };
        prop_assert_eq!(Tag::parse(&tag.to_string()), Some(tag));
        let whole = Hash::ZERO.after(&whole);
        prop_assert_eq!(Hash::parse(&whole.to_string()), Some(whole));
        prop_assert!(whole.to_string().starts_with(&whole.short().to_string()));
        prop_assert_eq!(ShortHash::parse(&hash.to_string()), Some(hash));
    }

    #[test]
    fn no_other_text_is_a_position_a_tag_or_a_hash(text in near()) {
        if let Some(position) = Position::parse(&text) {
            prop_assert_eq!(position.to_string(), text.clone());
        }
        if let Some(tag) = Tag::parse(&text) {
            prop_assert_eq!(tag.to_string(), text.clone());
        }
        if let Some(hash) = Hash::parse(&text) {
            prop_assert_eq!(hash.to_string(), text);
        }
    }

    #[test]
    fn a_chain_verifies_until_any_bit_of_it_is_another(
        life in life(), place in any::<prop::sample::Index>(), which in any::<prop::sample::Index>(),
    ) {
        let events = events(&life, &[]);
        let mut previous = Hash::ZERO;
        for event in &events {
            prop_assert!(verify(previous, &event.body, event.hash, event.version).is_ok());
            previous = event.hash;
        }
        let index = which.index(events.len());
        let event = &events[index];
        let before = index.checked_sub(1).map_or(Hash::ZERO, |index| events[index].hash);
        // One flipped bit of the body, of the hash before, of the hash claimed.
        let mut body = event.body.to_vec();
        let bit = place.index(body.len() * 8);
        body[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(verify(before, &body, event.hash, event.version).is_err());
        let flipped = |hash: Hash| {
            let mut digits = hash.to_string().into_bytes();
            let bit = place.index(256);
            let digit = char::from(digits[bit / 4]).to_digit(16).unwrap() ^ (1 << (bit % 4));
            digits[bit / 4] = u8::try_from(char::from_digit(digit, 16).unwrap()).unwrap();
            Hash::parse(std::str::from_utf8(&digits).unwrap()).unwrap()
        };
        prop_assert!(verify(flipped(before), &event.body, event.hash, event.version).is_err());
        prop_assert!(verify(before, &event.body, flipped(event.hash), event.version).is_err());
    }

    #[test]
    fn what_is_stored_of_an_event_gives_the_same_event(life in life()) {
        for event in events(&life, &[]) {
            let again =
                Event::stored(event.seq, meta(), event.version, event.hash, event.deletes, event.body.clone()).unwrap();
            prop_assert_eq!(again.at, event.at);
            prop_assert!(again.guarded || !event.guarded, "what is guarded stays guarded");
            prop_assert_eq!(again.operations().unwrap(), event.operations().unwrap());
        }
    }
}
