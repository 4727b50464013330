//! A stream as pages of JSON: the same events, for networks that let no stream through.

use std::time::Duration;

use serde_json::{Value, json};

use super::{all_events, counted};
use crate::support::{Process, position};

const PATH: &str = "/api/v1/stream?doc=games/g1&collection=maps";

/// A page: its status and body.
async fn page(server: &Process, query: &str) -> (u16, Value) {
    let request = server.request("GET", &format!("{PATH}{query}")).header("accept", "application/json");
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::Null))
}

fn named(page: &Value) -> Vec<&str> {
    page["events"].as_array().unwrap().iter().map(|event| event["event"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn pages_go_on_from_each_position_and_begin_with_the_state_where_there_is_none() {
    let mut server = Process::start(&[]);
    let events = counted(&server, 6).await;
    for round in 0..2 {
        let (status, first) = page(&server, "").await;
        assert_eq!(status, 200, "{first}");
        assert_eq!(named(&first), ["snapshot"]);
        let data = &first["events"][0]["data"];
        assert_eq!(data["reason"], "start");
        assert_eq!(data["documents"][0], server.get("/api/v1/games/g1").await.1);
        assert_eq!((&first["position"], &first["more"]), (&json!(position(events.last().unwrap())), &json!(false)));

        for (index, event) in events.iter().enumerate() {
            let from = position(event);
            let missed: Vec<Value> = events[index + 1..]
                .iter()
                .map(|event| json!({ "event": "change", "id": position(event), "data": event }))
                .collect();
            let (status, body) = page(&server, &format!("&lastEventId={from}")).await;
            if missed.is_empty() {
                assert_eq!((status, body), (204, Value::Null));
            } else {
                let last = position(events.last().unwrap());
                assert_eq!((status, body), (200, json!({ "events": missed, "position": last, "more": false })));
            }
        }
        let (_, nowhere) = page(&server, "&lastEventId=999-aaaaaaaaaaaa").await;
        assert_eq!(nowhere["events"][0]["data"]["reason"], "diverged");
        if round == 0 {
            server.kill();
            server.start_again();
        }
    }
    let refused = page(&server, "&wait=61").await;
    assert_eq!((refused.0, &refused.1["errors"][0]["field"]), (400, &json!("wait")));
}

#[tokio::test]
async fn a_long_history_comes_in_several_pages() {
    let server = Process::start(&[]);
    counted(&server, 1).await;
    for n in 0..400 {
        let long = "x".repeat(1_000);
        assert_eq!(server.merge("/api/v1/games/g1", &json!({ "n": n, "long": format!("{n}{long}") })).await.0, 200);
    }
    let events = all_events(&server, "games/g1").await;
    let (mut from, mut told, mut pages) = (position(&events[0]), Vec::new(), 0);
    loop {
        let (status, body) = page(&server, &format!("&lastEventId={from}")).await;
        assert_eq!(status, 200);
        told.extend(body["events"].as_array().unwrap().iter().map(|event| event["data"].clone()));
        from = body["position"].as_str().unwrap().to_owned();
        pages += 1;
        if body["more"] == false {
            break;
        }
    }
    assert_eq!(told, events[1..]);
    assert!(pages > 1, "{pages}");
}

#[tokio::test]
async fn a_long_poll_is_answered_with_the_next_change_of_any_document() {
    let server = Process::start(&[]);
    let events = counted(&server, 2).await;
    let from = position(events.last().unwrap());
    let asked = std::time::Instant::now();
    assert_eq!(page(&server, &format!("&lastEventId={from}&wait=1")).await.0, 204);
    assert!(asked.elapsed() >= Duration::from_secs(1));

    let query = format!("&lastEventId={from}&wait=60");
    let (answer, ()) = tokio::join!(page(&server, &query), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(server.put("/api/v1/other/o1", &json!({ "no": true })).await.0, 201);
        assert_eq!(server.put("/api/v1/maps/m1", &json!({ "new": true })).await.0, 201);
    });
    let (status, body) = answer;
    assert_eq!((status, named(&body)), (200, vec!["change"]));
    assert_eq!((&body["events"][0]["data"]["collection"], &body["more"]), (&json!("maps"), &json!(false)));
}

#[tokio::test]
async fn a_long_poll_ends_when_something_may_not_be_read_any_more() {
    let server = Process::start(&[]);
    counted(&server, 1).await;
    let opened = server.post("/api/v1/sessions", &json!({ "user": "bob" })).await.1;
    let ask = |query: &str| {
        let request = server.request("GET", &format!("{PATH}{query}")).header("accept", "application/json");
        request.bearer_auth(opened["token"].as_str().unwrap()).send()
    };
    let first: Value = ask("").await.unwrap().json().await.unwrap();
    let from = first["position"].as_str().unwrap().to_owned();
    let query = format!("&wait=60&lastEventId={from}");
    let (answer, ()) = tokio::join!(ask(&query), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.tell("PUT", "/api/v1/games/g1/access", &[], json!({ "read": "host" })).await.expect(200);
    });
    let told: Value = answer.unwrap().json().await.unwrap();
    assert_eq!(told["events"], json!([{ "event": "bye", "data": { "reason": "access-ended" } }]));
    assert_eq!((&told["position"], &told["more"]), (&json!(from), &json!(false)));
    let after: Value = ask("").await.unwrap().json().await.unwrap();
    assert_eq!(after["events"][0]["data"], json!({ "reason": "start", "gone": ["games/g1"], "documents": [] }));
}
