//! A number is what it is worth: `1`, `1.0` and `10e-1` are the same whole number wherever one is read.

use serde_json::{Value, json};

use crate::support::Process;

const PATH: &str = "/api/v1/games/g1";

/// Spellings of 1.
const ONE: [&str; 6] = ["1", "1.0", "1e0", "10e-1", "0.1e1", "1.000"];

async fn started() -> Process {
    let server = Process::start(&[]);
    server.tell("PUT", PATH, &[], r#"{"state":{"n":1,"list":[1.0,2],"deep":{"a":[{"b":2.0}]}}}"#).await.expect(201);
    server
}

/// A JSON Patch that is sent as it stands.
async fn patch(server: &Process, text: &str) -> u16 {
    server.tell("PATCH", PATH, &[("content-type", "application/json-patch+json")], text).await.status
}

#[tokio::test]
async fn test_of_a_json_patch_compares_numbers_by_value() {
    let server = started().await;
    for (stored, spellings) in [
        ("1.0", &ONE[..]),
        ("1", &ONE),
        ("-0.0", &["0", "0.0", "-0", "-0.0", "0e5"]),
        ("1e2", &["100", "100.0", "1e2", "1E+2"]),
        ("9007199254740992", &["9007199254740992.0", "9007199254740992"]),
        ("1.5", &["1.5", "15e-1"]),
        ("18446744073709551615", &["18446744073709551615"]),
    ] {
        server.tell("PUT", PATH, &[], format!("{{\"state\":{{\"n\":{stored}}}}}")).await.expect(200);
        for spelling in spellings {
            let test = format!("[{{\"op\":\"test\",\"path\":\"/n\",\"value\":{spelling}}}]");
            assert_eq!(patch(&server, &test).await, 200, "{spelling} against {stored}");
        }
    }
    for (stored, other) in [
        ("1", "1.5"),
        ("1", "2.0"),
        ("1", "\"1\""),
        ("1", "true"),
        ("0", "false"),
        ("0", "null"),
        ("9007199254740993", "9007199254740992.0"),
        ("18446744073709551615", "18446744073709551616.0"),
        ("-9223372036854775808", "9223372036854775808"),
    ] {
        server.tell("PUT", PATH, &[], format!("{{\"state\":{{\"n\":{stored}}}}}")).await.expect(200);
        let test = format!("[{{\"op\":\"test\",\"path\":\"/n\",\"value\":{other}}}]");
        assert_eq!(patch(&server, &test).await, 422, "{other} against {stored}");
    }
}

#[tokio::test]
async fn test_of_a_json_patch_compares_what_numbers_are_in_and_changes_no_spelling() {
    let server = started().await;
    for (path, value) in [
        ("/list", "[1,2.0]"),
        ("/deep", r#"{"a":[{"b":2}]}"#),
        ("", r#"{"list":[1,2],"n":1.0,"deep":{"a":[{"b":2}]}}"#),
    ] {
        let test = format!("[{{\"op\":\"test\",\"path\":\"{path}\",\"value\":{value}}}]");
        assert_eq!(patch(&server, &test).await, 200, "{path}");
    }
    for (path, value) in [("/list", "[1,2,3]"), ("/list", "[2,1]"), ("/deep", r#"{"a":[{"b":2,"c":1}]}"#)] {
        let test = format!("[{{\"op\":\"test\",\"path\":\"{path}\",\"value\":{value}}}]");
        assert_eq!(patch(&server, &test).await, 422, "{path} {value}");
    }
    let read = server.ask("GET", PATH, &[]).await.expect(200);
    assert!(read.text.contains(r#""list":[1.0,2]"#), "{}", read.text);
}

#[tokio::test]
async fn a_version_is_taken_however_it_is_spelled() {
    let server = started().await;
    for (version, spelling) in (1..).zip(ONE) {
        let n = spelling.replacen('1', &version.to_string(), 1);
        // The spelling of 1 with another leading digit, where that is the same number of versions.
        let text = match n.parse::<f64>() {
            Ok(number) if number == f64::from(version) => n,
            _ => format!("{version}.0"),
        };
        let put = server.tell("PUT", PATH, &[], format!("{{\"state\":{{\"n\":0}},\"expectedVersion\":{text}}}")).await;
        assert_eq!(put.expect(200).body["version"], version + 1, "{text}");
    }
    let action = r#"{"type":"x","patch":{"n":1},"expectedVersion":7.0}"#;
    server.tell("POST", &format!("{PATH}/actions"), &[], action).await.expect(200);
    let rollback = r#"{"toVersion":1.0,"expectedVersion":8.0}"#;
    server.tell("POST", &format!("{PATH}/rollback"), &[], rollback).await.expect(200);
    let batch = r#"{"operations":[{"op":"put","collection":"games","id":"g1","state":{},"expectedVersion":9.0}]}"#;
    server.tell("POST", "/api/v1/batch", &[], batch).await.expect(200);
    let stale = server.tell("PUT", PATH, &[], r#"{"state":{},"expectedVersion":9.0}"#).await;
    assert_eq!(stale.problem(409, "version-conflict")["currentVersion"], 10);
    for wrong in ["1.5", "-1.0", "1e30", "18446744073709551616.0", "\"1\"", "true"] {
        let body = format!("{{\"state\":{{}},\"expectedVersion\":{wrong}}}");
        let problem = server.tell("PUT", PATH, &[], body).await.problem(400, "invalid-request");
        let told = json!([{ "field": "expectedVersion", "detail": "must be a whole number, not negative" }]);
        assert_eq!(problem["errors"], told, "{wrong}");
    }
}

#[tokio::test]
async fn seats_are_counted_however_their_number_is_spelled() {
    let server = Process::start(&[]);
    for (id, spelling) in [("g1", "2.0"), ("g2", "2"), ("g3", "0.2e1")] {
        let body = format!("{{\"id\":\"{id}\",\"state\":{{\"maxSeats\":{spelling}}}}}");
        server.tell("POST", "/api/v1/games", &[], body).await.expect(201);
        let seats = format!("/api/v1/games/{id}/seats");
        let wanted = server.tell("POST", &seats, &[], r#"{"playerId":"ann","seat":1.0}"#).await.expect(201);
        assert_eq!(wanted.body["seat"], 1, "{spelling}");
        server.tell("POST", &seats, &[], r#"{"playerId":"bob"}"#).await.expect(201);
        let full = server.tell("POST", &seats, &[], r#"{"playerId":"eve"}"#).await.problem(409, "table-full");
        assert_eq!(full["maxSeats"], 2, "{spelling}");
    }
}

#[tokio::test]
async fn numbers_of_rules_of_limits_and_of_reports_are_taken_however_they_are_spelled() {
    let server = Process::start(&[]);
    let openapi = server.ask("GET", "/openapi.json", &[]).await.expect(200).body;
    let mut checked = 0;
    for (path, methods) in openapi["paths"].as_object().unwrap() {
        for (method, call) in methods.as_object().unwrap() {
            let schema = &call["requestBody"]["content"]["application/json"]["schema"];
            let Some(schema) = resolved(&openapi, schema) else { continue };
            for (name, member) in schema["properties"].as_object().into_iter().flatten() {
                if !is_integer(member) {
                    continue;
                }
                checked += 1;
                let target = path
                    .replace("{collection}", "games")
                    .replace("{id}", "g1")
                    .replace("{playerId}", "ann")
                    .replace("{", "")
                    .replace('}', "");
                let body = format!("{{\"{name}\":1.0}}");
                let reply = server.tell(&method.to_uppercase(), &target, &[], body).await;
                let errors = reply.body["errors"].as_array().cloned().unwrap_or_default();
                assert!(errors.iter().all(|error| error["field"] != **name), "{method} {path} {name}: {}", reply.text);
            }
        }
    }
    assert!(checked >= 5, "{checked} members that are whole numbers");
}

/// The schema itself, where it is named.
fn resolved<'a>(openapi: &'a Value, schema: &'a Value) -> Option<&'a Value> {
    match schema["$ref"].as_str() {
        Some(name) => openapi["components"]["schemas"].get(name.rsplit('/').next()?),
        None => schema.is_object().then_some(schema),
    }
}

fn is_integer(schema: &Value) -> bool {
    match &schema["type"] {
        Value::String(kind) => kind == "integer",
        Value::Array(kinds) => kinds.iter().any(|kind| kind == "integer"),
        _ => false,
    }
}
