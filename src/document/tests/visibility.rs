use std::borrow::Cow;

use super::*;
use crate::document::patch::{PatchOperation, apply};
use crate::document::visibility::{Audience, overlay, redact_operation, redact_state, redact_value};
use crate::property_tests::cases;

fn redacted_bytes<'a>(state: &'a [u8], player: &UserId) -> Cow<'a, [u8]> {
    redact_state(state, Audience::Player(player)).unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn the_two_ways_to_redact_a_state_agree_and_tell_nothing(state in state(), player in player()) {
        let serialised = bytes(&state);
        let redacted = redact_value(state.clone(), &player);
        prop_assert_eq!(redacted_bytes(&serialised, &player).into_owned(), bytes(&redacted));
        prop_assert!(!tells_secrets(&redacted.to_string(), &player));
        prop_assert!(redacted.get("hidden").is_none());
        prop_assert_eq!(redacted.get("private").is_some(), state.get("private").is_some());
        prop_assert_eq!(redacted["private"].get(player.as_str()), state["private"].get(player.as_str()));
        // Once is enough, and the host gets all.
        prop_assert_eq!(&redact_value(redacted.clone(), &player), &redacted);
        prop_assert_eq!(&*redact_state(&serialised, Audience::Host).unwrap(), &*serialised);
    }

    #[test]
    fn redacted_operations_turn_one_redacted_state_into_the_next(states in two_states(), player in player()) {
        let (before, after) = states;
        let operations = change(Some(&before), Some(&after)).operations;
        let mut seen = Some(redact_value(before, &player));
        apply(&mut seen, operations.into_iter().filter_map(|o| redact_operation(o, &player)).collect()).unwrap();
        prop_assert_eq!(seen, Some(redact_value(after, &player)));
    }

    #[test]
    fn a_players_stream_replayed_is_what_the_player_sees_in_every_version(
        life in life(), payloads in vec(state(), 7), player in player(),
    ) {
        let life: Vec<_> = life.into_iter().map(|state| state.map(normal)).collect();
        let mut seen = None;
        for (event, state) in events(&life, &payloads).iter().zip(&life) {
            let rendered = event.render(Audience::Player(&player)).unwrap();
            let wire: Value = serde_json::from_slice(&rendered).unwrap();
            prop_assert!(!tells_secrets(text(&rendered), &player), "{}", text(&rendered));
            prop_assert!(!event.guarded || wire.get("salt").is_none(), "with the salt, a secret could be guessed");
            prop_assert_eq!(&wire["hash"], &Value::from(event.hash.to_string()));
            prop_assert_eq!(&wire["seq"], &Value::from(event.seq.0));
            let operations: Vec<PatchOperation> = serde_json::from_value(wire["patch"].clone()).unwrap();
            apply(&mut seen, operations).unwrap();
            let expected = state.clone().map(|state| redact_value(state, &player));
            prop_assert_eq!(seen.as_ref().map(bytes), expected.as_ref().map(bytes));

            let document = document(state.as_ref());
            let shown = document.render(Audience::Player(&player), true).unwrap();
            prop_assert!(!tells_secrets(text(&shown), &player));
            let shown: Value = serde_json::from_slice(&shown).unwrap();
            prop_assert_eq!(&shown["state"], &expected.unwrap_or_default());
        }
    }

    #[test]
    fn a_host_gets_the_stored_bytes_and_they_carry_a_salt_when_they_hold_a_secret(life in life()) {
        for event in events(&life, &[]) {
            let rendered = event.render(Audience::Host).unwrap();
            let inner = text(&event.body).strip_prefix('{').unwrap().strip_suffix('}').unwrap();
            prop_assert!(text(&rendered).contains(inner));
            prop_assert!(!text(&rendered).contains("SECRET-OF-") || text(&rendered).contains("\"salt\":\"a5a5"));
        }
    }

    #[test]
    fn replacing_all_that_a_player_sees_keeps_what_others_hide(before in state(), sent in state(), player in player()) {
        let sent = redact_value(sent, &player);
        let after = overlay(&before, sent.clone(), &player);
        prop_assert_eq!(after.get("hidden"), before.get("hidden"));
        for other in PLAYERS.iter().filter(|other| **other != player.as_str()) {
            prop_assert_eq!(after["private"].get(*other), before["private"].get(*other));
        }
        let mut expected = sent;
        if before.get("private").is_some() && expected.get("private").is_none() {
            expected["private"] = Value::Object(Map::new());
        }
        prop_assert_eq!(redact_value(after, &player), expected);
    }
}
