//! Random projects that change at random.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::property_tests::cases;

const NAMES: [&str; 6] = ["Ann", "Bob", "Ann Bob", "Cid", "\u{611b}", "Dan"];

fn id() -> impl Strategy<Value = String> {
    (0..5_u8).prop_map(|number| number.to_string())
}

fn date() -> impl Strategy<Value = Value> {
    prop_oneof![Just(Value::Null), (1860..1866_i32).prop_map(|year| json!(year.to_string())), Just(json!("1863-05"))]
}

fn title() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&NAMES[..])
}

fn text() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        title().prop_map(str::to_owned),
        title().prop_map(|name| format!("[[{name}]]")),
        title().prop_map(|name| format!("{name}'s")),
        Just("went".to_owned()),
    ];
    prop::collection::vec(word, 0..6).prop_map(|words| words.join(" "))
}

fn document() -> impl Strategy<Value = (String, Option<Value>)> {
    let character = (id(), title(), title(), date(), date(), id(), title()).prop_map(
        |(id, name, alias, born, died, parent, eyes)| {
            let state = json!({
                "name": name, "aliases": [alias], "born": born, "died": died, "parents": [parent],
                "facts": { "eyes": eyes },
            });
            (format!("characters/{id}"), state)
        },
    );
    let entry = (id(), title(), id(), title(), text()).prop_map(|(id, title, about, eyes, text)| {
        let about = format!("characters/{about}");
        (
            format!("wiki-entries/{id}"),
            json!({ "title": title, "about": about, "facts": { "eyes": eyes }, "text": text }),
        )
    });
    let chapter = (id(), 0..5_u8, title(), text(), date(), prop::collection::vec(id(), 0..3)).prop_map(
        |(id, number, title, text, date, cast)| {
            let state = json!({ "number": number, "title": title, "text": text, "date": date, "characterIds": cast });
            (format!("chapters/{id}"), state)
        },
    );
    let plot = (id(), title(), prop::collection::vec(id(), 3), prop::bool::ANY).prop_map(|(id, title, at, open)| {
        let status = if open { "open" } else { "closed" };
        let state =
            json!({ "title": title, "openedIn": at[0], "closedIn": at[1], "chapterIds": [at[2]], "status": status });
        (format!("plot-loops/{id}"), state)
    });
    let state = prop_oneof![character, entry, chapter, plot];
    (state, prop::bool::weighted(0.8)).prop_map(|((name, state), there)| (name, there.then_some(state)))
}

fn sorted(mut found: Vec<CheckFinding>) -> Vec<String> {
    found.sort_by_key(|found| (found.check, found.unit.clone(), found.finding.key.clone()));
    found.into_iter().map(|found| format!("{found:?}")).collect()
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn a_check_of_what_a_change_can_touch_finds_what_a_full_check_finds(
        steps in prop::collection::vec(prop::collection::vec(document(), 1..4), 1..25),
    ) {
        let facts = ProjectFacts { completed: true, ..ProjectFacts::default() };
        let mut model = ProjectModel::new(facts.clone());
        let mut documents = std::collections::BTreeMap::new();
        let mut kept: Vec<CheckFinding> = Vec::new();
        for step in steps {
            let step: std::collections::BTreeMap<_, _> = step.into_iter().collect();
            let changes = step.iter().map(|(text, state)| {
                let name = name(text);
                let after = state.clone().map(|state| entity(&name, state));
                (name, after)
            });
            let units = checks::update(&mut model, changes.collect());
            kept.retain(|found| !units.iter().any(|(at, unit)| {
                checks::ALL[*at].name() == found.check && *unit == found.unit
            }));
            kept.extend(checks::findings(&model, &units));
            for (name, state) in step {
                match state {
                    Some(state) => drop(documents.insert(name, state)),
                    None => drop(documents.remove(&name)),
                }
            }
            let anew: Vec<(&str, Value)> =
                documents.iter().map(|(name, state): (&String, &Value)| (name.as_str(), state.clone())).collect();
            let full = all_findings(&project(facts.clone(), &anew));
            prop_assert_eq!(sorted(kept.clone()), sorted(full));
        }
    }

    #[test]
    fn no_state_makes_a_check_panic(text in "\\PC{0,60}", name in "\\PC{0,20}", date in "\\PC{0,10}") {
        let state = json!({
            "name": name, "title": name, "aliases": [text, 1, null], "born": date, "died": date, "text": text,
            "parents": name, "about": text, "facts": [text], "openedIn": [1], "closedIn": { "id": name },
            "number": date,
        });
        let all = ["characters/a", "wiki-entries/a", "chapters/a", "plot-loops/a"].map(|at| (at, state.clone()));
        let model = project(ProjectFacts { state: state.clone(), completed: true }, &all);
        all_findings(&model);
    }
}
