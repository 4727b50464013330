//! What is put into a state comes out of it: numbers, strings and member names that are easily got wrong.

use serde_json::{Value, json};

use crate::support::Process;

/// Numbers as they are sent, and as they must come back, character by character.
const NUMBERS: [(&str, &str); 14] = [
    ("0.1", "0.1"),
    ("0.30000000000000004", "0.30000000000000004"),
    ("1e308", "1e308"),
    ("5e-324", "5e-324"),
    ("1.7976931348623157e308", "1.7976931348623157e308"),
    ("18446744073709551615", "18446744073709551615"),
    ("9223372036854775807", "9223372036854775807"),
    ("-9223372036854775808", "-9223372036854775808"),
    ("9007199254740993", "9007199254740993"),
    ("0", "0"),
    ("1.0", "1.0"),
    ("1", "1"),
    ("-1", "-1"),
    ("123456789.123456789", "123456789.12345679"),
];

/// The text of the member `n` of the state.
fn sent(text: &str) -> String {
    text.split_once(r#""state":{"n":"#).and_then(|(_, rest)| rest.split_once('}')).unwrap().0.to_owned()
}

#[tokio::test]
async fn numbers_keep_their_value_on_every_way_in_and_through_a_crash() {
    let mut server = Process::start(&[]);
    for (index, (number, expected)) in NUMBERS.iter().enumerate() {
        let path = format!("/api/v1/numbers/n{index}");
        server.tell("PUT", &path, &[], r#"{"state":{"n":"before"}}"#).await.expect(201);
        let merge = [("content-type", "application/merge-patch+json")];
        let merged = server.tell("PATCH", &path, &merge, format!("{{\"n\":{number}}}")).await.expect(200);
        assert_eq!(sent(&merged.text).parse::<f64>().unwrap(), expected.parse::<f64>().unwrap());
        assert_eq!(sent(&merged.text), sent(&server.ask("GET", &path, &[]).await.text));
        let put = server.tell("PUT", &path, &[], format!("{{\"state\":{{\"n\":{number}}}}}")).await.expect(200);
        assert_eq!(sent(&put.text).parse::<f64>().unwrap(), expected.parse::<f64>().unwrap());
        let integer = !expected.contains(['.', 'e']);
        if integer {
            assert_eq!(sent(&put.text), *expected);
        }
    }
    let read = async |server: &Process| {
        let mut all = Vec::new();
        for index in 0..NUMBERS.len() {
            all.push(sent(&server.ask("GET", &format!("/api/v1/numbers/n{index}"), &[]).await.text));
            all.push(sent(&server.ask("GET", &format!("/api/v1/numbers/n{index}?version=2"), &[]).await.text));
        }
        all
    };
    let before = read(&server).await;
    server.kill();
    server.start_again();
    assert_eq!(read(&server).await, before);
}

#[tokio::test]
async fn an_integer_that_becomes_a_float_is_a_change_that_the_history_has() {
    let mut server = Process::start(&[]);
    let path = "/api/v1/numbers/n1";
    for (number, expected) in [("1", "1"), ("1.0", "1.0"), ("0", "0"), ("-0.0", "0.0"), ("0", "0"), ("0.0", "0.0")] {
        let put = server.tell("PUT", path, &[], format!("{{\"state\":{{\"n\":{number}}}}}")).await;
        assert_eq!(sent(&put.text), expected, "{number}");
    }
    let before = server.ask("GET", path, &[]).await.text;
    server.kill();
    server.start_again();
    assert_eq!(server.ask("GET", path, &[]).await.text, before);
    for (version, expected) in [(1, "1"), (2, "1.0"), (3, "0"), (4, "0.0"), (5, "0"), (6, "0.0")] {
        let old = server.ask("GET", &format!("{path}?version={version}"), &[]).await.expect(200);
        assert_eq!(sent(&old.text), expected, "version {version}");
    }
}

#[tokio::test]
async fn a_number_that_cannot_be_kept_exactly_is_refused_and_not_changed_in_silence() {
    let server = Process::start(&[]);
    let path = "/api/v1/numbers/n1";
    server.put(path, &json!({ "n": 1 })).await;
    let standing = server.standing(path).await;
    for number in ["12345678901234567890123", "18446744073709551616", "-9223372036854775809", "1e400", "-1e999"] {
        let body = format!("{{\"state\":{{\"n\":{number}}}}}");
        server.tell("PUT", path, &[], &body).await.problem(400, "invalid-request");
        server.tell("POST", "/api/v1/numbers", &[], &body).await.problem(400, "invalid-request");
        let operation = json!({ "op": "put", "collection": "numbers", "id": "n1" }).to_string();
        let batch =
            format!("{{\"operations\":[{}]}}", operation.replace("{", &format!("{{\"state\":{{\"n\":{number}}},")));
        server.tell("POST", "/api/v1/batch", &[], &batch).await.problem(400, "invalid-request");
        for (media_type, patch) in [
            ("application/merge-patch+json", format!("{{\"n\":{number}}}")),
            ("application/json-patch+json", format!("[{{\"op\":\"add\",\"path\":\"/n\",\"value\":{number}}}]")),
        ] {
            let reply = server.tell("PATCH", path, &[("content-type", media_type)], patch).await;
            reply.problem(400, "invalid-request");
        }
    }
    assert_eq!(server.standing(path).await, standing);
}

#[tokio::test]
async fn strings_and_names_of_any_kind_come_back_as_they_were() {
    let mut server = Process::start(&[]);
    let state = json!({
        "nul": "a\u{0}b", "separators": "\u{2028}\u{2029}", "pair": "😀🂡", "controls": "\u{1}\u{1f}\u{7f}\r\n\t",
        "quotes": "\"\\/", "": "empty name", "a/b": 1, "m~n": 2, "~1": 3, "~0": 4, "/": 5, "😀": 6, "\u{0}": 7,
        "bom": "\u{feff}", "state": { "state": {} }, "hash": "x", "version": -1, "__proto__": { "x": 1 },
    });
    let path = "/api/v1/texts/t1";
    assert_eq!(server.put(path, &state).await.1["state"], state);
    let escaped = r#"{"state":{"pair":"\ud83d\ude00","nul":"\u0000","slash":"\/"}}"#;
    let (_, other) = (0, server.tell("PUT", "/api/v1/texts/t2", &[], escaped).await.expect(201).body);
    assert_eq!(other["state"], json!({ "pair": "😀", "nul": "\u{0}", "slash": "/" }));

    let operations = json!([
        { "op": "test", "path": "/a~1b", "value": 1 },
        { "op": "replace", "path": "/a~1b", "value": 10 },
        { "op": "replace", "path": "/m~0n", "value": 20 },
        { "op": "replace", "path": "/~01", "value": 30 },
        { "op": "replace", "path": "/~00", "value": 40 },
        { "op": "replace", "path": "/~1", "value": 50 },
        { "op": "replace", "path": "/", "value": "empty again" },
        { "op": "replace", "path": "/\u{0}", "value": 70 },
    ]);
    let mut expected = state.clone();
    for (name, value) in
        [("a/b", json!(10)), ("m~n", json!(20)), ("~1", json!(30)), ("~0", json!(40)), ("/", json!(50))]
    {
        expected[name] = value;
    }
    expected[""] = json!("empty again");
    expected["\u{0}"] = json!(70);
    assert_eq!(server.json_patch(path, &operations).await.expect(200).body["state"], expected);
    let merge: Value = json!({ "a/b": null, "~0": { "x/y": 1 } });
    server.merge(path, &merge).await;
    expected.as_object_mut().unwrap().remove("a/b");
    expected["~0"] = json!({ "x/y": 1 });
    server.kill();
    server.start_again();
    assert_eq!(server.get(path).await.1["state"], expected);
    assert_eq!(server.get(&format!("{path}?version=1")).await.1["state"], state);
}
