#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic fails the test")]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::base::ids::UserId;
use crate::features::projects::members::MemberKind;
use crate::features::projects::progress::measure::{Counts, Entities, Measures, PlotLoops, ProjectProgress, Stated};
use crate::property_tests::cases;

const PROJECT: i64 = 1;
const MINUTE_MS: i64 = 60_000;

/// The tables, with a project `p` and documents of it that may come and go.
fn tables() -> Connection {
    let conn = Connection::open_in_memory().unwrap();
    conn.execute_batch(
        "CREATE TABLE documents (key INTEGER PRIMARY KEY, collection TEXT NOT NULL, id TEXT NOT NULL);
         CREATE TABLE events (document INTEGER NOT NULL, version INTEGER NOT NULL, at TEXT NOT NULL, deletes INTEGER);
         INSERT INTO documents VALUES (1, 'projects', 'p'), (2, 'x', '2'), (3, 'x', '3'), (4, 'x', '4'), (5, 'x', '5'),
                                      (6, 'x', '6');",
    )
    .unwrap();
    conn.execute_batch(include_str!("../tables.sql")).unwrap();
    conn
}

#[derive(Clone, Debug)]
enum Step {
    /// A document names a project, or none any more.
    Member(i64, Option<Member>),
    Percent(Option<u8>),
    Phase(usize),
    Notes(Option<String>),
    /// Somebody looks whether something waits.
    Look,
}

fn member() -> impl Strategy<Value = Member> {
    let kind = prop::sample::select(MemberKind::ALL.to_vec());
    let project = prop::sample::select(vec!["p", "p", "p", "other"]);
    (kind, project, 0_u64..4, any::<bool>()).prop_map(|(kind, project, words, closed)| Member {
        project: project.to_owned(),
        kind,
        words: if kind == MemberKind::Chapter { words } else { 0 },
        closed: closed && kind == MemberKind::PlotLoop,
    })
}

fn step() -> impl Strategy<Value = (i64, Step)> {
    let step = prop_oneof![
        6 => (2_i64..7, prop::option::weighted(0.8, member())).prop_map(|(key, member)| Step::Member(key, member)),
        1 => prop::option::of(0_u8..3).prop_map(Step::Percent),
        1 => (0_usize..7).prop_map(Step::Phase),
        1 => prop::option::of("[ab]").prop_map(Step::Notes),
        1 => Just(Step::Look),
    ];
    let after = prop_oneof![3 => 0_i64..20_000, 1 => 0_i64..200_000];
    (after, step)
}

/// Takes the step in the tables and in the model.
fn take(conn: &Connection, step: Step, at: Timestamp, members: &mut BTreeMap<i64, Member>, stated: &mut Stated) {
    let put = |change: &dyn Fn(&mut Stated)| {
        let mut begun = progress::begin_of(conn, "p", at).unwrap();
        change(&mut begun.row.stated);
        begun.finish(conn).unwrap();
    };
    match step {
        Step::Member(key, member) => {
            set_member(conn, key, member.as_ref(), at).unwrap();
            members.remove(&key);
            members.extend(member.map(|member| (key, member)));
        }
        Step::Percent(percent) => {
            stated.completion_percent = percent.map(f64::from);
            put(&|of| of.completion_percent = percent.map(f64::from));
        }
        Step::Notes(notes) => {
            stated.notes.clone_from(&notes);
            put(&|of| of.notes.clone_from(&notes));
        }
        Step::Phase(place) => {
            let mut begun = progress::begin_of(conn, "p", at).unwrap();
            let to = Settings::default().phases.names()[place].clone();
            let by = UserId::new("ann").unwrap();
            if begun.change_phase(conn, ("to", &to), Some("why not".to_owned()), &by).is_ok() {
                stated.phase = Some(to);
                begun.finish(conn).unwrap();
            }
        }
        Step::Look => progress::save_due_of(conn, "p", at).unwrap(),
    }
}

/// What is counted, by looking at each document.
fn naive(members: &BTreeMap<i64, Member>, stated: &Stated) -> Measures {
    let of = |wanted: &dyn Fn(&Member) -> bool| {
        members.values().filter(|member| member.project == "p" && wanted(member)).count() as u64
    };
    let loops = |closed: bool| of(&|member| member.kind == MemberKind::PlotLoop && member.closed == closed);
    let entities = Entities {
        chapters: of(&|member| member.kind == MemberKind::Chapter),
        characters: of(&|member| member.kind == MemberKind::Character),
        wiki_entries: of(&|member| member.kind == MemberKind::WikiEntry),
        plot_loops: PlotLoops { open: loops(false), closed: loops(true) },
    };
    let words = members.values().filter(|member| member.project == "p").map(|member| member.words).sum();
    let counts = Counts { words, entities };
    Measures::new(&Settings::default(), stated, counts)
}

fn history(conn: &Connection) -> Vec<ProjectProgress> {
    let found = snapshots::page(conn, PROJECT, (false, None), 100_000).unwrap();
    found.into_iter().map(|(_, progress)| progress).collect()
}

fn rows_of_project(conn: &Connection) -> i64 {
    let sql = "SELECT (SELECT count(*) FROM projects_progress) + (SELECT count(*) FROM projects_snapshots)
                    + (SELECT count(*) FROM projects_phases)
                    + (SELECT count(*) FROM projects_members WHERE project = 'p')
                    + (SELECT count(*) FROM projects_counts WHERE project = 'p')";
    conn.query_row(sql, (), |row| row.get(0)).unwrap()
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn a_snapshot_holds_every_metric_and_history_is_ordered_by_time(
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let conn = tables();
        let mut time = 1_763_616_000_000;
        set_project(&conn, (PROJECT, "p"), &Settings::default(), Timestamp::from_millis(time)).unwrap();
        let (mut members, mut stated) = (BTreeMap::new(), Stated::default());
        // The progress after each change, by its version.
        let mut versions = vec![(naive(&members, &stated), time)];
        for (after, step) in steps {
            time += after;
            take(&conn, step, Timestamp::from_millis(time), &mut members, &mut stated);
            let now = naive(&members, &stated);
            if versions.last().unwrap().0 != now {
                versions.push((now.clone(), time));
            }
            let row = progress::find(&conn, "p").unwrap().unwrap();
            prop_assert_eq!(row.progress(&conn).unwrap().measures, now);
            prop_assert_eq!(row.version, versions.len() as u64);
        }
        progress::save_due_of(&conn, "p", Timestamp::from_millis(time + MINUTE_MS)).unwrap();
        let history = history(&conn);
        for saved in &history {
            let (measures, at) = &versions[usize::try_from(saved.version).unwrap() - 1];
            prop_assert_eq!((&saved.measures, saved.at.as_millis()), (measures, *at));
        }
        prop_assert!(history.windows(2).all(|pair| pair[0].at <= pair[1].at && pair[0].version < pair[1].version));
        prop_assert!(history.windows(2).all(|pair| pair[0].measures != pair[1].measures), "one is as the one before");
        let apart = |pair: &[ProjectProgress]| pair[2].at.as_millis() - pair[0].at.as_millis() >= MINUTE_MS;
        prop_assert!(history.windows(3).all(apart), "more than one a minute");
        prop_assert_eq!(&history.last().unwrap().measures, &versions.last().unwrap().0);
    }

    #[test]
    fn deleting_a_project_leaves_nothing_of_it(steps in prop::collection::vec(step(), 1..40)) {
        let conn = tables();
        let mut time = 1_763_616_000_000;
        set_project(&conn, (PROJECT, "p"), &Settings::default(), Timestamp::from_millis(time)).unwrap();
        let (mut members, mut stated) = (BTreeMap::new(), Stated::default());
        for (after, step) in steps {
            time += after;
            take(&conn, step, Timestamp::from_millis(time), &mut members, &mut stated);
        }
        let others = members.values().filter(|member| member.project != "p").count() as i64;
        // As the engine does: the tombstones first, then what belongs to them.
        let of_project = members.iter().filter(|(_, member)| member.project == "p").map(|(key, _)| *key);
        let deleted: Vec<i64> = of_project.chain([PROJECT]).collect();
        let at = Timestamp::from_millis(time).to_string();
        for key in &deleted {
            conn.execute("INSERT INTO events VALUES (?1, 9, ?2, 1)", (key, &at)).unwrap();
        }
        deleted.iter().for_each(|key| remove(&conn, *key).unwrap());
        prop_assert_eq!(rows_of_project(&conn), 0);
        let left: i64 = conn.query_row("SELECT count(*) FROM projects_members", (), |row| row.get(0)).unwrap();
        prop_assert_eq!(left, others);
    }
}

#[test]
fn snapshots_that_are_too_many_are_thinned_to_the_last_of_each_quarter_of_an_hour() {
    let conn = tables();
    let measures = naive(&BTreeMap::new(), &Stated::default());
    let began = 1_763_615_700_000_i64;
    let all = i64::try_from(crate::features::projects::limits::SNAPSHOTS_MAX).unwrap() + 1;
    conn.execute_batch("BEGIN").unwrap();
    for minute in 0..all {
        let at = Timestamp::from_millis(began + minute * MINUTE_MS);
        let progress = ProjectProgress { measures: measures.clone(), version: minute as u64 + 1, at };
        snapshots::insert(&conn, PROJECT, &progress).unwrap();
    }
    conn.execute_batch("COMMIT").unwrap();
    let kept: Vec<i64> =
        history(&conn).iter().map(|saved| (saved.at.as_millis() - began) / MINUTE_MS).take(40).collect();
    let expected: Vec<i64> = (0..35).map(|quarter| quarter * 15 + 14).chain(535..540).collect();
    assert_eq!(kept, expected, "of the oldest 535, 500 are gone");
}
