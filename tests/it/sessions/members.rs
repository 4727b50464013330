//! Sessions of members of the tailnet: bound to who opened them, and no more than the tailnet says they are.

use serde_json::{Value, json};

use super::{ME, Opened, SESSIONS, ids, mine, open};
use crate::support::Process;
use crate::support::localapi::{Answer, EXPIRED, GRANTED, OWNER, PERSON, Tailscaled};
use crate::tailnet::entering::start;

/// Who the server takes the bearer for; the status if it does not.
async fn me(server: &Process, headers: &[(&str, &str)]) -> Result<Value, u16> {
    let reply = server.ask("GET", ME, headers).await;
    if reply.status == 200 { Ok(reply.body) } else { Err(reply.status) }
}

fn user_and_rights(me: &Value) -> (&str, bool) {
    (me["user"].as_str().unwrap_or("owner"), me["administrator"].as_bool().unwrap())
}

#[tokio::test]
async fn a_members_session_is_good_for_that_member_alone() {
    let tailscaled = Tailscaled::userspace(Answer::ok(PERSON));
    let mut server = start(&tailscaled, &["--administrator-capability", "example.org/cap/rejoin"]);
    let session = open(&server, &[], json!({ "device": { "name": "phone" } })).await;
    for restarted in [false, true] {
        for shown in [session.bearer(), session.cookie()] {
            tailscaled.set_whois(Answer::ok(PERSON));
            let told = me(&server, &shown).await.unwrap();
            assert_eq!(user_and_rights(&told), ("1002", false));
            assert_eq!((&told["session"]["user"], &told["session"]["current"]), (&json!("1002"), &json!(true)));
            assert!(told["member"]["login"].is_string() && told["member"]["node"].is_string(), "{told}");
            // Their rights are those that they have now.
            tailscaled.set_whois(Answer::ok(GRANTED));
            assert_eq!(user_and_rights(&me(&server, &shown).await.unwrap()), ("1002", true));
            // Whoever else has got hold of it is nobody with it, the server's own machine and its owner too.
            for other in [Answer::ok(OWNER), Answer::nobody()] {
                tailscaled.set_whois(other);
                assert_eq!(me(&server, &shown).await, Err(401));
            }
            // And whoever may not get in any more does not with it.
            tailscaled.set_whois(Answer::ok(EXPIRED));
            assert_eq!(me(&server, &shown).await, Err(403));
        }
        if !restarted {
            server.kill();
            server.start_again();
            server.client = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
        }
    }
}

#[tokio::test]
async fn members_open_sessions_for_themselves_and_administrators_for_others() {
    let tailscaled = Tailscaled::userspace(Answer::ok(PERSON));
    let server = start(&tailscaled, &[]);
    server.tell("POST", SESSIONS, &[], json!({ "user": "bob" })).await.problem(403, "forbidden");
    server.tell("POST", SESSIONS, &[], json!({ "user": "1002" })).await.problem(403, "forbidden");
    server.ask("GET", "/api/v1/admin/sessions", &[]).await.problem(403, "forbidden");

    tailscaled.set_whois(Answer::ok(OWNER));
    let own = open(&server, &[], json!({})).await;
    let told = me(&server, &own.bearer()).await.unwrap();
    assert_eq!(user_and_rights(&told), ("1001", true), "an administrator is who they are, and administers");
    let for_bob = open(&server, &own.bearer(), json!({ "user": "bob" })).await;
    server.ask("GET", "/api/v1/admin/sessions", &own.cookie()).await.expect(200);
    // Bob's is good for whoever was given it, and is no administrator's though one shows it.
    for whois in [Answer::ok(OWNER), Answer::ok(PERSON), Answer::nobody()] {
        tailscaled.set_whois(whois);
        assert_eq!(user_and_rights(&me(&server, &for_bob.bearer()).await.unwrap()), ("bob", false));
        server.ask("GET", "/api/v1/admin/sessions", &for_bob.bearer()).await.problem(403, "forbidden");
    }
    // Theirs are not each other's.
    let in_own: Value = mine(&server, &for_bob).await;
    assert_eq!(ids(&in_own), [for_bob.id.as_str()]);
    tailscaled.set_whois(Answer::ok(PERSON));
    let path = |session: &Opened| format!("{SESSIONS}/{}", session.id);
    server.ask("DELETE", &path(&own), &[]).await.problem(404, "not-found");
    server.ask("DELETE", &path(&for_bob), &[]).await.problem(404, "not-found");
    // From the machine itself the owner's session is the owner's, and the tailnet's owner has no part in it.
    tailscaled.set_whois(Answer::nobody());
    let here = open(&server, &[], json!({})).await;
    assert_eq!(user_and_rights(&me(&server, &here.bearer()).await.unwrap()), ("owner", true));
    tailscaled.set_whois(Answer::ok(OWNER));
    assert_eq!(me(&server, &here.bearer()).await, Err(401));
    assert_eq!(me(&server, &own.bearer()).await.map(|told| told["user"].clone()), Ok(json!("1001")));
}
