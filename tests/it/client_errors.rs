//! What went wrong in browsers, as whoever runs the server reads it.

use serde_json::{Value, json};

use crate::support::{Process, Reply};

const TELL: &str = "/audit/client-error";
const LIST: &str = "/audit/client-errors";

async fn tell(server: &Process, body: &Value) -> Reply {
    server.tell("POST", TELL, &[("user-agent", "Browser/1")], body).await
}

async fn list(server: &Process, query: &str) -> Value {
    let (status, body) = server.get(&format!("{LIST}{query}")).await;
    assert_eq!(status, 200, "{body}");
    body
}

#[tokio::test]
async fn errors_are_kept_once_with_their_count_also_over_a_kill() {
    let mut server = Process::start(&[]);
    let broken = json!({
        "message": "x is undefined", "stack": "at a.js:1", "appVersion": "1.2",
        "url": "https://host/game?invite=sesame#top"
    });
    let first = tell(&server, &broken).await.expect(200).body;
    assert_eq!(first["count"], 1);
    let mut again = broken.clone();
    again["url"] = json!("https://host/other");
    again["userAgent"] = json!("Browser/2");
    again["count"] = json!(3);
    let (status, second) = server.post_as("alice", TELL, &again).await;
    assert_eq!((status, &second), (200, &json!({ "fingerprint": first["fingerprint"], "count": 4 })));
    tell(&server, &json!({ "message": "another" })).await.expect(200);
    for killed in [false, true] {
        if killed {
            server.kill();
            server.start_again();
        }
        let found = list(&server, "").await;
        let items = found["items"].as_array().unwrap();
        assert_eq!(items.len(), 2);
        assert_eq!((&items[0]["message"], &items[0]["userAgent"]), (&json!("another"), &json!("Browser/1")));
        assert_eq!((&items[0]["stack"], &items[0]["reportedBy"]), (&Value::Null, &json!("host")));
        let item = &items[1];
        assert_eq!(
            (&item["count"], &item["reportedBy"], &item["userAgent"]),
            (&json!(4), &json!("alice"), &json!("Browser/2"))
        );
        assert_eq!((&item["url"], &item["appVersion"]), (&json!("https://host/other"), &json!("1.2")));
        assert!(item["firstSeen"].as_str() <= item["lastSeen"].as_str());
        assert!(!found.to_string().contains("sesame"));
    }
    let page = list(&server, "?limit=1").await;
    assert_eq!(page["items"][0]["message"], "another");
    let rest = list(&server, &format!("?limit=1&cursor={}", page["nextCursor"].as_str().unwrap())).await;
    assert_eq!((&rest["items"][0]["message"], &rest["nextCursor"]), (&json!("x is undefined"), &Value::Null));
}

#[tokio::test]
async fn only_administrators_read_them_and_nonsense_is_refused() {
    let server = Process::start(&[]);
    assert_eq!(server.get_as("alice", LIST).await.0, 403);
    for (body, field) in [
        (json!({}), "message"),
        (json!({ "message": "" }), "message"),
        (json!({ "message": 5 }), "message"),
        (json!({ "message": "x", "count": 0 }), "count"),
        (json!({ "message": "x", "count": 1001 }), "count"),
        (json!({ "message": "x", "cookie": "y" }), "cookie"),
    ] {
        let problem = tell(&server, &body).await.problem(400, "invalid-request");
        assert_eq!(problem["errors"][0]["field"], field, "{problem}");
    }
    server.tell("POST", TELL, &[("content-type", "text/plain")], "{}").await.problem(415, "unsupported-media-type");
    server.ask("GET", &format!("{LIST}?cursor=eA"), &[]).await.problem(400, "invalid-request");
    assert_eq!(list(&server, "").await["items"], json!([]));
    let long = json!({ "message": "m".repeat(100_000), "stack": "s".repeat(1_000_000) });
    tell(&server, &long).await.expect(200);
    let kept = list(&server, "").await;
    assert!(kept.to_string().len() < 20_000);
}

#[tokio::test]
async fn who_tells_too_many_has_to_wait_and_others_need_not() {
    let server = Process::start(&[]);
    let mut refused = None;
    for n in 0..25 {
        let reply = tell(&server, &json!({ "message": format!("error {n}") })).await;
        if reply.status != 200 {
            assert!(n >= 20, "{reply:?}");
            refused = Some(reply);
            break;
        }
    }
    let refused = refused.expect("the burst is bounded");
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=7).contains(&wait), "{wait}");
    assert_eq!(refused.problem(429, "rate-limited")["retryAfterSeconds"], wait);
    assert_eq!(server.post_as("alice", TELL, &json!({ "message": "mine" })).await.0, 200);
}
