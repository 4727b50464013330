use std::cmp::Ordering;

use serde_json::json;

use super::*;
use crate::document::query::fields::Fields;
use crate::document::query::filter::Filter;
use crate::document::query::sort::{PageKey, Sort};
use crate::document::query::{QueriedDocument, QueriedPaths};
use crate::document::visibility::{Viewer, redact_value};
use crate::property_tests::cases;

fn filter(text: &Value) -> Result<Filter, String> {
    Filter::try_from(text.to_string())
}

fn matches(state: &Value, wanted: &Value) -> bool {
    let document = document(Some(state));
    let wanted = filter(wanted).unwrap();
    let paths = QueriedPaths::new(wanted.paths());
    wanted.matches(&QueriedDocument::new(&document, &Viewer::Owner, &paths).unwrap().0)
}

/// Values that often meet: equal ones of other spelling, neighbours, and others of each type.
fn value() -> impl Strategy<Value = Value> {
    let scalars = [
        json!(null),
        json!(true),
        json!(0),
        json!(1),
        json!(1.0),
        json!(1.5),
        json!(-3),
        json!(u64::MAX),
        json!(9_007_199_254_740_993_i64),
        json!(9_007_199_254_740_992.0),
        json!(""),
        json!("a"),
        json!("ab"),
        json!("ä"),
        json!("B"),
    ];
    let scalar = proptest::sample::select(scalars.to_vec());
    scalar.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::from),
            btree_map(name(), inner, 0..3).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn name() -> impl Strategy<Value = String> {
    proptest::sample::select(vec!["a", "b", "c"]).prop_map(str::to_owned)
}

fn object() -> impl Strategy<Value = Value> {
    btree_map(name(), value(), 0..4).prop_map(|members| Value::Object(members.into_iter().collect()))
}

/// A `where` that is taken.
fn wanted() -> impl Strategy<Value = Value> {
    let path = prop_oneof![name(), (name(), name()).prop_map(|(one, other)| format!("{one}.{other}"))];
    let ordered = value().prop_filter("in an order", |value| value.is_number() || value.is_string());
    let test = prop_oneof![
        value().prop_filter("no object", |value| !value.is_object()),
        (proptest::sample::select(vec!["eq", "ne", "contains"]), value())
            .prop_map(|(name, value)| json!({name: value})),
        (proptest::sample::select(vec!["lt", "lte", "gt", "gte"]), ordered)
            .prop_map(|(name, value)| json!({name: value})),
        vec(value(), 0..4).prop_map(|values| json!({ "in": values })),
        any::<bool>().prop_map(|exists| json!({ "exists": exists })),
    ];
    let single = btree_map(path, test, 0..3).prop_map(|members| Value::Object(members.into_iter().collect()));
    single.prop_recursive(2, 8, 3, |inner| {
        let list = vec(inner.clone(), 1..3);
        (inner, proptest::sample::select(vec!["and", "or"]), list).prop_map(|(mut object, name, list)| {
            object[name] = list.into();
            object
        })
    })
}

/// What `where` means, said again in another way: straight from its JSON.
fn naive(state: &Value, wanted: &Value) -> bool {
    wanted.as_object().unwrap().iter().all(|(name, test)| match name.as_str() {
        "and" => test.as_array().unwrap().iter().all(|wanted| naive(state, wanted)),
        "or" => test.as_array().unwrap().iter().any(|wanted| naive(state, wanted)),
        path => {
            let pointer = format!("/{}", path.replace('.', "/"));
            let mut at = state;
            let in_objects = path.split('.').all(|name| {
                let found = at.is_object() && at.get(name).is_some();
                at = at.get(name).unwrap_or(&Value::Null);
                found
            });
            let found = state.pointer(&pointer).filter(|_| in_objects);
            let Some(operators) = test.as_object() else { return found.is_some_and(|found| same(found, test)) };
            operators.iter().all(|(operator, operand)| naive_test(found, operator, operand))
        }
    })
}

fn naive_test(found: Option<&Value>, operator: &str, operand: &Value) -> bool {
    let order = || match (found?, operand) {
        (Value::Number(one), Value::Number(other)) => Some(exact(one).cmp(&exact(other))),
        (Value::String(one), Value::String(other)) => Some(one.chars().cmp(other.chars())),
        _ => None,
    };
    match operator {
        "eq" => found.is_some_and(|found| same(found, operand)),
        "ne" => !found.is_some_and(|found| same(found, operand)),
        "exists" => found.is_some() == (operand == &json!(true)),
        "in" => found.is_some_and(|found| operand.as_array().unwrap().iter().any(|one| same(found, one))),
        "contains" => match found {
            Some(Value::String(text)) => operand.as_str().is_some_and(|part| text.contains(part)),
            Some(Value::Array(items)) => items.iter().any(|item| same(item, operand)),
            _ => false,
        },
        "lt" => order() == Some(Ordering::Less),
        "gt" => order() == Some(Ordering::Greater),
        "lte" => order().is_some_and(|order| order != Ordering::Greater),
        "gte" => order().is_some_and(|order| order != Ordering::Less),
        other => panic!("{other}"),
    }
}

/// A number of the tests in halves, of which each is a whole count.
fn exact(number: &serde_json::Number) -> i128 {
    match number.as_i128() {
        Some(whole) => whole * 2,
        #[expect(clippy::cast_possible_truncation, reason = "a whole number of halves within 64 bits")]
        None => (number.as_f64().unwrap() * 2.0) as i128,
    }
}

fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => exact(one) == exact(other),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && (0..one.len()).all(|at| same(&one[at], &other[at]))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.keys().eq(other.keys()) && one.keys().all(|name| same(&one[name], &other[name]))
        }
        _ => one == other,
    }
}

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn a_filter_lets_through_what_its_json_says(state in object(), wanted in wanted()) {
        prop_assert_eq!(matches(&state, &wanted), naive(&state, &wanted), "{} of {}", wanted, state);
    }

    #[test]
    fn an_order_is_total_and_survives_its_cursor(states in vec(object(), 2..8), falling in any::<[bool; 2]>()) {
        let term = |at: usize, path: &str| format!("{}{path}", if falling[at] { "-" } else { "" });
        let sort = Sort::try_from([term(0, "a"), term(1, "b.c")].join(",")).unwrap();
        let paths = QueriedPaths::new(sort.paths());
        let places: Vec<PageKey> = states.iter().map(|state| {
            let document = document(Some(state));
            let place = sort.page_key(&QueriedDocument::new(&document, &Viewer::Owner, &paths).unwrap().0);
            let read: PageKey = serde_json::from_str(&serde_json::to_string(&place).unwrap()).unwrap();
            assert_eq!((sort.compare(&read, &place), sort.fits(&read)), (Ordering::Equal, true));
            read
        }).collect();
        for one in &places {
            for other in &places {
                prop_assert_eq!(sort.compare(one, other), sort.compare(other, one).reverse());
                for third in &places {
                    if sort.compare(one, other).is_le() && sort.compare(other, third).is_le() {
                        prop_assert!(sort.compare(one, third).is_le(), "{:?} {:?} {:?}", one, other, third);
                    }
                }
            }
        }
    }

    #[test]
    fn what_a_player_may_not_see_changes_no_answer(states in two_states(), player in player(), key in key()) {
        let (state, other) = states;
        // The same for the player, with other secrets.
        let mut twin = redact_value(state.clone(), &player);
        for part in ["hidden", "private"] {
            let own = twin[part].get(player.as_str()).cloned();
            if part == "hidden" || twin.get(part).is_some() {
                twin[part] = other.get(part).cloned().unwrap_or_else(|| json!({}));
            }
            if part == "private" && twin.get(part).is_some() {
                match own {
                    Some(own) => drop(twin[part].as_object_mut().unwrap().insert(player.to_string(), own)),
                    None => drop(twin[part].as_object_mut().unwrap().remove(player.as_str())),
                }
            }
        }
        prop_assume!(!key.contains(['.', ',']) && !key.starts_with('-') && !key.is_empty());
        let viewer = Viewer::User(player.clone());
        let (one, other) = (document(Some(&state)), document(Some(&twin)));
        for path in ["hidden".into(), format!("hidden.{key}"), "private".into(), "private.alice".into(), key] {
            let wanted = filter(&json!({ path.as_str(): { "exists": true } })).unwrap();
            let sort = Sort::try_from(path.clone()).unwrap();
            let paths = QueriedPaths::new(wanted.paths().into_iter().chain(sort.paths()));
            let [one, other] = [&one, &other].map(|one| QueriedDocument::new(one, &viewer, &paths).unwrap());
            prop_assert_eq!(wanted.matches(&one.0), wanted.matches(&other.0), "{}", path);
            prop_assert_eq!(sort.page_key(&one.0), sort.page_key(&other.0));
            prop_assert_eq!(one.1, other.1, "what it takes of a page");
        }
    }
}

#[test]
fn a_documents_own_properties_stand_before_members_of_its_state() {
    let state = json!({ "version": "two", "updatedAt": 7, "or": 1 });
    for (wanted, expected) in [
        (json!({ "version": 7 }), true),
        (json!({ "version": "two" }), false),
        (json!({ "state.version": "two", "state.updatedAt": { "gt": 6 } }), true),
        (json!({ "state.or": 1 }), true),
        (json!({ "updatedAt": { "gte": "1970-01-01T00:00:00.000Z" } }), true),
        (json!({ "id": { "exists": false } }), false),
    ] {
        assert_eq!(matches(&state, &wanted), expected, "{wanted}");
    }
}

#[test]
fn what_is_no_filter_says_what_is_wrong() {
    let long = format!("{}x", "x.".repeat(16));
    let many: Map<String, Value> = (0..51).map(|at| (format!("m{at}"), 1.into())).collect();
    for (wanted, said) in [
        (json!(5), "JSON object"),
        (json!([{ "a": 1 }]), "JSON object"),
        (json!({ "a": { "like": "b" } }), "\"like\""),
        (json!({ "a": {} }), "no operator"),
        (json!({ "a": { "lt": true } }), "a number or a text"),
        (json!({ "a": { "in": 1 } }), "a list"),
        (json!({ "a": { "exists": 1 } }), "true or false"),
        (json!({ "or": [] }), "at least one"),
        (json!({ "or": { "a": 1 } }), "at least one"),
        (json!({ "and": [1] }), "at least one"),
        (json!({ "a..b": 1 }), "a..b"),
        (json!({ "": 1 }), "no path"),
        (json!({ long.as_str(): 1 }), "16 names"),
        (Value::Object(many), "50 times"),
        (json!({ "a": "x".repeat(4096) }), "4096 bytes"),
    ] {
        let refusal = filter(&wanted).unwrap_err();
        assert!(refusal.contains(said), "{wanted}: {refusal}");
    }
    let deep = format!("{}1{}", "{\"and\":[".repeat(9), "]}".repeat(9));
    assert!(Filter::try_from(deep).unwrap_err().contains("nested"));
    assert!(Filter::try_from("{\"a\":".to_owned()).unwrap_err().contains("JSON object"));
}

#[test]
fn fields_are_shown_where_they_stand() {
    let state = json!({ "name": "Orc", "hitPoints": { "current": 3, "maximum": 9 }, "tags": [{ "a": 1 }], "n": null });
    for (fields, shown) in [
        ("name", json!({ "name": "Orc" })),
        ("hitPoints.current,name", json!({ "name": "Orc", "hitPoints": { "current": 3 } })),
        ("hitPoints.current,hitPoints", json!({ "hitPoints": { "current": 3, "maximum": 9 } })),
        ("hitPoints,hitPoints.current", json!({ "hitPoints": { "current": 3, "maximum": 9 } })),
        ("tags.a,name.first,nothing", json!({})),
        ("id,n,state.name", json!({ "n": null, "name": "Orc" })),
    ] {
        assert_eq!(Fields::try_from(fields.to_owned()).unwrap().select(&state), shown, "{fields}");
    }
    assert!(Fields::try_from("a,,b".to_owned()).unwrap_err().contains("no path"));
    assert!(Sort::try_from("-".to_owned()).is_err() && Sort::try_from("a,b,c,d,e".to_owned()).is_err());
}
