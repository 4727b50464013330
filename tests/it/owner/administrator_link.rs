//! The way in for an administrator where the machine alone is no proof: a link that is good once.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use serde_json::json;

use super::ME;
use crate::support::process::{command, operate};
use crate::support::{Process, send};

const OFF: &[&str] = &["--loopback-owner", "false"];

/// The link in what a program printed.
fn link_in(text: &str) -> Option<String> {
    text.split_whitespace().find(|word| word.contains("/login?link=")).map(str::to_owned)
}

/// The link that the server printed when it started.
fn printed(server: &Process) -> String {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(link) = link_in(&server.printed()) {
            return link;
        }
        assert!(Instant::now() < end, "{}", server.printed());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Runs `rejoin session` for the data of a server, which may run or not.
fn rejoin_session(server: &Process) -> String {
    let serve = command(&server.data_dir(), server.address(), &OFF.iter().map(ToString::to_string).collect::<Vec<_>>());
    let mut command = Command::new(serve.get_program());
    command.arg("session").args(serve.get_args().skip(1)).stdin(Stdio::null());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    link_in(&text).unwrap_or_else(|| panic!("no link: {text}"))
}

async fn open(link: &str, headers: &[(&str, &str)]) -> Response {
    let client = Client::builder().redirect(Policy::none()).build().unwrap();
    headers.iter().fold(client.get(link), |request, (name, value)| request.header(*name, *value)).send().await.unwrap()
}

/// The cookie that an answer sets.
fn cookie(response: &Response) -> String {
    response.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn the_start_prints_a_link_that_makes_one_administrator_once() {
    let mut server = Process::start(OFF);
    let link = printed(&server);
    assert!(link.starts_with(&server.url), "{link}");
    let opened = open(&link, &[]).await;
    assert_eq!((opened.status().as_u16(), opened.headers()["location"].to_str().unwrap()), (303, "/"));
    let cookie = cookie(&opened);
    let me = server.ask("GET", ME, &[("cookie", &cookie)]).await.expect(200).body;
    assert_eq!((&me["viewer"], &me["administrator"]), (&json!("owner"), &json!(true)));
    // Through a proxy as well: it is a session, and needs no machine.
    let passed_on = [("cookie", cookie.as_str()), ("x-forwarded-for", "192.0.2.60")];
    assert_eq!(server.ask("GET", ME, &passed_on).await.expect(200).body["viewer"], "owner");
    let made = server.tell("POST", "/api/v1/sessions", &passed_on, json!({ "user": "bob" })).await.expect(201);
    assert!(!made.headers.contains_key("set-cookie"));
    // Once.
    let again = open(&link, &[]).await;
    assert_eq!(again.status(), 401);
    assert!(!again.headers().contains_key("set-cookie"));
    let token = link.rsplit('=').next().unwrap();
    assert!(!server.log().contains(token), "the log has no secret");
    server.kill();
    server.start_again();
    assert_eq!(open(&link, &[]).await.status(), 401, "nor after a restart");
    let me = server.ask("GET", ME, &[("cookie", &cookie)]).await.expect(200).body;
    assert_eq!(me["viewer"], "owner", "the session outlives the server");
    assert_ne!(printed(&server), link);
}

#[tokio::test]
async fn no_link_is_made_where_loopback_is_trusted() {
    let server = Process::start(&[]);
    server.ask("GET", ME, &[]).await.expect(200);
    assert_eq!(link_in(&server.printed()), None);
}

#[tokio::test]
async fn rejoin_session_makes_a_link_from_the_data_directory_while_the_server_runs() {
    let server = Process::start(OFF);
    let (one, other) = (rejoin_session(&server), rejoin_session(&server));
    assert_ne!(one, other);
    for link in [&one, &other] {
        let cookie = cookie(&open(link, &[]).await);
        assert_eq!(server.ask("GET", ME, &[("cookie", &cookie)]).await.expect(200).body["viewer"], "owner");
        assert_eq!(open(link, &[]).await.status(), 401);
    }
}

#[tokio::test]
async fn rejoin_session_names_the_address_of_the_running_server() {
    let mut server = Process::start(OFF);
    let link = |arguments: &[&str]| {
        let (code, said) = operate("session", arguments, &server.data_dir());
        assert_eq!(code, 0, "{said}");
        link_in(&said).unwrap_or_else(|| panic!("no link: {said}"))
    };
    for arguments in [&[][..], &["--listen", "127.0.0.1:1"]] {
        let link = link(arguments);
        assert!(link.starts_with(&format!("{}/", server.url)), "{link} of {}", server.url);
        assert_eq!(open(&link, &[]).await.status(), 303);
    }
    let data = server.data_dir();
    assert!(server.terminate().success());
    // No server runs: what is configured, as this machine reaches it.
    for (listen, address) in [("0.0.0.0:4711", "127.0.0.1:4711"), ("[::]:4711", "[::1]:4711")] {
        let (_, said) = operate("session", &["--listen", listen, "--allow-listen-beyond-tailnet"], &data);
        assert!(said.contains(&format!("http://{address}/login?link=")), "{said}");
    }
}

#[tokio::test]
async fn what_is_no_link_or_was_opened_by_another_site_is_refused() {
    let server = Process::start(OFF);
    let link = printed(&server);
    for bad in ["", "x", "rejoin_link_x", &format!("rejoin_link_{}", "A".repeat(43)), "../rejoin.db", "%2e%2e%2f"] {
        let reply = server.ask("GET", &format!("/login?link={bad}"), &[]).await;
        assert!([400, 401].contains(&reply.status), "{bad}: {}", reply.text);
        assert!(!reply.headers.contains_key("set-cookie"));
    }
    // None of these uses it up: a page of another site, a browser that looks ahead, a program that only wants the head.
    for headers in [
        vec![("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")],
        vec![("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")],
        vec![("sec-purpose", "prefetch"), ("sec-fetch-site", "none"), ("sec-fetch-dest", "document")],
        vec![("purpose", "prefetch")],
    ] {
        assert_eq!(open(&link, &headers).await.status(), 403, "{headers:?}");
    }
    let head = send(Client::new().head(&link)).await;
    assert!(!head.headers.contains_key("set-cookie"), "{head:?}");
    assert_eq!(open(&link, &[]).await.status(), 303);
}
