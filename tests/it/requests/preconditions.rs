//! Conditions on reading.

use serde_json::json;

use crate::support::Process;

const PATH: &str = "/api/v1/games/g1";

#[tokio::test]
async fn if_match_on_a_read_is_412_where_it_does_not_hold_and_comes_before_if_none_match() {
    let server = Process::start(&[]);
    let old = server.tell("PUT", PATH, &[], json!({ "state": { "n": 1 } })).await.expect(201);
    let new = server.tell("PUT", PATH, &[], json!({ "state": { "n": 2 } })).await.expect(200);
    let (old, tag) = (old.header("etag").to_owned(), new.header("etag").to_owned());
    let weak = format!("W/{tag}");
    for method in ["GET", "HEAD"] {
        for stale in [old.as_str(), "\"x\"", "\"2-000000000000\"", weak.as_str()] {
            for more in [None, Some(("if-none-match", tag.as_str())), Some(("if-none-match", "\"x\""))] {
                let headers: Vec<_> = [("if-match", stale)].into_iter().chain(more).collect();
                let reply = server.ask(method, PATH, &headers).await;
                assert_eq!(reply.status, 412, "{method} {headers:?}");
                if method == "GET" {
                    let problem = reply.problem(412, "version-conflict");
                    assert_eq!((&problem["currentVersion"], &problem["current"]), (&json!(2), &json!({ "n": 2 })));
                }
            }
        }
        for holding in [tag.clone(), "*".to_owned(), format!("\"x\", {tag}")] {
            server.ask(method, PATH, &[("if-match", &holding)]).await.expect(200);
            let both = [("if-match", holding.as_str()), ("if-none-match", &tag)];
            server.ask(method, PATH, &both).await.expect(304);
        }
        for garbage in ["", "x", "*, \"a\"", "\"a"] {
            server.ask(method, PATH, &[("if-match", garbage)]).await.expect(400);
        }
        // Of the version that is asked for.
        let past = format!("{PATH}?version=1");
        server.ask(method, &past, &[("if-match", &old)]).await.expect(200);
        server.ask(method, &past, &[("if-match", &tag)]).await.expect(412);
        server.ask(method, "/api/v1/games/none", &[("if-match", "*")]).await.expect(404);
    }
}

#[tokio::test]
async fn a_player_whose_condition_does_not_hold_is_shown_no_more_than_a_read_shows() {
    let server = Process::start(&[]);
    let state = json!({ "n": 1, "hidden": { "deck": "spades" }, "private": { "ann": "king", "bob": "queen" } });
    server.put(PATH, &state).await;
    let stale = [(crate::support::AS, "ann"), ("if-match", "\"7-abcdefabcdef\"")];
    let problem = server.ask("GET", PATH, &stale).await.problem(412, "version-conflict");
    assert_eq!(problem["current"], json!({ "n": 1, "private": { "ann": "king" } }));
}

#[tokio::test]
async fn whatever_has_a_tag_goes_by_conditions() {
    let server = Process::start(&[]);
    server.tell("PUT", PATH, &[], json!({ "state": { "n": 1 } })).await.expect(201);
    let files = ["/client/rejoin.js", "/openapi.json"];
    for path in ["/api/v1/games/g1/access", "/api/game/g1/restore"].into_iter().chain(files) {
        let tag = server.ask("GET", path, &[]).await.expect(200).header("etag").to_owned();
        let weak = format!("W/{tag}");
        for method in ["GET", "HEAD"] {
            for stale in ["\"x\"", "\"2-000000000000\"", weak.as_str()] {
                for more in [None, Some(("if-none-match", tag.as_str()))] {
                    let headers: Vec<_> = [("if-match", stale)].into_iter().chain(more).collect();
                    let reply = server.ask(method, path, &headers).await;
                    assert_eq!(reply.status, 412, "{method} {path} {headers:?}");
                    if method == "GET" {
                        reply.problem(412, "version-conflict");
                    }
                }
            }
            for known in [tag.clone(), weak.clone(), "*".to_owned(), format!("\"x\", {tag}")] {
                let reply = server.ask(method, path, &[("if-none-match", &known)]).await.expect(304);
                assert_eq!((reply.header("etag"), &*reply.text), (&*tag, ""), "{method} {path} {known}");
            }
            for holding in [tag.clone(), "*".to_owned(), format!("\"x\", {tag}")] {
                server.ask(method, path, &[("if-match", &holding)]).await.expect(200);
                let both = [("if-match", holding.as_str()), ("if-none-match", &tag)];
                server.ask(method, path, &both).await.expect(304);
            }
            server.ask(method, path, &[("if-none-match", "\"x\"")]).await.expect(200);
            for garbage in ["", "x", "*, \"a\"", "\"a"] {
                for header in ["if-match", "if-none-match"] {
                    server.ask(method, path, &[(header, garbage)]).await.expect(400);
                }
            }
        }
    }
}
