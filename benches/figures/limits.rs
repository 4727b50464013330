//! The servers that are the limits: this program, started again. They end with their standard input, so that none
//! outlives the bench.

use std::io::{BufRead, Read, Write, stdin};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use axum::Router;
use axum::response::IntoResponse;
use axum::routing::get;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

/// The file of the answer that [`GET`] gives: head and body, as they came.
pub const GET: &str = "get";
/// So many connections, each of which gets what is told on standard input: `<writes> <bytes> <per second>`.
pub const WRITES: &str = "writes";

pub fn run(arguments: &[String]) -> Result<()> {
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [GET, file] => serve_get(file),
        [WRITES, connections] => serve_writes(connections.parse()?),
        _ => bail!("no such limit"),
    }
}

/// The smallest axum handler that returns the same bytes, on as many threads as Rejoin has.
fn serve_get(file: &str) -> Result<()> {
    let answer = std::fs::read(file)?;
    let end = memchr::memmem::find(&answer, b"\r\n\r\n").context("no head")? + 4;
    let (head, body) = answer.split_at(end);
    let mut headers = HeaderMap::new();
    for line in std::str::from_utf8(head)?.lines().skip(1) {
        // Length and date come by themselves.
        let Some((name, value)) = line.split_once(": ").filter(|(name, _)| !matches!(*name, "content-length" | "date"))
        else {
            continue;
        };
        headers.insert(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_str(value)?);
    }
    let body = Bytes::copy_from_slice(body);
    let router = Router::new().route("/", get(async move || (headers.clone(), body.clone()).into_response()));
    let workers = std::thread::available_parallelism().map_or(2, usize::from).max(2);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        say_address(listener.local_addr()?)?;
        let serve = axum::serve(listener, router).into_future();
        tokio::select! {
            ended = serve => ended.map_err(Into::into),
            ended = tokio::task::spawn_blocking(|| stdin().read_to_end(&mut Vec::new())) => Ok(ended?.map(drop)?),
        }
    })
}

/// A bare loop of writes to sockets.
fn serve_writes(connections: usize) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    say_address(listener.local_addr()?)?;
    let mut streams = Vec::with_capacity(connections);
    for _ in 0..connections {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        stream.read(&mut [0; 1024]).map(drop)?;
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
        streams.push(stream);
    }
    for line in stdin().lock().lines() {
        let line = line?;
        let numbers: Vec<u32> = line.split(' ').filter_map(|text| text.parse().ok()).collect();
        let [writes, bytes, per_second] = numbers.as_slice() else { bail!("not told what to write") };
        write_all(&mut streams, *writes, *bytes, Duration::from_secs(1) / *per_second)?;
    }
    Ok(())
}

fn write_all(streams: &mut [TcpStream], writes: u32, bytes: u32, pause: Duration) -> Result<()> {
    let mut event = b"event: change\ndata: ".to_vec();
    event.resize(usize::try_from(bytes)?, b'x');
    let start = Instant::now();
    for number in 1..=writes {
        for stream in &mut *streams {
            stream.write_all(&event)?;
        }
        std::thread::sleep((pause * number).saturating_sub(start.elapsed()));
    }
    Ok(())
}

fn say_address(address: std::net::SocketAddr) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "listening: {address}")?;
    Ok(out.flush()?)
}
