//! What takes something away works while storage fails, and what was taken does not come back.

use std::time::{Duration, Instant};

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
    server.meet("dan").await;
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

const ACCESS: &str = "/api/v1/notes/secret/access";

async fn note(server: &Process) {
    server.tell("PUT", "/api/v1/notes/secret", &[], json!({ "state": { "text": "all" } })).await.expect(201);
    server.ask("GET", "/api/v1/notes/secret", &[(AS, "bob")]).await.expect(200);
}

/// Takes the note from all but its host, and is told that this is not on disk.
async fn hide(server: &Process) {
    let hidden = server.tell("PUT", ACCESS, &[], json!({ "read": "host" })).await.expect(202).body;
    assert_eq!((&hidden["durable"], &hidden["access"]["read"]), (&json!(false), &json!("host")), "{hidden}");
    is_hidden(server).await;
}

async fn is_hidden(server: &Process) {
    server.ask("GET", "/api/v1/notes/secret", &[(AS, "bob")]).await.problem(404, "not-found");
}

/// Ends the game, and is told that this is not on disk. Returns since when.
async fn complete(server: &Process) -> Value {
    let ended = server.ask("POST", "/api/v1/games/g1/complete", &[]).await.expect(202).body;
    assert_eq!((&ended["status"], &ended["durable"]), (&json!("completed"), &json!(false)), "{ended}");
    is_completed(server, &ended["completedAt"]).await;
    ended["completedAt"].clone()
}

async fn is_completed(server: &Process, at: &Value) {
    let seat = server.tell("POST", SEATS, &[(AS, "dan")], json!({ "playerId": "dan" })).await;
    let problem = seat.problem(410, "game-completed");
    assert_eq!(&problem["completedAt"], at, "{problem}");
}

async fn recovered(server: &Process) {
    server.until_ready(|status, report| status == 200 && report["storage"]["state"] == "ok").await;
}

#[tokio::test]
async fn narrowed_access_a_deletion_and_the_end_of_a_game_do_not_come_back() {
    for way in ["storage returns", "stop", "kill"] {
        let (disk, mut server) = start().await;
        note(&server).await;
        server.tell("PUT", "/api/v1/notes/gone", &[], json!({ "state": {} })).await.expect(201);
        let of_ann = token(&server, "ann").await;
        fill(&disk, &server).await;
        hide(&server).await;
        let at = complete(&server).await;
        assert_eq!(complete(&server).await, at, "{way}: twice is once");
        let problem = reconnect(&server, "ann", &of_ann).await.problem(410, "game-completed");
        assert_eq!(problem["completedAt"], at, "{way}");
        let deleted = server.ask("DELETE", "/api/v1/notes/gone", &[]).await.expect(202).body;
        assert_eq!(deleted["durable"], false, "{way}: {deleted}");
        match way {
            "storage returns" => {}
            "stop" => {
                assert_eq!(server.terminate().code(), Some(6));
                let said = server.log();
                assert!(said.contains("rejoin: stopped while storage failed; changes that are lost: 1"), "{said}");
                assert!(said.contains("revocations that are stored at the next start: 3"), "{said}");
                assert!(said.contains("notes/n1"), "{said}");
                server.start_again();
            }
            _ => {
                server.kill();
                server.start_again();
            }
        }
        // Also while the disk is still full.
        is_hidden(&server).await;
        is_completed(&server, &at).await;
        server.ask("GET", "/api/v1/notes/gone", &[]).await.problem(410, "gone");
        disk.set("off");
        recovered(&server).await;
        for again in [false, true] {
            if again {
                server.kill();
                server.start_again();
            }
            is_hidden(&server).await;
            is_completed(&server, &at).await;
            server.ask("GET", "/api/v1/notes/gone", &[]).await.problem(410, "gone");
            let report = server.ask("GET", "/api/v1/notes/secret", &[]).await.expect(200).body;
            assert_eq!((&report["version"], &report["state"]["text"]), (&json!(2), &json!("all")), "{way}: {report}");
        }
        // What is in the database is not taken away once more.
        server.tell("PUT", ACCESS, &[], json!({ "read": "all" })).await.expect(200);
        server.kill();
        server.start_again();
        server.ask("GET", "/api/v1/notes/secret", &[(AS, "bob")]).await.expect(200);
    }
}

#[tokio::test]
async fn a_game_that_began_on_a_full_disk_and_ended_there_is_over_when_storage_returns() {
    let (disk, mut server) = start().await;
    fill(&disk, &server).await;
    assert_eq!(server.post("/api/v1/games", &json!({ "id": "g2", "state": {} })).await.0, 202);
    let ended = server.ask("POST", "/api/v1/games/g2/complete", &[]).await.expect(202).body;
    disk.set("off");
    recovered(&server).await;
    server.kill();
    server.start_again();
    let seat = server.tell("POST", "/api/v1/games/g2/seats", &[(AS, "dan")], json!({ "playerId": "dan" })).await;
    assert_eq!(seat.problem(410, "game-completed")["completedAt"], ended["completedAt"]);
}

#[tokio::test]
async fn the_end_of_a_game_that_was_lost_with_it_is_not_that_of_another() {
    let (disk, mut server) = start().await;
    fill(&disk, &server).await;
    assert_eq!(server.post("/api/v1/games", &json!({ "id": "g2", "state": {} })).await.0, 202);
    server.ask("POST", "/api/v1/games/g2/complete", &[]).await.expect(202);
    server.tell("PUT", "/api/v1/games/g2/access", &[], json!({ "read": "host" })).await.expect(202);
    server.kill();
    disk.set("off");
    server.start_again();
    // It gets the key that the other had.
    assert_eq!(server.post("/api/v1/games", &json!({ "id": "g2", "state": {} })).await.0, 201);
    for _ in 0..2 {
        server.tell("POST", "/api/v1/games/g2/seats", &[(AS, "dan")], json!({ "playerId": "dan" })).await;
        assert_eq!(server.get("/api/v1/games/g2/seats").await.1["items"][0]["playerId"], "dan");
        server.ask("GET", "/api/v1/games/g2", &[(AS, "bob")]).await.expect(200);
        server.kill();
        server.start_again();
    }
}

#[tokio::test]
async fn what_takes_away_is_not_refused_when_as_much_waits_as_may() {
    let (disk, server) = Disk::with_server(&["--backlog-events-max=2"]);
    server.meet("dan").await;
    note(&server).await;
    server.tell("PUT", "/api/v1/notes/gone", &[], json!({ "state": {} })).await.expect(201);
    assert_eq!(server.post("/api/v1/games", &json!({ "id": "g1", "state": {} })).await.0, 201);
    fill(&disk, &server).await;
    let mut status = 202;
    while status == 202 {
        status = server.put("/api/v1/notes/n2", &json!({})).await.0;
    }
    assert_eq!(status, 507);
    hide(&server).await;
    server.ask("DELETE", "/api/v1/notes/gone", &[]).await.expect(202);
    complete(&server).await;
    assert_eq!(server.put("/api/v1/notes/n2", &json!({})).await.0, 507);
    disk.set("off");
    recovered(&server).await;
    is_hidden(&server).await;
}

#[tokio::test]
async fn a_stop_that_only_has_to_store_what_was_taken_away_says_so() {
    let (disk, mut server) = start().await;
    note(&server).await;
    disk.set("enospc");
    hide(&server).await;
    assert_eq!(server.terminate().code(), Some(6));
    let said = server.log();
    assert!(
        said.contains("rejoin: stopped while storage failed; revocations that are stored at the next start: 1"),
        "{said}"
    );
    assert!(!said.contains("are lost"), "{said}");
}

const PERSIST: &str = "/api/game/g1/persist";

/// What is stored of a document: its events, and its snapshots that hold a state.
fn stored(server: &Process, id: &str) -> (i64, i64) {
    let database = rusqlite::Connection::open(server.data_dir().join("rejoin.db")).unwrap();
    let sql = "SELECT (SELECT count(*) FROM events WHERE document = d.key),
                      (SELECT count(*) FROM snapshots WHERE document = d.key AND state IS NOT NULL)
               FROM documents d WHERE id = ?1";
    database.query_row(sql, [id], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
}

#[tokio::test]
async fn a_game_that_is_removed_while_storage_fails_is_gone_at_once_and_its_history_when_storage_returns() {
    for way in ["storage returns", "stop", "kill"] {
        let (disk, mut server) = start().await;
        for round in 0..5 {
            assert_eq!(server.merge("/api/v1/games/g1", &json!({ "round": round })).await.0, 200);
        }
        server.ask("POST", "/api/v1/games/g1/complete", &[]).await.expect(200);
        // Of one that is deleted the history goes.
        assert_eq!(server.post("/api/v1/games", &json!({ "id": "g2", "state": {} })).await.0, 201);
        assert_eq!(server.merge("/api/v1/games/g2", &json!({ "round": 1 })).await.0, 200);
        server.ask("DELETE", "/api/v1/games/g2", &[]).await.expect(200);
        fill(&disk, &server).await;
        for path in [PERSIST, "/api/game/g2/persist", PERSIST, "/api/game/g2/persist"] {
            is_pending(&server.ask("DELETE", path, &[]).await);
        }
        server.ask("GET", "/api/v1/games/g1", &[]).await.problem(410, "gone");
        match way {
            "storage returns" => {}
            "stop" => {
                assert_eq!(server.terminate().code(), Some(6));
                server.start_again();
            }
            _ => {
                server.kill();
                server.start_again();
            }
        }
        server.ask("GET", "/api/v1/games/g1", &[]).await.problem(410, "gone");
        disk.set("off");
        recovered(&server).await;
        let end = Instant::now() + Duration::from_secs(30);
        while stored(&server, "g1") != (1, 0) || stored(&server, "g2") != (1, 0) {
            assert!(Instant::now() < end, "{way}: {:?} {:?}", stored(&server, "g1"), stored(&server, "g2"));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        server.kill();
        server.start_again_with(&["--strict"]);
        server.ask("GET", "/api/v1/games/g1", &[]).await.problem(410, "gone");
        server.ask("DELETE", PERSIST, &[]).await.expect(204);
        // A new game of the same name has nothing of it, and is not taken away once more.
        assert_eq!(server.post("/api/v1/games", &json!({ "id": "g1", "state": { "new": true } })).await.0, 201);
        server.kill();
        server.start_again();
        assert_eq!(server.get("/api/v1/games/g1").await.1["state"], json!({ "new": true }), "{way}");
    }
}
