//! What takes something away works while storage fails, and what was taken does not come back.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{AS, Disk, Process, Reply};

const ME: &str = "/api/v1/me";
const CURRENT: &str = "/api/v1/sessions/current";
const SEATS: &str = "/api/v1/games/g1/seats";

/// A session of somebody: its id, and the header that shows it.
struct Opened {
    id: String,
    bearer: String,
}

async fn open(server: &Process, user: &str) -> Opened {
    let opened = server.tell("POST", "/api/v1/sessions", &[], json!({ "user": user })).await.expect(201).body;
    let text = |name: &str| opened[name].as_str().unwrap().to_owned();
    Opened { id: text("id"), bearer: format!("Bearer {}", text("token")) }
}

impl Opened {
    async fn ask(&self, server: &Process, method: &str, path: &str) -> Reply {
        server.ask(method, path, &[("authorization", &self.bearer)]).await
    }

    async fn is_void(&self, server: &Process) {
        self.ask(server, "GET", ME).await.problem(401, "unauthenticated");
    }
}

/// A server on a disk that works, with a game at which ann and bob sit.
async fn start() -> (Disk, Process) {
    let (disk, server) = Disk::with_server(&[]);
    assert_eq!(server.post("/api/v1/games", &json!({ "id": "g1", "state": {} })).await.0, 201);
    for player in ["ann", "bob"] {
        server.tell("POST", SEATS, &[(AS, player)], json!({ "playerId": player })).await.expect(201);
    }
    (disk, server)
}

async fn fill(disk: &Disk, server: &Process) {
    disk.set("enospc");
    assert_eq!(server.put("/api/v1/notes/n1", &json!({})).await.0, 202, "storage fails");
}

fn is_pending(reply: &Reply) {
    assert_eq!((reply.status, &reply.body), (202, &json!({ "durable": false })), "{}", reply.text);
}

async fn seated(server: &Process) -> Vec<String> {
    let seats: Value = server.get(SEATS).await.1;
    seats["items"].as_array().unwrap().iter().map(|seat| seat["playerId"].as_str().unwrap().to_owned()).collect()
}

async fn token(server: &Process, player: &str) -> String {
    let path = format!("/api/game/g1/connection-token?playerId={player}");
    server.ask("GET", &path, &[(AS, player)]).await.expect(200).body["token"].as_str().unwrap().to_owned()
}

async fn reconnect(server: &Process, player: &str, token: &str) -> Reply {
    let body = json!({ "gameId": "g1", "playerId": player, "reconnectToken": token });
    server.tell("POST", "/api/game/g1/reconnect", &[(AS, player)], body).await
}

#[tokio::test]
async fn what_ends_while_storage_fails_has_ended_and_is_stored_when_it_returns() {
    let (disk, mut server) = start().await;
    let (one, two, three, other) = (
        open(&server, "eve").await,
        open(&server, "eve").await,
        open(&server, "eve").await,
        open(&server, "eve").await,
    );
    let (of_ann, of_bob) = (token(&server, "ann").await, token(&server, "bob").await);
    fill(&disk, &server).await;

    is_pending(&one.ask(&server, "DELETE", CURRENT).await);
    one.is_void(&server).await;
    is_pending(&other.ask(&server, "DELETE", &format!("/api/v1/sessions/{}", two.id)).await);
    two.is_void(&server).await;
    let rest = other.ask(&server, "DELETE", "/api/v1/sessions").await;
    assert_eq!((rest.status, &rest.body), (202, &json!({ "ended": 1, "durable": false })), "{}", rest.text);
    three.is_void(&server).await;
    is_pending(&server.ask("DELETE", &format!("{SEATS}/ann"), &[(AS, "ann")]).await);
    assert_eq!(seated(&server).await, ["bob"]);
    server.ask("DELETE", &format!("{SEATS}/ann"), &[(AS, "ann")]).await.problem(404, "not-found");
    reconnect(&server, "ann", &of_ann).await.problem(403, "not-a-participant");
    reconnect(&server, "bob", &of_bob).await.problem(503, "storage-unavailable");

    disk.set("off");
    server.until_ready(|status, report| status == 200 && report["storage"]["state"] == "ok").await;
    let stored = rusqlite::Connection::open(server.data_dir().join("rejoin.db")).unwrap();
    let count = |sql: &str| stored.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM sessions WHERE user = 'eve'"), 1);
    assert_eq!(count("SELECT count(*) FROM seats WHERE player = 'ann'"), 0);
    drop(stored);
    reconnect(&server, "bob", &of_bob).await.expect(200);
    server.kill();
    server.start_again();
    for ended in [&one, &two, &three] {
        ended.is_void(&server).await;
    }
    other.ask(&server, "GET", ME).await.expect(200);
    assert_eq!(seated(&server).await, ["bob"]);
    // Who left may come again, and stays then.
    server.tell("POST", SEATS, &[(AS, "ann")], json!({ "playerId": "ann" })).await.expect(201);
    reconnect(&server, "ann", &of_ann).await.problem(401, "reconnect-token-used");
    server.kill();
    server.start_again();
    assert_eq!(seated(&server).await, ["ann", "bob"]);
}

#[tokio::test]
async fn a_stop_or_a_kill_while_storage_fails_gives_nothing_back() {
    let (disk, mut server) = start().await;
    for stop in [true, false] {
        let ended = open(&server, "eve").await;
        let player = if stop { "ann" } else { "bob" };
        fill(&disk, &server).await;
        is_pending(&ended.ask(&server, "DELETE", CURRENT).await);
        is_pending(&server.ask("DELETE", &format!("{SEATS}/{player}"), &[(AS, player)]).await);
        if stop {
            assert_eq!(server.terminate().code(), Some(6), "the note is lost");
        } else {
            server.kill();
        }
        disk.set("off");
        server.start_again();
        ended.is_void(&server).await;
        assert!(!seated(&server).await.contains(&player.to_owned()));
        server.tell("POST", SEATS, &[(AS, player)], json!({ "playerId": player })).await.expect(201);
        server.kill();
        server.start_again();
        ended.is_void(&server).await;
        assert!(seated(&server).await.contains(&player.to_owned()), "what is stored is not revoked once more");
    }
}

#[tokio::test]
async fn the_journal_is_made_anew_when_its_path_does_not_name_it_any_more() {
    let (disk, mut server) = start().await;
    let journal = server.data_dir().join("rejoin.revocations");
    let room = std::fs::metadata(&journal).unwrap().len();
    for lost in ["removed", "renamed over", "removed with everything", "removed while it has lines"] {
        let (first, ended) = (open(&server, "eve").await, open(&server, "eve").await);
        match lost {
            "removed" => std::fs::remove_file(&journal).unwrap(),
            "renamed over" => {
                let other = server.data_dir().join("other");
                std::fs::write(&other, "nothing").unwrap();
                std::fs::rename(other, &journal).unwrap();
            }
            "removed with everything" => std::fs::remove_dir_all(server.data_dir()).unwrap(),
            _ => {
                fill(&disk, &server).await;
                is_pending(&first.ask(&server, "DELETE", CURRENT).await);
                std::fs::remove_file(&journal).unwrap();
            }
        }
        let made = async {
            while std::fs::metadata(&journal).map_or(0, |made| made.len()) != room {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), made)
            .await
            .unwrap_or_else(|_| panic!("{lost}: {}", server.log()));
        fill(&disk, &server).await;
        is_pending(&ended.ask(&server, "DELETE", CURRENT).await);
        server.kill();
        disk.set("off");
        server.start_again();
        ended.is_void(&server).await;
        if lost == "removed while it has lines" {
            first.is_void(&server).await;
        } else {
            first.ask(&server, "GET", ME).await.expect(200);
        }
    }
}

#[tokio::test]
async fn a_journal_that_cannot_be_made_is_told_until_it_can() {
    let (_, server) = start().await;
    let journal = server.data_dir().join("rejoin.revocations");
    std::fs::remove_file(&journal).unwrap();
    std::fs::create_dir(&journal).unwrap();
    let told = |report: &Value| report["storage"]["errors"].to_string().contains("revocation-journal");
    server.until_ready(|status, report| status == 200 && told(report)).await;
    assert_eq!(server.log().matches("revocations are kept in memory").count(), 1, "{}", server.log());
    std::fs::remove_dir(&journal).unwrap();
    server.until_ready(|status, report| status == 200 && !told(report)).await;
    assert!(journal.is_file());
}

#[tokio::test]
async fn a_start_on_a_full_disk_with_revocations_that_wait_is_told_as_full() {
    let (disk, mut server) = start().await;
    let ended = open(&server, "eve").await;
    fill(&disk, &server).await;
    is_pending(&ended.ask(&server, "DELETE", CURRENT).await);
    server.kill();
    server.start_again();
    let report = server.until_ready(|_, report| report["storage"]["state"] == "degraded").await;
    assert_eq!(report["storage"]["full"], true, "{report}");
    assert!(!report["storage"]["reason"].to_string().contains("reopened"), "{report}");
    ended.is_void(&server).await;
    disk.set("off");
    server.until_ready(|status, report| status == 200 && report["storage"]["state"] == "ok").await;
    server.kill();
    server.start_again();
    ended.is_void(&server).await;
}
