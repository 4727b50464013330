//! Lists that say which documents they want, in which order and what of each.

use serde_json::{Value, json};

use crate::support::Process;

/// A query of a list, encoded.
fn query(collection: &str, parameters: &[(&str, &str)]) -> String {
    let url = reqwest::Url::parse_with_params(&format!("http://server/api/v1/{collection}"), parameters).unwrap();
    format!("{}?{}", url.path(), url.query().unwrap_or_default())
}

fn ids(page: &Value) -> Vec<&str> {
    page["items"]
        .as_array()
        .unwrap_or_else(|| panic!("{page}"))
        .iter()
        .map(|item| item["id"].as_str().unwrap())
        .collect()
}

async fn find(server: &Process, parameters: &[(&str, &str)]) -> Value {
    let (status, page) = server.get(&query("encounters-list", parameters)).await;
    assert_eq!(status, 200, "{parameters:?}: {page}");
    page
}

/// A server with a few documents, of which some are on disk alone.
async fn start() -> Process {
    let server = Process::start(&["--hot-documents-max", "2"]);
    for (id, state) in [
        ("a", json!({ "name": "Ambush", "status": "active", "round": 2, "foes": ["orc", "wolf"] })),
        ("b", json!({ "name": "Bridge", "status": "planning", "round": 0, "hitPoints": { "current": 9 } })),
        ("c", json!({ "name": "Cave", "status": "active", "round": 11, "hitPoints": { "current": 30 } })),
        ("d", json!({ "name": "dungeon", "status": null, "round": 2.0 })),
        ("e", json!({ "name": "Epilogue" })),
    ] {
        assert_eq!(server.put(&format!("/api/v1/encounters-list/{id}"), &state).await.0, 201);
    }
    server
}

#[tokio::test]
async fn a_list_has_the_documents_that_are_wanted_in_the_order_that_is_asked_for() {
    let server = start().await;
    for (wanted, expected) in [
        (json!({ "status": "active" }), &["a", "c"][..]),
        (json!({ "round": 2 }), &["a", "d"]),
        (json!({ "round": { "gt": 2, "lte": 11 } }), &["c"]),
        (json!({ "hitPoints.current": { "lt": 10 } }), &["b"]),
        (json!({ "status": null }), &["d"]),
        (json!({ "status": { "ne": "active" } }), &["b", "d", "e"]),
        (json!({ "status": { "exists": false } }), &["e"]),
        (json!({ "foes": { "contains": "orc" } }), &["a"]),
        (json!({ "name": { "contains": "e" }, "round": { "in": [11, 2] } }), &["c", "d"]),
        (json!({ "or": [{ "id": "e" }, { "round": 0 }] }), &["b", "e"]),
        (json!({}), &["a", "b", "c", "d", "e"]),
        (json!({ "version": 2 }), &[]),
    ] {
        let page = find(&server, &[("where", &wanted.to_string())]).await;
        assert_eq!(ids(&page), expected, "{wanted}");
        assert_eq!((&page["scanned"], page.get("nextCursor")), (&json!(5), None), "{wanted}");
    }
    for (sort, expected) in [
        ("round", ["e", "b", "a", "d", "c"]),
        ("-round,-id", ["c", "d", "a", "b", "e"]),
        ("name", ["a", "b", "c", "e", "d"]),
        ("-createdAt", ["e", "d", "c", "b", "a"]),
        ("status,name", ["e", "d", "a", "c", "b"]),
    ] {
        assert_eq!(ids(&find(&server, &[("sort", sort)]).await), expected, "{sort}");
    }
    let page = find(&server, &[("where", r#"{"id":"b"}"#), ("fields", "name,hitPoints.current")]).await;
    assert_eq!(page["items"][0]["state"], json!({ "name": "Bridge", "hitPoints": { "current": 9 } }));
    let page = find(&server, &[("fields", "round"), ("limit", "1")]).await;
    assert_eq!((&page["items"][0]["state"], page.get("scanned")), (&json!({ "round": 2 }), None));
    let page = find(&server, &[("sort", "-name"), ("limit", "1"), ("include", "state")]).await;
    assert_eq!(page["items"][0]["state"]["name"], "dungeon");
    let page = find(&server, &[("sort", "-name"), ("limit", "1")]).await;
    assert_eq!(page["items"][0].get("state"), None);
}

#[tokio::test]
async fn pages_have_each_document_once_while_others_come_go_and_change() {
    let server = Process::start(&["--hot-documents-max", "5"]);
    let count = 60;
    let name = |at: usize| format!("n{at:02}");
    for at in 0..count {
        let state = json!({ "rank": at % 7, "text": "ä".repeat(at % 3) });
        assert_eq!(server.put(&format!("/api/v1/notes/{}", name(at)), &state).await.0, 201);
    }
    let order = |at: &usize| (std::cmp::Reverse(at % 7), at % 3, *at);
    let mut expected: Vec<usize> = (0..count).collect();
    expected.sort_by_key(order);
    let expected: Vec<String> = expected.into_iter().map(name).collect();
    for sort in [Some("-rank,text"), None] {
        let (mut seen, mut cursor, mut pages) = (Vec::new(), None::<String>, 0);
        loop {
            let mut parameters = vec![("limit", "7"), ("where", r#"{"rank":{"exists":true}}"#)];
            parameters.extend(sort.map(|sort| ("sort", sort)));
            parameters.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let (status, page) = server.get(&query("notes", &parameters)).await;
            assert_eq!(status, 200, "{page}");
            seen.extend(ids(&page).into_iter().map(str::to_owned));
            // One that is not wanted, one that is and stands before what was shown, and one that goes.
            assert_eq!(server.put(&format!("/api/v1/notes/x{pages}"), &json!({})).await.0, 201);
            let early = json!({ "rank": 6, "text": "" });
            assert_eq!(server.put(&format!("/api/v1/notes/a{pages}"), &early).await.0, 201);
            let gone = server.request("DELETE", &format!("/api/v1/notes/a{pages}")).send().await.unwrap();
            assert_eq!(gone.status(), 200);
            let last = ids(&page).last().map(|id| (*id).to_owned());
            let (_, changed) =
                server.merge(&format!("/api/v1/notes/{}", last.unwrap()), &json!({ "seen": true })).await;
            assert_eq!(changed["state"]["seen"], true);
            pages += 1;
            match page["nextCursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => break,
            }
        }
        let mut by_id = expected.clone();
        by_id.sort();
        assert_eq!(seen, if sort.is_some() { expected.clone() } else { by_id }, "{sort:?}");
        assert!(pages > 7, "{pages}");
        for at in 0..pages {
            server.request("DELETE", &format!("/api/v1/notes/x{at}")).send().await.unwrap();
        }
    }
}

#[tokio::test]
async fn no_question_tells_what_stands_where_the_viewer_may_not_look() {
    let server = Process::start(&[]);
    let state = |secret: u32| {
        let private = json!({ "alice": { "card": secret }, "bob": { "card": 7 } });
        json!({ "pot": 5, "hidden": { "card": secret }, "private": private })
    };
    for (id, secret) in [("g1", 1), ("g2", 99)] {
        assert_eq!(server.put(&format!("/api/v1/tables/{id}"), &state(secret)).await.0, 201);
    }
    server.meet("bob").await;
    let ask = async |parameters: &[(&str, &str)]| server.get_as("bob", &query("tables", parameters)).await;
    for wanted in [
        json!({ "hidden.card": 1 }),
        json!({ "hidden": { "exists": true } }),
        json!({ "hidden.card": { "gt": 0 } }),
        json!({ "private.alice": { "exists": true } }),
        json!({ "private.alice.card": 99 }),
        json!({ "private": { "eq": { "alice": { "card": 1 }, "bob": { "card": 7 } } } }),
        json!({ "private": { "ne": { "bob": { "card": 7 } } } }),
    ] {
        let (status, page) = ask(&[("where", &wanted.to_string())]).await;
        assert_eq!((status, ids(&page), &page["scanned"]), (200, vec![], &json!(2)), "{wanted}");
    }
    let (_, own) = ask(&[("where", r#"{"private.bob.card":7,"hidden.card":{"ne":1}}"#)]).await;
    assert_eq!(ids(&own), ["g1", "g2"]);
    let (_, shown) = ask(&[("fields", "hidden,hidden.card,private.alice,private.bob.card")]).await;
    assert_eq!(shown["items"][0]["state"], json!({ "private": { "bob": { "card": 7 } } }));
    // The cursor is made of what bob sees, and the order too: 99 stands before 1 for nobody but the host.
    let (_, first) = ask(&[("sort", "-hidden.card"), ("limit", "1")]).await;
    assert_eq!(ids(&first), ["g1"]);
    let cursor = data_encoding::BASE64URL_NOPAD.decode(first["nextCursor"].as_str().unwrap().as_bytes()).unwrap();
    assert_eq!(String::from_utf8(cursor).unwrap(), r#"{"keys":["missing"],"id":"g1"}"#);
    let (_, hosts) = server.get(&query("tables", &[("sort", "-hidden.card"), ("limit", "1")])).await;
    assert_eq!(ids(&hosts), ["g2"]);
    // A document that bob may not read is neither found nor counted.
    let access = json!({ "read": "host" });
    let body = json!({ "id": "g3", "state": { "pot": 5 }, "access": access });
    assert_eq!(server.post("/api/v1/tables", &body).await.0, 201);
    let (_, page) = ask(&[("where", r#"{"pot":5}"#)]).await;
    assert_eq!((ids(&page), &page["scanned"]), (vec!["g1", "g2"], &json!(2)));
}

#[tokio::test]
async fn a_page_that_has_looked_at_enough_ends_and_the_next_goes_on() {
    let server = Process::start(&[]);
    let (many, batch) = (10_050, 50);
    for first in (0..many).step_by(batch) {
        let create = |at: usize| {
            let id = format!("i{at:05}");
            json!({ "op": "create", "collection": "items", "id": id, "state": { "n": at } })
        };
        let operations: Vec<Value> = (first..first + batch).map(create).collect();
        let (status, said) = server.post("/api/v1/batch", &json!({ "operations": operations })).await;
        assert_eq!(status, 200, "{said}");
    }
    let wanted = json!({ "n": { "gte": many - 3 } }).to_string();
    let (_, page) = server.get(&query("items", &[("where", &wanted)])).await;
    assert_eq!((ids(&page), &page["scanned"]), (vec![], &json!(10_000)));
    let cursor = page["nextCursor"].as_str().unwrap();
    let (_, page) = server.get(&query("items", &[("where", &wanted), ("cursor", cursor)])).await;
    assert_eq!((ids(&page), &page["scanned"]), (vec!["i10047", "i10048", "i10049"], &json!(50)));
    assert_eq!(page.get("nextCursor"), None);
    let (status, problem) = server.get(&query("items", &[("sort", "n")])).await;
    assert_eq!(
        (status, &problem["type"], &problem["maxDocuments"]),
        (413, &json!("/problems/too-large"), &json!(10_000))
    );
}

#[tokio::test]
async fn what_a_list_cannot_be_asked_is_refused_with_the_reason() {
    let server = start().await;
    let (_, sorted) = server.get(&query("encounters-list", &[("sort", "name"), ("limit", "1")])).await;
    let (_, unsorted) = server.get("/api/v1/encounters-list?limit=1").await;
    let cursor = |page: &Value| page["nextCursor"].as_str().unwrap().to_owned();
    for (parameters, field, said) in [
        (vec![("where", "active".to_owned())], "where", "must be a JSON object"),
        (vec![("where", r#"{"a":{"like":1}}"#.to_owned())], "where", "which is no operator"),
        (vec![("sort", "a,,b".to_owned())], "sort", "no path"),
        (vec![("fields", String::new())], "fields", "no path"),
        (vec![("cursor", cursor(&sorted))], "cursor", "must be a nextCursor of this list"),
        (
            vec![("cursor", cursor(&unsorted)), ("sort", "name".to_owned())],
            "cursor",
            "must be a nextCursor of this list",
        ),
        (
            vec![("cursor", cursor(&sorted)), ("sort", "name,id".to_owned())],
            "cursor",
            "must be a nextCursor of this list",
        ),
    ] {
        let parameters: Vec<(&str, &str)> = parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (status, problem) = server.get(&query("encounters-list", &parameters)).await;
        assert_eq!((status, &problem["errors"][0]["field"]), (400, &json!(field)), "{parameters:?}: {problem}");
        assert!(problem["errors"][0]["detail"].as_str().unwrap().contains(said), "{problem}");
    }
}

#[tokio::test]
async fn collections_are_listed_with_what_the_caller_may_read() {
    let server = Process::start(&[]);
    let names = async |viewer: Option<&str>, query: &str| {
        let path = format!("/api/v1/collections{query}");
        let (status, page) = match viewer {
            Some(viewer) => server.get_as(viewer, &path).await,
            None => server.get(&path).await,
        };
        assert_eq!(status, 200, "{page}");
        let count = |item: &Value| format!("{} {}", item["name"].as_str().unwrap(), item["documents"]);
        (page["items"].as_array().unwrap().iter().map(count).collect::<Vec<_>>(), page)
    };
    assert_eq!(names(None, "").await.0, Vec::<String>::new());
    for path in ["games/g1", "games/g2", "notes/n1", "zoo/z1"] {
        assert_eq!(server.put(&format!("/api/v1/{path}"), &json!({})).await.0, 201);
    }
    let body = json!({ "id": "s1", "state": {}, "access": { "read": "host" } });
    for collection in ["games", "secrets"] {
        assert_eq!(server.post(&format!("/api/v1/{collection}"), &body).await.0, 201);
    }
    assert_eq!(server.request("DELETE", "/api/v1/zoo/z1").send().await.unwrap().status(), 200);
    let (all, page) = names(None, "").await;
    assert_eq!(all, ["games 3", "notes 1", "secrets 1"]);
    let (_, newest) = server.get("/api/v1/games/s1").await;
    assert_eq!(page["items"][0]["updatedAt"], newest["updatedAt"]);
    server.meet("bob").await;
    assert_eq!(names(Some("bob"), "").await.0, ["games 2", "notes 1"]);
    let (first, page) = names(None, "?limit=2").await;
    assert_eq!(first, ["games 3", "notes 1"]);
    let cursor = page["nextCursor"].as_str().unwrap();
    let (second, page) = names(None, &format!("?limit=2&cursor={cursor}")).await;
    assert_eq!((second, page.get("nextCursor")), (vec!["secrets 1".to_owned()], None));
}

#[tokio::test]
async fn documents_that_live_in_memory_are_found_and_counted() {
    let server = Process::start(&["--flags.games-persistence", "false"]);
    for (id, pot) in [("g1", 5), ("g2", 9)] {
        assert_eq!(server.put(&format!("/api/v1/games/{id}"), &json!({ "pot": pot })).await.0, 201);
    }
    let (_, page) = server.get(&query("games", &[("where", r#"{"pot":{"gt":5}}"#), ("sort", "pot")])).await;
    assert_eq!((ids(&page), &page["items"][0]["persistent"]), (vec!["g2"], &json!(false)));
    let (_, page) = server.get("/api/v1/collections").await;
    assert_eq!((&page["items"][0]["name"], &page["items"][0]["documents"]), (&json!("games"), &json!(2)));
}
