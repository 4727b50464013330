//! Asking for a token is a GET that writes: no page of another site may cause it.

use rusqlite::Connection;
use serde_json::json;

use super::start;
use crate::support::session::token as session_token;
use crate::support::{Process, Reply};

const PATH: &str = "/api/game/g1/connection-token?playerId=alice";

/// How many tokens are stored.
fn stored(server: &Process) -> u32 {
    let database = Connection::open(server.data_dir().join("rejoin.db")).unwrap();
    database.query_row("SELECT count(*) FROM reconnect_tokens", [], |row| row.get(0)).unwrap()
}

/// The cookie of alice's session.
async fn cookie(server: &Process) -> String {
    let token = session_token(&server.url, "alice").await;
    let bearer = format!("Bearer {token}");
    let opened = server.tell("POST", "/api/v1/sessions", &[("authorization", &bearer)], json!({})).await.expect(201);
    opened.header("set-cookie").split(';').next().unwrap().to_owned()
}

async fn get(server: &Process, headers: &[(&str, &str)]) -> Reply {
    server.ask("GET", PATH, headers).await
}

#[tokio::test]
async fn a_page_of_another_site_gets_no_token_made() {
    let server = start(&[]).await;
    let cookie = cookie(&server).await;
    let alice = ("cookie", cookie.as_str());
    for destination in ["image", "iframe", "script", "frame", "embed", "object", "style", "video", "worker", "nonsense"]
    {
        for site in ["same-origin", "none"] {
            for mode in ["navigate", "no-cors"] {
                let fetch = [("sec-fetch-site", site), ("sec-fetch-mode", mode), ("sec-fetch-dest", destination)];
                for headers in [fetch.to_vec(), [&[alice], &fetch[..]].concat(), vec![alice, fetch[2]]] {
                    get(&server, &headers).await.problem(403, "forbidden");
                }
            }
        }
    }
    for site in ["cross-site", "same-site"] {
        for destination in ["document", "empty", "iframe"] {
            for mode in ["navigate", "cors", "no-cors"] {
                let fetch = [("sec-fetch-site", site), ("sec-fetch-mode", mode), ("sec-fetch-dest", destination)];
                // Not even with what would do otherwise: a page cannot have sent it along, so the browser is wrong.
                for more in [vec![], vec![alice], vec![alice, ("rejoin-request", "1")]] {
                    get(&server, &[&more, &fetch[..]].concat()).await.problem(403, "forbidden");
                }
            }
        }
    }
    // What a request is for does not say which page sent it.
    for lone in [&[("sec-fetch-mode", "cors")][..], &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")]] {
        get(&server, &[&[alice], lone].concat()).await.problem(403, "forbidden");
    }
    // A browser that says nothing of where a request comes from sends the cookie along all the same.
    let problem = get(&server, &[alice]).await.problem(403, "forbidden");
    assert!(problem["detail"].as_str().unwrap().contains("Rejoin-Request"), "{problem}");
    assert_eq!(stored(&server), 0);
}

#[tokio::test]
async fn ones_own_page_and_program_get_one() {
    let server = start(&[]).await;
    let cookie = cookie(&server).await;
    let alice = ("cookie", cookie.as_str());
    let token = session_token(&server.url, "alice").await;
    let bearer = format!("Bearer {token}");
    let own = [("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")];
    let typed = [("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
    let ways = [
        [&[alice], &own[..]].concat(),
        [&[alice], &typed[..]].concat(),
        own.to_vec(),
        vec![alice, ("rejoin-request", "1")],
        vec![("authorization", bearer.as_str())],
        // Programs that call themselves browsers in part, as Node does.
        vec![("authorization", bearer.as_str()), ("sec-fetch-mode", "cors")],
        // The owner on the server's own machine.
        vec![],
    ];
    for (index, headers) in ways.iter().enumerate() {
        get(&server, headers).await.expect(200);
        assert_eq!(stored(&server), u32::try_from(index).unwrap() + 1, "{headers:?}");
    }
}

#[tokio::test]
async fn a_head_request_makes_no_token() {
    let server = start(&[]).await;
    let token = session_token(&server.url, "alice").await;
    let bearer = format!("Bearer {token}");
    for headers in [vec![], vec![("authorization", bearer.as_str())]] {
        let reply = server.ask("HEAD", PATH, &headers).await.expect(200);
        assert_eq!((reply.text.as_str(), reply.header("content-type")), ("", "application/json"));
    }
    let carol = session_token(&server.url, "carol").await;
    let bearer = format!("Bearer {carol}");
    assert_eq!(server.ask("HEAD", PATH, &[("authorization", &bearer)]).await.status, 403);
    assert_eq!(server.ask("HEAD", "/api/game/none/connection-token?playerId=alice", &[]).await.status, 404);
    assert_eq!(stored(&server), 0);
}
