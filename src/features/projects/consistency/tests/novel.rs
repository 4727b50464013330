//! A real text: Alice in Wonderland, with a cast, a wiki and plot loops that fit it, and contradictions planted in it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;

/// The book as one that was written would be kept: nothing in it contradicts anything.
fn novel() -> BTreeMap<String, Value> {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/alice/alice.txt"));
    let mut documents = BTreeMap::new();
    for (index, part) in text.split("CHAPTER ").skip(1).enumerate() {
        let (heading, text) = part.split_once('\n').unwrap();
        let (_, title) = heading.split_once(". ").unwrap();
        let state = json!({
            "projectId": "p", "number": index + 1, "title": title, "text": text,
            "date": format!("1862-05-{:02}", index + 4),
        });
        documents.insert(format!("chapters/c{}", index + 1), state);
    }
    assert_eq!(documents.len(), 12);
    let characters = [
        ("alice", json!({ "name": "Alice", "born": "1852-05-04", "facts": { "hair": "long", "cat": "Dinah" } })),
        ("rabbit", json!({ "name": "White Rabbit", "aliases": ["Rabbit"], "born": "1840" })),
        ("hatter", json!({ "name": "Hatter", "born": "1830" })),
        ("hare", json!({ "name": "March Hare", "born": "1831" })),
        ("dormouse", json!({ "name": "Dormouse" })),
        ("queen", json!({ "name": "Queen of Hearts", "aliases": ["Queen"], "born": "1810" })),
        ("king", json!({ "name": "King of Hearts", "aliases": ["King"], "born": "1809" })),
        (
            "knave",
            json!({ "name": "Knave of Hearts", "aliases": ["Knave"], "born": "1835", "parents": ["queen", "king"] }),
        ),
        ("turtle", json!({ "name": "Mock Turtle" })),
        ("gryphon", json!({ "name": "Gryphon" })),
        ("cat", json!({ "name": "Cheshire Cat" })),
        ("dodo", json!({ "name": "Dodo" })),
        ("mouse", json!({ "name": "Mouse", "died": "1863" })),
        ("father-william", json!({ "name": "Father William", "died": "1840" })),
    ];
    for (id, state) in characters {
        documents.insert(format!("characters/{id}"), with_project(state));
    }
    // Dead long before, and only in the verses of one chapter: a memory, so that the chapter has no date.
    documents.get_mut("chapters/c5").unwrap().as_object_mut().unwrap().remove("date");
    let entries = [
        (
            "alice",
            json!({ "title": "The girl", "about": "characters/alice", "facts": { "born": "1852", "cat": "Dinah" } }),
        ),
        ("dinah", json!({ "title": "Dinah", "text": "The cat of [[Alice]]." })),
        ("croquet", json!({ "title": "croquet", "text": "As the [[Queen of Hearts|Queen]] plays it." })),
        ("tarts", json!({ "title": "tarts", "text": "See [[Who Stole the Tarts?]]" })),
        ("wonderland", json!({ "title": "Wonderland" })),
    ];
    for (id, state) in entries {
        documents.insert(format!("wiki-entries/{id}"), with_project(state));
    }
    let loops = [
        ("tarts", json!({ "title": "Who stole the tarts?", "openedIn": "c11", "closedIn": "c12", "status": "closed" })),
        (
            "garden",
            json!({
                "title": "The way into the garden", "openedIn": "c1", "closedIn": "c8", "status": "closed",
                "characterIds": ["alice"], "chapterIds": ["c4", "c7"],
            }),
        ),
    ];
    for (id, state) in loops {
        documents.insert(format!("plot-loops/{id}"), with_project(state));
    }
    documents
}

fn with_project(mut state: Value) -> Value {
    state["projectId"] = json!("p");
    state
}

fn found(documents: &BTreeMap<String, Value>) -> Vec<String> {
    let all: Vec<(&str, Value)> = documents.iter().map(|(name, state)| (name.as_str(), state.clone())).collect();
    let facts = ProjectFacts { completed: true, ..ProjectFacts::default() };
    places(&all_findings(&project(facts, &all)))
}

#[test]
fn no_check_invents_a_contradiction_in_a_real_book() {
    assert_eq!(found(&novel()), [] as [&str; 0]);
}

/// What is changed of one document, and what is to be found then.
fn planted() -> Vec<(&'static str, Value, &'static [&'static str])> {
    vec![
        ("characters/knave", json!({ "parents": ["queen", "ace"] }), &["missing-reference characters/knave/parents/1"]),
        (
            "wiki-entries/dinah",
            json!({ "text": "The cat of [[Alicia]]." }),
            &["missing-reference wiki-entries/dinah/text"],
        ),
        ("plot-loops/tarts", json!({ "closedIn": "c13" }), &["missing-reference plot-loops/tarts/closedIn"]),
        ("characters/cat", json!({ "aliases": ["Gryphon"] }), &["duplicate-name characters/gryphon/name"]),
        ("wiki-entries/tarts", json!({ "aliases": ["Dinah"] }), &["duplicate-name wiki-entries/tarts/aliases"]),
        ("wiki-entries/alice", json!({ "facts": { "cat": "Tabby" } }), &["fact-mismatch wiki-entries/alice/facts/cat"]),
        (
            "characters/queen",
            json!({ "died": "1809-01" }),
            &[
                "impossible-date characters/queen/died",
                "mentioned-after-death chapters/c11/text",
                "mentioned-after-death chapters/c12/text",
                "mentioned-after-death chapters/c6/text",
                "mentioned-after-death chapters/c7/text",
                "mentioned-after-death chapters/c8/text",
                "mentioned-after-death chapters/c9/text",
            ],
        ),
        ("characters/knave", json!({ "born": "1809-12" }), &["impossible-date characters/knave/parents/0"]),
        ("characters/dodo", json!({ "died": "1862-05-05" }), &["mentioned-after-death chapters/c3/text"]),
        (
            "chapters/c12",
            json!({ "characterIds": ["alice", "mouse"], "date": "1864" }),
            &["impossible-date chapters/c12/characterIds/1", "mentioned-after-death chapters/c12/text"],
        ),
        (
            "plot-loops/garden",
            json!({ "closedIn": "c1", "openedIn": "c8" }),
            &["plot-loop-order plot-loops/garden/closedIn"],
        ),
        (
            "plot-loops/garden",
            json!({ "chapterIds": ["c7", "c4"] }),
            &["plot-loop-order plot-loops/garden/chapterIds/1"],
        ),
        ("plot-loops/tarts", json!({ "status": "open" }), &["plot-loop-left-open plot-loops/tarts/status"]),
        ("characters/cat", json!({ "name": "Cheshire Dog" }), &["never-mentioned characters/cat/name"]),
        ("wiki-entries/croquet", json!({ "title": "Cricket" }), &["never-mentioned wiki-entries/croquet/title"]),
    ]
}

#[test]
fn each_contradiction_that_is_planted_in_a_real_book_is_found_and_nothing_else() {
    let mut by_check: BTreeMap<String, usize> = BTreeMap::new();
    for (document, change, expected) in planted() {
        let mut documents = novel();
        let state = documents.get_mut(document).unwrap();
        for (member, value) in change.as_object().unwrap() {
            state[member] = value.clone();
        }
        assert_eq!(found(&documents), expected, "{document} {change}");
        for place in expected {
            *by_check.entry(place.split(' ').next().unwrap().to_owned()).or_default() += 1;
        }
    }
    let checks: Vec<&str> = checks::ALL.iter().map(|check| check.name()).collect();
    assert!(checks.iter().all(|check| by_check.contains_key(*check)), "each check has something planted: {by_check:?}");
}
