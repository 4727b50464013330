//! Sessions: opening, showing, listing and ending them, and who one is with one.

mod cookies;
mod ends;
mod members;
mod shown;
mod slow_bodies;

use serde_json::{Value, json};

use crate::support::{AS, Process, Reply};

const SESSIONS: &str = "/api/v1/sessions";
const ME: &str = "/api/v1/me";

/// A session and its token.
struct Opened {
    id: String,
    token: String,
    /// `Bearer` and the token.
    bearer: String,
    /// The cookie that shows it.
    cookie: String,
}

impl Opened {
    async fn of(server: &Process, reply: &Reply) -> Self {
        let member = |name: &str| reply.body[name].as_str().unwrap().to_owned();
        let (id, token) = (member("id"), member("token"));
        let cookie = format!("{}={token}", server.cookie_name().await);
        Self { bearer: format!("Bearer {token}"), id, token, cookie }
    }

    fn bearer(&self) -> [(&str, &str); 1] {
        [("authorization", &self.bearer)]
    }

    fn cookie(&self) -> [(&str, &str); 1] {
        [("cookie", &self.cookie)]
    }
}

/// Opens one, shown `headers`.
async fn open(server: &Process, headers: &[(&str, &str)], body: Value) -> Opened {
    Opened::of(server, &server.tell("POST", SESSIONS, headers, body).await.expect(201)).await
}

/// Opens one for a user, as the owner.
async fn open_for(server: &Process, user: &str) -> Opened {
    open(server, &[], json!({ "user": user })).await
}

/// The ids that a list has, newest first.
fn ids(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|session| session["id"].as_str().unwrap()).collect()
}

async fn mine(server: &Process, session: &Opened) -> Value {
    server.ask("GET", SESSIONS, &session.bearer()).await.expect(200).body
}

#[tokio::test]
async fn a_session_is_of_a_device_and_says_so() {
    let server = Process::start(&[]);
    let device = json!({ "name": "Ann's phone", "kind": "phone", "os": "Hurd 0.9" });
    let by = open_for(&server, "ann").await;
    let headers = [("user-agent", "Tester/1 (a\tb)"), by.bearer()[0]];
    let reply = server.tell("POST", SESSIONS, &headers, json!({ "device": device })).await.expect(201);
    let opened = Opened::of(&server, &reply).await;
    server.ask("DELETE", &format!("{SESSIONS}/{}", by.id), &opened.bearer()).await.expect(204);
    assert!(opened.token.starts_with("rejoin_session_") && opened.token.len() == 58);
    let name = server.cookie_name().await;
    assert!(name.starts_with("rejoin_session_") && name.len() > 20, "it tells servers apart: {name}");
    assert_eq!(reply.header("set-cookie").split(';').next().unwrap(), format!("{name}={}", opened.token));
    let attributes: Vec<&str> = reply.header("set-cookie").split("; ").skip(1).collect();
    assert_eq!(attributes, ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=2592000"]);
    assert_eq!(reply.header("cache-control"), "no-store");
    let session = |current: bool| {
        let mut session = reply.body.clone();
        session.as_object_mut().unwrap().remove("token");
        session["current"] = current.into();
        session
    };
    let expect = json!({
        "id": opened.id, "user": "ann", "device": device, "userAgent": "Tester/1 (a b)", "address": "127.0.0.1",
        "currentPhase": null, "documents": null, "current": false,
        "createdAt": session(false)["createdAt"], "lastSeenAt": session(false)["createdAt"],
        "expiresAt": session(false)["expiresAt"],
    });
    assert_eq!(session(false), expect);

    // Another device of hers: the list has both, and marks the one that is shown.
    let other = open(&server, &opened.bearer(), json!({})).await;
    let listed = mine(&server, &opened).await;
    assert_eq!(ids(&listed), [other.id.as_str(), &opened.id]);
    let current: Vec<&Value> = listed["items"].as_array().unwrap().iter().map(|session| &session["current"]).collect();
    assert_eq!(current, [false, true]);
    assert_eq!(listed["items"][0]["device"], json!({ "name": null, "kind": null, "os": null }));
    assert!(!listed.to_string().contains("rejoin_session_"), "no list has a token");
    open_for(&server, "bob").await;
    assert_eq!(ids(&mine(&server, &other).await).len(), 2, "bob's is not hers");
}

#[tokio::test]
async fn what_one_is_at_is_said_and_kept() {
    let mut server = Process::start(&[]);
    let ann = open(&server, &[], json!({ "user": "ann", "device": { "name": "phone", "os": "Hurd" } })).await;
    let path = &format!("{SESSIONS}/current");
    let say = async |server: &Process, body: Value| server.tell("PATCH", path, &ann.bearer(), body).await;
    let said = say(&server, json!({ "currentPhase": "combat" })).await.expect(200).body;
    assert_eq!(
        (&said["currentPhase"], &said["device"]["name"], &said["current"]),
        (&json!("combat"), &json!("phone"), &json!(true))
    );
    let said = say(&server, json!({ "deviceName": "tablet" })).await.expect(200).body;
    assert_eq!(
        (&said["currentPhase"], &said["device"]),
        (&json!("combat"), &json!({ "name": "tablet", "kind": null, "os": "Hurd" }))
    );
    for bad in [
        json!({ "currentPhase": "" }),
        json!({ "currentPhase": "a\nb" }),
        json!({ "currentPhase": "x".repeat(101) }),
        json!({ "currentPhase": 1 }),
        json!({ "deviceName": " " }),
        json!({ "phase": "combat" }),
        json!([]),
    ] {
        say(&server, bad).await.problem(400, "invalid-request");
    }
    server.tell("PATCH", path, &[], json!({ "currentPhase": "x" })).await.problem(404, "not-found");
    server.kill();
    server.start_again();
    let listed = mine(&server, &ann).await;
    assert_eq!(
        (&listed["items"][0]["currentPhase"], &listed["items"][0]["device"]["name"]),
        (&json!("combat"), &json!("tablet"))
    );
    let said = say(&server, json!({ "currentPhase": null, "deviceName": null })).await.expect(200).body;
    assert_eq!((&said["currentPhase"], &said["device"]["name"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn nonsense_is_refused() {
    let server = Process::start(&[]);
    for (body, field) in [
        (json!({ "device": {} }), "device.name"),
        (json!({ "device": { "name": "" } }), "device.name"),
        (json!({ "device": { "name": "x".repeat(101) } }), "device.name"),
        (json!({ "device": { "name": "x", "kind": "\u{1b}" } }), "device.kind"),
        (json!({ "device": { "name": "x", "serial": 1 } }), "device.serial"),
        (json!({ "device": "phone" }), "device"),
        (json!({ "user": "a b" }), "user"),
        (json!({ "user": 1 }), "user"),
        (json!({ "token": "mine" }), "token"),
    ] {
        let problem = server.tell("POST", SESSIONS, &[], &body).await.problem(400, "invalid-request");
        assert_eq!(problem["errors"][0]["field"], field, "{body}: {problem}");
    }
    server.tell("POST", SESSIONS, &[], "[]").await.problem(400, "invalid-request");
    server.tell("POST", SESSIONS, &[("content-type", "text/plain")], "{}").await.problem(415, "unsupported-media-type");
    for path in [format!("{SESSIONS}?limit=0"), format!("{SESSIONS}?cursor=-"), format!("{SESSIONS}?user=ann")] {
        server.ask("GET", &path, &[]).await.problem(400, "invalid-request");
    }
    assert_eq!(ids(&server.get("/api/v1/admin/sessions").await.1), [""; 0]);
    // To say nothing is to say nothing of the device.
    server.ask("POST", SESSIONS, &[]).await.expect(201);
}

#[tokio::test]
async fn a_session_for_another_has_their_rights_and_not_the_openers() {
    let server = Process::start(&[]);
    let state = json!({ "hidden": { "deck": "ace" }, "private": { "ann": "king", "bob": "queen" } });
    assert_eq!(server.post("/api/v1/games", &json!({ "id": "g1", "state": state })).await.0, 201);
    let ann = open_for(&server, "ann").await;
    for shown in [ann.bearer(), ann.cookie()] {
        let seen = server.ask("GET", "/api/v1/games/g1", &shown).await.expect(200);
        assert_eq!(seen.body["state"], json!({ "private": { "ann": "king" } }));
        let me = server.ask("GET", ME, &shown).await.expect(200).body;
        assert_eq!((&me["user"], &me["viewer"], &me["administrator"]), (&json!("ann"), &json!("user"), &json!(false)));
        for (method, path) in [
            ("GET", "/api/v1/admin/sessions".to_owned()),
            ("DELETE", format!("/api/v1/admin/sessions/{}", ann.id)),
            ("GET", "/api/v1/admin/jobs".to_owned()),
            ("POST", "/api/v1/admin/jobs/sessions-cleanup/run".to_owned()),
        ] {
            server.ask(method, &path, &shown).await.problem(403, "forbidden");
        }
        server.tell("POST", SESSIONS, &shown, json!({ "user": "bob" })).await.problem(403, "forbidden");
        server.tell("POST", SESSIONS, &shown, json!({ "user": "ann" })).await.problem(403, "forbidden");
    }
    // One of her own, from within: hers, and no more than that.
    let second = open(&server, &ann.cookie(), json!({})).await;
    let me = server.ask("GET", ME, &second.bearer()).await.expect(200).body;
    assert_eq!((&me["user"], &me["administrator"]), (&json!("ann"), &json!(false)));
    // What she does is done by her, on a seat of hers.
    let seat = server.tell("POST", "/api/v1/games/g1/seats", &second.bearer(), json!({ "playerId": "ann" })).await;
    assert_eq!(seat.expect(201).body["playerId"], "ann");
    server
        .tell("POST", "/api/v1/games/g1/seats", &second.bearer(), json!({ "playerId": "bob" }))
        .await
        .problem(403, "forbidden");
    let action = json!({ "type": "wave" });
    let event = server.tell("POST", "/api/v1/games/g1/actions", &second.bearer(), action).await.expect(200).body;
    assert_eq!(event["actor"], "ann");
    server.ask("GET", "/api/game/g1/connection-token?playerId=ann", &ann.bearer()).await.expect(200);
}

#[tokio::test]
async fn the_server_says_who_it_takes_one_for_and_why() {
    let server = Process::start(&[]);
    let me = server.get(ME).await.1;
    let expect = json!({
        "user": "owner", "name": null, "viewer": "owner", "administrator": true, "session": null,
        "address": "127.0.0.1", "member": null, "why": me["why"],
    });
    assert_eq!(me, expect);
    assert!(me["why"].as_str().unwrap().contains("the server's own machine"), "{me}");
    // The owner's own session is the owner's.
    let own = open(&server, &[], json!({ "device": { "name": "desk" } })).await;
    let me = server.ask("GET", ME, &own.cookie()).await.expect(200).body;
    assert_eq!(
        (&me["viewer"], &me["administrator"], &me["session"]["id"]),
        (&json!("owner"), &json!(true), &json!(own.id))
    );
    assert_eq!((&me["session"]["user"], &me["session"]["device"]["name"]), (&json!("owner"), &json!("desk")));
    assert!(me["why"].as_str().unwrap().contains(&own.id) && !me.to_string().contains(&own.token), "{me}");
    open(&server, &own.bearer(), json!({ "user": "ann" })).await;
    let (_, me) = server.get_as("ann", ME).await;
    assert!(me["why"].as_str().unwrap().contains("which is ann's"), "{me}");
}

#[tokio::test]
async fn administrators_see_and_end_anyones_and_others_only_their_own() {
    let server = Process::start(&[]);
    let (ann, bob) = (open_for(&server, "ann").await, open_for(&server, "bob").await);
    let own = open(&server, &[], json!({})).await;
    let all = server.get("/api/v1/admin/sessions").await.1;
    assert_eq!(ids(&all), [own.id.as_str(), &bob.id, &ann.id]);
    let of_bob = server.get("/api/v1/admin/sessions?user=bob").await.1;
    assert_eq!(ids(&of_bob), [bob.id.as_str()]);
    assert_eq!(ids(&server.get(SESSIONS).await.1), [own.id.as_str()]);
    assert_eq!(ids(&server.get("/api/v1/admin/sessions?user=owner").await.1), [own.id.as_str()]);
    // What is somebody else's is as if it were not there.
    let none = server.ask("DELETE", &format!("{SESSIONS}/none"), &ann.bearer()).await.problem(404, "not-found");
    for id in [&bob.id, &own.id] {
        let other = server.ask("DELETE", &format!("{SESSIONS}/{id}"), &ann.bearer()).await.problem(404, "not-found");
        assert_eq!(other["detail"], none["detail"]);
    }
    server.ask("DELETE", &format!("{SESSIONS}/{}", ann.id), &[]).await.problem(404, "not-found");
    let admin = format!("/api/v1/admin/sessions/{}", bob.id);
    assert_eq!(server.ask("DELETE", &admin, &[]).await.status, 204);
    server.ask("DELETE", &admin, &[]).await.problem(404, "not-found");
    server.ask("GET", ME, &bob.bearer()).await.problem(401, "unauthenticated");
    server.ask("GET", ME, &ann.bearer()).await.expect(200);
}

#[tokio::test]
async fn long_lists_come_in_pages_and_one_user_has_a_bounded_number() {
    let server = Process::start(&[]);
    let mut opened = Vec::new();
    for _ in 0..103 {
        opened.push(open_for(&server, "ann").await);
    }
    let newest = opened.last().unwrap();
    let (mut seen, mut path) = (Vec::new(), format!("{SESSIONS}?limit=30"));
    loop {
        let page = server.ask("GET", &path, &newest.bearer()).await.expect(200).body;
        seen.extend(ids(&page).into_iter().map(str::to_owned));
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        path = format!("{SESSIONS}?limit=30&cursor={cursor}");
    }
    let mut expect: Vec<String> = opened[3..].iter().map(|session| session.id.clone()).collect();
    // Ids are ordered by time; of the same millisecond neither is the newer.
    expect.sort_unstable_by(|one, other| other.cmp(one));
    assert_eq!(seen, expect);
    server.ask("GET", ME, &opened[2].bearer()).await.problem(401, "unauthenticated");
    server.ask("GET", ME, &opened[3].bearer()).await.expect(200);
}

#[tokio::test]
async fn a_header_of_old_names_nobody() {
    let server = Process::start(&[]);
    let name = ["rejoin", "viewer"].join("-");
    let me = server.ask("GET", ME, &[(&name, "ann")]).await.expect(200).body;
    assert_eq!(me["viewer"], "owner");
    let me = server.ask("GET", ME, &[(AS, "bob"), (&name, "ann")]).await.expect(200).body;
    assert_eq!(me["user"], "bob");
}
