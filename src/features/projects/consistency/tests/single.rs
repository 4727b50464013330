//! Each check by itself.

use serde_json::{Value, json};

use super::*;
use crate::features::projects::consistency::check::Severity;

#[track_caller]
fn expect(documents: &[(&str, Value)], expected: &[&str]) {
    let found = all_findings(&project(ProjectFacts::default(), documents));
    assert_eq!(places(&found), expected, "{found:#?}");
}

#[test]
fn references_and_links_lead_to_something() {
    let chapter = json!({
        "projectId": "p", "number": 1, "title": "One", "characterIds": ["a", "b"], "pointOfViewId": "x",
        "text": "Ann met [[Old Tom|him]], [[Ann]] and [[Nobody]]. Tom left.",
    });
    let ann = json!({ "projectId": "p", "name": "Ann", "parents": ["z"] });
    let tom = json!({ "projectId": "p", "title": "Tom", "aliases": ["Old Tom"], "about": "characters/t" });
    let documents = [("chapters/1", chapter), ("characters/a", ann), ("wiki-entries/t", tom)];
    expect(
        &documents,
        &[
            "missing-reference chapters/1/characterIds/1",
            "missing-reference chapters/1/text",
            "missing-reference characters/a/parents/0",
            "missing-reference wiki-entries/t/about",
        ],
    );
}

#[test]
fn a_guessed_collection_counts_when_there_is_one() {
    let chapter = json!({ "projectId": "p", "mapId": "m", "moodId": "blue", "boxId": "b1" });
    let mut model = project(ProjectFacts::default(), &[("chapters/1", chapter)]);
    let outside = model.outside_of([&name("chapters/1")].into_iter());
    assert!(outside.contains(&name("boxes/b1")), "{outside:?}");
    assert_eq!(places(&all_findings(&model)), [] as [&str; 0]);
    model.set_outside([(name("boxes/b1"), true)], vec!["maps".to_owned(), "boxes".to_owned()]);
    assert_eq!(places(&all_findings(&model)), ["missing-reference chapters/1/mapId"]);
}

#[test]
fn equal_names_are_told_within_a_kind() {
    expect(
        &[
            ("characters/a", json!({ "name": "Ann", "aliases": ["Nan"] })),
            ("characters/b", json!({ "name": "Nan" })),
            ("characters/c", json!({ "name": "ann" })),
            ("wiki-entries/a", json!({ "title": "Ann" })),
            ("plot-loops/a", json!({ "title": "Twice", "status": "open" })),
            ("plot-loops/b", json!({ "title": "Twice", "status": "open" })),
        ],
        &["duplicate-name characters/b/name"],
    );
}

#[test]
fn as_many_are_told_to_go_by_a_name_as_do() {
    let names: Vec<String> = (0..25).map(|number| format!("characters/c{number}")).collect();
    let documents: Vec<_> = names.iter().map(|name| (name.as_str(), json!({ "name": "Ann" }))).collect();
    let found = all_findings(&project(ProjectFacts::default(), &documents));
    assert_eq!(found.len(), 1);
    assert!(found[0].finding.what.starts_with("25 characters"), "{}", found[0].finding.what);
}

#[test]
fn facts_of_a_character_and_of_its_entry_are_compared() {
    let ann = json!({ "name": "Ann", "born": "1862-05-04", "facts": { "eyes": "grey", "age": 7, "cat": "Dinah" } });
    let entry = json!({
        "title": "About Ann", "about": "characters/a",
        "facts": { "eyes": "green", "age": "7", "born": "1862", "height": 3, "cat": null },
    });
    let other = json!({ "title": "Other", "facts": { "eyes": "blue" } });
    let found = [("characters/a", ann), ("wiki-entries/a", entry), ("wiki-entries/b", other)];
    expect(&found, &["fact-mismatch wiki-entries/a/facts/eyes"]);
    let model = project(ProjectFacts::default(), &found);
    let values = &all_findings(&model)[0].finding.values;
    assert_eq!(values, &json!({ "fact": "eyes", "character": "grey", "wikiEntry": "green" }));
}

#[test]
fn dates_that_cannot_be_are_told() {
    expect(
        &[
            ("characters/a", json!({ "name": "Ann", "born": "1850", "died": "1849-12" })),
            ("characters/b", json!({ "name": "Bob", "born": "1840", "died": "1900", "parents": ["a", "c"] })),
            ("characters/c", json!({ "name": "Cid", "born": "1840-06-01", "died": "1870-01-02" })),
            ("chapters/1", json!({ "title": "One", "date": "1870-01", "characterIds": ["c"] })),
            ("chapters/2", json!({ "title": "Two", "date": "1870-02", "characterIds": ["b", "c"] })),
            ("chapters/3", json!({ "title": "Three", "date": "one day", "characterIds": ["c"] })),
        ],
        &[
            "impossible-date chapters/2/characterIds/1",
            "impossible-date characters/a/died",
            "impossible-date characters/b/parents/0",
        ],
    );
}

#[test]
fn plot_loops_go_forward() {
    let chapter = |number: u32| json!({ "number": number, "title": format!("Chapter {number}") });
    expect(
        &[
            ("chapters/1", chapter(1)),
            ("chapters/2", chapter(2)),
            ("chapters/3", chapter(3)),
            ("plot-loops/a", json!({ "title": "a", "openedIn": "2", "closedIn": "1", "status": "closed" })),
            ("plot-loops/b", json!({ "title": "b", "openedIn": "1", "closedIn": "3", "status": "closed" })),
            ("plot-loops/c", json!({ "title": "c", "openedIn": "1", "chapterIds": ["3", "2"], "status": "open" })),
            ("plot-loops/d", json!({ "title": "d", "openedIn": "2", "closedIn": "2", "status": "closed" })),
        ],
        &["plot-loop-order plot-loops/a/closedIn", "plot-loop-order plot-loops/c/chapterIds/1"],
    );
}

#[test]
fn plot_loops_are_closed_when_the_project_is_completed() {
    let documents = [("plot-loops/a", json!({ "status": "open" })), ("plot-loops/b", json!({ "status": "closed" }))];
    assert_eq!(places(&all_findings(&project(ProjectFacts::default(), &documents))), [] as [&str; 0]);
    let completed = ProjectFacts { completed: true, ..ProjectFacts::default() };
    let found = all_findings(&project(completed, &documents));
    assert_eq!(places(&found), ["plot-loop-left-open plot-loops/a/status"]);
}

#[test]
fn the_dead_and_the_forgotten_are_told_by_the_text() {
    let documents = [
        ("characters/a", json!({ "name": "Ann", "died": "1870" })),
        ("characters/b", json!({ "name": "Bob" })),
        ("characters/c", json!({ "name": "Cid" })),
        ("wiki-entries/b", json!({ "title": "The life of Bob", "about": "characters/b" })),
        ("wiki-entries/t", json!({ "title": "Tower", "aliases": ["Keep"] })),
        ("plot-loops/l", json!({ "title": "Lost", "status": "open" })),
        ("chapters/1", json!({ "title": "One", "date": "1870-05", "text": "Ann went to the Keep." })),
        ("chapters/2", json!({ "title": "Two", "date": "1871", "text": "Bob wept at Ann's grave." })),
        ("chapters/3", json!({ "title": "Three", "text": "Annabel, not Ann." })),
    ];
    expect(&documents, &["mentioned-after-death chapters/2/text", "never-mentioned characters/c/name"]);
    expect(&documents[..6], &[]);
}

#[test]
fn a_project_switches_checks_off_and_says_how_bad_they_are() {
    let documents = [("characters/a", json!({ "name": "Ann" })), ("characters/b", json!({ "name": "Ann" }))];
    let with = |checks: Value| {
        let facts = ProjectFacts { state: json!({ "checks": checks }), completed: false };
        all_findings(&project(facts, &documents)).first().map(|found| found.severity)
    };
    assert_eq!(with(json!({})), Some(Severity::Warning));
    assert_eq!(with(json!({ "duplicate-name": false })), None);
    assert_eq!(with(json!({ "duplicate-name": "info" })), Some(Severity::Info));
    for odd in [json!({ "duplicate-name": true }), json!({ "duplicate-name": "awful" }), json!([])] {
        assert_eq!(with(odd.clone()), Some(Severity::Warning), "{odd}");
    }
}

#[test]
fn a_unit_is_read_as_it_is_written() {
    use crate::features::projects::consistency::check::Unit;
    let named = |name: &str| Unit::Name(MemberKind::WikiEntry, name.to_owned());
    for unit in [Unit::Document(name("characters/a")), named("Ann"), named("a/b"), named("characters: x"), named(": ")]
    {
        assert_eq!(Unit::parse(&unit.to_string()), Some(unit.clone()), "{unit}");
    }
}

#[test]
fn a_finding_is_known_by_its_place_and_differs_by_its_values() {
    let found = |eyes: &str| {
        let ann = json!({ "name": "Ann", "facts": { "eyes": "grey" } });
        let entry = json!({ "title": "Ann", "about": "characters/a", "facts": { "eyes": eyes } });
        all_findings(&project(ProjectFacts::default(), &[("characters/a", ann), ("wiki-entries/a", entry)])).remove(0)
    };
    let (green, blue) = (found("green"), found("blue"));
    let fingerprint = |found: &CheckFinding| found.finding.fingerprint(found.check, &found.unit);
    assert_eq!(fingerprint(&green), fingerprint(&blue));
    assert_ne!(green.finding.values_digest(), blue.finding.values_digest());
}
