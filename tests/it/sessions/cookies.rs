//! Whose cookie a browser gets: never somebody else's, and each server's apart from all others'.

use std::path::Path;

use serde_json::json;

use super::{ME, SESSIONS, ids, open, open_for};
use crate::support::{Process, send, session};

fn cookie_name(cookie: &str) -> &str {
    cookie.split('=').next().unwrap()
}

#[tokio::test]
async fn a_session_for_somebody_else_sets_no_cookie_in_the_openers_browser() {
    let server = Process::start(&[]);
    let own = open(&server, &[], json!({})).await;
    for headers in [vec![], own.cookie().to_vec()] {
        let reply = server.tell("POST", SESSIONS, &headers, json!({ "user": "bob" })).await.expect(201);
        assert!(!reply.headers.contains_key("set-cookie"), "{reply:?}");
        assert_eq!(reply.body["user"], "bob");
        // The token is bob's; his browser gets the cookie where he shows it.
        let bearer = format!("Bearer {}", reply.body["token"].as_str().unwrap());
        let bobs = server.tell("POST", SESSIONS, &[("authorization", &bearer)], json!({})).await.expect(201);
        let cookie = bobs.header("set-cookie").split(';').next().unwrap();
        let me = server.ask("GET", ME, &[("cookie", cookie)]).await.expect(200).body;
        assert_eq!(me["user"], "bob");
    }
    // The host is who they were.
    assert_eq!(server.ask("GET", ME, &own.cookie()).await.expect(200).body["viewer"], "owner");
}

#[tokio::test]
async fn a_page_logs_out_by_its_cookie() {
    let server = Process::start(&[]);
    let bob = open(&server, &open_for(&server, "bob").await.bearer(), json!({})).await;
    let origin = server.url.clone();
    let page = [
        bob.cookie()[0],
        ("origin", origin.as_str()),
        ("sec-fetch-site", "same-origin"),
        ("sec-fetch-mode", "cors"),
        ("sec-fetch-dest", "empty"),
    ];
    let reply = server.ask("DELETE", &format!("{SESSIONS}/current"), &page).await.expect(204);
    let name = cookie_name(&bob.cookie);
    assert_eq!(reply.header("set-cookie"), format!("{name}=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0"));
    assert_eq!(server.ask("GET", ME, &[]).await.expect(200).body["viewer"], "owner", "the way back");
}

#[tokio::test]
async fn two_servers_on_one_host_leave_each_others_cookies_alone() {
    let (mut one, two) = (Process::start(&[]), Process::start(&[]));
    let ann = open(&one, &open_for(&one, "ann").await.bearer(), json!({})).await;
    let bob = open(&two, &open_for(&two, "bob").await.bearer(), json!({})).await;
    assert_ne!(cookie_name(&ann.cookie), cookie_name(&bob.cookie));
    // A browser sends both to both.
    let both = format!("{}; {}", ann.cookie, bob.cookie);
    for (server, user) in [(&one, "ann"), (&two, "bob")] {
        let reply = server.ask("GET", ME, &[("cookie", &both)]).await;
        assert!(!reply.headers.contains_key("set-cookie"), "{reply:?}");
        assert_eq!(reply.expect(200).body["user"], user);
    }
    // Nor is one of them forgotten when the other's is over.
    one.ask("DELETE", &format!("/api/v1/admin/sessions/{}", ann.id), &[]).await.expect(204);
    let reply = one.ask("GET", ME, &[("cookie", &both)]).await;
    assert!(reply.header("set-cookie").starts_with(&format!("{}=;", cookie_name(&ann.cookie))), "{reply:?}");
    reply.problem(401, "unauthenticated");
    let reply = two.ask("DELETE", &format!("{SESSIONS}/current"), &[("cookie", &both)]).await.expect(204);
    assert!(reply.header("set-cookie").starts_with(&format!("{}=;", cookie_name(&bob.cookie))), "{reply:?}");

    // A server that moves to another address keeps its own.
    let again = open(&one, &open_for(&one, "ann").await.bearer(), json!({})).await;
    assert!(one.terminate().success());
    let address = one.url.clone();
    one.start_elsewhere();
    assert_ne!(one.url, address);
    assert_eq!(one.ask("GET", ME, &again.cookie()).await.expect(200).body["user"], "ann");
    assert_eq!(session::cookie_name(&one.url).await, cookie_name(&again.cookie));
}

/// The name of the cookie that a server sets.
async fn set_by(server: &Process) -> String {
    cookie_name(&open(server, &[], json!({})).await.cookie).to_owned()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

#[tokio::test]
async fn a_copy_of_a_data_directory_has_a_cookie_of_its_own_and_one_that_moves_keeps_its_own() {
    let (mut one, mut two, mut three) = (Process::start(&[]), Process::start(&[]), Process::start(&[]));
    let ann = open(&one, &open_for(&one, "ann").await.bearer(), json!({})).await;
    let name = set_by(&one).await;
    for server in [&mut one, &mut two, &mut three] {
        assert!(server.terminate().success());
    }
    let put_in_place = |of: &Process, directory: &Path| {
        std::fs::remove_dir_all(of.data_dir()).unwrap();
        copy(directory, &of.data_dir());
    };
    put_in_place(&two, &one.data_dir());
    one.start_again();
    two.start_again();
    let copied = set_by(&two).await;
    assert_ne!(copied, name);
    assert_eq!(set_by(&one).await, name);
    assert!(two.log().contains("is a copy"), "{}", two.log());
    // Nor does the one have a browser forget what the other set.
    let reply = two.ask("GET", ME, &ann.cookie()).await.expect(200);
    assert!(!reply.headers.contains_key("set-cookie"), "{reply:?}");
    // The copy is its own from then on.
    assert!(two.terminate().success());
    two.start_again();
    assert_eq!(set_by(&two).await, copied);

    // A backup that was put back in its place, which is another file.
    assert!(one.terminate().success());
    let aside = one.data_dir().with_file_name("aside");
    copy(&one.data_dir(), &aside);
    put_in_place(&one, &aside);
    one.start_again();
    assert_eq!(set_by(&one).await, name);
    assert_eq!(one.ask("GET", ME, &ann.cookie()).await.expect(200).body["user"], "ann");

    // The same file under another name.
    assert!(one.terminate().success());
    std::fs::remove_dir_all(three.data_dir()).unwrap();
    std::fs::rename(one.data_dir(), three.data_dir()).unwrap();
    three.start_again();
    assert_eq!(set_by(&three).await, name);
}

#[tokio::test]
async fn sessions_opened_with_one_token_push_out_each_other_and_no_other_device() {
    let mut server = Process::start(&[]);
    let devices = [open_for(&server, "ann").await, open_for(&server, "ann").await];
    let (desk, phone) = (&devices[0], &devices[1]);
    let own = open(&server, &phone.bearer(), json!({})).await;
    let mut opened = Vec::new();
    for round in 0..110 {
        if round == 50 {
            server.kill();
            server.start_again();
        }
        opened.push(open(&server, &desk.bearer(), json!({})).await);
    }
    for device in [desk, phone, &own] {
        server.ask("GET", ME, &device.bearer()).await.expect(200);
    }
    // A hundred are hers: these three, and the newest that the one token opened.
    server.ask("GET", ME, &opened[12].bearer()).await.problem(401, "unauthenticated");
    server.ask("GET", ME, &opened[13].bearer()).await.expect(200);
    let listed = server.ask("GET", &format!("{SESSIONS}?limit=500"), &desk.bearer()).await.expect(200).body;
    assert_eq!(ids(&listed).len(), 100);
    // A token that opened none of them has none to give.
    let request = server.request("POST", SESSIONS).header("authorization", &opened[20].bearer);
    let problem = send(request.json(&json!({}))).await.problem(409, "sessions-full");
    assert!(problem["detail"].as_str().unwrap().contains("end"), "{problem}");
}
