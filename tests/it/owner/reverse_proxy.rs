//! Behind the real nginx and Caddy, with the configurations of the guide: what is asked through them is nobody's
//! without a session.

use std::time::Duration;

use reqwest::{Client, RequestBuilder};
use serde_json::json;

use super::{GAME, ME, start};
use crate::support::proxy::{Proxy, program};
use crate::support::{Follower, Process, Reply, send, session};

const GUIDE: &str = include_str!("../../../src/guide/reverse-proxy.md");
const NAME: &str = "play.example";
/// The options that the guide wants.
const SAFE: &[&str] = &["--loopback-owner", "false", "--allowed-host", NAME];

/// The block in the guide that is written in this language.
fn recipe(language: &str) -> &'static str {
    let begin = format!("```{language}\n");
    GUIDE.split_once(&begin).unwrap_or_else(|| panic!("no {begin}")).1.split_once("```").unwrap().0
}

/// The guide's configuration for nginx, before this server.
fn configured(server: &Process) -> String {
    let recipe = recipe("nginx");
    for text in ["listen 80;", "http://127.0.0.1:7766", NAME] {
        assert!(recipe.contains(text), "{text}: {recipe}");
    }
    recipe.replace("listen 80;", "listen LISTEN;").replace("http://127.0.0.1:7766", &server.url)
}

/// What somebody who takes no thought of it writes.
fn plain(server: &Process) -> String {
    format!("server {{\nlisten LISTEN;\nlocation / {{ proxy_pass {}; }}\n}}", server.url)
}

fn through(proxy: &Proxy, method: &str, path: &str) -> RequestBuilder {
    let client = Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    client.request(method.parse().unwrap(), format!("{}{path}", proxy.url)).header("host", NAME)
}

async fn asks(proxy: &Proxy, path: &str) -> Reply {
    send(through(proxy, "GET", path)).await
}

/// Everything through the proxy is nobody's, and tells nothing.
async fn is_nobody(proxy: &Proxy) {
    for path in [ME, GAME, "/api/v1/games?include=state", "/api/v1/games/g1/events", "/api/v1/admin/jobs"] {
        let reply = asks(proxy, path).await;
        assert!(!reply.text.contains("SECRET"), "{reply:?}");
        reply.problem(401, "unauthenticated");
    }
    let opened = send(through(proxy, "POST", "/api/v1/sessions").json(&json!({ "user": "bob" }))).await;
    opened.problem(401, "unauthenticated");
}

/// A server with a game of its owner's, which then no longer trusts loopback; and bob's token.
async fn safe() -> (Process, String) {
    let mut server = start(&[]).await;
    let bob = session::token(&server.url, "bob").await;
    server.kill();
    server.start_again_with(SAFE);
    (server, format!("Bearer {bob}"))
}

/// A proxy before a server that trusts nobody on loopback: bob's session, streams and the administrator's link work.
async fn is_safe_and_works(proxy: &Proxy, server: &Process, bob: &str) {
    is_nobody(proxy).await;
    let me = send(through(proxy, "GET", ME).header("authorization", bob)).await.expect(200).body;
    assert_eq!((&me["user"], &me["administrator"]), (&json!("bob"), &json!(false)));

    // A browser's cookie is set and shown through it, by a page that it served.
    let origin = format!("http://{NAME}");
    let page = |method: &str, path: &str| through(proxy, method, path).header("origin", &origin);
    let opened = send(page("POST", "/api/v1/sessions").header("authorization", bob).json(&json!({}))).await;
    let cookie = opened.expect(201).header("set-cookie").split(';').next().unwrap().to_owned();
    assert_eq!(send(page("GET", ME).header("cookie", &cookie)).await.expect(200).body["user"], "bob");

    // A stream comes through as it is told, and not in pieces of the proxy's own size.
    let headers = [("host", NAME), ("authorization", bob)];
    let mut stream = Follower::with(&format!("{}{GAME}/events", proxy.url), &headers, None).await;
    let snapshot = stream.expect("snapshot").await;
    assert!(!snapshot.text.contains("SECRET"), "{}", snapshot.text);
    for n in 2..5 {
        let write = through(proxy, "PUT", GAME).header("authorization", bob).json(&json!({ "state": { "n": n } }));
        send(write).await.expect(200);
        let change = tokio::time::timeout(Duration::from_secs(10), stream.expect("change")).await.unwrap();
        assert_eq!(change.data["version"], n);
    }

    // And the administrator comes in by their link.
    let link = server.printed();
    let link = link.split_whitespace().find_map(|word| word.split_once("/login?")).unwrap().1;
    let entered = asks(proxy, &format!("/login?{link}")).await.expect(303);
    let cookie = entered.header("set-cookie").split(';').next().unwrap().to_owned();
    assert_eq!(send(page("GET", ME).header("cookie", &cookie)).await.expect(200).body["viewer"], "owner");
}

#[tokio::test]
async fn the_guides_configuration_of_nginx_is_safe_and_works() {
    let Some(program) = program("nginx") else { return };
    let (server, bob) = safe().await;
    is_safe_and_works(&Proxy::nginx(&program, &configured(&server)), &server, &bob).await;
}

#[tokio::test]
async fn the_guides_configuration_of_caddy_is_safe_and_works() {
    let Some(program) = program("caddy") else { return };
    let (server, bob) = safe().await;
    let recipe = recipe("caddy");
    for text in [&*format!("{NAME} {{"), "127.0.0.1:7766"] {
        assert!(recipe.contains(text), "{text}: {recipe}");
    }
    let site = recipe.replace(&format!("{NAME} {{"), "ADDRESS {").replace("127.0.0.1:7766", server.address());
    let proxy = Proxy::caddy(&program, &site);
    is_safe_and_works(&proxy, &server, &bob).await;
    // Also where loopback is trusted: it says by itself that it is a proxy.
    let trusting = start(&["--allowed-host", NAME]).await;
    let site = site.replace(server.address(), trusting.address());
    is_nobody(&Proxy::caddy(&program, &site)).await;
}

#[tokio::test]
async fn a_plain_proxy_pass_is_safe_where_loopback_is_not_trusted() {
    let Some(program) = program("nginx") else { return };
    let (server, bob) = safe().await;
    let nginx = Proxy::nginx(&program, &plain(&server));
    is_nobody(&nginx).await;
    let me = send(through(&nginx, "GET", ME).header("authorization", &bob)).await.expect(200).body;
    assert_eq!(me["user"], "bob");
}

#[tokio::test]
async fn a_proxy_that_says_so_is_not_the_owner_even_where_loopback_is_trusted() {
    let Some(program) = program("nginx") else { return };
    let server = start(&["--allowed-host", NAME]).await;
    is_nobody(&Proxy::nginx(&program, &configured(&server))).await;
    let forwards = plain(&server).replace("proxy_pass", "proxy_set_header X-Forwarded-For $remote_addr; proxy_pass");
    is_nobody(&Proxy::nginx(&program, &forwards)).await;
    // The name alone gives it away as well.
    let named = plain(&server).replace("proxy_pass", "proxy_set_header Host $host; proxy_pass");
    is_nobody(&Proxy::nginx(&program, &named)).await;
}
