//! Either server is killed at any step: afterwards exactly one has the game, with all that belongs to it.

use serde_json::json;
use tokio::task::JoinHandle;

use super::{GAME, Hand, ask, expect_live_only, hosting, migrate, target, until_moved, write};
use crate::support::Process;
use crate::support::relay::{Does, Relay};

/// A move that is held at a step.
pub(super) struct Held {
    pub(super) relay: Relay,
    moving: JoinHandle<reqwest::Result<reqwest::Response>>,
}

impl Held {
    pub(super) async fn at(step: &str, does: Does, from: &Process, to: &Process) -> Self {
        let mut relay = Relay::before(to).await;
        relay.when(step, does);
        let request = from.request("POST", &format!("{GAME}/migrate")).json(&json!({ "to": relay.url }));
        let moving = tokio::spawn(request.send());
        relay.until(step).await;
        Self { relay, moving }
    }

    /// Lets go: what whoever asked was told; `None`: nothing. The relay goes on.
    pub(super) async fn told(self) -> (Option<u16>, Relay) {
        self.relay.release();
        (self.moving.await.unwrap().ok().map(|answer| answer.status().as_u16()), self.relay)
    }
}

fn forget(server: &Process) {
    for entry in std::fs::read_dir(server.data_dir()).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
}

#[tokio::test]
async fn the_target_dies_before_it_has_answered_for_all_of_it() {
    for step in ["begin", "events", "rows", "prepare"] {
        for does in [Does::HoldsRequest, Does::HoldsAnswer] {
            let (from, mut to) = (hosting(&[], 5).await, target().await);
            let mut bob = Hand::dealt(&from, "bob", 3).await;
            let held = Held::at(step, does, &from, &to).await;
            to.kill();
            assert_eq!(held.told().await.0, Some(503), "{step} {does:?}");
            expect_live_only(&from, &Process::start(&[])).await;
            to.start_again();
            bob.expect_only_at(&from, &to).await;
            expect_live_only(&from, &to).await;
            // What is left there of the attempt is no hindrance for the next.
            assert_eq!(migrate(&from, &to.url).await.0, 200, "{step} {does:?}");
            bob.expect_only_at(&to, &from).await;
        }
    }
}

#[tokio::test]
async fn the_target_dies_before_or_after_it_made_the_game_live_or_loses_all_that_it_had() {
    for (does, loses) in [(Does::HoldsRequest, false), (Does::HoldsRequest, true), (Does::HoldsAnswer, false)] {
        let (from, mut to) = (hosting(&[], 5).await, target().await);
        let mut bob = Hand::dealt(&from, "bob", 3).await;
        let held = Held::at("confirm", does, &from, &to).await;
        to.kill();
        if loses {
            forget(&to);
        }
        held.relay.when("confirm", Does::Forwards);
        let (told, relay) = held.told().await;
        assert_eq!(told, Some(202), "{does:?} {loses}");
        assert_eq!(write(&from, 9).await, 503, "it is the other server's now");
        let (status, ..) = ask(&from, "POST", &format!("{GAME}/seats"), &json!({ "playerId": "eve" })).await;
        assert_eq!(status, 503, "and so are its seats");
        to.start_again();
        until_moved(&to, &from).await;
        bob.expect_only_at(&to, &from).await;
        expect_live_only(&to, &from).await;
        drop(relay);
    }
}

#[tokio::test]
async fn the_source_dies_before_it_has_recorded_the_move() {
    for step in ["begin", "events", "rows", "prepare"] {
        let (mut from, to) = (hosting(&[], 5).await, target().await);
        let mut bob = Hand::dealt(&from, "bob", 3).await;
        let held = Held::at(step, Does::HoldsAnswer, &from, &to).await;
        from.kill();
        assert_eq!(held.told().await.0, None);
        from.start_again();
        bob.expect_only_at(&from, &to).await;
        expect_live_only(&from, &to).await;
        // What the first attempt left there is no hindrance.
        assert_eq!(migrate(&from, &to.url).await.0, 200, "{step}");
        bob.expect_only_at(&to, &from).await;
        expect_live_only(&to, &from).await;
    }
}

#[tokio::test]
async fn the_source_dies_after_it_has_recorded_the_move() {
    for does in [Does::HoldsRequest, Does::HoldsAnswer] {
        let (mut from, mut to) = (hosting(&[], 5).await, target().await);
        let mut bob = Hand::dealt(&from, "bob", 3).await;
        let held = Held::at("confirm", does, &from, &to).await;
        from.kill();
        if does == Does::HoldsAnswer {
            assert_eq!(write(&to, 6).await, 200, "it is live there already");
            bob.comes_back(&to).await;
            to.kill();
            to.start_again();
        }
        from.start_again();
        assert_eq!(write(&from, 9).await, 503, "it stays frozen over the restart");
        held.relay.when("confirm", Does::Forwards);
        let (told, relay) = held.told().await;
        assert_eq!(told, None);
        until_moved(&to, &from).await;
        bob.expect_only_at(&to, &from).await;
        expect_live_only(&to, &from).await;
        drop(relay);
    }
}
