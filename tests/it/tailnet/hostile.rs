//! What a page whose name was turned to our address, or that is of another origin, can send: refused on every route.

use serde_json::json;

use super::entering::{PATH, ROUTES};
use crate::support::Process;

const NO_CORS: &str = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n";

#[tokio::test]
async fn hostile_hosts_and_origins_are_refused_on_every_kind_of_route() {
    let server = Process::start(&["--allowed-host", "play.example"]);
    assert_eq!(server.put(PATH, &json!({ "secret": "NOT-FOR-THEM" })).await.0, 201);
    let standing = server.standing(PATH).await;
    let ours = server.address().to_owned();
    let port = ours.rsplit_once(':').unwrap().1.to_owned();
    let host = |name: &str| format!("Host: {name}\r\n");
    let with = |rest: &str| format!("Host: {ours}\r\n{rest}\r\n");
    let (invalid, misdirected, forbidden) = ((400, "invalid-request"), (421, "misdirected-host"), (403, "forbidden"));
    let absolute = "http://evil.example";
    let cases = [
        ("", String::new(), invalid),
        ("", host(""), invalid),
        ("", host(&ours) + &host(&ours), invalid),
        ("", host(&ours) + &host("evil.example"), invalid),
        ("", host("evil.example") + &host(&ours), invalid),
        ("", host("evil.example"), misdirected),
        ("", host(&format!("evil.example:{port}")), misdirected),
        ("", host(&format!("evil.example.:{port}")), misdirected),
        ("", host(&format!("localhost.evil.example:{port}")), misdirected),
        ("", host(&format!("127.0.0.1.nip.example:{port}")), misdirected),
        ("", host("127.0.0.1"), misdirected),
        ("", host("localhost:1"), misdirected),
        ("", host(&format!("localhost..:{port}")), misdirected),
        ("", host(&format!("0.0.0.0:{port}")), misdirected),
        ("", host(&format!("2130706433:{port}")), misdirected),
        ("", host(&format!("[::ffff:127.0.0.1]:{port}")), misdirected),
        ("", host(&format!("user@{ours}")), misdirected),
        ("", host(&format!("{ours}, evil.example")), misdirected),
        ("", host(&format!("{ours}/evil.example")), misdirected),
        ("", host(&format!("evil.example#{ours}")), misdirected),
        ("", host("evil.example") + &format!("X-Forwarded-Host: {ours}\r\n"), misdirected),
        ("", host("evil.example") + &format!("Forwarded: host={ours};proto=http\r\n"), misdirected),
        ("", host("evil.example") + &format!("X-Original-Host: {ours}\r\n"), misdirected),
        (absolute, host(&ours), invalid),
        (absolute, host("evil.example"), misdirected),
        ("", with("Origin: http://evil.example"), forbidden),
        ("", with(&format!("Origin: http://evil.example:{port}")), forbidden),
        ("", with("Origin: null"), forbidden),
        ("", with("Origin: "), forbidden),
        ("", with("Origin: http://localhost"), forbidden),
        ("", with("Origin: http://localhost:1"), forbidden),
        ("", with(&format!("Origin: file://{ours}")), forbidden),
        ("", with(&format!("Origin: http://{ours}.evil.example")), forbidden),
        ("", with(&format!("Origin: http://{ours}\r\nOrigin: http://evil.example")), forbidden),
        ("", host(&ours) + NO_CORS, forbidden),
        ("", with("Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: no-cors"), forbidden),
    ];
    for (method, path) in ROUTES {
        for (authority, hosts, (status, slug)) in &cases {
            let rest = "Accept: text/event-stream\r\nConnection: close\r\n\r\n";
            let request = format!("{method} {authority}{path} HTTP/1.1\r\n{hosts}{rest}");
            let reply = server.raw(request.as_bytes());
            assert_eq!(reply.status, *status, "{request}{}", reply.text);
            assert!(!reply.text.contains("NOT-FOR-THEM"), "{request}{}", reply.text);
            assert!(!reply.headers.contains_key("access-control-allow-origin"), "{request}");
            reply.problem(*status, slug);
        }
        let old = server.raw(format!("{method} {path} HTTP/1.0\r\n\r\n").as_bytes());
        old.problem(400, "invalid-request");
    }
    assert_eq!(server.standing(PATH).await, standing, "nothing was changed");
}

#[tokio::test]
async fn names_that_are_ours_are_taken_however_they_are_spelt_and_whatever_a_proxy_adds() {
    let server = Process::start(&["--allowed-host", "play.example"]);
    let port = server.address().rsplit_once(':').unwrap().1.to_owned();
    for host in
        ["localhost", "LOCALHOST", "localhost.", "127.0.0.1", "127.0.0.1.", "[::1]", "play.example", "Play.Example."]
    {
        for more in ["", "X-Forwarded-Host: evil.example\r\n", "Forwarded: host=evil.example\r\n"] {
            let rest = "Connection: close\r\n\r\n";
            let reply = server.raw(format!("GET / HTTP/1.1\r\nHost: {host}:{port}\r\n{more}{rest}").as_bytes());
            assert_eq!(reply.status, 200, "{host} {more}");
        }
    }
}

#[tokio::test]
async fn every_answer_tells_browsers_what_to_keep_to() {
    let server = Process::start(&[]);
    assert_eq!(server.put(PATH, &json!({})).await.0, 201);
    let mut pages = 0;
    for (method, path) in ROUTES {
        // The head alone: a stream has no end.
        let response = server.request(method, path).header("accept", "text/html").send().await.unwrap();
        let headers = response.headers();
        let said = |name: &str| headers.get(name).map_or("", |value| value.to_str().unwrap());
        assert_eq!(said("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(said("cross-origin-resource-policy"), "same-origin", "{path}");
        assert_eq!(said("referrer-policy"), "same-origin", "{path}");
        for foreign in ["access-control-allow-origin", "server", "x-powered-by"] {
            assert!(!headers.contains_key(foreign), "{path}: {foreign}");
        }
        if said("content-type").starts_with("text/html") {
            let policy = said("content-security-policy");
            for part in ["default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'", "form-action 'none'"] {
                assert!(policy.contains(part), "{path}: {policy}");
            }
            assert!(!policy.contains("unsafe"), "{path}: {policy}");
            assert_eq!(said("x-frame-options"), "DENY", "{path}");
            assert_eq!(said("cross-origin-opener-policy"), "same-origin", "{path}");
            pages += 1;
        }
    }
    assert!(pages >= 3, "{pages} pages");
}
