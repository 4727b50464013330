use super::*;
use crate::document::patch::{PatchOperation, apply};
use crate::property_tests::cases;

/// The same tree with the other sign at every zero.
fn other_zeros(value: Value) -> Value {
    match value {
        Value::Number(zero) if zero.is_f64() && zero.as_f64() == Some(0.0) => Value::from(-zero.as_f64().unwrap()),
        Value::Array(items) => items.into_iter().map(other_zeros).collect(),
        Value::Object(members) => {
            Value::Object(members.into_iter().map(|(key, value)| (key, other_zeros(value))).collect())
        }
        other => other,
    }
}

proptest! {
    #![proptest_config(cases(128))]


    #[test]
    fn the_difference_leads_from_the_old_state_to_the_new_by_add_remove_and_replace(states in two_states()) {
        let (before, after) = states;
        let change = change(Some(&before), Some(&after));
        let sent = serde_json::to_value(&change.operations).unwrap();
        for operation in sent.as_array().unwrap() {
            prop_assert!(["add", "remove", "replace"].contains(&operation["op"].as_str().unwrap()));
        }
        let mut rebuilt = Some(before);
        apply(&mut rebuilt, change.operations).unwrap();
        prop_assert_eq!(rebuilt, Some(after));
    }

    #[test]
    fn a_life_rebuilt_from_stored_events_has_the_same_bytes_in_every_version(life in life()) {
        let life: Vec<_> = life.into_iter().map(|state| state.map(normal)).collect();
        let mut rebuilt = None;
        for (event, state) in events(&life, &[]).iter().zip(&life) {
            apply(&mut rebuilt, event.operations().unwrap()).unwrap();
            prop_assert_eq!(rebuilt.as_ref().map(bytes), state.as_ref().map(bytes));
            prop_assert_eq!(event.deletes, state.is_none());
            // A state that was dropped from memory and read again is the same tree.
            let read: Option<Value> = rebuilt.as_ref().map(|state| serde_json::from_slice(&bytes(state)).unwrap());
            prop_assert_eq!(&read, state);
        }
    }

    #[test]
    fn a_zero_that_only_changes_its_sign_does_not_part_the_rebuilt_state_from_the_kept_one(state in state()) {
        let other = other_zeros(state.clone());
        let states = [normal(state), normal(other)];
        let mut rebuilt = Some(states[0].clone());
        apply(&mut rebuilt, change(Some(&states[0]), Some(&states[1])).operations).unwrap();
        prop_assert_eq!(rebuilt.as_ref().map(bytes), Some(bytes(&states[1])));
    }

    #[test]
    fn a_change_takes_about_as_much_room_as_the_new_state_at_most(states in two_states()) {
        let (before, after) = states;
        let room: usize = change(Some(&before), Some(&after))
            .operations
            .iter()
            .map(|operation| serde_json::to_vec(operation).unwrap().len())
            .sum();
        // What escaping adds is not foreseen; it is at most sixfold.
        prop_assert!(room <= 6 * (bytes(&after).len() + 150), "{room}");
    }

    #[test]
    fn a_stored_change_that_does_not_apply_is_damage_and_no_panic(state in state(), path in "(/[a-c~0-2-]{0,2}){0,3}") {
        for operation in [
            PatchOperation::Remove { path: path.clone() },
            PatchOperation::Replace { path: path.clone(), value: Value::Null },
            PatchOperation::Add { path, value: Value::Null },
        ] {
            let mut state = Some(state.clone());
            if let Err(error) = apply(&mut state, vec![operation]) {
                prop_assert_eq!(error.kind(), crate::base::error::Kind::Damaged);
            }
        }
    }
}
