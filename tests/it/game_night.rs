//! The main job: real hands at forty tables, every player watching, the server killed in the middle.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::{sleep, timeout};

use crate::support::{Dice, Process};

/// An example program. `cargo test` has built them all; whoever runs only these tests may have none, or an old one.
fn example(name: &str) -> PathBuf {
    let built = std::process::Command::new(env!("CARGO")).args(["build", "--locked", "--example", name]).status();
    assert!(built.unwrap().success());
    Path::new(env!("CARGO_BIN_EXE_rejoin")).with_file_name("examples").join(name)
}

/// The number that the summary gives for `what`.
fn summed(summary: &str, what: &str) -> u64 {
    let line = summary.lines().find(|line| line.starts_with(what)).unwrap_or_else(|| panic!("no {what}: {summary}"));
    let number = line.trim_start_matches(what).trim().split([' ', ',']).next().unwrap();
    number.parse().unwrap_or_else(|_| panic!("{line}"))
}

#[tokio::test]
async fn real_hands_come_out_right_and_every_player_sees_every_change_across_kills_in_mid_hand() {
    let seed = std::process::id().into();
    eprintln!("seed {seed}");
    let mut dice = Dice::new(seed);
    let mut server = Process::start_program(&example("poker"), &[], &[]);
    let mut replay = Command::new(example("replay"));
    replay.args(["--server", &server.url, "--tables", "40", "tests/fixtures/hands"]).kill_on_drop(true);
    let replay = replay.current_dir(env!("CARGO_MANIFEST_DIR")).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut replay = replay.spawn().unwrap();
    let mut kills = 0;
    for _ in 0..5 {
        // Not waiting for anything: a kill comes when it comes.
        sleep(Duration::from_millis(150 + dice.below(400))).await;
        if replay.try_wait().unwrap().is_some() {
            break;
        }
        server.kill();
        kills += 1;
        server.start_again();
    }
    let ended = timeout(Duration::from_secs(120), replay.wait_with_output()).await.expect("the replay ends").unwrap();
    let (summary, said) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "{summary}{said}");
    assert_eq!(summed(&summary, "hands"), 60, "{summary}");
    assert!(kills > 0 && summed(&summary, "reconnects") > 0 && summed(&summary, "events received") > 0, "{summary}");
}
