//! What people meet first: the page at `/`, its icon, and answers in a terminal.

use std::process::Command;

use rejoin::{Action, Actor, Config, Rejection, Rules, Server};
use serde_json::{Value, json};

use crate::support::{AS, Process, send};

/// The commands of the page, each on one line, as a shell gets them.
fn commands(page: &str) -> Vec<String> {
    let plain = page.split("<pre><code>").nth(1).unwrap().split("</code></pre>").next().unwrap();
    let plain = plain.replace("&quot;", "\"").replace("&#39;", "'").replace("&lt;", "<").replace("&gt;", ">");
    let plain = plain.replace("&amp;", "&").replace("\\\n", " ");
    plain.lines().filter(|line| line.contains("curl")).map(str::to_owned).collect()
}

#[tokio::test]
async fn the_front_page_names_the_address_that_it_was_asked_at() {
    let server = Process::start(&[]);
    let port = server.address().rsplit_once(':').unwrap().1.to_owned();
    for host in [server.address().to_owned(), format!("localhost:{port}"), format!("[::1]:{port}")] {
        let page = send(server.request("GET", "/").header("host", &host)).await.expect(200).text;
        assert!(page.contains(&format!("http://{host}/api/v1/")), "{page}");
        assert!(!page.contains(":7766"), "{page}");
    }
}

#[tokio::test]
async fn the_commands_of_the_front_page_do_what_they_say() {
    let server = Process::start(&[]);
    let page = server.ask("GET", "/", &[]).await.expect(200).text;
    let all = commands(&page);
    assert!(all.len() >= 3, "{page}");
    let run = |command: &str| {
        let output =
            Command::new("sh").args(["-c", &format!("{command} --max-time 5 -s -S -w '%{{http_code}}'")]).output();
        let output = output.unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    for command in all.iter().filter(|command| !command.contains("curl -N")) {
        let said = run(command);
        assert!(said.ends_with("200") || said.ends_with("201"), "{command}: {said}");
    }
    let stream = all.iter().find(|command| command.contains("curl -N")).unwrap();
    assert!(run(&stream.replace("curl -N", "curl -N -m 1")).contains("event: snapshot"));
}

/// Rules that take nothing that is not theirs.
struct Strict;

impl Rules for Strict {
    fn create(&self, state: Value, _: &Actor) -> Result<Value, Rejection> {
        if state == json!({ "word": "please" }) { Ok(state) } else { Err(Rejection::new("say the word")) }
    }

    fn apply(&self, state: &Value, _: &Action<'_>, _: &Actor) -> Result<Value, Rejection> {
        Ok(state.clone())
    }
}

#[tokio::test]
async fn the_commands_of_the_front_page_work_on_a_server_with_rules() {
    let directory = tempfile::tempdir().unwrap();
    let listen = "127.0.0.1:0".parse().unwrap();
    let config = Config { listen, data_dir: directory.path().to_owned(), ..Config::default() };
    let server = Server::builder().rules("games", Strict).rules("notes", Strict).config(config).start().await.unwrap();
    let page = reqwest::get(format!("http://{}/", server.local_addr())).await.unwrap().text().await.unwrap();
    let create = commands(&page).into_iter().find(|command| command.contains("-X POST")).unwrap();
    let body = create.split("-d '").nth(1).unwrap().split('\'').next().unwrap().to_owned();
    let url = create.split_whitespace().find(|word| word.starts_with("http://")).unwrap().to_owned();
    let made = reqwest::Client::new().post(&url).header("content-type", "application/json").body(body).send().await;
    let made = made.unwrap();
    assert_eq!(made.status(), 201, "{create}");
    server.stop().await;
}

#[tokio::test]
async fn the_front_page_tells_administrators_what_there_is_and_who_is_connected() {
    let server = Process::start(&[]);
    let page = server.ask("GET", "/_/", &[]).await.expect(200).text;
    assert!(page.contains("no documents yet") && page.contains("Nobody follows"), "{page}");
    for (path, n) in
        [("/api/v1/games/g1", 1), ("/api/v1/games/g2", 2), ("/api/v1/games/g3", 3), ("/api/v1/notes/n1", 4)]
    {
        assert_eq!(server.put(path, &json!({ "n": n })).await.0, 201);
    }
    server.ask("DELETE", "/api/v1/games/g2", &[]).await.expect(200);
    server.ask("DELETE", "/api/v1/notes/n1", &[]).await.expect(200);
    let access = json!({ "read": "everyone" });
    server.tell("PUT", "/api/v1/games/g1/access", &[], access).await;
    let following = server.request("GET", "/api/v1/games/g1/events").header("accept", "text/event-stream");
    let mut following = following.send().await.unwrap();
    following.chunk().await.unwrap().unwrap();
    let subscribers = server.ask("GET", "/api/v1/admin/subscribers", &[]).await.expect(200).body;
    let owner = json!({ "items": [{ "viewer": "owner", "streams": 1 }], "viewers": 1, "streams": 1 });
    assert_eq!(subscribers, owner);
    server.ask("GET", "/api/v1/admin/subscribers", &[(AS, "bob")]).await.problem(403, "forbidden");
    for path in ["/", "/_/"] {
        let reply = server.ask("GET", path, &[]).await.expect(200);
        assert!(reply.text.contains("<a href=\"/api/v1/games\">games</a></td><td>2</td>"), "{}", reply.text);
        assert!(!reply.text.contains("/api/v1/notes\""), "it is there while a document of it is: {}", reply.text);
        assert!(reply.text.contains("<li>the owner of this server: 1 stream</li>"), "{}", reply.text);
        assert_eq!(reply.header("cache-control"), "no-store");
        // Others are told what this is, and nothing of what there is.
        let other = server.ask("GET", path, &[(AS, "bob")]).await.expect(200);
        assert!(!other.text.contains("Collections") && !other.text.contains("/api/v1/notes\""), "{}", other.text);
    }
}

#[tokio::test]
async fn the_description_can_be_read_by_people() {
    let server = Process::start(&[]);
    let text = server.ask("GET", "/openapi.json", &[]).await.expect(200).text;
    assert!(text.starts_with("{\n  \"openapi\": \"3.1.0\",\n"), "{}", &text[..60]);
}

#[tokio::test]
async fn there_is_an_icon() {
    let server = Process::start(&[]);
    let icon = server.ask("GET", "/favicon.ico", &[]).await.expect(200);
    assert!(icon.header("content-type").starts_with("image/"), "{icon:?}");
    let page = server.ask("GET", "/", &[]).await.expect(200);
    let link = page.text.split("rel=\"icon\"").nth(1).unwrap().split("href=\"").nth(1).unwrap();
    let linked = server.ask("GET", link.split('"').next().unwrap(), &[]).await.expect(200);
    assert_eq!(linked.header("content-type"), "image/svg+xml");
    assert!(page.header("content-security-policy").contains("img-src 'self'"), "{page:?}");
}

#[tokio::test]
async fn answers_end_with_a_new_line() {
    let server = Process::start(&[]);
    server.put("/api/v1/games/g1", &json!({ "n": 1 })).await;
    for path in [
        "/healthz",
        "/readyz",
        "/api/v1/me",
        "/api/v1/flags",
        "/api/v1/games",
        "/api/v1/games/g1",
        "/api/v1/games/g1/events",
        "/api/v1/games/g1/seats",
        "/api/v1/games/none",
        "/api/v1/sessions",
        "/openapi.json",
        "/nowhere",
        "/problems",
        "/problems/gone",
    ] {
        let reply = server.ask("GET", path, &[("accept", "application/json")]).await;
        assert!(reply.text.ends_with("}\n") || reply.text.ends_with("]\n"), "{path}: {:?}", reply.text);
        let length = reply.headers.get("content-length").map(|value| value.to_str().unwrap().parse::<usize>().unwrap());
        assert!(length.is_none_or(|length| length == reply.text.len()), "{path}: {length:?}");
        let head = server.ask("HEAD", path, &[("accept", "application/json")]).await;
        assert_eq!((head.status, head.text.as_str()), (reply.status, ""), "{path}");
    }
    for path in ["/", "/docs/", "/docs/operations", "/problems", "/problems/gone"] {
        let reply = server.ask("GET", path, &[("accept", "text/html")]).await.expect(200);
        assert!(reply.header("content-type").starts_with("text/html"), "{reply:?}");
        assert!(reply.text.ends_with("</html>\n"), "{path}: {:?}", reply.text);
    }
    let key = [("idempotency-key", "k1"), ("content-type", "application/merge-patch+json")];
    let first = server.tell("PATCH", "/api/v1/games/g1", &key, json!({ "n": 2 })).await.expect(200);
    let again = server.tell("PATCH", "/api/v1/games/g1", &key, json!({ "n": 2 })).await.expect(200);
    assert!(first.text.ends_with("}\n"), "{:?}", first.text);
    assert_eq!(first.text, again.text);
    let minimal = [("prefer", "return=minimal")];
    let empty = server.tell("PUT", "/api/v1/games/g1", &minimal, json!({ "state": {} })).await.expect(204);
    assert_eq!(empty.text, "");
    let tag = server.ask("GET", "/api/v1/games/g1", &[]).await.header("etag").to_owned();
    assert_eq!(server.ask("GET", "/api/v1/games/g1", &[("if-none-match", &tag)]).await.expect(304).text, "");
}
