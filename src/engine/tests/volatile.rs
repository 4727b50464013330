//! What lives in memory only, where time and the size of memory are what it is about.

#![expect(clippy::indexing_slicing, reason = "a panic fails the test")]

use serde_json::{Value, json};

use super::*;
use crate::base::clock::SystemClock;
use crate::base::ids::{Collection, DocumentName, Seq, Version};
use crate::base::limits::{VOLATILE_IDLE, VOLATILE_KEYS_MAX};
use crate::document::access::Access;
use crate::document::chain::Hash;
use crate::document::decide::{Expected, Request, WriteOperation};
use crate::document::visibility::Viewer;
use crate::engine::read::Reads;
use crate::engine::read::follow::{Follow, Follower, Item, Reason};
use crate::engine::request::{RelocationStep, Write, WriteOutcome, WriteReply};
use crate::engine::state::kept_answers::KeptAnswers;
use crate::live::presence::Presence;
use crate::live::topics::Interest;
use crate::store::IdempotencyRow;

pub(super) fn named(name: &str) -> DocumentName {
    DocumentName::parse(name).unwrap()
}

pub(super) fn rolling_out() -> Volatile {
    Volatile { collections: [Collection::new("games").unwrap()].into(), ..Volatile::default() }
}

impl RunningEngine {
    fn reads(&self) -> Reads {
        Reads::new(Arc::clone(&self.hub), self.reader.clone(), self.engine.clone(), Vec::new())
    }

    async fn write(&self, name: &str, operation: WriteOperation) -> WriteOutcome {
        let request = Request { name: named(name), operation, expected: Expected::default() };
        let write = Write { requests: vec![request], viewer: Viewer::Owner, key: None };
        let WriteReply::Made(mut written) = self.engine.write(write).await.unwrap() else {
            panic!("it was made before")
        };
        written.outcomes.remove(0)
    }

    pub(super) async fn create(&self, name: &str) -> WriteOutcome {
        self.write(name, WriteOperation::Create { state: json!({ "n": 0 }), host: None, access: Access::default() })
            .await
    }

    pub(super) async fn change(&self, name: &str, n: u64) -> WriteOutcome {
        self.write(name, WriteOperation::Patch(json!({ "n": n }).into())).await
    }

    /// Lets the time pass that the engine waits between two looks at what is idle.
    pub(super) async fn sweep(&self) {
        (0..100).for_each(|_| self.engine.tick());
        // The first may be of a round that began before the last tick; the second's round counts them all and looks
        // once it has answered; the third is taken up after the look.
        for _ in 0..3 {
            self.engine.rows(|_, _| Ok(())).await.unwrap();
        }
    }
}

async fn follow(reads: &Reads, interest: Interest, resume: Option<&str>) -> (Follow, Item) {
    let presence = Presence::new(Arc::clone(&reads.hub), Arc::new(SystemClock), Duration::from_secs(1), Arc::default());
    let follower = Follower { viewer: Viewer::Owner, counts: false, device: None, filter: None };
    Follow::open(reads.clone(), &presence, follower, interest, resume).await.unwrap()
}

/// What comes next, within 20 s.
async fn comes(follower: &mut Follow) -> Item {
    tokio::time::timeout(Duration::from_secs(20), follower.next()).await.unwrap().unwrap()
}

#[tokio::test]
async fn one_that_nobody_uses_for_long_is_deleted_and_those_who_follow_are_told() {
    let running = start_with(None, rolling_out());
    let reads = running.reads();
    running.create("games/idle").await;
    running.create("encounters/kept").await;
    let (mut follower, _) = follow(&reads, Interest::document(named("games/idle")), None).await;
    running.clock.advance(VOLATILE_IDLE - Duration::from_secs(1));
    running.sweep().await;
    assert_eq!(reads.hub.documents_count(), 1, "of what is on disk nothing idle is in memory");
    running.clock.advance(Duration::from_secs(2));
    running.sweep().await;
    let Item::Changes(events) = comes(&mut follower).await else { panic!("a change was to come") };
    assert_eq!((events.len(), events[0].version, events[0].deletes), (1, Version(2), true));
    assert_eq!(reads.live_document(&named("games/idle"), &Viewer::Owner).await.unwrap_err().kind(), Kind::Gone);
    running.clock.advance(HotBounds::default().idle + Duration::from_secs(1));
    running.sweep().await;
    assert!(reads.document(&named("games/idle")).await.unwrap().is_none());
    assert!(!reads.hub.has_volatile());
    assert!(reads.live_document(&named("encounters/kept"), &Viewer::Owner).await.is_ok());
    assert_eq!(running.create("games/idle").await.document.version, Version(1));
    running.engine.stop().await;
    assert_eq!(running.thread.join().unwrap(), Ending::CLEAN);
}

#[tokio::test]
async fn a_follower_that_sleeps_is_given_the_whole_state_of_what_left_memory() {
    let running = start_with(None, rolling_out());
    let reads = running.reads();
    for name in ["games/fast", "games/quiet", "encounters/kept"] {
        running.create(name).await;
    }
    let both = Interest { documents: [named("games/quiet"), named("encounters/kept")].into(), ..Interest::default() };
    let (mut of_game, _) = follow(&reads, Interest::document(named("games/fast")), None).await;
    let (mut of_both, _) = follow(&reads, both, None).await;
    let (mut of_kept, _) = follow(&reads, Interest::document(named("encounters/kept")), None).await;
    running.change("encounters/kept", 1).await;
    let mut last = running.change("games/fast", 1).await;
    for n in 2..=150 {
        last = running.change("games/fast", n).await;
    }
    let Item::Snapshot { reason: Reason::Trimmed, documents, position, .. } = comes(&mut of_game).await else {
        panic!("the whole state was to come")
    };
    assert_eq!((documents[0].version, position), (Version(151), last.document.position()));
    // What was lost was of the same collection, and nothing tells of which document.
    assert!(matches!(comes(&mut of_both).await, Item::Snapshot { reason: Reason::Trimmed, .. }));
    let Item::Changes(events) = comes(&mut of_kept).await else { panic!("what is on disk is read from there") };
    assert_eq!(events[0].version, Version(2));
    // Those who are up to date are told of nothing but what comes.
    let next = running.change("games/fast", 151).await;
    let Item::Changes(events) = comes(&mut of_game).await else { panic!("a change was to come") };
    assert_eq!((events.len(), events[0].seq), (1, next.event.seq));
    assert_eq!(reads.hub.gate().last_persistent().0, Seq(4));
    let all = Interest { collections: [Collection::new("encounters").unwrap()].into(), ..Interest::default() };
    let (_, Item::Snapshot { position, .. }) = follow(&reads, all, None).await else { panic!("it is new") };
    assert_eq!(position.seq(), next.event.seq, "what is between is not in memory any more: the safe place is the end");
    running.engine.stop().await;
    assert_eq!(running.thread.join().unwrap(), Ending::CLEAN);
}

#[tokio::test]
async fn what_the_disk_is_for_is_refused_and_what_it_does_beside_it_loses_nothing_in_silence() {
    let running = start_with(None, rolling_out());
    let reads = running.reads();
    running.create("games/here").await;
    let early = running.change("games/here", 1).await.event.position().to_string();
    let (mut sleeper, _) = follow(&reads, Interest::document(named("games/here")), None).await;
    let newest = running.change("games/here", 2).await;
    let game = named("games/here");
    let refused = [
        running.engine.snapshot(game.clone(), true).await.map(drop),
        running.engine.purge(game.clone(), Viewer::Owner, None).await.map(drop),
        running.engine.relocate(game.clone(), RelocationStep::Freeze).await.map(drop),
    ];
    for answer in refused {
        assert_eq!(answer.unwrap_err().slug(), Some("not-persistent"));
    }
    let arriving = running.engine.relocate(game.clone(), RelocationStep::Expect("m1".to_owned())).await;
    assert_eq!(arriving.unwrap_err().kind(), Kind::AlreadyExists);
    assert_eq!(reads.hub.gate().head(), (newest.event.seq, newest.event.hash));
    assert!(running.reader.load(&game).unwrap().is_none());
    running.create("encounters/goes").await;
    running.engine.purge(named("encounters/goes"), Viewer::Owner, None).await.unwrap();
    let (_, item) = follow(&reads, Interest::document(game), Some(&early)).await;
    let Item::Snapshot { reason: Reason::Trimmed, documents, .. } = item else {
        panic!("a change is not there any more")
    };
    assert_eq!(documents[0].version, Version(3));
    assert!(matches!(comes(&mut sleeper).await, Item::Snapshot { reason: Reason::Trimmed, .. }));
    assert_eq!(running.change("games/here", 3).await.document.version, Version(4));
    // Old enough for a snapshot, and idle: of what is volatile there is nothing to store, and storage stays well.
    running.clock.advance(HotBounds::default().idle + Duration::from_secs(1));
    running.sweep().await;
    running.create("encounters/after").await;
    assert_eq!(reads.hub.gate().durable(), reads.hub.gate().head().0);
    assert_eq!(running.reader.load(&named("encounters/after")).unwrap().unwrap().version, Version(1));
    running.engine.stop().await;
    assert_eq!(running.thread.join().unwrap(), Ending::CLEAN);
}

#[test]
fn only_so_many_answers_are_remembered_and_not_for_ever() {
    let mut answers = KeptAnswers::default();
    let now = Timestamp::from_millis(0);
    let row = |key: usize, at| IdempotencyRow {
        scope: "owner".to_owned(),
        key: key.to_string(),
        fingerprint: Hash::ZERO,
        answer: Value::from(key).to_string().into(),
        at,
        document: None,
    };
    answers.keep((0..=VOLATILE_KEYS_MAX).map(|key| row(key, now)).collect(), Some(now));
    let found = |answers: &KeptAnswers, key: usize| answers.find(&("owner".to_owned(), key.to_string())).is_some();
    assert!(!found(&answers, 0) && found(&answers, 1) && found(&answers, VOLATILE_KEYS_MAX));
    let later = Timestamp::from_millis(25 * 3600 * 1000);
    answers.keep(vec![row(6_000_000, later)], None);
    assert!(found(&answers, VOLATILE_KEYS_MAX), "the clock is doubted");
    answers.keep(vec![row(7_000_000, later)], Some(later));
    assert!(!found(&answers, VOLATILE_KEYS_MAX) && found(&answers, 7_000_000));
}
