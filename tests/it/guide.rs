//! The commands of the README and of the guide, run as they are written, and the pages of the guide.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use reqwest::redirect::Policy;

use crate::support::Process;

/// For all commands of one file. Generous: other work shares the machine.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Stands before the commands. `curl` takes the status that it has to see from `EXPECTED`; left out: any 2xx. Streams
/// are followed beside the commands and end with them.
const PRELUDE: &str = r#"
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
curl() {
  local expected="${EXPECTED:-2..}" body status
  body=$(mktemp -p .)
  status=$(command curl --silent --show-error --output "$body" --write-out '%{http_code}' "$@")
  cat "$body"; echo
  [[ "$status" =~ ^$expected$ ]] || { echo "status $status instead of $expected: curl $*" >&2; return 1; }
}
wait_for() { until grep -q "$1" "$2"; do sleep 0.05; done; }
"#;

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The `sh` blocks of a Markdown file as one script. A block that begins with `curl -N` follows a stream, into the file
/// `stream-<number>`; a line `# 409: …` says with which status the next command ends.
fn script(markdown: &str) -> String {
    let (mut out, mut streams) = (PRELUDE.to_owned(), 0);
    for block in markdown.split("\n```sh\n").skip(1) {
        let block = block.split_once("\n```").expect("a block has an end").0;
        if block.starts_with("curl -N ") {
            streams += 1;
            let _ = writeln!(out, "( exec {block} ) >stream-{streams} 2>/dev/null &");
            let _ = writeln!(out, "wait_for '^event: ' stream-{streams}");
            continue;
        }
        for line in block.lines() {
            match line.strip_prefix("# ").and_then(|comment| comment.split_once(": ")) {
                Some((status, _)) if status.parse::<u16>().is_ok() => drop(write!(out, "EXPECTED={status} ")),
                _ => drop(writeln!(out, "{line}")),
            }
        }
    }
    out
}

/// Runs the commands of `path` and then `more` against a new server. Returns what they printed.
async fn run(path: &str, more: &str) -> String {
    let script = script(&std::fs::read_to_string(file(path)).unwrap());
    let server = Process::start(&[]);
    let script = format!("{script}{more}").replace("localhost:7766", server.address());
    let folder = tempfile::tempdir().unwrap();
    let child = tokio::process::Command::new("bash")
        .args(["-euo", "pipefail", "-c", &script])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(TIMEOUT, child).await.unwrap_or_else(|_| panic!("{path}: no end")).unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{path}: {}\n{said}", String::from_utf8_lossy(&output.stderr));
    said
}

#[tokio::test]
async fn the_tour_of_the_readme_does_what_it_says() {
    let said = run("README.md", "\nwait_for '^event: change' stream-1; cat stream-1").await;
    for words in [
        r#""currentVersion":2"#,
        "idempotency-replayed: true",
        r#""state":{"goblins":4,"round":1}"#,
        r#""state":{"goblins":0,"private":{},"round":2}"#,
        r#""user":"bob""#,
        "event: snapshot",
    ] {
        assert!(said.contains(words), "{words} is missing in:\n{said}");
    }
}

#[tokio::test]
async fn the_commands_of_each_chapter_work() {
    let mut chapters: Vec<_> =
        std::fs::read_dir(file("src/guide")).unwrap().map(|entry| entry.unwrap().path()).collect();
    chapters.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    assert!(chapters.len() > 10, "{chapters:?}");
    for chapter in chapters {
        run(chapter.to_str().unwrap(), "").await;
    }
}

#[tokio::test]
async fn the_chapters_are_served_as_pages_without_scripts() {
    let server = Process::start(&[]);
    let client = reqwest::Client::builder().redirect(Policy::none()).build().unwrap();
    let get = |path: &str| client.get(format!("{}{path}", server.url)).send();
    let moved = get("/docs").await.unwrap();
    assert_eq!((moved.status().as_u16(), moved.headers()["location"].to_str().unwrap()), (308, "/docs/"));
    let contents = get("/docs/").await.unwrap().text().await.unwrap();
    let chapters: Vec<&str> =
        contents.split("href=\"/docs/").skip(1).filter_map(|rest| rest.split_once('"')).map(|(slug, _)| slug).collect();
    assert!(chapters.len() > 10, "{contents}");
    for chapter in chapters {
        let answer = get(&format!("/docs/{chapter}")).await.unwrap();
        assert_eq!(answer.status().as_u16(), 200, "{chapter}");
        let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
        let page = answer.text().await.unwrap();
        assert!(page.contains("<h1>") && page.contains("<h2 id=\"") && !page.contains("<script"), "{chapter}");
    }
    assert_eq!(get("/docs/nothing").await.unwrap().status().as_u16(), 404);
}
