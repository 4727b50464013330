//! Bodies that fit and bodies that do not.
#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use axum::body::Body;
use http::HeaderValue;
use serde::Deserialize;
use serde_json::{Value, json};

use super::*;
use crate::http::response::problem;

const LIMITS: BodyLimits = BodyLimits { bytes_max: 100, depth_max: 4 };

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SentBody {
    id: Option<crate::base::ids::DocumentId>,
    state: Value,
    #[serde(default)]
    steps: Vec<BodyStep>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BodyStep {
    #[serde(rename = "count")]
    _count: u64,
}

async fn read(content_type: &str, body: impl Into<Body>) -> Result<SentBody> {
    let mut request = Request::new(body.into());
    if !content_type.is_empty() {
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap());
    }
    Json::<SentBody>::from_request(request, &LIMITS).await.map(|json| json.0).map_err(|failure| failure.0)
}

fn in_pieces(pieces: &[&'static str]) -> Body {
    let pieces: Vec<Result<_, std::io::Error>> =
        pieces.iter().map(|piece| Ok(Bytes::from_static(piece.as_bytes()))).collect();
    Body::from_stream(futures_util::stream::iter(pieces))
}

#[tokio::test]
async fn json_is_read_whole_or_in_pieces() {
    for content_type in ["application/json", "Application/JSON; charset=UTF-8", "application/json;charset=\"utf-8\""] {
        let sent = read(content_type, r#"{"id":"g1","state":{"a":[1]},"steps":[{"count":2}]}"#).await.unwrap();
        assert_eq!(sent.state, json!({"a": [1]}));
    }
    let sent = read("application/json", in_pieces(&["", "{\"state\"", ":{}", "}\n"])).await.unwrap();
    assert_eq!((sent.state, sent.id.is_none(), sent.steps.len()), (json!({}), true, 0));
}

#[tokio::test]
async fn other_types_are_refused_with_what_is_taken() {
    for content_type in
        ["", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1", "json"]
    {
        let error = read(content_type, "{\"state\":{}}").await.unwrap_err();
        assert_eq!(error.slug(), Some("unsupported-media-type"), "{content_type}");
        let response = problem::render(&error, None);
        assert_eq!(response.headers().get("accept-post"), Some(&HeaderValue::from_static(JSON)), "{content_type}");
    }
}

#[tokio::test]
async fn size_and_depth_are_bounded() {
    const PIECE: &str = "                                        ";
    let announced = read("application/json", "x".repeat(101)).await.unwrap_err();
    let chunked = read("application/json", in_pieces(&[PIECE; 3])).await.unwrap_err();
    let deep = read("application/json", "{\"state\":{\"a\":[[[]]]}}").await.unwrap_err();
    assert!(read("application/json", "{\"state\":{\"a\":[[]]}}").await.is_ok());
    for error in [announced, chunked, deep] {
        assert_eq!(error.kind(), Kind::TooLarge, "{error}");
    }
}

#[tokio::test]
async fn what_does_not_fit_is_named_in_our_words() {
    for (body, field, detail) in [
        ("", "body", "is empty; JSON is expected"),
        (" \n", "body", "is empty; JSON is expected"),
        ("{\"state\":", "body", "is not valid JSON (line 1, column 9)"),
        ("{\"state\":{}} x", "body", "is not valid JSON (line 1, column 14)"),
        ("{\"state\":{\"a\":1,}}", "body", "is not valid JSON (line 1, column 17)"),
        ("[null,{},[]]", "body", "must be an object"),
        ("{}", "state", "is missing"),
        ("7", "body", "must be an object"),
        ("{\"state\":{},\"stat\":1}", "stat", "is not known here; taken: id, state, steps"),
        ("{\"state\":{},\"state\":1}", "state", "is given more than once"),
        ("{\"state\":{},\"id\":7}", "id", "must be a string"),
        ("{\"state\":{},\"steps\":{}}", "steps", "must be an array"),
        (
            "{\"state\":{},\"steps\":[{\"count\":1},{\"count\":-1}]}",
            "steps[1].count",
            "must be a whole number, not negative",
        ),
        ("{\"state\":{},\"steps\":[{}]}", "steps[0].count", "is missing"),
        ("{\"state\":{},\"steps\":[{\"x\":1,\"count\":1}]}", "steps[0].x", "is not known here; taken: count"),
    ] {
        let error = read("application/json", body).await.unwrap_err();
        let expect = json!([{ "field": field, "detail": detail }]);
        assert_eq!((error.kind(), error.details().get("errors")), (Kind::Invalid, Some(&expect)), "{body}");
    }
    let id = read("application/json", "{\"state\":{},\"id\":\"a b\"}").await.unwrap_err();
    assert!(id.message().starts_with("id: an id is 1 to 64 characters"), "{id}");
    let utf8 = read("application/json", &b"{\"state\":\"\xff\"}"[..]).await.unwrap_err();
    assert_eq!(utf8.message(), "body: is not UTF-8");
}

#[tokio::test]
async fn a_raw_body_is_told_by_its_type() {
    let mut request = Request::new(Body::from("[]"));
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("Application/JSON-Patch+json; x=1"));
    let body = RawBody::from_request(request, &LIMITS).await.unwrap();
    assert_eq!(body.one_of(&[MERGE_PATCH, JSON_PATCH]).unwrap(), JSON_PATCH);
    assert_eq!(body.parse::<Value>().unwrap(), json!([]));
    let error = body.one_of(&[MERGE_PATCH]).unwrap_err();
    let response = problem::render(&error, None);
    assert_eq!(response.headers().get("accept-patch"), Some(&HeaderValue::from_static(MERGE_PATCH)));
}

#[test]
fn a_form_never_reaches_the_parser() {
    // What a foreign page can send without asking first.
    for content_type in ["text/plain", "multipart/form-data; boundary=x", "text/plain;application/json"] {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap());
        assert!(check_type(&headers, &[JSON]).is_err(), "{content_type}");
    }
}
