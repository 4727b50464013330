//! Asking tailscaled, and who somebody is by what it answers.

use std::time::{Duration, Instant};

use rejoin::internals::tailnet::Policy;
use rejoin::internals::tailnet::{ANSWER_BYTES_MAX, ApiError, LocalApi};
use rejoin::internals::tailnet::{Authentication, Authenticator, IDENTITY_TTL, ListenerScope};

use crate::support::localapi::{Answer, NULLS, OWNER, PERSON, STATUS, STATUS_USERSPACE, Tailscaled, troubles};

const SOON: Duration = Duration::from_millis(300);

fn authenticator(tailscaled: &Tailscaled) -> Authenticator {
    Authenticator::new(LocalApi::new(tailscaled.socket()), Policy::default())
}

async fn who(authenticator: &Authenticator, peer: &str, scope: ListenerScope) -> Authentication {
    authenticator.authenticate(peer.parse().unwrap(), scope, IDENTITY_TTL).await
}

/// The user id of somebody who is let in.
async fn member(authenticator: &Authenticator, peer: &str, scope: ListenerScope) -> String {
    match who(authenticator, peer, scope).await {
        Authentication::Member(member) => member.user.to_string(),
        other => panic!("{peer}: {other:?}"),
    }
}

#[tokio::test]
async fn each_way_of_not_answering_is_told_from_the_others() {
    let tailscaled = Tailscaled::start();
    let api = LocalApi::new(tailscaled.socket()).with_timeout(SOON);
    let peer = "100.100.1.3:5".parse().unwrap();
    assert_eq!(api.whois(peer).await.unwrap().map(|_| ()), None, "404");
    for (trouble, answer) in troubles() {
        tailscaled.set_whois(answer);
        let begun = Instant::now();
        let error = api.whois(peer).await.unwrap_err();
        let expected = match trouble {
            "403" => matches!(&error, ApiError::Denied(403, words) if words == "access denied"),
            "401" => matches!(&error, ApiError::Denied(401, _)),
            "400" => matches!(&error, ApiError::BadRequest(words) if words == "invalid 'addr' parameter"),
            "500" => matches!(&error, ApiError::Failed(500, _)),
            "hang" => matches!(&error, ApiError::Silent(_)) && begun.elapsed() >= SOON,
            "closed" | "truncated" => matches!(&error, ApiError::BrokenOff(_)),
            "10 MB" => matches!(&error, ApiError::TooLarge),
            _ => matches!(&error, ApiError::Malformed(_)),
        };
        assert!(expected, "{trouble}: {error}");
        assert!(!error.to_string().contains('\n') && begun.elapsed() < Duration::from_secs(5), "{trouble}: {error}");
    }
    tailscaled.set_whois(Answer::ok(" ".repeat(ANSWER_BYTES_MAX - PERSON.len()) + PERSON));
    assert_eq!(api.whois(peer).await.unwrap().unwrap().user_profile.id, 1002, "as large as may be");
    tailscaled.set_whois(Answer::ok(NULLS));
    assert_eq!(api.whois(peer).await.unwrap().unwrap().user_profile.id, 0);
    tailscaled.set_status(Answer::ok("{}"));
    assert_eq!(api.status().await.unwrap().backend_state, "");

    tailscaled.stop();
    assert!(matches!(api.whois(peer).await, Err(ApiError::Absent(_))));
    std::fs::write(tailscaled.socket(), "no socket").unwrap();
    assert!(matches!(api.status().await, Err(ApiError::Absent(_) | ApiError::Unreachable(..))));
}

#[tokio::test]
async fn the_question_is_put_as_tailscaled_wants_it() {
    let tailscaled = Tailscaled::start();
    let api = LocalApi::new(tailscaled.socket());
    // The double refuses what has another Host, an Origin or a Referer, as tailscaled does.
    api.status().await.unwrap();
    for peer in ["100.100.1.3:5", "[::ffff:100.100.1.3]:5", "[fd7a:115c:a1e0::3]:65535"] {
        api.whois(peer.parse().unwrap()).await.unwrap();
    }
    let whois = |address: &str| format!("/localapi/v0/whois?proto=tcp&addr={address}");
    let (v4, v6) = (whois("100.100.1.3%3a5"), whois("%5bfd7a%3a115c%3aa1e0%3a%3a3%5d%3a65535"));
    assert_eq!(tailscaled.asked(), ["/localapi/v0/status?peers=false".to_owned(), v4.clone(), v4, v6]);
}

#[tokio::test]
async fn without_tailscaled_a_loopback_peer_is_local_and_nobody_is_asked() {
    let tailscaled = Tailscaled::start();
    tailscaled.stop();
    let authenticator = authenticator(&tailscaled);
    for peer in ["127.0.0.1:5", "[::1]:5", "[::ffff:127.0.0.1]:5"] {
        for scope in [ListenerScope::Loopback, ListenerScope::OtherNetwork] {
            assert_eq!(who(&authenticator, peer, scope).await, Authentication::Local, "{peer}");
        }
    }
    assert_eq!(
        who(&authenticator, "100.100.1.3:5", ListenerScope::Tailnet).await,
        Authentication::Unavailable,
        "nobody can say who that is"
    );
    assert_eq!(who(&authenticator, "192.168.1.9:5", ListenerScope::OtherNetwork).await, Authentication::Anonymous);
    assert_eq!(who(&authenticator, "100.100.1.3:5", ListenerScope::OtherNetwork).await, Authentication::Anonymous);
    // A socket that a dead tailscaled left behind.
    drop(std::os::unix::net::UnixListener::bind(tailscaled.socket()).unwrap());
    assert_eq!(who(&authenticator, "127.0.0.1:5", ListenerScope::Loopback).await, Authentication::Local);
}

#[tokio::test]
async fn with_an_interface_in_the_kernel_loopback_is_local_after_one_look() {
    let tailscaled = Tailscaled::start();
    tailscaled.set_whois(Answer::ok(PERSON));
    let authenticator = authenticator(&tailscaled);
    for _ in 0..5 {
        assert_eq!(who(&authenticator, "127.0.0.1:5", ListenerScope::Loopback).await, Authentication::Local);
    }
    let asked = tailscaled.asked();
    assert!(asked.len() <= 2 && asked.iter().all(|target| target.contains("status")), "{asked:?}");
}

#[tokio::test]
async fn in_userspace_mode_a_loopback_peer_is_who_tailscaled_says() {
    let mut tailscaled = Tailscaled::userspace(Answer::ok(PERSON));
    let authenticator = authenticator(&tailscaled);
    for peer in ["127.0.0.1:5", "[::1]:5", "[::ffff:127.0.0.1]:5"] {
        assert_eq!(member(&authenticator, peer, ListenerScope::Loopback).await, "1002", "{peer}");
    }
    assert!(tailscaled.asked().iter().any(|target| target.ends_with("addr=127.0.0.1%3a5")));
    tailscaled.set_whois(Answer::nobody());
    assert_eq!(
        who(&authenticator, "127.0.0.1:5", ListenerScope::Loopback).await,
        Authentication::Local,
        "a process of this machine"
    );
    for (trouble, answer) in troubles() {
        tailscaled.set_whois(answer);
        assert_eq!(
            who(&authenticator, "127.0.0.1:5", ListenerScope::Loopback).await,
            Authentication::Unavailable,
            "{trouble}"
        );
    }
    // A tailscaled in userspace mode that takes the place of one with an interface is found out at once.
    tailscaled.set_status(Answer::ok(STATUS));
    tailscaled.stop();
    tailscaled.begin();
    authenticator.refresh_node_info().await.unwrap();
    assert_eq!(who(&authenticator, "127.0.0.1:5", ListenerScope::Loopback).await, Authentication::Local);
    tailscaled.set_status(Answer::ok(STATUS_USERSPACE));
    tailscaled.set_whois(Answer::ok(PERSON));
    tailscaled.stop();
    tailscaled.begin();
    assert_eq!(member(&authenticator, "127.0.0.1:6", ListenerScope::Loopback).await, "1002");
}

#[tokio::test]
async fn while_it_cannot_be_told_whether_it_is_userspace_mode_nobody_is_local() {
    let tailscaled = Tailscaled::start();
    for (trouble, answer) in troubles() {
        // Half an answer of one kind is half an answer of the other, too.
        if matches!(trouble, "wrong types") {
            continue;
        }
        tailscaled.set_status(answer);
        assert_eq!(
            who(&authenticator(&tailscaled), "127.0.0.1:5", ListenerScope::Loopback).await,
            Authentication::Unavailable,
            "{trouble}"
        );
    }
}

#[tokio::test]
async fn on_a_tailnet_listener_only_the_tailnet_is_let_in_and_only_who_is_known() {
    let tailscaled = Tailscaled::start();
    tailscaled.set_whois_of("100.100.1.3", Answer::ok(PERSON));
    tailscaled.set_whois_of("fd7a:115c:a1e0::3", Answer::ok(PERSON));
    tailscaled.set_whois_of("100.100.1.2", Answer::ok(OWNER));
    let authenticator = authenticator(&tailscaled);
    for peer in ["100.100.1.3:5", "[::ffff:100.100.1.3]:5", "[fd7a:115c:a1e0::3]:5"] {
        assert_eq!(member(&authenticator, peer, ListenerScope::Tailnet).await, "1002", "{peer}");
    }
    assert_eq!(
        member(&authenticator, "100.100.1.2:5", ListenerScope::Tailnet).await,
        "1001",
        "this machine itself is its owner's"
    );
    let asked = tailscaled.asked().len();
    for peer in ["192.168.1.9:5", "8.8.8.8:5", "100.115.92.3:5", "[fe80::1]:5", "[::ffff:10.0.0.1]:5"] {
        assert_eq!(who(&authenticator, peer, ListenerScope::Tailnet).await, Authentication::NotInTailnet, "{peer}");
    }
    assert_eq!(tailscaled.asked().len(), asked, "nobody was asked about them");
    assert_eq!(
        who(&authenticator, "100.99.9.9:5", ListenerScope::Tailnet).await,
        Authentication::NotInTailnet,
        "in the range, and unknown"
    );
    assert_eq!(
        who(&authenticator, "100.99.9.9:5", ListenerScope::OtherNetwork).await,
        Authentication::Anonymous,
        "others use that range, too"
    );
    assert_eq!(member(&authenticator, "100.100.1.3:5", ListenerScope::OtherNetwork).await, "1002");
}

#[tokio::test]
async fn who_has_an_address_is_believed_for_a_while_and_never_longer() {
    let tailscaled = Tailscaled::start();
    tailscaled.set_whois(Answer::ok(PERSON));
    let authenticator = authenticator(&tailscaled);
    let whois = || tailscaled.asked().iter().filter(|target| target.contains("whois")).count();
    for _ in 0..10 {
        assert_eq!(member(&authenticator, "100.100.1.3:5", ListenerScope::Tailnet).await, "1002");
    }
    assert_eq!(whois(), 1);
    for (trouble, answer) in troubles() {
        tailscaled.set_whois(answer);
        assert_eq!(
            member(&authenticator, "100.100.1.3:5", ListenerScope::Tailnet).await,
            "1002",
            "{trouble}: still believed"
        );
        let now =
            authenticator.authenticate("100.100.1.3:5".parse().unwrap(), ListenerScope::Tailnet, Duration::ZERO).await;
        assert_eq!(now, Authentication::Unavailable, "{trouble}");
    }
    tailscaled.set_whois(Answer::ok(OWNER));
    let now =
        authenticator.authenticate("100.100.1.3:5".parse().unwrap(), ListenerScope::Tailnet, Duration::ZERO).await;
    assert!(matches!(now, Authentication::Member(member) if member.user.as_str() == "1001" && member.administrator));
}

#[tokio::test]
async fn a_tailscaled_that_hangs_holds_up_many_at_once_for_no_longer_than_one() {
    let tailscaled = Tailscaled::start();
    tailscaled.set_whois(Answer::Hangs);
    let authenticator = std::sync::Arc::new(authenticator(&tailscaled));
    let begun = Instant::now();
    let mut asking = tokio::task::JoinSet::new();
    for n in 0..200 {
        let authenticator = std::sync::Arc::clone(&authenticator);
        asking.spawn(async move { who(&authenticator, &format!("100.100.2.{n}:5"), ListenerScope::Tailnet).await });
    }
    while let Some(verdict) = asking.join_next().await {
        assert_eq!(verdict.unwrap(), Authentication::Unavailable);
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}
