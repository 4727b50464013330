//! The kill loop and the storm: the real binary under writers and subscribers, killed at random moments, or on a disk
//! that fails and returns, again and again.
//!
//! Writers retry under their idempotency keys until they have an answer; subscribers come back with nothing but the
//! last id that they saw. After each start everything that was acknowledged must be there, in histories that verify; at
//! the end every subscriber must have got exactly the log of its documents, and every key must have made one change.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::RngExt;

use crate::support::{Disk, Process};

mod load;

use load::{Log, World, begin, finish, seed, subscribe};

const KILLS: usize = 25;
const STORMS: usize = 12;
/// Small bounds, so that streams read from disk and documents come and go.
const FLAGS: [&str; 5] = [
    "--heartbeat-seconds=1",
    "--history-events=1000000",
    "--ring-events-max=2048",
    "--hot-documents-max=3",
    "--log=warn",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_and_nobody_misses_a_change_however_often_the_server_is_killed() {
    let mut random = seed();
    let mut server = Process::start(&FLAGS);
    let (world, mut log) = (World::new(&server, false), Log::default());
    let (writers, mut subscribers) = begin(&server, &world, &mut random).await;
    for round in 0..KILLS {
        let delay = if round % 5 == 4 { random.random_range(0..20) } else { random.random_range(50..500) };
        tokio::time::sleep(Duration::from_millis(delay)).await;
        server.kill();
        server.start_again();
        log.check(&server, &world).await;
        if round % 5 == 0 {
            subscribe(&world, &mut subscribers, round / 5);
        }
    }
    finish(&mut server, &world, writers, subscribers, log).await;
    let reconnects = world.reconnects.load(Ordering::Relaxed);
    assert!(reconnects > KILLS, "{reconnects}: the subscribers were put to the test");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_nobody_misses_a_change_however_often_the_disk_fails_and_returns() {
    let mut random = seed();
    let (disk, mut server) = Disk::with_server(&[&FLAGS[..], &["--backlog-events-max=300"]].concat());
    let (world, log) = (World::new(&server, true), Log::default());
    let (writers, mut subscribers) = begin(&server, &world, &mut random).await;
    for round in 0..STORMS {
        let fault = ["enospc", "eio-fsync", "short", "eio-write"][round % 4];
        for state in [fault, "off"] {
            disk.set(state);
            tokio::time::sleep(Duration::from_millis(random.random_range(20..600))).await;
        }
        subscribe(&world, &mut subscribers, round);
    }
    server.until_ready(|status, report| status == 200 && report["storage"]["state"] == "ok").await;
    let pending = world.pending.load(Ordering::Relaxed);
    finish(&mut server, &world, writers, subscribers, log).await;
    assert!(pending > STORMS, "{pending}: the disk was put to the test");
}
