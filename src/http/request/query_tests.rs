//! Tables for queries.
#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use serde::Deserialize;

use super::*;

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
struct Asked {
    doc: Vec<String>,
    last_event_id: Option<String>,
    version: Option<u64>,
    deep: bool,
    include: Option<IncludeOption>,
    collection: Option<crate::base::ids::Collection>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum IncludeOption {
    State,
    Nothing,
}

#[test]
fn parameters_are_decoded_repeated_and_typed() {
    let asked: Asked =
        parse("doc=games%2Fg1&doc=a+b%C3%A4&lastEventId=1-0&version=7&deep=true&include=state&collection=games&")
            .unwrap();
    let expect = Asked {
        doc: vec!["games/g1".to_owned(), "a bä".to_owned()],
        last_event_id: Some("1-0".to_owned()),
        version: Some(7),
        deep: true,
        include: Some(IncludeOption::State),
        collection: Some(crate::base::ids::Collection::new("games").unwrap()),
    };
    assert_eq!(asked, expect);
    assert_eq!(parse::<Asked>("").unwrap(), Asked::default());
}

#[test]
fn what_does_not_fit_is_named() {
    for (query, field, detail) in [
        ("version=x", "version", "must be a whole number, not negative"),
        ("version=-1", "version", "must be a whole number, not negative"),
        ("version=", "version", "must be a whole number, not negative"),
        ("version=1&version=2", "version", "is given more than once"),
        ("deep=1", "deep", "must be true or false"),
        ("deep", "deep", "must be true or false"),
        ("include=all", "include", "is none of the values that are taken; taken: state, nothing"),
        ("doc=%zz", "doc", "is not percent-encoded UTF-8"),
        ("doc=%f", "doc", "is not percent-encoded UTF-8"),
        ("doc=%ff", "doc", "is not percent-encoded UTF-8"),
        ("%ff=1", "query", "has a name that is not encoded UTF-8"),
    ] {
        let error = parse::<Asked>(query).unwrap_err();
        let expect = serde_json::json!([{ "field": field, "detail": detail }]);
        assert_eq!(error.details().get("errors"), Some(&expect), "{query}");
    }
    for (query, fields) in [
        ("version=x&deep=1&include=all&other=1", "deep include other version"),
        ("version=x&doc=%zz&%ff=1", "doc query version"),
        ("version=%zz", "version version"),
    ] {
        let error = parse::<Asked>(query).unwrap_err();
        let errors = error.details().get("errors").unwrap().as_array().unwrap().clone();
        let mut named: Vec<_> = errors.iter().map(|error| error["field"].as_str().unwrap()).collect();
        named.sort_unstable();
        assert_eq!(named.join(" "), fields, "{query}");
    }
    let unknown = parse::<Asked>("limt=5").unwrap_err();
    assert!(unknown.message().starts_with("limt: is not known here; taken: doc, lastEventId"), "{unknown}");
    let bad_name = parse::<Asked>("collection=Games").unwrap_err();
    assert!(bad_name.message().starts_with("collection: a collection is 1 to 63"), "{bad_name}");
}
