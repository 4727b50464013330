//! Paths that mean harm, as they come over the wire.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Site, write};
use crate::support::Process;

const SECRET: &str = "TOP-SECRET";

/// A folder with a secret beside it and hidden ones in it.
fn site() -> Site {
    let site = Site::start(&[
        ("index.html", "page"),
        ("sub/x.txt", "x"),
        (".env", SECRET),
        (".git/config", SECRET),
        ("sub/.hidden", SECRET),
        (".well-known/security.txt", "well known"),
        (".well-known/.hidden", SECRET),
        ("sub/.well-known/x", SECRET),
    ]);
    write(&site.folder.path().join("secret.txt"), SECRET);
    write(&site.folder.path().join("publicity/secret.txt"), SECRET);
    write(&site.path("back\\slash.txt"), SECRET);
    site
}

#[tokio::test]
async fn no_path_leads_out_of_the_folder_or_to_hidden_files() {
    let site = site();
    let mut targets: Vec<String> = Vec::new();
    for up in ["..", "%2e%2e", ".%2e", "%2E.", "..%00", "..;", "%252e%252e", "..%5c", "..\\", "%c0%ae%c0%ae", "..%2f"] {
        for slash in ["/", "%2f", "%2F", "\\", "%5c", "//", "%252f"] {
            for depth in 1..4 {
                targets.push(format!("/{}secret.txt", format!("{up}{slash}").repeat(depth)));
                targets.push(format!("/sub/{}secret.txt", format!("{up}{slash}").repeat(depth)));
                targets.push(format!("/{}etc/passwd", format!("{up}{slash}").repeat(depth + 6)));
            }
        }
    }
    let folder = site.folder.path().to_str().unwrap();
    targets.extend([
        "/.env".into(),
        "/%2eenv".into(),
        "/./.env".into(),
        "//.env".into(),
        "/.env/".into(),
        "/.git/config".into(),
        "/.git".into(),
        "/sub/.hidden".into(),
        "/sub/%2ehidden".into(),
        "/.well-known/.hidden".into(),
        "/.well-known/../.env".into(),
        "/sub/.well-known/x".into(),
        "/back\\slash.txt".into(),
        "/back%5cslash.txt".into(),
        format!("/{folder}/secret.txt"),
        format!("{folder}/secret.txt"),
        format!("/%2f{folder}/secret.txt"),
        "/../publicity/secret.txt".into(),
        "/index.html%00".into(),
        "/index.html%00.txt".into(),
        "/%00".into(),
        "/sub/%0a".into(),
        "/sub%2fx.txt".into(),
        "/sub%2Fx.txt".into(),
        "/sub//x.txt".into(),
        "/sub/./x.txt".into(),
        "/sub/../index.html".into(),
        "/%ff".into(),
        "//".into(),
        "//sub".into(),
        "/C:/secret.txt".into(),
        "/con".into(),
        "/file:///etc/passwd".into(),
    ]);
    for target in targets {
        let reply = site.server.raw_get(&target);
        assert!(matches!(reply.status, 400 | 404), "{target}: {reply:?}");
        assert!(!reply.text.contains(SECRET) && !reply.text.contains("root:"), "{target}: {reply:?}");
        assert_eq!(reply.headers.get("location"), None, "{target}");
    }
    assert_eq!(site.server.raw_get("/.well-known/security.txt").expect(200).text, "well known");
    assert_eq!(site.server.raw_get("/sub/x.txt").expect(200).text, "x");
    // What is written as another server's, too.
    let address = site.server.address();
    let other = format!("GET http://evil.example/index.html HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    site.server.raw(other.as_bytes()).problem(400, "invalid-request");
}

#[tokio::test]
async fn links_are_followed_within_the_folder_and_nowhere_else() {
    let site = site();
    let outside = site.folder.path().join("secret.txt");
    symlink("index.html", site.path("inside.html")).unwrap();
    symlink(site.path("sub"), site.path("absolute")).unwrap();
    symlink("sub", site.path("relative")).unwrap();
    for (path, text) in [("/inside.html", "page"), ("/absolute/x.txt", "x"), ("/relative/x.txt", "x")] {
        assert_eq!(site.server.raw_get(path).expect(200).text, text, "{path}");
    }
    symlink(&outside, site.path("absolute.txt")).unwrap();
    symlink("../secret.txt", site.path("relative.txt")).unwrap();
    symlink(site.folder.path(), site.path("folder")).unwrap();
    symlink("..", site.path("up")).unwrap();
    symlink("../publicity", site.path("neighbour")).unwrap();
    symlink("absolute.txt", site.path("twice.txt")).unwrap();
    symlink("circle", site.path("circle")).unwrap();
    symlink("/dev/zero", site.path("zero")).unwrap();
    symlink("nowhere", site.path("dangling")).unwrap();
    symlink(&outside, site.path("index.html.br")).unwrap();
    fs::create_dir(site.path("listed")).unwrap();
    symlink(&outside, site.path("listed/index.html")).unwrap();
    for path in [
        "/absolute.txt",
        "/relative.txt",
        "/folder/secret.txt",
        "/folder/",
        "/up/secret.txt",
        "/up/public/index.html",
        "/neighbour/secret.txt",
        "/neighbour/",
        "/twice.txt",
        "/circle",
        "/circle/",
        "/zero",
        "/dangling",
        "/index.html.br",
        "/listed/",
    ] {
        // A way that comes back into the folder is one within it.
        let expect = if path == "/up/public/index.html" { 200 } else { 404 };
        let reply = site.server.raw_get(path);
        assert_eq!(reply.status, expect, "{path}: {reply:?}");
        assert!(!reply.text.contains(SECRET), "{path}");
    }
    let compressed = site.get_with("/index.html", &[("accept-encoding", "br")]).await;
    assert!(!compressed.text.contains(SECRET), "{compressed:?}");
    assert_eq!(site.server.log().matches("a link leads out of the folder").count(), 1, "{}", site.server.log());
}

#[tokio::test]
async fn what_is_no_regular_file_keeps_nobody_waiting() {
    let site = site();
    assert!(Command::new("mkfifo").arg(site.path("pipe")).status().unwrap().success());
    let _listening = UnixListener::bind(site.path("socket")).unwrap();
    let unreadable = site.path("unreadable");
    write(&unreadable, SECRET);
    fs::remove_file(&unreadable).unwrap();
    for path in ["/pipe", "/socket", "/sub/pipe"] {
        site.server.raw_get(path).problem(404, "not-found");
    }
}

#[tokio::test]
async fn the_servers_own_data_is_never_served() {
    let mut server = Process::start(&[]);
    let data = server.data_dir();
    let around = data.parent().unwrap().to_owned();
    write(&around.join("index.html"), "page");
    symlink(&data, around.join("link")).unwrap();
    for public in [around.as_path(), data.as_path()] {
        server.kill();
        server.start_again_with(&["--public", public.to_str().unwrap()]);
        let files: Vec<String> =
            fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        assert!(files.iter().any(|name| name.ends_with(".db")), "{files:?}");
        for file in files {
            for path in [format!("/{file}"), format!("/data/{file}"), format!("/link/{file}")] {
                server.raw_get(&path).problem(404, "not-found");
            }
        }
    }
    server.kill();
    server.start_again_with(&["--public", around.to_str().unwrap()]);
    assert_eq!(server.raw_get("/").expect(200).text, "page");
}

#[tokio::test]
async fn backups_in_the_folder_are_never_served_and_nothing_is_rescued_there() {
    let mut server = Process::start(&[]);
    let around = server.data_dir().parent().unwrap().to_owned();
    let backups = around.join("copies/all");
    write(&around.join("index.html"), "page");
    write(&around.join("copies/read.txt"), "read");
    symlink(&backups, around.join("link")).unwrap();
    server.kill();
    let folders = ["--public", around.to_str().unwrap(), "--backup-dir", backups.to_str().unwrap()];
    server.start_again_with(&folders);
    server.tell("POST", "/api/v1/admin/backups", &[], json!({})).await.expect(202);
    let end = Instant::now() + Duration::from_secs(30);
    let made = loop {
        assert!(Instant::now() < end, "{}", server.log());
        let names = fs::read_dir(&backups).into_iter().flatten().map(|entry| entry.unwrap().file_name());
        let made: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
        if made.iter().any(|name| name.ends_with(".db")) {
            break made;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    for file in made {
        for path in [format!("/copies/all/{file}"), format!("/link/{file}")] {
            server.raw_get(&path).problem(404, "not-found");
        }
    }
    assert_eq!(server.raw_get("/copies/read.txt").expect(200).text, "read");

    for folder in [around.join("copies"), around.join("link/../../copies")] {
        let to = folder.join("rescued.db");
        let refused = server.tell("POST", "/api/v1/admin/storage/rescue", &[], json!({ "to": to })).await;
        let problem = refused.problem(409, "rescue-refused");
        assert!(problem["detail"].as_str().unwrap().contains("would be served"), "{problem}");
    }
}
