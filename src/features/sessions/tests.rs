//! Sessions on a real engine and a real file, under a clock that stands still.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic fails the test")]

use std::sync::Arc;
use std::time::Duration;

use crate::property_tests::cases;
use futures_util::future::join_all;
use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use super::rules::{Session, SessionTerms, Token};
use super::service::{Description, SessionCreation, SessionOpening, SessionStore, SessionsHook};
use super::table::SessionTable;
use crate::base::clock::{Clock, Timestamp};
use crate::base::entropy::{Entropy, SeededEntropy};
use crate::base::error::{Kind, Result};
use crate::base::ids::{SessionId, UserId};
use crate::document::visibility::Viewer;
use crate::engine::request::Durability;
use crate::features::sessions::limits::{SESSIONS_MAX, SESSIONS_PER_USER_MAX};
use crate::features::sessions::rules::{Device, SessionHolder};
use crate::http::request::caller::{ActiveCredential, Caller, Peer, Sessions};
use crate::http::request::cookie::SessionCookie;
use crate::jobs::tests::running::{DAY, RunningRunner};
use crate::store::{Connection, sql_error};

const TERMS: SessionTerms =
    SessionTerms { ttl: Duration::from_secs(30 * 24 * 3600), idle: Duration::from_secs(7 * 24 * 3600) };

/// A server's sessions, and a caller on its machine.
struct Bench {
    running: RunningRunner,
    keeper: SessionStore,
    entropy: SeededEntropy,
}

fn peer() -> Peer {
    Peer::at("127.0.0.1:5".parse().unwrap(), CancellationToken::new())
}

fn user(name: &str) -> Viewer {
    Viewer::User(UserId::new(name).unwrap())
}

impl Bench {
    async fn start() -> Self {
        let running = RunningRunner::start_hooked(None, vec![Arc::new(SessionsHook)]);
        let tables =
            |conn: &Connection, _: Timestamp| conn.execute_batch(include_str!("tables.sql")).map_err(sql_error);
        running.engine.rows(tables).await.unwrap();
        let keeper = restore(&running).await;
        Self { running, keeper, entropy: SeededEntropy::new(3) }
    }

    async fn open(&self, name: &str) -> Result<(Token, Session)> {
        let owner = Caller { viewer: Viewer::Owner, administrator: true, peer: peer(), credential: None };
        let made = SessionCreation { entropy: &self.entropy, now: self.running.clock.now() };
        let user = (!name.is_empty()).then(|| UserId::new(name).unwrap());
        self.keeper.open(&owner, SessionOpening { user, ..SessionOpening::default() }, &made).await
    }

    fn authenticate(&self, token: &Token) -> Result<ActiveCredential> {
        self.keeper.table.authenticate(token.expose(), &peer())
    }

    async fn end(&self, session: &Session) {
        let live = self.keeper.table.find(session.id.as_str(), None).unwrap();
        assert_eq!(self.keeper.end(vec![live]).await, (1, Durability::Durable));
    }

    /// The ids of all sessions that are good, here and after a restart, which must be the same.
    async fn good(&self) -> Vec<SessionId> {
        let ids = |table: &SessionTable| -> Vec<SessionId> {
            table.list(None, None, 500).0.into_iter().map(|session| session.id).collect()
        };
        let here = ids(&self.keeper.table);
        assert_eq!(here, ids(&restore(&self.running).await.table), "memory and disk are the same");
        sorted(here)
    }
}

/// Those of one millisecond are in no order.
fn sorted(ids: impl IntoIterator<Item = SessionId>) -> Vec<SessionId> {
    let mut ids: Vec<SessionId> = ids.into_iter().collect();
    ids.sort();
    ids
}

/// The sessions as a start of the server finds them.
async fn restore(running: &RunningRunner) -> SessionStore {
    let (engine, clock) = (running.engine.clone(), Arc::clone(&running.clock) as _);
    running.reads.read(move |reader| SessionStore::restore(reader, engine, TERMS, clock)).await.unwrap()
}

fn block_on(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

const NAMES: [&str; 3] = ["", "ann", "bob"];

fn viewer(name: &str) -> Viewer {
    if name.is_empty() { Viewer::Owner } else { user(name) }
}

proptest! {
    #![proptest_config(cases(16))]

    #[test]
    fn ending_a_session_removes_it_everywhere(
        opened in prop::collection::vec(0..3_usize, 1..8), chosen: prop::sample::Index,
    ) {
        block_on(async {
            let bench = Bench::start().await;
            let mut sessions = Vec::new();
            for which in opened {
                sessions.push(bench.open(NAMES[which]).await.unwrap());
            }
            let (token, session) = sessions.remove(chosen.index(sessions.len()));
            let shown = bench.authenticate(&token).unwrap();
            bench.end(&session).await;
            // What is open under it is told, nobody gets in with it, no list has it, nobody can end it again.
            assert!(shown.life.is_cancelled());
            assert_eq!(bench.authenticate(&token).unwrap_err().kind(), Kind::Unauthenticated);
            let table = &bench.keeper.table;
            assert!(table.find(session.id.as_str(), None).is_none());
            let of = table.list(Some(&session.holder.viewer()), None, 500).0;
            assert!(of.iter().all(|other| other.id != session.id));
            let again = restore(&bench.running).await;
            assert_eq!(again.table.authenticate(token.expose(), &peer()).unwrap_err().kind(), Kind::Unauthenticated);
            // The others are as they were, now and after a restart.
            assert_eq!(bench.good().await, sorted(sessions.iter().map(|(_, session)| session.id.clone())));
            for (token, session) in &sessions {
                assert_eq!(*bench.authenticate(token).unwrap().id, *session.id.as_str());
                assert_eq!(again.table.authenticate(token.expose(), &peer()).unwrap().viewer, session.holder.viewer());
            }
        });
    }

    #[test]
    fn ending_all_others_keeps_exactly_the_current_one(
        opened in prop::collection::vec(0..3_usize, 1..10), chosen: prop::sample::Index,
    ) {
        block_on(async {
            let bench = Bench::start().await;
            let mut sessions = Vec::new();
            for which in &opened {
                sessions.push(bench.open(NAMES[*which]).await.unwrap().1);
            }
            let at = chosen.index(sessions.len());
            let (current, whose) = (sessions[at].id.clone(), viewer(NAMES[opened[at]]));
            let others = bench.keeper.table.others(&whose, Some(current.as_str()));
            let (ended, _) = bench.keeper.end(others).await;
            let kept = |session: &&Session| session.id == current || session.holder.viewer() != whose;
            let expect = sorted(sessions.iter().filter(kept).map(|session| session.id.clone()));
            assert_eq!(bench.good().await, expect);
            assert_eq!(ended, sessions.len() - expect.len());
            let left = bench.keeper.table.list(Some(&whose), None, 500).0;
            assert_eq!(left.into_iter().map(|session| session.id).collect::<Vec<_>>(), [current]);
        });
    }
}

#[tokio::test]
async fn a_session_is_restored_with_all_that_is_known_of_it() {
    let bench = Bench::start().await;
    let (token, session) = bench.open("ann").await.unwrap();
    bench.running.clock.advance(DAY);
    bench.authenticate(&token).unwrap();
    let live = bench.keeper.table.find(session.id.as_str(), Some(&user("ann"))).unwrap();
    assert!(bench.keeper.table.find(session.id.as_str(), Some(&user("bob"))).is_none(), "it is not bob's");
    let said = Description { device_name: Some(Some("laptop".into())), current_phase: Some(Some("combat".into())) };
    bench.keeper.describe(&live, said).await.unwrap();
    let now = Description { current_phase: Some(None), ..Description::default() };
    let described = bench.keeper.describe(&live, now).await.unwrap();
    let expect = Session {
        device: Device { name: Some("laptop".to_owned()), ..Device::default() },
        last_seen_at: session.created_at.plus(DAY),
        ..session.clone()
    };
    assert_eq!(described, expect);
    bench.keeper.store_uses().await.unwrap();
    assert!(bench.keeper.table.unstored().is_empty(), "it is not written again");
    assert_eq!(restore(&bench.running).await.table.list(None, None, 500), (vec![expect], false));
    bench.end(&session).await;
    let late = bench.keeper.describe(&live, Description { current_phase: Some(None), ..Description::default() }).await;
    assert_eq!(late.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn an_unused_session_expires_and_one_in_use_goes_on() {
    let bench = Bench::start().await;
    let ((idle, _), (used, session)) = (bench.open("ann").await.unwrap(), bench.open("ann").await.unwrap());
    let (followed, _) = bench.open("ann").await.unwrap();
    let stream = bench.authenticate(&followed).unwrap();
    let unused = bench.authenticate(&idle).unwrap().life;
    for day in 1..=60 {
        bench.running.clock.advance(DAY);
        assert_eq!(bench.keeper.table.expire_sessions(), usize::from(day == 7));
        if day % 6 == 0 {
            let shown = bench.authenticate(&used).unwrap();
            // Renewed after 15 days, and from then on at each use that comes 15 days after the last renewal.
            assert_eq!(shown.keep_cookie, (day % 18 == 0).then_some(TERMS.ttl), "day {day}");
        }
    }
    assert!(unused.is_cancelled() && !stream.life.is_cancelled());
    assert_eq!(bench.authenticate(&idle).unwrap_err().kind(), Kind::Unauthenticated);
    let live = bench.keeper.table.find(session.id.as_str(), None).unwrap();
    assert_eq!(bench.keeper.table.expires_at(&live.session()), session.created_at.plus(67 * DAY));
    // What keeps a session in use has gone: it ends a week after.
    drop(stream);
    let at_work = bench.running.runner(vec![bench.keeper.cleanup_job()]);
    bench.running.clock.advance(7 * DAY);
    for (dry_run, expired) in [(true, 3), (false, 3), (false, 0)] {
        let record = at_work.run("sessions-cleanup", dry_run).await;
        assert_eq!(record.summary.unwrap().counts["expired"], expired, "{dry_run}");
    }
    assert_eq!(bench.good().await, []);
}

#[tokio::test]
async fn one_that_expired_while_the_server_was_down_is_not_good_after_its_start() {
    let bench = Bench::start().await;
    let (token, session) = bench.open("ann").await.unwrap();
    bench.running.clock.advance(7 * DAY);
    let again = restore(&bench.running).await;
    assert_eq!(again.table.authenticate(token.expose(), &peer()).unwrap_err().kind(), Kind::Unauthenticated);
    assert!(again.table.list(None, None, 500).0.is_empty() && again.table.find(session.id.as_str(), None).is_some());
    let at_work = bench.running.runner(vec![again.cleanup_job()]);
    assert_eq!(at_work.run("sessions-cleanup", false).await.summary.unwrap().counts["expired"], 1);
    assert!(restore(&bench.running).await.table.find(session.id.as_str(), None).is_none(), "it is off the disk");
}

#[tokio::test]
async fn of_one_users_sessions_those_used_last_are_kept_unless_one_of_them_opens_more() {
    let bench = Bench::start().await;
    let current = bench.open("ann").await.unwrap().0;
    let of_bob = bench.open("bob").await.unwrap().0;
    let mut tokens = Vec::new();
    for _ in 2..SESSIONS_PER_USER_MAX {
        bench.running.clock.advance(Duration::from_secs(1));
        tokens.push(bench.open("ann").await.unwrap().0);
    }
    let shown = bench.authenticate(&current).unwrap();
    bench.running.clock.advance(Duration::from_secs(1));
    bench.authenticate(&tokens[0]).unwrap();
    // With one of them: each but the first takes the place of the one before.
    let made = SessionCreation { entropy: &bench.entropy, now: bench.running.clock.now() };
    let caller = |shown: ActiveCredential| Caller {
        viewer: user("ann"),
        administrator: false,
        peer: peer(),
        credential: Some(shown),
    };
    let mut opened = Vec::new();
    for _ in 0..3 {
        opened.push(bench.keeper.open(&caller(shown.clone()), SessionOpening::default(), &made).await.unwrap().0);
    }
    let refused = |token: &Token| bench.authenticate(token).is_err();
    assert_eq!(opened.iter().map(refused).collect::<Vec<_>>(), [true, true, false]);
    assert!(!tokens.iter().any(refused), "no other device of hers goes");
    let other = caller(bench.authenticate(&tokens[5]).unwrap());
    let full = bench.keeper.open(&other, SessionOpening::default(), &made).await.unwrap_err();
    assert_eq!(full.slug(), Some("sessions-full"));
    // By an administrator, who shows none: those that were unused for longest go. All were just used, to see that they
    // are there; of those that were used at once the oldest goes first.
    bench.running.clock.advance(Duration::from_secs(1));
    bench.authenticate(&current).unwrap();
    bench.authenticate(&tokens[0]).unwrap();
    for _ in 0..3 {
        bench.running.clock.advance(Duration::from_secs(1));
        bench.open("ann").await.unwrap();
    }
    assert_eq!(tokens.iter().map(refused).collect::<Vec<_>>()[..6], [false, true, true, true, false, false]);
    assert!(bench.authenticate(&current).is_ok() && bench.authenticate(&of_bob).is_ok());
    assert_eq!(bench.good().await.len(), SESSIONS_PER_USER_MAX + 1);
}

#[tokio::test]
async fn there_are_no_more_sessions_than_there_may_be() {
    let running = RunningRunner::start(None);
    let entropy = SeededEntropy::new(5);
    let stored = |number: usize| {
        let session = Session {
            id: SessionId::new(&format!("s{number:06}")).unwrap(),
            holder: SessionHolder::Granted(UserId::new(&format!("u{number}")).unwrap()),
            device: Device::default(),
            user_agent: None,
            address: String::new(),
            current_phase: None,
            created_at: running.clock.now(),
            renewed_at: running.clock.now(),
            last_seen_at: running.clock.now(),
            opened_by: None,
        };
        (Token::new(&entropy).hash(), session)
    };
    let cookie = SessionCookie::of_server("0a1b");
    let table =
        SessionTable::new((0..SESSIONS_MAX).map(stored).collect(), TERMS, Arc::clone(&running.clock) as _, cookie);
    let (hash, session) = stored(SESSIONS_MAX);
    let refused = table.reserve(hash, session).unwrap_err();
    assert_eq!((refused.kind(), refused.slug()), (Kind::AlreadyExists, Some("sessions-full")));
    let (page, more) = table.list(None, Some("s000002"), 500);
    assert_eq!((page.len(), more, page[0].id.as_str()), (2, false, "s000001"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn opening_and_ending_at_once_leaves_memory_and_disk_the_same() {
    let bench = Arc::new(Bench::start().await);
    let work = (0..90).map(|number| {
        let bench = Arc::clone(&bench);
        tokio::spawn(async move {
            let (token, session) = bench.open(NAMES[number % 3]).await.unwrap();
            let table = &bench.keeper.table;
            match number % 5 {
                0 => drop(bench.keeper.end(table.others(&session.holder.viewer(), None)).await),
                1 => drop(bench.keeper.end(table.find(session.id.as_str(), None).into_iter().collect()).await),
                2 => drop(bench.authenticate(&token)),
                _ => {}
            }
        })
    });
    for done in join_all(work).await {
        done.unwrap();
    }
    bench.good().await;
}

#[tokio::test]
async fn a_caller_who_goes_away_while_a_session_is_opened_leaves_none() {
    let bench = Bench::start().await;
    {
        let opening = bench.open("ann");
        let mut opening = std::pin::pin!(opening);
        // Sent to the engine; its answer is not waited for.
        assert!(futures_util::poll!(opening.as_mut()).is_pending());
    }
    assert_eq!(bench.keeper.table.list(None, None, 500).0, []);
    let at_work = bench.running.runner(vec![bench.keeper.cleanup_job()]);
    at_work.run("sessions-cleanup", false).await;
    assert_eq!(bench.good().await, []);
}

#[test]
fn a_token_is_what_people_and_scanners_know() {
    let entropy: &dyn Entropy = &SeededEntropy::new(1);
    let token = Token::new(entropy);
    assert!(token.expose().starts_with("rejoin_session_") && token.expose().len() == 58);
    assert!(!format!("{token:?}").contains(&token.expose()[15..]));
    let clock = Arc::new(crate::base::clock::ManualClock::at(Timestamp::from_millis(0)));
    let table = SessionTable::new(Vec::new(), TERMS, clock, SessionCookie::of_server("0a1b"));
    for shown in ["", "x", "rejoin_session_", token.expose(), &token.expose()[1..]] {
        assert_eq!(table.authenticate(shown, &peer()).unwrap_err().kind(), Kind::Unauthenticated, "{shown}");
    }
}
