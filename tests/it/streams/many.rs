//! Many documents and whole collections on one connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::support::{Follower, Process, Replica};

const QUERY: &str = "doc=games/g1&doc=games/later&doc=chat/c%31&collection=tables&collection=games-2";

#[tokio::test]
async fn one_stream_follows_named_documents_and_collections_and_what_comes_into_being() {
    let mut server = Process::start(&[]);
    for name in ["games/g1", "games/other", "chat/c1", "tables/t1", "tables/t2"] {
        assert_eq!(server.put(&format!("/api/v1/{name}"), &json!({ "name": name })).await.0, 201);
    }
    let url = format!("{}/api/v1/stream?{QUERY}", server.url);
    let mut follower = Follower::connect(&url, None, None).await.unwrap();
    let snapshot = follower.expect("snapshot").await;
    let names: Vec<Value> = snapshot.data["documents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|document| document["state"]["name"].clone())
        .collect();
    assert_eq!(names, ["chat/c1", "games/g1", "tables/t1", "tables/t2"]);
    let mut replica = Replica::of_host();
    replica.take(&snapshot);

    let followed = ["games/g1", "chat/c1", "games/later", "tables/t2", "tables/t3", "games-2/x", "games/later"];
    for (n, name) in followed.iter().enumerate() {
        // One that is not followed between any two.
        assert!(server.put("/api/v1/games/other", &json!({ "n": n })).await.0 < 300);
        assert!(server.put(&format!("/api/v1/{name}"), &json!({ "name": name, "n": n })).await.0 < 300);
    }
    assert_eq!(server.request("DELETE", "/api/v1/tables/t1").send().await.unwrap().status(), 200);
    let changes = follower.changes(followed.len() + 1).await;
    let told: Vec<String> = changes.iter().map(|told| crate::support::replica::name(&told.data)).collect();
    assert_eq!(told[..followed.len()], followed);
    changes.iter().for_each(|told| replica.take(told));

    for _ in 0..2 {
        for (index, told) in changes.iter().enumerate() {
            let mut back = Follower::connect(&url, None, Some(&told.id)).await.unwrap();
            let resumed = back.expect("resumed").await;
            let missed = &changes[index + 1..];
            assert_eq!(resumed.data["count"], missed.len());
            assert_eq!(back.changes(missed.len()).await, missed);
        }
        let mut anew = Follower::connect(&url, None, None).await.unwrap();
        let mut fresh = Replica::of_host();
        fresh.take(&anew.expect("snapshot").await);
        let there = replica.documents.iter().filter(|(_, known)| !known.state.is_null());
        assert_eq!(fresh.documents, there.map(|(name, known)| (name.clone(), known.clone())).collect());
        server.kill();
        server.start_again();
    }
}

#[tokio::test]
async fn a_stream_over_nothing_or_over_what_is_no_name_is_refused() {
    let server = Process::start(&[]);
    for query in ["", "?doc=games", "?doc=games/", "?collection=Games", "?doc=/g1", "?docs=games/g1", "?doc=games/g1/x"]
    {
        let (status, problem) = server.get(&format!("/api/v1/stream{query}")).await;
        assert_eq!((status, &problem["type"]), (400, &json!("/problems/invalid-request")), "{query}");
    }
    let url = format!("{}/api/v1/stream?doc=games/never", server.url);
    let mut follower = Follower::connect(&url, None, None).await.unwrap();
    let snapshot = follower.expect("snapshot").await;
    assert_eq!((&snapshot.data["documents"], &*snapshot.id), (&json!([]), "0"), "an empty log");
    assert_eq!(server.put("/api/v1/games/never", &json!({})).await.0, 201);
    follower.expect("change").await;
    let mut back = Follower::connect(&url, None, Some(&snapshot.id)).await.unwrap();
    assert_eq!(back.expect("resumed").await.data["count"], 1);
}

/// Writers that keep `a` and `b` of three pairs equal, by one batch each time, until they are stopped.
fn start_pairs(server: &Process, stop: &Arc<AtomicBool>) -> Vec<tokio::task::JoinHandle<()>> {
    let writer = |pair: u64| {
        let (client, stop) = (server.client.clone(), Arc::clone(stop));
        let url = format!("{}/api/v1/batch", server.url);
        tokio::spawn(async move {
            let mut n = 0;
            while !stop.load(Ordering::Relaxed) {
                n += 1;
                let put = |half| {
                    let id = format!("{half}{pair}");
                    json!({ "op": "put", "collection": "pairs", "id": id, "state": { "n": n } })
                };
                // Now and then a new document, so that the collection grows under those who look at it.
                let new =
                    json!({ "op": "create", "collection": "pairs", "id": format!("c{pair}-{n}"), "state": { "n": 0 } });
                let mut operations = vec![put("a"), put("b")];
                operations.extend((n % 8 == 0).then_some(new));
                let sent = client.post(&url).json(&json!({ "operations": operations })).send().await.unwrap();
                assert_eq!(sent.status(), 200);
            }
        })
    };
    (0..3).map(writer).collect()
}

#[tokio::test]
async fn a_snapshot_of_many_documents_is_of_one_moment_and_the_changes_go_on_from_it() {
    // Few stay in memory: snapshots are made of cold and hot documents that come and go.
    let server = Process::start(&["--hot-documents-max", "4"]);
    let stop = Arc::new(AtomicBool::new(false));
    let writers = start_pairs(&server, &stop);
    for round in 0..30 {
        let query =
            if round % 2 == 0 { "collection=pairs" } else { "doc=pairs/a0&doc=pairs/b0&doc=pairs/a1&doc=pairs/b1" };
        let url = format!("{}/api/v1/stream?{query}", server.url);
        let mut follower = Follower::connect(&url, None, None).await.unwrap();
        let mut replica = Replica::of_host();
        replica.take(&follower.expect("snapshot").await);
        assert_paired(&replica);
        for _ in 0..10 {
            // Two halves of a batch: after both, the pair is one again.
            let first = follower.expect("change").await;
            replica.take(&first);
            let new = first.data["id"].as_str().unwrap().starts_with('c');
            if !new {
                replica.take(&follower.expect("change").await);
            }
            assert_paired(&replica);
        }
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
}

fn assert_paired(replica: &Replica) {
    for pair in 0..3 {
        let n =
            |half: &str| replica.documents.get(&format!("pairs/{half}{pair}")).map(|known| known.state["n"].clone());
        assert_eq!(n("a"), n("b"), "pair {pair}");
    }
}
