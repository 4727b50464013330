//! Invitations: links by which people come in.

mod ends;
mod names;
mod races;
mod reach;

use serde_json::{Value, json};

use crate::support::call::with;
use crate::support::{AS, Process, Reply, send};

const INVITATIONS: &str = "/api/v1/invitations";
const LOOK: &str = "/api/v1/invitations/look";
const EXCHANGE: &str = "/api/v1/invitations/exchange";
const ME: &str = "/api/v1/me";
const SEATS: &str = "/api/v1/games/g1/seats";

/// An invitation that was made.
struct Invitation {
    id: String,
    token: String,
    url: String,
}

impl Invitation {
    fn of(reply: &Reply) -> Self {
        let text = |name: &str| reply.body[name].as_str().unwrap().to_owned();
        let (id, url) = (text("id"), text("url"));
        let token = url.split_once('#').unwrap().1.to_owned();
        Self { id, token, url }
    }

    async fn look(&self, server: &Process) -> Reply {
        server.tell("POST", LOOK, &[], json!({ "token": self.token })).await
    }

    /// Comes in by it as a new browser does.
    async fn exchange(&self, server: &Process, name: &str) -> Reply {
        server.tell("POST", EXCHANGE, &[], json!({ "token": self.token, "name": name })).await
    }

    async fn join(&self, server: &Process, name: &str) -> Guest {
        Guest::of(&self.exchange(server, name).await.expect(201))
    }
}

/// Somebody who came in: a browser with its cookie.
#[derive(Clone)]
struct Guest {
    user: String,
    session: String,
    cookie: String,
}

impl Guest {
    fn of(reply: &Reply) -> Self {
        let text = |name: &str| reply.body[name].as_str().unwrap().to_owned();
        let cookie = reply.header("set-cookie").split(';').next().unwrap().to_owned();
        Self { user: text("user"), session: text("session"), cookie }
    }

    fn shown(&self) -> [(&str, &str); 1] {
        [("cookie", &self.cookie)]
    }

    async fn get(&self, server: &Process, path: &str) -> Reply {
        server.ask("GET", path, &self.shown()).await
    }

    async fn tell(&self, server: &Process, method: &str, path: &str, body: Value) -> Reply {
        server.tell(method, path, &self.shown(), body).await
    }
}

async fn invite(server: &Process, body: Value) -> Invitation {
    Invitation::of(&server.tell("POST", INVITATIONS, &[], body).await.expect(201))
}

/// To the game g1, whoever comes being asked for a name.
async fn invite_to_game(server: &Process, uses: u32) -> Invitation {
    invite(server, json!({ "name": "ask", "documents": ["games/g1"], "seat": "any", "uses": uses })).await
}

async fn with_games() -> Process {
    with_flags(&[]).await
}

async fn with_flags(flags: &[&str]) -> Process {
    let server = Process::start(flags);
    games(&server).await;
    server
}

async fn games(server: &Process) {
    for id in ["g1", "g2"] {
        let state = json!({ "title": format!("Table {id}"), "round": 1, "hidden": { "deck": [id] } });
        assert_eq!(server.post("/api/v1/games", &json!({ "id": id, "state": state })).await.0, 201);
    }
}

async fn used(server: &Process) -> u64 {
    server.get(INVITATIONS).await.1["items"][0]["used"].as_u64().unwrap()
}

async fn seated(server: &Process) -> Vec<String> {
    let seats = server.get(SEATS).await.1;
    seats["items"].as_array().unwrap().iter().map(|seat| seat["playerId"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn who_opens_a_link_comes_in_with_a_name_and_a_seat() {
    let mut server = with_games().await;
    let body = json!({
        "name": "ask", "documents": ["games/g1"], "seat": "any", "expiresInSeconds": 3600, "to": "/table.html?g=1",
    });
    let made = server.tell("POST", INVITATIONS, &[], body).await.expect(201);
    assert_eq!(made.header("cache-control"), "no-store");
    let invitation = Invitation::of(&made);
    assert!(invitation.token.starts_with("rejoin_invitation_") && invitation.token.len() == 61, "{}", invitation.token);
    let link = format!("http://{}/join?to=/table.html%3Fg%3D1#{}", server.address(), invitation.token);
    assert_eq!(invitation.url, link);
    let qr = made.body["qr"].as_str().unwrap();
    assert!(qr.contains("<svg ") && qr.contains("</svg>") && !qr.contains(&invitation.token), "{qr}");

    let seen = invitation.look(&server).await.expect(200).body;
    let document = json!({ "collection": "games", "id": "g1", "title": "Table g1" });
    assert_eq!((&seen["invitedBy"], &seen["documents"]), (&json!("the host"), &json!([document])));
    assert_eq!((&seen["name"], &seen["seat"], &seen["usesLeft"]), (&json!("ask"), &json!("any"), &json!(1)));
    assert_eq!((&seen["joined"], &seen["knownAs"], &seen["user"]), (&json!(false), &Value::Null, &Value::Null));
    assert!(!seen.to_string().contains("deck"), "nothing hidden is told");
    assert_eq!(used(&server).await, 0, "looking uses nothing up");

    let joined = invitation.exchange(&server, "  Ann ").await.expect(201);
    let attributes: Vec<&str> = joined.header("set-cookie").split("; ").skip(1).collect();
    assert_eq!(attributes, ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=2592000"]);
    assert_eq!((&joined.body["name"], &joined.body["seat"]), (&json!("Ann"), &json!(0)));
    assert_eq!((&joined.body["documents"], &joined.body["to"]), (&json!(["games/g1"]), &json!("/table.html?g=1")));
    let ann = Guest::of(&joined);
    assert!(ann.user.starts_with("guest-") && !joined.text.contains("rejoin_session"), "{}", joined.text);
    let me = ann.get(&server, ME).await.expect(200).body;
    assert_eq!((&me["user"], &me["name"], &me["administrator"]), (&json!(ann.user), &json!("Ann"), &json!(false)));
    assert_eq!((&me["session"]["id"], &me["session"]["documents"]), (&json!(ann.session), &json!(["games/g1"])));
    assert_eq!(seated(&server).await, [ann.user.as_str()]);
    let state = ann.get(&server, "/api/v1/games/g1").await.expect(200).body;
    assert_eq!((&state["state"]["round"], &state["state"]["hidden"]), (&json!(1), &Value::Null), "as a player");
    ann.tell(&server, "PUT", "/api/v1/games/g1", json!({ "state": { "round": 2 } })).await.expect(200);

    invitation.exchange(&server, "Bob").await.problem(410, "invitation-used");
    invitation.look(&server).await.problem(410, "invitation-used");
    let listed = server.get(INVITATIONS).await.1["items"][0].clone();
    assert_eq!((&listed["state"], &listed["used"], &listed["uses"]), (&json!("used"), &json!(1), &json!(1)));
    assert!(listed.get("url").is_none() && listed.get("qr").is_none(), "{listed}");

    server.kill();
    for file in std::fs::read_dir(server.data_dir()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        let secret = &invitation.token.as_bytes()[18..];
        assert!(!bytes.windows(secret.len()).any(|part| part == secret), "no secret is on disk");
    }
    assert!(!server.log().contains(&invitation.token[18..]), "nor in the log");
    server.start_again();
    let me = ann.get(&server, ME).await.expect(200).body;
    assert_eq!((&me["name"], &me["session"]["documents"]), (&json!("Ann"), &json!(["games/g1"])));
    ann.get(&server, "/api/v1/games/g1").await.expect(200);
    ann.get(&server, "/api/v1/games/g2").await.problem(404, "not-found");
}

#[tokio::test]
async fn administrators_invite_and_a_host_to_what_they_host() {
    let server = with_games().await;
    let state = json!({ "id": "anns", "state": {} });
    server.tell("POST", "/api/v1/games", &[(AS, "ann")], state).await.expect(201);
    let make = async |who: Option<&str>, body: Value| {
        let headers: Vec<(&str, &str)> = who.map(|who| (AS, who)).into_iter().collect();
        server.tell("POST", INVITATIONS, &headers, body).await
    };
    let to = |name: &str| json!({ "name": "ask", "documents": [name] });
    make(Some("ann"), to("games/anns")).await.expect(201);
    make(Some("ann"), to("games/g1")).await.problem(403, "forbidden");
    make(Some("ann"), to("games/none")).await.problem(404, "not-found");
    make(Some("ann"), json!({ "documents": ["games/anns", "games/g1"] })).await.problem(403, "forbidden");
    make(Some("bob"), to("games/anns")).await.problem(403, "forbidden");
    make(Some("ann"), json!({ "user": "bob", "documents": ["games/anns"] })).await.problem(403, "forbidden");
    make(Some("ann"), json!({ "name": "ask" })).await.problem(403, "forbidden");
    make(None, to("games/anns")).await.expect(201);
    make(None, json!({ "user": "bob" })).await.expect(201);
    make(None, json!({})).await.expect(201);
    // What each sees of them.
    let count = async |who: &str, query: &str| {
        let list = server.ask("GET", &format!("{INVITATIONS}{query}"), &[(AS, who)]).await.expect(200).body;
        list["items"].as_array().unwrap().len()
    };
    assert_eq!((count("ann", "").await, count("ann", "?document=games/anns").await, count("bob", "").await), (1, 2, 0));
    server.ask("GET", &format!("{INVITATIONS}?document=games/anns"), &[(AS, "bob")]).await.problem(403, "forbidden");
    assert_eq!(server.get(INVITATIONS).await.1["items"].as_array().unwrap().len(), 4);
    let page = server.get(&format!("{INVITATIONS}?limit=3")).await.1;
    let cursor = page["nextCursor"].as_str().unwrap();
    let rest = server.get(&format!("{INVITATIONS}?limit=3&cursor={cursor}")).await.1;
    assert_eq!(rest["items"].as_array().unwrap().len(), 1);
    // And ends.
    let others = server.get(&format!("{INVITATIONS}?document=games/anns")).await.1;
    let by_owner = others["items"].as_array().unwrap().iter().find(|it| it["createdBy"] == "@owner").unwrap();
    let path = format!("{INVITATIONS}/{}", by_owner["id"].as_str().unwrap());
    server.ask("DELETE", &path, &[(AS, "bob")]).await.problem(404, "not-found");
    server.ask("DELETE", &path, &[(AS, "ann")]).await.expect(204);
}

#[tokio::test]
async fn what_is_asked_for_is_checked_as_a_whole() {
    let server = with_games().await;
    let fields = async |body: Value| {
        let problem = server.tell("POST", INVITATIONS, &[], body).await.problem(400, "invalid-request");
        let errors = problem["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let wrong = json!({ "uses": 0, "expiresInSeconds": 99999999, "documents": ["x"], "to": "//evil" });
    assert_eq!(fields(wrong).await, ["uses", "expiresInSeconds", "documents", "to"]);
    assert_eq!(fields(json!({ "name": "Ann", "seat": true, "uses": 1.5 })).await, ["name", "seat", "uses"]);
    assert_eq!(fields(json!({ "user": "bob", "name": "ask" })).await, ["name"]);
    assert_eq!(fields(json!({ "user": "OWNER" })).await, ["user"]);
    assert_eq!(fields(json!({ "documents": [] })).await, ["documents"]);
    assert_eq!(fields(json!({ "seat": "any" })).await, ["seat"]);
    assert_eq!(fields(json!({ "documents": ["games/g1", "games/g2"], "seat": "any" })).await, ["seat"]);
    assert_eq!(fields(json!({ "documents": ["games/g1"], "seat": 1, "uses": 2 })).await, ["seat"]);
    server.put("/api/v1/notes/n1", &json!({})).await;
    assert_eq!(fields(json!({ "documents": ["notes/n1"], "seat": "any" })).await, ["seat"]);
    for body in [json!([]), json!({ "token": "x" }), json!({ "user": "no id" })] {
        server.tell("POST", INVITATIONS, &[], body).await.problem(400, "invalid-request");
    }
    // Nobody is invited to what they could not use.
    let access = |read: Value, write: Value| json!({ "read": read, "write": write });
    let set = async |access: Value| server.tell("PUT", "/api/v1/games/g1/access", &[], access).await.expect(200);
    set(access(json!(["bob"]), json!(["bob"]))).await;
    assert_eq!(fields(json!({ "documents": ["games/g1"] })).await, ["documents"]);
    invite(&server, json!({ "user": "bob", "documents": ["games/g1"], "seat": 2 })).await;
    set(access(json!("all"), json!("host"))).await;
    invite(&server, json!({ "documents": ["games/g1"] })).await;
    assert_eq!(fields(json!({ "documents": ["games/g1"], "seat": "any" })).await, ["documents"]);
    // Whole numbers are taken by worth.
    invite(&server, json!({ "documents": ["games/g2"], "seat": 1.0, "uses": 1.0, "expiresInSeconds": 60.0 })).await;
}

#[tokio::test]
async fn who_guesses_a_token_or_sends_no_whole_one_learns_nothing() {
    let server = with_games().await;
    let invitation = invite_to_game(&server, 1).await;
    let last = if invitation.token.ends_with('A') { 'E' } else { 'A' };
    let nearly = format!("{}{last}", &invitation.token[..60]);
    let session = invitation.token.replace("invitation", "session");
    for token in ["", "x", &nearly, &session, "rejoin_invitation_", &"A".repeat(5000)] {
        for path in [LOOK, EXCHANGE] {
            let body = if path == LOOK { json!({ "token": token }) } else { json!({ "token": token, "name": "Eve" }) };
            let reply = server.tell("POST", path, &[], body).await;
            assert!(!reply.headers.contains_key("set-cookie"));
            let problem = reply.problem(404, "invitation-unknown");
            assert!(token.len() < 10 || !problem.to_string().contains(token), "what was sent is not repeated");
        }
    }
    for body in [json!({}), json!({ "token": 7 }), json!({ "token": "x", "more": 1 }), json!([])] {
        server.tell("POST", EXCHANGE, &[], body).await.problem(400, "invalid-request");
    }
    let form = [("content-type", "application/x-www-form-urlencoded")];
    server.tell("POST", EXCHANGE, &form, format!("token={}", invitation.token)).await.expect(415);
    let foreign = [("origin", "http://evil.example")];
    let body = json!({ "token": invitation.token, "name": "Eve" });
    server.tell("POST", EXCHANGE, &foreign, body).await.problem(403, "forbidden");
    assert_eq!((used(&server).await, seated(&server).await.len()), (0, 0));
    invitation.join(&server, "Ann").await;
}

#[tokio::test]
async fn a_second_invitation_adds_its_documents_and_another_persons_takes_the_place() {
    let mut server = with_games().await;
    let ann = invite_to_game(&server, 1).await.join(&server, "Ann").await;
    let second = invite(&server, json!({ "documents": ["games/g2"], "uses": 3 })).await;
    let seen = server.tell("POST", LOOK, &ann.shown(), json!({ "token": second.token })).await.expect(200).body;
    assert_eq!((&seen["knownAs"], &seen["joined"]), (&json!("Ann"), &json!(false)));
    // As who they are, by no name or by the same.
    let more = ann.tell(&server, "POST", EXCHANGE, json!({ "token": second.token, "name": "ANN" })).await.expect(200);
    assert!(!more.headers.contains_key("set-cookie"), "the browser has it");
    assert_eq!((&more.body["user"], &more.body["session"]), (&json!(ann.user), &json!(ann.session)));
    ann.get(&server, "/api/v1/games/g1").await.expect(200);
    ann.get(&server, "/api/v1/games/g2").await.expect(200);
    let me = ann.get(&server, ME).await.body;
    assert_eq!(me["session"]["documents"], json!(["games/g1", "games/g2"]));
    // Once more uses nothing up.
    for _ in 0..3 {
        ann.tell(&server, "POST", EXCHANGE, json!({ "token": second.token })).await.expect(200);
    }
    assert_eq!(used(&server).await, 1);
    // By another name somebody else comes in, and their session takes the place in the browser.
    let body = json!({ "token": second.token, "name": "Bob" });
    let bob = Guest::of(&server.tell("POST", EXCHANGE, &ann.shown(), body).await.expect(201));
    assert!(bob.user != ann.user && bob.session != ann.session);
    bob.get(&server, "/api/v1/games/g2").await.expect(200);
    bob.get(&server, "/api/v1/games/g1").await.problem(404, "not-found");
    ann.get(&server, ME).await.expect(200);
    // One that names a user is theirs alone, and extends the session of that user only.
    let named = invite(&server, json!({ "user": "cat", "documents": ["games/g1"], "uses": 2 })).await;
    let seen = named.look(&server).await.expect(200).body;
    assert_eq!((&seen["user"], &seen["name"]), (&json!("cat"), &Value::Null));
    let cat =
        Guest::of(&server.tell("POST", EXCHANGE, &ann.shown(), json!({ "token": named.token })).await.expect(201));
    assert_eq!(cat.user, "cat");
    let named = invite(&server, json!({ "user": "cat", "documents": ["games/g2"] })).await;
    cat.tell(&server, "POST", EXCHANGE, json!({ "token": named.token })).await.expect(200);
    cat.get(&server, "/api/v1/games/g2").await.expect(200);
    // A session that reaches all that its user may needs no more, and one that does not cannot be made one.
    let all = invite(&server, json!({ "user": "cat" })).await;
    let whole = Guest::of(&cat.tell(&server, "POST", EXCHANGE, json!({ "token": all.token })).await.expect(201));
    assert_eq!(whole.get(&server, ME).await.body["session"]["documents"], Value::Null);
    whole.get(&server, "/api/v1/games").await.expect(200);
    cat.get(&server, "/api/v1/games").await.problem(403, "forbidden");
    let named = invite(&server, json!({ "user": "cat", "documents": ["games/g1"] })).await;
    let same = whole.tell(&server, "POST", EXCHANGE, json!({ "token": named.token })).await.expect(200).body;
    assert_eq!(same["session"], json!(whole.session));
    assert_eq!(whole.get(&server, ME).await.body["session"]["documents"], Value::Null);
    server.kill();
    server.start_again();
    assert_eq!(whole.get(&server, ME).await.body["session"]["documents"], Value::Null);
    cat.get(&server, "/api/v1/games").await.problem(403, "forbidden");
}

#[tokio::test]
async fn a_repetition_with_its_key_gives_the_same_session() {
    let server = with_games().await;
    let invitation = invite_to_game(&server, 1).await;
    let body = json!({ "token": invitation.token, "name": "Ann" });
    let key = ("idempotency-key", "0123456789abcdef0123456789");
    let first = server.tell("POST", EXCHANGE, &[key], body.clone()).await.expect(201);
    let again = server.tell("POST", EXCHANGE, &[key], body.clone()).await.expect(201);
    assert_eq!(first.header("set-cookie"), again.header("set-cookie"));
    assert_eq!((&first.body["session"], &first.body["user"]), (&again.body["session"], &again.body["user"]));
    assert_eq!((used(&server).await, seated(&server).await.len()), (1, 1));
    let other = ("idempotency-key", "0123456789abcdef012345678X");
    server.tell("POST", EXCHANGE, &[other], body.clone()).await.problem(410, "invitation-used");
    server.tell("POST", EXCHANGE, &[("idempotency-key", "1")], body.clone()).await.problem(400, "invalid-request");
    let ann = Guest::of(&again);
    ann.get(&server, "/api/v1/games/g1").await.expect(200);
    // Not once it has ended.
    ann.tell(&server, "DELETE", "/api/v1/sessions/current", json!({})).await.expect(204);
    server.tell("POST", EXCHANGE, &[key], body).await.problem(410, "invitation-used");
}

#[tokio::test]
async fn the_link_leads_to_where_the_server_is_known_by() {
    let server = Process::start(&["--allowed-host", "table.example"]);
    // What a proxy passes on is not the owner's by itself.
    let token = json!({ "name": "links", "access": "administrator" });
    let token = server.tell("POST", "/api/v1/service-tokens", &[], token).await.expect(201).body;
    let shown = format!("Bearer {}", token["token"].as_str().unwrap());
    let made = async |headers: &[(&str, &str)]| {
        let request = server.request("POST", INVITATIONS).header("authorization", &shown);
        let request = with(request, headers).await.json(&json!({}));
        Invitation::of(&send(request).await.expect(201)).url
    };
    assert!(made(&[]).await.starts_with(&format!("http://{}/join#", server.address())));
    assert!(made(&[("host", "table.example")]).await.starts_with("http://table.example/join#"));
    let behind_tls = [("host", "table.example"), ("origin", "https://table.example")];
    assert!(made(&behind_tls).await.starts_with("https://table.example/join#"));
}

#[tokio::test]
async fn the_page_is_the_servers_own_and_runs_nothing_else() {
    let server = Process::start(&[]);
    for (path, media_type) in
        [("/join", "text/html"), ("/join/join.js", "text/javascript"), ("/join/join.css", "text/css")]
    {
        let reply = server.ask("GET", path, &[]).await.expect(200);
        assert!(reply.header("content-type").starts_with(media_type), "{path}");
        let policy = reply.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self';") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(reply.header("referrer-policy"), "no-referrer");
        assert!(!reply.text.contains("http://") && !reply.text.contains("https://"), "{path}: of no other server");
        let tag = reply.header("etag").to_owned();
        server.ask("GET", path, &[("if-none-match", &tag)]).await.expect(304);
    }
    server.ask("GET", "/join/other.js", &[]).await.problem(404, "not-found");
    server.ask("GET", "/join/", &[]).await.expect(404);
}
