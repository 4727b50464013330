//! The folder of `--public`: what of it is served at `/`, and how.

mod hostile;
mod replaced;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;

use crate::support::process::{command, run_to_end};
use crate::support::{Process, Reply};

/// A folder and a server of its files.
struct Site {
    folder: TempDir,
    server: Process,
}

impl Site {
    fn start(files: &[(&str, &str)]) -> Self {
        Self::start_with(files, &[])
    }

    fn start_with(files: &[(&str, &str)], flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Beside it lies what must not be served.
        fs::create_dir(folder.path().join("public")).unwrap();
        for (path, text) in files {
            write(&folder.path().join("public").join(path), text);
        }
        let public = folder.path().join("public");
        let flags = [&["--public", public.to_str().unwrap()], flags].concat();
        let server = Process::start(&flags);
        Self { folder, server }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("public").join(name)
    }

    async fn get(&self, path: &str) -> Reply {
        self.server.ask("GET", path, &[]).await
    }

    async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.server.ask("GET", path, headers).await
    }
}

fn write(path: &Path, text: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[tokio::test]
async fn files_have_their_types_and_folders_their_index_and_no_listing() {
    let site = Site::start(&[
        ("index.html", "<h1>Table</h1>"),
        ("a b/ä.js", "let a;"),
        ("style.css", "p{}"),
        ("data.json", "{\"a\":1}"),
        ("sub/index.html", "sub"),
        ("bare/x.txt", "x"),
        ("picture.svg", "<svg/>"),
        ("code.wasm", "\0asm"),
        ("unknown.xyzzy", "?"),
        ("empty.html", ""),
    ]);
    for (path, media_type, text) in [
        ("/", "text/html; charset=utf-8", "<h1>Table</h1>"),
        ("/index.html", "text/html; charset=utf-8", "<h1>Table</h1>"),
        ("/?a=b", "text/html; charset=utf-8", "<h1>Table</h1>"),
        ("/a%20b/%C3%A4.js", "text/javascript; charset=utf-8", "let a;"),
        ("/style.css", "text/css; charset=utf-8", "p{}"),
        ("/data.json", "application/json", "{\"a\":1}"),
        ("/sub/", "text/html; charset=utf-8", "sub"),
        ("/bare/x.txt", "text/plain; charset=utf-8", "x"),
        ("/picture.svg", "image/svg+xml", "<svg/>"),
        ("/code.wasm", "application/wasm", "\0asm"),
        ("/unknown.xyzzy", "application/octet-stream", "?"),
        ("/empty.html", "text/html; charset=utf-8", ""),
    ] {
        let reply = site.get(path).await.expect(200);
        assert_eq!((reply.header("content-type"), reply.text.as_str()), (media_type, text), "{path}");
        assert_eq!(reply.header("content-length"), text.len().to_string(), "{path}");
        assert_eq!(reply.header("cache-control"), "no-cache", "{path}");
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{path}");
        let head = site.server.ask("HEAD", path, &[]).await.expect(200);
        for name in ["content-type", "content-length", "etag", "cache-control"] {
            assert_eq!(head.header(name), reply.header(name), "{path}: {name}");
        }
    }
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let moved = client.get(format!("{}/sub?a=b", site.server.url)).send().await.unwrap();
    assert_eq!((moved.status().as_u16(), moved.headers()["location"].to_str().unwrap()), (307, "/sub/?a=b"));
    for path in ["/bare/", "/nowhere", "/index.html/", "/index.html/x", "/sub/none"] {
        site.get(path).await.problem(404, "not-found");
    }
    let long = format!("/{}", "x".repeat(300));
    site.get(&long).await.problem(404, "not-found");
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let refused = site.server.ask(method, "/index.html", &[]).await;
        assert_eq!(refused.header("allow"), "GET, HEAD", "{method}");
        refused.problem(405, "method-not-allowed");
    }
}

#[tokio::test]
async fn the_servers_own_paths_stay_its_own_and_its_page_moves() {
    let own = [
        "api/v1/me",
        "api/v1/x/y/z",
        "reconciliation/x",
        "audit/x",
        "client/x.js",
        "docs/x",
        "join",
        "healthz",
        "readyz",
        "metrics",
        "openapi.json",
        "problems/x",
        "_/x",
        "login",
    ];
    let mut files: Vec<(&str, &str)> = own.iter().map(|path| (*path, "mine")).collect();
    files.extend([("index.html", "mine"), ("favicon.ico", "mine"), ("apis.txt", "mine")]);
    let site = Site::start(&files);
    for path in own {
        let first = path.split('/').next().unwrap();
        let encoded = format!("%{:02x}{}", path.as_bytes()[0], &path[1..]);
        for path in [path.to_owned(), encoded, format!("{first}/"), format!("/{path}"), format!("./{path}")] {
            let reply = site.server.raw_get(&format!("/{path}"));
            assert_ne!(reply.text, "mine", "/{path}");
        }
    }
    for path in ["/", "/favicon.ico", "/apis.txt"] {
        assert_eq!(site.get(path).await.expect(200).text, "mine", "{path}");
    }
    let page = site.get("/_/").await.expect(200);
    assert!(page.text.contains(&format!("curl -X POST {}/api/v1/", site.server.url)), "{}", page.text);
    assert!(page.text.contains("href=\"/_/favicon.svg\""), "{}", page.text);
    assert_eq!(site.get("/_/favicon.svg").await.expect(200).header("content-type"), "image/svg+xml");
    let redirected = site.get("/_").await.expect(200);
    assert_eq!(redirected.text, page.text);
    assert_eq!(site.get("/openapi.json").await.expect(200).body["paths"].get("/"), None);
}

#[tokio::test]
async fn without_a_folder_the_servers_page_is_at_both_places() {
    let server = Process::start(&[]);
    let page = server.ask("GET", "/", &[]).await.expect(200).text;
    assert_eq!(server.ask("GET", "/_/", &[]).await.expect(200).text, page);
    server.ask("GET", "/index.html", &[]).await.problem(404, "not-found");
}

#[tokio::test]
async fn a_folder_without_index_or_icon_says_where_to_go_and_shows_the_servers_icon() {
    let site = Site::start(&[]);
    let problem = site.get("/").await.problem(404, "not-found");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("index.html") && detail.contains("/_/"), "{detail}");
    for path in ["/favicon.ico", "/favicon.svg"] {
        assert_eq!(site.get(path).await.expect(200).header("content-type"), "image/svg+xml", "{path}");
    }
}

#[tokio::test]
async fn what_a_browser_has_is_not_sent_again_and_a_new_file_is() {
    let site = Site::start(&[("index.html", "one"), ("data.json", "{}")]);
    for path in ["/", "/data.json"] {
        let first = site.get(path).await.expect(200);
        let (tag, time) = (first.header("etag"), first.header("last-modified"));
        for headers in [&[("if-none-match", tag)][..], &[("if-none-match", "\"x\", *")], &[("if-modified-since", time)]]
        {
            let known = site.get_with(path, headers).await;
            let is_star = headers[0].1.ends_with('*');
            assert_eq!(
                (known.status, known.text.as_str()),
                if is_star { (200, first.text.as_str()) } else { (304, "") }
            );
            assert_eq!(known.header("etag"), tag);
            assert_eq!(known.header("cache-control"), "no-cache");
        }
        site.get_with(path, &[("if-match", "\"x\"")]).await.expect(412);
    }
    let tag = site.get("/").await.header("etag").to_owned();
    // The same length, and the same time of modification, as builds give to all files.
    let modified = fs::metadata(site.path("index.html")).unwrap().modified().unwrap();
    write(&site.path("new"), "two");
    fs::File::open(site.path("new")).unwrap().set_modified(modified).unwrap();
    fs::rename(site.path("new"), site.path("index.html")).unwrap();
    let changed = site.get_with("/", &[("if-none-match", &tag)]).await.expect(200);
    assert_eq!(changed.text, "two");
    assert_ne!(changed.header("etag"), tag);
}

#[tokio::test]
async fn parts_of_a_file_are_sent_as_long_as_it_is_the_same() {
    let text: String = (0..300_000).map(|n| char::from(b'a' + (n % 26) as u8)).collect();
    let site = Site::start(&[("film.mp4", &text), ("data.json", "{\"a\":1}")]);
    for (range, first, last) in [
        ("bytes=0-0", 0, 0),
        ("bytes=5-99", 5, 99),
        ("bytes=65530-65600", 65_530, 65_600),
        ("bytes=200000-", 200_000, 299_999),
        ("bytes=-10", 299_990, 299_999),
        ("bytes=299999-400000", 299_999, 299_999),
    ] {
        let part = site.get_with("/film.mp4", &[("range", range)]).await.expect(206);
        assert_eq!(part.header("content-range"), format!("bytes {first}-{last}/300000"), "{range}");
        assert!(part.text == text[first..=last], "{range}");
    }
    let json = site.get_with("/data.json", &[("range", "bytes=1-3")]).await.expect(206);
    assert_eq!((json.text.as_str(), json.header("content-length")), ("\"a\"", "3"));
    let beyond = site.get_with("/film.mp4", &[("range", "bytes=300000-")]).await.expect(416);
    assert_eq!(beyond.header("content-range"), "bytes */300000");
    for whole in ["lines=1-2", "bytes=0-1,4-5", "bytes=5-99, 200-300"] {
        assert!(site.get_with("/film.mp4", &[("range", whole)]).await.expect(200).text == text, "{whole}");
    }
    let head = site.server.ask("HEAD", "/film.mp4", &[("range", "bytes=0-9")]).await.expect(200);
    assert_eq!(head.header("content-length"), "300000");
    let known = site.get("/film.mp4").await;
    for (if_range, status) in [
        (known.header("etag"), 206),
        (known.header("last-modified"), 206),
        ("\"other\"", 200),
        (&format!("W/{}", known.header("etag")), 200),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 200),
    ] {
        let reply = site.get_with("/film.mp4", &[("range", "bytes=0-9"), ("if-range", if_range)]).await;
        assert_eq!(reply.status, status, "{if_range}");
    }
}

#[tokio::test]
async fn compressed_forms_that_lie_beside_a_file_are_sent_to_those_who_take_them() {
    let site = Site::start(&[
        ("app.js", "plain"),
        ("app.js.br", "brotli"),
        ("app.js.gz", "gzip"),
        ("data.json", "{}"),
        ("data.json.gz", "gzip"),
        ("index.html", "plain"),
        ("index.html.zst", "zstd"),
    ]);
    for (path, accepted, encoding, text) in [
        ("/app.js", "gzip, deflate, br, zstd", Some("br"), "brotli"),
        ("/app.js", "gzip", Some("gzip"), "gzip"),
        ("/app.js", "br;q=0, gzip;q=0.5", Some("gzip"), "gzip"),
        ("/app.js", "br;q=0, gzip;q=0", None, "plain"),
        ("/app.js", "identity", None, "plain"),
        ("/data.json", "gzip, br", Some("gzip"), "gzip"),
        ("/data.json", "br", None, "{}"),
        ("/", "zstd", Some("zstd"), "zstd"),
    ] {
        let target = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n", site.server.address());
        let reply =
            site.server.raw(format!("{target}Accept-Encoding: {accepted}\r\nConnection: close\r\n\r\n").as_bytes());
        let said = reply.headers.get("content-encoding").map(|value| value.to_str().unwrap());
        assert_eq!((said, reply.text.as_str()), (encoding, text), "{path}: {accepted}");
        assert_eq!(reply.header("vary"), "accept-encoding");
        assert_eq!(reply.header("content-length"), text.len().to_string());
        assert!(!reply.header("content-type").contains("zip"), "{reply:?}");
    }
}

#[tokio::test]
async fn a_page_runs_its_own_scripts_unless_its_own_policy_says_otherwise() {
    let own = "<!doctype html><meta http-equiv=\"Content-Security-Policy\" content=\"default-src *\"><p>x";
    let site = Site::start(&[("index.html", "<script>1</script>"), ("own.html", own), ("own.html.gz", "?")]);
    let page = site.get("/").await.expect(200);
    let policy = page.header("content-security-policy");
    for part in
        ["default-src 'self'", "script-src 'self' 'unsafe-inline'", "object-src 'none'", "frame-ancestors 'self'"]
    {
        assert!(policy.contains(part), "{policy}");
    }
    assert_eq!(page.header("x-frame-options"), "SAMEORIGIN");
    for headers in [&[][..], &[("accept-encoding", "gzip")], &[("range", "bytes=0-5")]] {
        let page = site.get_with("/own.html", headers).await;
        assert_eq!(page.headers.get("content-security-policy"), None, "{page:?}");
        assert_eq!(page.header("x-frame-options"), "SAMEORIGIN");
    }
    // The server's own pages keep theirs.
    let docs = site.get("/docs/").await.expect(200);
    assert!(docs.header("content-security-policy").contains("default-src 'none'"), "{docs:?}");
    assert_eq!(docs.header("x-frame-options"), "DENY");
}

#[tokio::test]
async fn the_folder_may_be_removed_and_made_anew_and_be_a_link() {
    let site = Site::start(&[("index.html", "one")]);
    fs::remove_dir_all(site.path("")).unwrap();
    site.get("/").await.problem(404, "not-found");
    write(&site.path("index.html"), "two");
    tokio::time::timeout(std::time::Duration::from_secs(10), async { while site.get("/").await.text != "two" {} })
        .await
        .unwrap();
    // As deployments do: another folder in place of the first, in one step.
    let other = site.folder.path().join("other");
    write(&other.join("third.html"), "three");
    fs::remove_dir_all(site.path("")).unwrap();
    symlink(&other, site.folder.path().join("public")).unwrap();
    assert_eq!(site.get("/third.html").await.expect(200).text, "three");
}

#[test]
fn a_folder_that_is_not_there_is_told_at_the_start() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("file");
    write(&file, "x");
    for folder in [data.path().join("nowhere"), file] {
        let flags = ["--public".to_owned(), folder.to_str().unwrap().to_owned()];
        let (code, said) = run_to_end(command(&data.path().join("data"), "127.0.0.1:0", &flags));
        assert_eq!(code, 2, "{said}");
        assert!(said.contains("public") && said.contains(folder.to_str().unwrap()), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(!data.path().join("data").exists());
    }
}

#[tokio::test]
async fn callers_whom_nobody_knows_see_the_files_and_nothing_else() {
    let site = Site::start_with(&[("index.html", "one")], &["--loopback-owner", "false"]);
    assert_eq!(site.get("/").await.expect(200).text, "one");
    site.get("/api/v1/me").await.problem(401, "unauthenticated");
    site.server.tell("POST", "/api/v1/games", &[], json!({ "state": {} })).await.problem(401, "unauthenticated");
}
