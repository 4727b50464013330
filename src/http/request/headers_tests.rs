//! Tables for the header parsers.
#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use http::HeaderValue;

use super::*;

/// What was read, or that it was refused.
type ReadHeader<T> = Result<Option<T>, ()>;

const TAG: &str = "7-9f3a6c21b7d0";

fn headers(name: &HeaderName, values: &[&str]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for value in values {
        map.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    map
}

/// How many tags were read; -1 stands for `*`.
fn count(tags: Result<Option<Tags>>) -> ReadHeader<i32> {
    tags.map_err(|_| ()).map(|tags| {
        tags.map(|tags| match tags {
            Tags::Any => -1,
            Tags::These(tags) => i32::try_from(tags.len()).unwrap(),
        })
    })
}

#[test]
fn conditional_headers_are_lists_of_entity_tags() {
    let strong = format!("\"{TAG}\"");
    let weak = format!("W/\"{TAG}\"");
    let both = format!("{strong} ,\t{weak}, \"else\"");
    let table: &[(&[&str], ReadHeader<i32>, ReadHeader<i32>)] = &[
        (&[], Ok(None), Ok(None)),
        (&["*"], Ok(Some(-1)), Ok(Some(-1))),
        (&[" * "], Ok(Some(-1)), Ok(Some(-1))),
        (&[&strong], Ok(Some(1)), Ok(Some(1))),
        (&[&weak], Ok(Some(0)), Ok(Some(1))),
        (&[&both], Ok(Some(1)), Ok(Some(2))),
        (&[&strong, &strong], Ok(Some(2)), Ok(Some(2))),
        (&["\"not, ours\""], Err(()), Err(())),
        (&["\"not,ours\""], Ok(Some(0)), Ok(Some(0))),
        (&["\"ä\""], Ok(Some(0)), Ok(Some(0))),
        (&["\"\""], Ok(Some(0)), Ok(Some(0))),
        (&[""], Err(()), Err(())),
        (&[TAG], Err(()), Err(())),
        (&["\"open"], Err(()), Err(())),
        (&["w/\"x\""], Err(()), Err(())),
        (&["\"a\" \"b\""], Err(()), Err(())),
        (&["*, \"a\""], Err(()), Err(())),
        (&["*", &strong], Err(()), Err(())),
        (&["*", "*"], Err(()), Err(())),
    ];
    for (values, for_match, for_none) in table {
        assert_eq!(count(if_match(&headers(&IF_MATCH, values))), *for_match, "If-Match {values:?}");
        assert_eq!(count(if_none_match(&headers(&IF_NONE_MATCH, values))), *for_none, "If-None-Match {values:?}");
    }
}

#[test]
fn an_idempotency_key_is_visible_ascii_with_or_without_quotes() {
    let longest = "x".repeat(255);
    let too_long = "x".repeat(256);
    let table: &[(&[&str], ReadHeader<&str>)] = &[
        (&[], Ok(None)),
        (&["a-1"], Ok(Some("a-1"))),
        (&["\"a-1\""], Ok(Some("a-1"))),
        (&[r#""a\"\\b""#], Ok(Some(r#"a"\b"#))),
        (&[&longest], Ok(Some(&longest))),
        (&[&too_long], Err(())),
        (&[""], Err(())),
        (&["\"\""], Err(())),
        (&["\""], Err(())),
        (&["\"a"], Err(())),
        (&[r#""a"b""#], Err(())),
        (&[r#""a\n""#], Err(())),
        (&["a b"], Err(())),
        (&["ä"], Err(())),
        (&["a", "a"], Err(())),
    ];
    for (values, expect) in table {
        let got = idempotency_key(&headers(&IDEMPOTENCY_KEY, values)).map_err(|_| ());
        assert_eq!(got.as_ref().map(Option::as_deref), expect.as_ref().map(|k| *k), "{values:?}");
    }
}

#[test]
fn prefer_knows_return_and_ignores_the_rest() {
    let table: &[(&[&str], Option<Return>)] = &[
        (&[], None),
        (&["return=minimal"], Some(Return::Minimal)),
        (&["Return = \"minimal\""], Some(Return::Minimal)),
        (&["respond-async, wait=5, return=representation; x=1"], Some(Return::Representation)),
        (&["wait=5", "return=minimal, return=representation"], Some(Return::Minimal)),
        (&["return=else"], None),
        (&["return"], None),
    ];
    for (values, expect) in table {
        assert_eq!(prefer_return(&headers(&PREFER, values)), *expect, "{values:?}");
    }
}

#[test]
fn a_stream_must_be_asked_for_by_name() {
    let table: &[(&[&str], bool)] = &[
        (&[], false),
        (&["*/*"], false),
        (&[""], false),
        (&["application/json"], false),
        (&["text/event-stream"], true),
        (&["Text/Event-Stream"], true),
        (&["text/event-stream, */*;q=0.1"], true),
        (&["text/event-stream, */*"], true),
        (&["text/*"], true),
        (&["application/json, text/event-stream"], false),
        (&["application/json;q=0.9", "text/event-stream"], true),
        (&["application/json, text/event-stream;q=0.9"], false),
        (&["text/event-stream;q=0"], false),
        (&["text/event-stream;q=0, */*"], false),
        (&["text/event-stream;q=2"], false),
        (&["text/event-stream; charset=utf-8; q=0.5, application/json; q=0.25"], true),
        (&["image/png"], false),
    ];
    for (values, expect) in table {
        assert_eq!(wants_event_stream(&headers(&ACCEPT, values)), *expect, "{values:?}");
    }
}
