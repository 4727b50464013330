//! Files that are replaced or written over while they are sent.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, SystemTime};

use super::{Site, write};

/// A site with the file, written long ago: the clock of a file system may stand still for some milliseconds.
fn site() -> Site {
    let site = Site::start(&[]);
    write(&site.path("film"), vec![b'a'; BYTES]);
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    fs::File::options().write(true).open(site.path("film")).unwrap().set_modified(long_ago).unwrap();
    site
}

/// More than the buffers of both ends of a connection hold.
const BYTES: usize = 64 << 20;

/// Asks for the file and reads its head and a little more.
fn begin(site: &Site) -> (TcpStream, Vec<u8>) {
    let mut socket = TcpStream::connect(site.server.address()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let head = format!("GET /film HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", site.server.address());
    socket.write_all(head.as_bytes()).unwrap();
    let mut first = vec![0; 4096];
    socket.read_exact(&mut first).unwrap();
    (socket, first)
}

/// The body, as far as it comes.
fn finish((mut socket, mut answer): (TcpStream, Vec<u8>)) -> Vec<u8> {
    // A connection that is broken off may end by a reset.
    let _ = socket.read_to_end(&mut answer);
    let head = answer.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    let text = String::from_utf8_lossy(&answer[..head]).to_lowercase();
    assert!(text.starts_with("http/1.1 200 ") && text.contains(&format!("content-length: {BYTES}\r\n")), "{text}");
    answer.split_off(head)
}

#[test]
fn a_file_that_is_replaced_while_it_is_sent_is_sent_as_it_was() {
    let site = site();
    let sending = begin(&site);
    write(&site.path("film.new"), vec![b'b'; BYTES]);
    fs::rename(site.path("film.new"), site.path("film")).unwrap();
    let body = finish(sending);
    assert!(body.len() == BYTES && body.iter().all(|byte| *byte == b'a'));
    assert!(finish(begin(&site)).iter().all(|byte| *byte == b'b'));
}

#[test]
fn a_file_that_is_removed_while_it_is_sent_is_sent_to_its_end() {
    let site = site();
    let sending = begin(&site);
    fs::remove_file(site.path("film")).unwrap();
    assert_eq!(finish(sending).len(), BYTES);
}

#[test]
fn a_file_that_is_written_over_while_it_is_sent_is_broken_off() {
    for change in ["written over", "cut short", "made longer"] {
        let site = site();
        let sending = begin(&site);
        let file = fs::OpenOptions::new().write(true).open(site.path("film")).unwrap();
        match change {
            "written over" => file.write_all_at(&vec![b'b'; BYTES], 0).unwrap(),
            "cut short" => file.set_len(100_000).unwrap(),
            _ => file.write_all_at(b"b", BYTES as u64).unwrap(),
        }
        let body = finish(sending);
        assert!(body.len() < BYTES, "{change}: {} bytes", body.len());
        assert!(body.iter().all(|byte| *byte == b'a'), "{change}: a mixture was sent");
    }
}

#[tokio::test]
async fn a_small_file_that_is_replaced_again_and_again_is_always_one_of_them() {
    let site = Site::start(&[("index.html", "a")]);
    let texts = [vec![b'a'; 20_000], vec![b'b'; 30_000], vec![b'c'; 20_000]];
    write(&site.path("index.html"), &texts[0]);
    let (folder, written) = (site.path(""), texts.clone());
    let writing = tokio::task::spawn_blocking(move || {
        for turn in 0..400 {
            fs::write(folder.join("new"), &written[turn % 3]).unwrap();
            fs::rename(folder.join("new"), folder.join("index.html")).unwrap();
        }
    });
    let mut tags = std::collections::HashMap::new();
    while !writing.is_finished() {
        let reply = site.get("/").await.expect(200);
        assert!(texts.iter().any(|text| text == reply.text.as_bytes()), "{} bytes", reply.text.len());
        let known = tags.entry(reply.header("etag").to_owned()).or_insert_with(|| reply.text.clone());
        assert_eq!(known.len(), reply.text.len(), "one tag of two files");
    }
    writing.await.unwrap();
    let last = &texts[399 % 3];
    tokio::time::timeout(Duration::from_secs(10), async {
        while site.get("/").await.text.as_bytes() != last.as_slice() {}
    })
    .await
    .unwrap();
}
