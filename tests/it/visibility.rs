//! What a viewer may not see never leaves the process, whatever is asked.

use std::collections::BTreeMap;

use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::support::session::shown;
use crate::support::{Dice, Follower, Process, Replica};

const PLAYERS: [&str; 3] = ["alice", "bob", "carol"];
const GAME: &str = "/api/v1/games/g1";

/// A text that says whose secret it is.
fn secret(owner: &str, n: u64) -> String {
    format!("SECRET-OF-{owner}-{n}")
}

/// Panics when `text` tells `viewer` what is not for them.
fn assert_silent(viewer: &str, text: &str) {
    for owner in ["host"].iter().chain(&PLAYERS).filter(|owner| **owner != viewer) {
        assert!(!text.contains(&format!("SECRET-OF-{owner}-")), "{viewer} is told a secret of {owner}: {text}");
    }
}

/// What `viewer` may see of a state; written against the description, not with the server's code.
fn visible(state: &Value, viewer: &str) -> Value {
    let mut seen = state.clone();
    if let Some(members) = seen.as_object_mut() {
        members.remove("hidden");
        if let Some(private) = members.get_mut("private") {
            private.as_object_mut().unwrap().retain(|player, _| player == viewer);
        }
    }
    seen
}

/// Sends as `viewer`, and checks all that comes back: status line, headers, body.
async fn ask(viewer: &str, request: RequestBuilder) -> (u16, Value) {
    let answer = shown(request, viewer).await.send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), format!("{:?}", answer.headers()));
    let text = answer.text().await.unwrap();
    assert_silent(viewer, &headers);
    assert_silent(viewer, &text);
    (status, serde_json::from_str(&text).unwrap_or_default())
}

fn merge(server: &Process, patch: &Value) -> RequestBuilder {
    server.request("PATCH", GAME).header("content-type", "application/merge-patch+json").body(patch.to_string())
}

fn json_patch(server: &Process, patch: &Value) -> RequestBuilder {
    server.request("PATCH", GAME).header("content-type", "application/json-patch+json").body(patch.to_string())
}

/// A state in which everybody has something to hide.
fn dealt(n: u64) -> Value {
    let hand = |player: &str| json!({ "cards": [secret(player, n), secret(player, n + 1)], &secret(player, n): n });
    let private: serde_json::Map<_, _> = PLAYERS.iter().map(|player| ((*player).to_owned(), hand(player))).collect();
    json!({ "n": n, "pot": { "chips": n }, "hidden": { "deck": [secret("host", n)] }, "private": private })
}

/// What the host does in a turn.
fn host_turn(server: &Process, dice: &mut Dice, n: u64, version: u64) -> RequestBuilder {
    let to = *dice.pick(&[&"alice", &"bob", &"carol"]);
    match dice.below(10) {
        0 => server.request("PUT", GAME).json(&json!({ "state": dealt(n) })),
        1 => server.request("PUT", GAME).json(&json!({ "state": { "n": n } })),
        2 => merge(server, &json!({ "hidden": { "deck": [secret("host", n)], "seed": secret("host", n) } })),
        3 => merge(server, &json!({ "private": { to: { "cards": [secret(to, n)] } }, "n": n })),
        4 => merge(server, &dice.pick(&[&json!({ "private": null }), &json!({ "hidden": null })]).clone()),
        5 => json_patch(
            server,
            &json!([
                { "op": "add", "path": "/private", "value": { to: [secret(to, n)], "alice": secret("alice", n) } },
                { "op": "copy", "from": "/private", "path": "/hidden" },
                { "op": "test", "path": format!("/private/{to}"), "value": [secret(to, n)] },
                { "op": "add", "path": "/hidden", "value": secret("host", n) },
            ]),
        ),
        6 => server.request("POST", &format!("{GAME}/rollback")).json(&json!({ "toVersion": 1 + dice.below(version) })),
        7 => {
            let payload = json!({ "n": n, "hidden": secret("host", n), "private": { to: secret(to, n), "nobody": 1 } });
            let patch = json!({ "private": { to: secret(to, n) }, "hidden": secret("host", n) });
            server
                .request("POST", &format!("{GAME}/actions"))
                .json(&json!({ "type": "deal", "payload": payload, "patch": patch }))
        }
        8 => server.request("POST", "/api/v1/batch").json(&json!({ "operations": [
            { "op": "patch", "collection": "games", "id": "g1", "patch": { "hidden": secret("host", n) } },
            { "op": "action", "collection": "games", "id": "g1", "type": "tell",
              "payload": { "private": { to: secret(to, n) } } },
        ] })),
        _ => server.request("DELETE", GAME),
    }
}

/// What a player does in a turn; all of it is allowed.
fn player_turn(server: &Process, dice: &mut Dice, player: &str, n: u64) -> RequestBuilder {
    match dice.below(5) {
        0 => merge(server, &json!({ "n": n, "said": { player: n } })),
        1 => merge(server, &json!({ "private": { player: { "notes": secret(player, n) } } })),
        2 => {
            server.request("PUT", GAME).json(&json!({ "state": { "n": n, "private": { player: secret(player, n) } } }))
        }
        3 => {
            let whisper = PLAYERS[usize::try_from(n % 3).unwrap()];
            let payload = json!({ "private": { whisper: secret(whisper, n), player: secret(player, n) }, "n": n });
            server.request("POST", &format!("{GAME}/actions")).json(&json!({ "type": "whisper", "payload": payload }))
        }
        _ => json_patch(server, &json!([{ "op": "add", "path": "/open", "value": [n] }])),
    }
}

/// Everything that `player` can ask without changing anything.
async fn look_around(server: &Process, player: &str, version: u64) {
    for path in [
        GAME.to_owned(),
        format!("{GAME}?version={version}"),
        "/api/v1/games?include=state".to_owned(),
        "/api/v1/games".to_owned(),
        format!("{GAME}/events?limit=500"),
        format!("{GAME}/events?after={}&wait=1", version - 1),
    ] {
        let (status, _) = ask(player, server.request("GET", &path)).await;
        assert!([200, 410].contains(&status), "{path}: {status}");
        ask(player, server.request("HEAD", &path)).await;
    }
}

/// Writes that fail for being late, wrong or forbidden.
async fn stumble(server: &Process, player: &str, n: u64) {
    let stale = "\"1-aaaaaaaaaaaa\"";
    let operation =
        json!({ "op": "patch", "collection": "games", "id": "g1", "patch": { "n": 1 }, "expectedVersion": 999 });
    for (request, expected) in [
        (merge(server, &json!({ "n": n })).header("if-match", stale), 412),
        (merge(server, &json!({ "n": n })).header("if-none-match", "*"), 412),
        (server.request("PUT", GAME).json(&json!({ "state": {}, "expectedVersion": 999 })), 409),
        (server.request("DELETE", GAME).header("if-match", stale), 403),
        (server.request("POST", &format!("{GAME}/actions")).json(&json!({ "type": "x", "expectedVersion": 999 })), 409),
        (server.request("POST", "/api/v1/games").json(&json!({ "id": "g1", "state": {} })), 409),
        (server.request("POST", "/api/v1/batch").json(&json!({ "operations": [operation] })), 409),
        (json_patch(server, &json!([{ "op": "test", "path": "/n", "value": "no" }])), 422),
        (json_patch(server, &json!([{ "op": "move", "from": "/nowhere", "path": "/n" }])), 422),
    ] {
        let (status, problem) = ask(player, request).await;
        assert_eq!(status, expected, "{problem}");
    }
}

/// What one player hears over a whole game.
struct Listener {
    name: &'static str,
    streams: Vec<(Follower, Replica)>,
    /// The state at each version, rebuilt from the first stream; null when deleted.
    seen: BTreeMap<u64, Value>,
}

impl Listener {
    async fn begin(server: &Process, name: &'static str) -> Self {
        let mut streams = Vec::new();
        for path in [format!("{GAME}/events"), "/api/v1/stream?collection=games&doc=chat/c1".to_owned()] {
            let url = format!("{}{path}", server.url);
            let mut follower = Follower::connect(&url, Some(name), None).await.unwrap();
            let mut replica = Replica::default();
            let snapshot = follower.expect("snapshot").await;
            assert_silent(name, &snapshot.text);
            replica.take(&snapshot);
            streams.push((follower, replica));
        }
        let mut listener = Self { name, streams, seen: BTreeMap::new() };
        listener.note();
        listener
    }

    fn note(&mut self) {
        let known = &self.streams[0].1.documents["games/g1"];
        self.seen.insert(known.version, known.state.clone());
    }

    /// Hears all up to `version`.
    async fn hear(&mut self, version: u64) {
        for index in 0..self.streams.len() {
            while self.streams[index].1.documents["games/g1"].version < version {
                let (follower, replica) = &mut self.streams[index];
                let told = follower.expect("change").await;
                assert_silent(self.name, &told.text);
                assert!(!told.text.contains("\"salt\""), "it would let a secret be guessed: {}", told.text);
                replica.take(&told);
                if index == 0 {
                    self.note();
                }
            }
        }
    }
}

#[tokio::test]
async fn no_output_for_a_player_holds_a_secret_of_another_in_a_whole_game() {
    for seed in 1..=3 {
        eprintln!("seed {seed}");
        play(seed).await;
    }
}

async fn play(seed: u64) {
    let mut dice = Dice::new(seed);
    let mut server = Process::start(&[]);
    let created = server.post("/api/v1/games", &json!({ "id": "g1", "state": dealt(0) })).await;
    assert_eq!(created.0, 201);
    let mut listeners = Vec::new();
    for player in PLAYERS {
        listeners.push(Listener::begin(&server, player).await);
    }
    let mut version = 1;
    for n in 1..=40 {
        if dice.below(3) == 0 {
            let player = *dice.pick(&[&"alice", &"bob", &"carol"]);
            // A retry tells no more than the first time.
            let request = player_turn(&server, &mut dice, player, n).header("idempotency-key", n.to_string());
            let again = request.try_clone().unwrap();
            let first = ask(player, request).await;
            assert!([200, 201].contains(&first.0), "seed {seed}: {first:?}");
            assert_eq!(ask(player, again).await, first);
        } else {
            let sent = host_turn(&server, &mut dice, n, version).send().await.unwrap();
            // Rolling back to a deletion, or adding to what is not there, is refused.
            let refused = [400, 404, 410, 422].contains(&sent.status().as_u16());
            assert!(sent.status().is_success() || refused, "seed {seed}: {sent:?}");
        }
        let (status, document) = server.get(GAME).await;
        version = document["version"].as_u64().or(document["lastVersion"].as_u64()).unwrap();
        for listener in &mut listeners {
            listener.hear(version).await;
            look_around(&server, listener.name, version).await;
            if status == 200 {
                assert_eq!(
                    listener.seen[&version],
                    visible(&document["state"], listener.name),
                    "seed {seed}, {version}"
                );
                if document["state"]["n"].is_number() {
                    stumble(&server, listener.name, n).await;
                }
            }
        }
        if status != 200 {
            assert_eq!(server.put(GAME, &dealt(n)).await.0, 201);
            version += 1;
        }
    }
    for listener in &mut listeners {
        listener.hear(version).await;
    }
    for _ in 0..2 {
        compare_past(&server, &listeners, version).await;
        server.kill();
        server.start_again();
    }
}

/// Time travel and history show a player at each version what the stream had shown.
async fn compare_past(server: &Process, listeners: &[Listener], newest: u64) {
    for version in 1..=newest {
        let path = format!("{GAME}?version={version}");
        let (status, of_host) = server.get(&path).await;
        for listener in listeners {
            let (same, document) = ask(listener.name, server.request("GET", &path)).await;
            assert_eq!(same, status);
            assert_eq!(document["state"], listener.seen[&version]);
            assert_eq!(document["state"], visible(&of_host["state"], listener.name));
            assert_eq!(document["hash"], of_host["hash"], "everybody verifies against the same chain");
        }
    }
    for listener in listeners {
        let (_, page) = ask(listener.name, server.request("GET", &format!("{GAME}/events?limit=500"))).await;
        let mut replica = Replica::default();
        for event in page["items"].as_array().unwrap() {
            replica.change(&event.to_string());
            assert_eq!(replica.documents["games/g1"].state, listener.seen[&replica.documents["games/g1"].version]);
        }
        assert_eq!(replica.documents["games/g1"].version, newest);
    }
}

/// Every way for a player to reach what is hidden.
fn reaching(server: &Process) -> Vec<RequestBuilder> {
    let mut requests = vec![server.request("POST", &format!("{GAME}/rollback")).json(&json!({ "toVersion": 1 }))];
    for sent in [
        json!({ "hidden": {} }),
        json!({ "hidden": null }),
        json!({ "private": null }),
        json!({ "private": { "bob": null } }),
        json!({ "private": { "alice": 1, "bob": 1 } }),
    ] {
        requests.push(merge(server, &sent));
        requests.push(server.request("PUT", GAME).json(&json!({ "state": sent })));
        requests.push(server.request("POST", "/api/v1/games").json(&json!({ "id": "g1", "state": sent })));
        requests.push(server.request("POST", &format!("{GAME}/actions")).json(&json!({ "type": "x", "patch": sent })));
    }
    for place in ["", "/hidden", "/hidden/deck/0", "/private", "/private/bob", "/private/bob/cards/0"] {
        for op in [
            json!({ "op": "add", "path": place, "value": 1 }),
            json!({ "op": "remove", "path": place }),
            json!({ "op": "replace", "path": place, "value": 1 }),
            json!({ "op": "test", "path": place, "value": 1 }),
            json!({ "op": "copy", "from": place, "path": "/n" }),
            json!({ "op": "move", "from": place, "path": "/n" }),
            json!({ "op": "copy", "from": "/n", "path": place }),
            json!({ "op": "move", "from": "/n", "path": place }),
        ] {
            requests.push(json_patch(server, &json!([op])));
            let operation = json!({ "op": "patch", "collection": "games", "id": "g1", "patch": [op] });
            requests.push(server.request("POST", "/api/v1/batch").json(&json!({ "operations": [operation] })));
        }
    }
    requests
}

#[tokio::test]
async fn a_write_that_reaches_a_secret_is_refused_alike_whatever_stands_there() {
    let server = Process::start(&[]);
    let mut answers: Vec<Vec<String>> = Vec::new();
    // With secrets; without any; deleted.
    for (round, state) in
        [dealt(1), json!({ "n": 1, "private": { "bob": secret("bob", 2) } }), json!({})].iter().enumerate()
    {
        assert!(server.put(GAME, state).await.0 < 300);
        if round == 2 {
            assert_eq!(server.request("DELETE", GAME).send().await.unwrap().status(), 200);
        }
        let mut told = Vec::new();
        for request in reaching(&server) {
            let mut requests = vec![request.try_clone().unwrap()];
            // A batch carries its conditions in the body.
            if !request.try_clone().unwrap().build().unwrap().url().path().ends_with("/batch") {
                requests.push(request.header("if-match", "\"9-aaaaaaaaaaaa\""));
            }
            for request in requests {
                let (status, mut problem) = ask("alice", request).await;
                assert_eq!((status, &problem["type"]), (403, &json!("/problems/forbidden")), "{problem}");
                problem.as_object_mut().unwrap().remove("requestId");
                told.push(problem.to_string());
            }
        }
        answers.push(told);
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0], answers[2]);
    assert_eq!(server.get(GAME).await.1["lastVersion"], 4, "nothing of it changed anything");
}

#[tokio::test]
async fn nothing_that_a_request_shows_gives_the_hosts_view_but_a_session_of_the_host() {
    let server = Process::start(&[]);
    assert_eq!(server.put(GAME, &dealt(1)).await.0, 201);
    let stream = format!("{GAME}/events?lastEventId=x");
    let paths = [GAME, "/api/v1/games?include=state", "/api/v1/games/g1/events", "/api/v1/games/g1?version=1"];
    let unknown = format!("rejoin_session_{}", "A".repeat(43));
    for path in paths {
        assert!(server.get(path).await.1.to_string().contains("SECRET-OF-host"), "to show nothing is the host: {path}");
        for value in ["host", "owner", "*", "", " ", "@owner", "null", "0", "a b", "rejoin_session_", unknown.as_str()]
        {
            for (name, shown) in [
                ("authorization", format!("Bearer {value}")),
                ("authorization", value.to_owned()),
                ("cookie", format!("rejoin_session={value}")),
                ("cookie", format!("other=1; rejoin_session={value}")),
            ] {
                for (path, accept) in [(path, "application/json"), (stream.as_str(), "text/event-stream")] {
                    let request = server.request("GET", path).header("accept", accept).header(name, &shown);
                    let answer = request.send().await.unwrap();
                    let status = answer.status().as_u16();
                    assert!(status == 400 || status == 401, "{path} {name}: {shown}: {status}");
                    assert_silent("nobody", &answer.text().await.unwrap());
                }
            }
        }
        // Users are called as they like; none of them is the host for it.
        for user in ["owners", "Hosts", "null", "none", "0"] {
            let (status, _) = ask(user, server.request("GET", path)).await;
            assert_eq!(status, 200, "{user}");
        }
    }
}

#[tokio::test]
async fn a_document_is_seen_whole_by_its_creator_or_by_whom_the_creator_names() {
    let server = Process::start(&[]);
    let state = json!({ "hidden": "THE-DECK", "private": { "carol": "HER-CARDS" } });
    let made = json!({ "id": "own", "state": state });
    assert_eq!(server.post_as("bob", "/api/v1/games", &made).await.0, 201);
    let named = json!({ "id": "named", "state": state, "host": "bob" });
    assert_eq!(server.post_as("alice", "/api/v1/games", &named).await.0, 201);
    for id in ["own", "named"] {
        for path in [format!("/api/v1/games/{id}"), format!("/api/v1/games/{id}/events")] {
            let seen_by = |viewer: &'static str| server.get_as(viewer, &path);
            assert!(seen_by("bob").await.1.to_string().contains("THE-DECK"), "{path}");
            let carol = seen_by("carol").await.1.to_string();
            assert!(carol.contains("HER-CARDS") && !carol.contains("THE-DECK"), "{path}: {carol}");
            let alice = seen_by("alice").await.1.to_string();
            assert!(!alice.contains("HER-CARDS") && !alice.contains("THE-DECK"), "{path}: {alice}");
        }
    }
}
