#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic fails the test")]

use std::collections::HashSet;

use serde_json::{Value, json};
use tokio::time::{advance, timeout};

use super::*;
use crate::base::clock::{ManualClock, Timestamp};
use crate::base::ids::{Collection, Seq};
use crate::base::limits::{
    PRESENCE_ENTRIES_MAX, PRESENCE_PARTICIPANTS_MAX, PRESENCE_PLAYERS_MAX, STREAM_WRITE_BYTES_MAX,
};
use crate::document::chain::Hash;
use crate::live::ring::RingBounds;
use crate::live::topics::WakeReason;

const DEBOUNCE: Duration = Duration::from_secs(2);
const HOUR_MS: u64 = 3_600_000;

fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

fn game(id: &str) -> DocumentName {
    DocumentName::new("games", id).unwrap()
}

fn moment(ms: u64) -> PresenceTime {
    PresenceTime { at: Timestamp::from_millis(i64::try_from(ms).unwrap()), tick: Duration::from_millis(ms) }
}

/// The data of each frame, which must be nothing but `presence` without an id.
fn data_of(frames: &Bytes) -> Vec<Value> {
    let text = std::str::from_utf8(frames).unwrap();
    let frames = text.split_terminator("\n\n");
    frames.map(|frame| serde_json::from_str(frame.strip_prefix("event: presence\ndata: ").unwrap()).unwrap()).collect()
}

/// Who did what, and who is there then: `alice lost: -alice +bob`.
fn line(data: &Value) -> String {
    let mut out = String::new();
    if let Some(change) = data.get("change") {
        out = format!("{} {}:", change["playerId"].as_str().unwrap(), change["event"].as_str().unwrap());
    }
    for player in data["players"].as_array().unwrap() {
        let sign = if player["connected"] == true { '+' } else { '-' };
        out += &format!(" {sign}{}", player["playerId"].as_str().unwrap());
    }
    out.trim().to_owned()
}

/// One game, with somebody who watches it from the start.
struct TestTable {
    registry: RoomRegistry,
    seen: PresenceCursor,
}

impl TestTable {
    fn new() -> Self {
        let registry = RoomRegistry::new(DEBOUNCE, Arc::default());
        let seen = registry.begin();
        Self { registry, seen }
    }

    fn enter(&mut self, ms: u64, id: &str) {
        assert!(self.registry.connected(&game("g1"), &user(id), moment(ms)));
    }

    fn exit(&mut self, ms: u64, id: &str) {
        self.registry.disconnected(&game("g1"), &user(id), moment(ms));
    }

    /// Lets time pass until then, and returns all that the watcher was told, with when.
    fn told_until(&mut self, ms: u64) -> Vec<(u64, String)> {
        let mut told = Vec::new();
        while let Some(due) = self.registry.next_due().filter(|due| *due <= Duration::from_millis(ms)) {
            let due = u64::try_from(due.as_millis()).unwrap();
            let names = self.registry.run_due(moment(due));
            assert!(
                self.registry.next_due().is_none_or(|next| next > Duration::from_millis(due)),
                "it does not go on for ever"
            );
            let (frames, more) = self.registry.next_frames(
                &Interest::document(game("g1")),
                &mut self.seen,
                (&HashSet::new(), u64::MAX),
                moment(due),
            );
            assert_eq!((names.is_empty(), more), (frames.is_empty(), false));
            told.extend(data_of(&frames).iter().map(|data| (due, line(data))));
        }
        told
    }

    fn standing(&self, ms: u64, id: &str) -> Option<PlayerPresence> {
        self.registry.presence_of(&game("g1"), &user(id), moment(ms))
    }
}

fn received(entries: &[(u64, &str)]) -> Vec<(u64, String)> {
    entries.iter().map(|(ms, text)| (*ms, (*text).to_owned())).collect()
}

#[test]
fn who_comes_is_told_at_once_and_who_goes_after_the_debounce() {
    let mut table = TestTable::new();
    table.enter(1000, "alice");
    assert_eq!(table.told_until(1000), received(&[(1000, "alice connected: +alice")]));
    table.exit(5000, "alice");
    assert_eq!(table.told_until(6999), []);
    assert!(table.standing(6999, "alice").unwrap().connected);
    assert_eq!(table.told_until(7000), received(&[(7000, "alice lost: -alice")]));
    let standing = table.standing(7500, "alice").unwrap();
    let gone = Timestamp::from_millis(5000);
    assert_eq!(
        standing,
        PlayerPresence { connected: false, last_seen: Some(gone), since: Some(gone) },
        "not since it was told"
    );
    table.enter(10_000, "alice");
    assert_eq!(table.told_until(20_000), received(&[(10_000, "alice returned: +alice")]));
    let standing = table.standing(20_000, "alice").unwrap();
    let (came, now) = (Timestamp::from_millis(10_000), Timestamp::from_millis(20_000));
    assert_eq!(standing, PlayerPresence { connected: true, last_seen: Some(now), since: Some(came) });
}

#[test]
fn nobody_hears_of_a_reload_nor_of_one_tab_of_two() {
    let mut table = TestTable::new();
    table.enter(1000, "alice");
    table.told_until(1000);
    table.exit(5000, "alice");
    table.enter(6999, "alice");
    assert_eq!(table.told_until(60_000), []);
    table.enter(60_000, "alice");
    table.exit(61_000, "alice");
    assert_eq!(table.told_until(120_000), []);
    assert_eq!(table.standing(120_000, "alice").unwrap().since, Some(Timestamp::from_millis(1000)));
    table.exit(120_000, "alice");
    assert_eq!(table.told_until(130_000), received(&[(122_000, "alice lost: -alice")]));
}

#[test]
fn a_line_that_flaps_is_told_of_seldom() {
    let mut table = TestTable::new();
    table.enter(0, "alice");
    table.told_until(0);
    let flap = |table: &mut TestTable, start: u64, down: u64, up: u64, rounds: u64| {
        let mut all = Vec::new();
        for round in 0..rounds {
            let start = start + round * (down + up);
            table.exit(start, "alice");
            all.extend(table.told_until(start + down));
            table.enter(start + down, "alice");
            all.extend(table.told_until(start + down + up));
        }
        all
    };
    assert_eq!(flap(&mut table, 10_000, 1900, 100, 20), [], "never away for long");
    // Long enough away to be lost each time, and back for a moment.
    let all = flap(&mut table, 100_000, 2500, 100, 20);
    assert!(all.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 2000 && pair[0].1 != pair[1].1), "{all:?}");
    table.told_until(200_000);
    assert!(table.standing(200_000, "alice").unwrap().connected, "in the end what is so");
}

#[test]
fn a_visit_that_ends_before_it_is_told_leaves_no_trace() {
    let mut table = TestTable::new();
    table.enter(1000, "alice");
    table.exit(1000, "alice");
    assert_eq!(table.told_until(2 * HOUR_MS), []);
    assert_eq!((table.registry.entries(), table.registry.next_due()), (0, None));
}

#[test]
fn seats_are_told_of_with_and_without_connections() {
    let mut table = TestTable::new();
    table.registry.join(&game("g1"), &user("alice"), moment(1000));
    table.registry.join(&game("g1"), &user("alice"), moment(1001));
    assert_eq!(table.told_until(1001), received(&[(0, "alice join: -alice")]));
    let since = Timestamp::from_millis(1000);
    assert_eq!(
        table.standing(1500, "alice"),
        Some(PlayerPresence { connected: false, last_seen: None, since: Some(since) })
    );
    table.enter(2000, "alice");
    assert_eq!(table.told_until(3000), received(&[(2000, "alice connected: +alice")]));
    table.registry.leave(&game("g1"), &user("alice"), moment(4000));
    assert_eq!(table.told_until(4000).pop().unwrap().1, "alice leave: +alice", "still there, to watch");
    table.registry.join(&game("g1"), &user("alice"), moment(5000));
    table.exit(6000, "alice");
    table.told_until(9000);
    table.registry.leave(&game("g1"), &user("alice"), moment(10_000));
    assert_eq!(table.told_until(10_000).pop().unwrap().1, "alice leave:");
    assert_eq!(table.standing(10_000, "alice"), None);
    table.registry.leave(&game("g1"), &user("bob"), moment(20_000));
    assert_eq!(table.told_until(20_000).pop().unwrap().1, "bob leave:", "seated before the server was started again");
}

#[test]
fn a_crowd_is_told_of_in_few_events_and_no_further_than_the_bounds() {
    let mut table = TestTable::new();
    let mut all = Vec::new();
    let mut refused = 0;
    for n in 0..PRESENCE_PLAYERS_MAX + 50 {
        let now = u64::try_from(n).unwrap();
        refused += usize::from(!table.registry.connected(&game("g1"), &user(&format!("u{n}")), moment(now)));
        all.extend(table.told_until(now));
    }
    all.extend(table.told_until(10_000));
    assert_eq!((all.len(), refused, table.registry.entries()), (2, 50, PRESENCE_PLAYERS_MAX + 1));
    // There is room at the table all the same.
    for n in 0..PRESENCE_PARTICIPANTS_MAX + 5 {
        table.registry.join(&game("g1"), &user(&format!("s{n}")), moment(20_000));
    }
    assert_eq!(table.registry.entries(), PRESENCE_PLAYERS_MAX + PRESENCE_PARTICIPANTS_MAX + 1);
    // One who did not count is not counted out.
    table.exit(20_000, "u149");
    assert_eq!(table.told_until(30_000).len(), 1);
}

#[test]
fn in_all_there_is_a_bound_and_what_is_over_is_forgotten_after_an_hour() {
    let mut registry = RoomRegistry::new(DEBOUNCE, Arc::default());
    let names: Vec<_> = (0..=PRESENCE_ENTRIES_MAX / 2).map(|n| game(&format!("g{n}"))).collect();
    let counted = names.iter().filter(|name| registry.connected(name, &user("alice"), moment(0))).count();
    assert_eq!((counted, registry.entries()), (PRESENCE_ENTRIES_MAX / 2, PRESENCE_ENTRIES_MAX));
    assert_eq!(registry.run_due(moment(0)).len(), counted);
    names.iter().for_each(|name| registry.disconnected(name, &user("alice"), moment(0)));
    assert_eq!(registry.run_due(moment(2000)).len(), counted);
    registry.run_due(moment(HOUR_MS - 1));
    assert_eq!(registry.entries(), PRESENCE_ENTRIES_MAX);
    registry.run_due(moment(HOUR_MS));
    assert_eq!(registry.presence_of(&game("g1"), &user("alice"), moment(HOUR_MS)), None);
    registry.run_due(moment(2 * HOUR_MS));
    assert_eq!((registry.entries(), registry.next_due()), (0, None));
}

#[test]
fn newcomers_get_the_present_once_and_the_slow_only_the_newest() {
    let mut table = TestTable::new();
    let slow_from = table.registry.begin();
    table.enter(0, "alice");
    table.told_until(0);
    let (interest, mut seen) = (Interest::document(game("g1")), table.registry.begin());
    let (frames, _) = table.registry.next_frames(&interest, &mut seen, (&HashSet::new(), u64::MAX), moment(500));
    let [data] = &data_of(&frames)[..] else { panic!() };
    let at = "1970-01-01T00:00:00.500Z";
    let alice = json!({ "playerId": "alice", "connected": true, "lastSeen": at, "since": "1970-01-01T00:00:00.000Z" });
    assert_eq!(data, &json!({ "collection": "games", "id": "g1", "players": [alice], "at": at }), "no change is news");
    assert!(table.registry.next_frames(&interest, &mut seen, (&HashSet::new(), u64::MAX), moment(600)).0.is_empty());

    for n in 1..10 {
        table.enter(n * 1000, &format!("u{n}"));
        assert_eq!(table.told_until(n * 1000).len(), 1);
    }
    let mut slow = slow_from;
    let (frames, _) = table.registry.next_frames(&interest, &mut slow, (&HashSet::new(), u64::MAX), moment(9999));
    let lines: Vec<_> = data_of(&frames).iter().map(line).collect();
    assert_eq!(lines, ["u9 connected: +alice +u1 +u2 +u3 +u4 +u5 +u6 +u7 +u8 +u9"]);
    // Of another game nothing is said, of nobody's game neither.
    let mut other = table.registry.begin();
    assert!(
        table
            .registry
            .next_frames(&Interest::document(game("g2")), &mut other, (&HashSet::new(), u64::MAX), moment(9999))
            .0
            .is_empty()
    );
}

#[test]
fn a_stream_over_a_collection_is_told_of_all_its_documents_in_bounded_pieces() {
    let mut registry = RoomRegistry::new(DEBOUNCE, Arc::default());
    let count = 3000;
    for n in 0..count {
        assert!(registry.connected(&game(&format!("g{n}")), &user("alice"), moment(0)));
    }
    assert!(registry.connected(&DocumentName::new("chat", "c1").unwrap(), &user("alice"), moment(0)));
    registry.run_due(moment(0));
    let collections = HashSet::from([Collection::new("games").unwrap()]);
    let interest = Interest { documents: HashSet::new(), collections };
    let (mut seen, mut names) = (registry.begin(), HashSet::new());
    for _ in 0..100 {
        let (frames, more) = registry.next_frames(&interest, &mut seen, (&HashSet::new(), u64::MAX), moment(1));
        assert!(frames.len() < STREAM_WRITE_BYTES_MAX + 1000);
        for data in data_of(&frames) {
            assert!(data.get("change").is_none() && names.insert(data["id"].as_str().unwrap().to_owned()), "{data}");
        }
        if !more {
            break;
        }
    }
    assert_eq!(names.len(), count);
}

#[test]
fn a_stream_pays_little_for_it() {
    assert!(size_of::<PresenceSubscription>() <= 64, "{}", size_of::<PresenceSubscription>());
}

#[tokio::test(start_paused = true)]
async fn streams_that_end_are_counted_out_and_those_who_watch_are_woken() {
    let bounds = RingBounds { events_max: 10, bytes_max: 1000 };
    let hub = Arc::new(Hub::new((Seq::ZERO, Hash::ZERO), bounds));
    let presence = Presence::new(Arc::clone(&hub), Arc::new(ManualClock::default()), DEBOUNCE, Arc::default());
    let task = tokio::spawn(Arc::clone(&presence).run());
    let interest = Arc::new(Interest::document(game("g1")));
    let watcher = hub.subscribe(Arc::clone(&interest));
    let mut owner = presence.subscribe(None, Arc::clone(&interest), &HashSet::new());
    let alice = || presence.subscribe(Some(user("alice")), Arc::clone(&interest), &HashSet::new());
    let (first, second) = (alice(), alice());
    assert_eq!(watcher.woken().await, WakeReason::PRESENCE);
    assert_eq!(data_of(&owner.next_frames().0).iter().map(line).collect::<Vec<_>>(), ["alice connected: +alice"]);
    drop(first);
    assert!(timeout(DEBOUNCE * 10, watcher.woken()).await.is_err(), "one is still open");
    drop(second);
    let third = alice();
    assert!(timeout(DEBOUNCE * 10, watcher.woken()).await.is_err(), "a reload");
    drop(third);
    assert!(timeout(DEBOUNCE - Duration::from_millis(1), watcher.woken()).await.is_err());
    advance(Duration::from_millis(5)).await;
    assert_eq!(watcher.woken().await, WakeReason::PRESENCE);
    assert!(!presence.player(&game("g1"), &user("alice")).unwrap().connected);
    presence.joined(&game("g1"), &user("bob"));
    watcher.woken().await;
    presence.left(&game("g1"), &user("bob"));
    watcher.woken().await;
    assert_eq!(data_of(&owner.next_frames().0).iter().map(line).collect::<Vec<_>>(), ["bob leave: -alice"]);
    // Whoever waits for changes only is not disturbed.
    presence.joined(&game("g1"), &user("carol"));
    assert!(timeout(DEBOUNCE, watcher.changed()).await.is_err());
    task.abort();
}

#[test]
fn who_was_seated_before_the_start_is_listed_as_gone_without_news() {
    let mut table = TestTable::new();
    let changes = table.registry.participants_to_load(&game("g1")).unwrap();
    assert!(table.registry.add_known(&game("g1"), &[user("alice"), user("bob")], changes, moment(1000)));
    assert_eq!(table.registry.participants_to_load(&game("g1")), None, "once");
    assert_eq!(table.told_until(60_000), []);
    let nobody_knows = PlayerPresence { connected: false, last_seen: None, since: None };
    assert_eq!(table.standing(60_000, "bob"), Some(nobody_knows));
    let mut seen = table.registry.begin();
    let (frames, _) = table.registry.next_frames(
        &Interest::document(game("g1")),
        &mut seen,
        (&HashSet::new(), u64::MAX),
        moment(60_000),
    );
    let data = data_of(&frames);
    assert_eq!((line(&data[0]), &data[0]["players"][0]["since"]), ("-alice -bob".to_owned(), &Value::Null));
    table.enter(70_000, "bob");
    assert_eq!(table.told_until(80_000), received(&[(70_000, "bob returned: -alice +bob")]));
    table.exit(80_000, "bob");
    assert_eq!(table.told_until(85_000), received(&[(82_000, "bob lost: -alice -bob")]));
    table.registry.leave(&game("g1"), &user("alice"), moment(90_000));
    assert_eq!(table.told_until(95_000).len(), 1);
    // When all have been gone for an hour it is forgotten, and asked for again.
    table.told_until(100_000 + 2 * HOUR_MS);
    let late = table.registry.participants_to_load(&game("g1")).unwrap();
    assert_eq!(table.registry.entries(), 0);
    table.registry.join(&game("g2"), &user("alice"), moment(100_000));
    assert!(!table.registry.add_known(&game("g1"), &[], late, moment(100_000)), "it may be otherwise by now");
}

#[test]
fn who_has_a_seat_is_listed_for_as_long_as_anybody_else_is_there() {
    let mut table = TestTable::new();
    table.registry.join(&game("g1"), &user("alice"), moment(0));
    table.enter(0, "bob");
    table.enter(0, "watcher");
    table.told_until(1000);
    table.exit(2000, "watcher");
    table.told_until(10_000);
    table.told_until(3 * HOUR_MS);
    assert!(table.standing(3 * HOUR_MS, "alice").is_some());
    assert!(table.standing(3 * HOUR_MS, "watcher").is_none());
}
