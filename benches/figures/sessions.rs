//! What it costs to find out whose a session is that a request shows.

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rejoin::SeededEntropy;
use rejoin::UserId;
use rejoin::internals::SessionId;
use rejoin::internals::http::{Peer, SessionCookie, Sessions};
use rejoin::internals::sessions::SessionTable;
use rejoin::internals::sessions::{Device, Session, SessionHolder, SessionTerms, Token};
use rejoin::{Clock, SystemClock};
use tokio_util::sync::CancellationToken;

use crate::stats::{median, micros, quantile};
use crate::table::{Bar, Row};

/// Sessions in memory.
const SESSIONS: usize = 10_000;
/// Showings per run.
const SHOWN: usize = 200_000;
/// Runs.
const RUNS: usize = 7;
/// Leads from one session to another far away, so that no memory is warm by chance.
const STRIDE: usize = 7919;

pub async fn measure() -> Result<Vec<Row>> {
    let (table, tokens) = prepare()?;
    let peer = Peer::at(SocketAddr::from(([127, 0, 0, 1], 5)), CancellationToken::new());
    let (mut p50s, mut p99s) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let mut times = Vec::with_capacity(SHOWN);
        for turn in 0..SHOWN {
            let token = tokens.get(turn * STRIDE % SESSIONS).context("no such session")?;
            let started = Instant::now();
            let shown = black_box(table.authenticate(token, &peer));
            times.push(micros(started.elapsed()));
            ensure!(shown.is_ok(), "a good session is refused");
        }
        p50s.push(quantile(&times, 0.5));
        p99s.push(quantile(&times, 0.99));
    }
    let timer: Vec<f64> = (0..10_000).map(|_| micros(black_box(Instant::now()).elapsed())).collect();
    let clock = format!("{:.2} µs (reading the clock)", median(&timer));
    let figure = "a session shown, of 10,000, its token's SHA-256 included: p50";
    Ok(vec![
        Row::values(figure, String::new(), clock.clone(), &p50s, " µs", Bar::AtMost(1.0)),
        Row::values("… p99", String::new(), clock, &p99s, " µs", Bar::None),
    ])
}

fn prepare() -> Result<(SessionTable, Vec<String>)> {
    let (entropy, now) = (SeededEntropy::new(1), SystemClock.now());
    let (mut stored, mut tokens) = (Vec::new(), Vec::new());
    for number in 0..SESSIONS {
        let token = Token::new(&entropy);
        let session = Session {
            id: SessionId::new(&format!("session-{number}"))?,
            holder: SessionHolder::Granted(UserId::new(&format!("user-{number}"))?),
            device: Device::default(),
            user_agent: Some("Mozilla/5.0".to_owned()),
            address: "127.0.0.1".to_owned(),
            current_phase: None,
            created_at: now,
            renewed_at: now,
            last_seen_at: now,
            opened_by: None,
        };
        stored.push((token.hash(), session));
        tokens.push(token.expose().to_owned());
    }
    let terms = SessionTerms { ttl: Duration::from_secs(30 * 24 * 3600), idle: Duration::from_secs(7 * 24 * 3600) };
    Ok((SessionTable::new(stored, terms, Arc::new(SystemClock), SessionCookie::of_server("0")), tokens))
}
