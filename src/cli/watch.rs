//! `rejoin watch`: follows a document's stream in the terminal, across whatever happens to the connection.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use serde::Deserialize;

use super::StopSignals;
use crate::base::entropy::{Entropy, SystemEntropy, below};
use crate::config::{HEARTBEAT_MAX, WatchOptions, Watched};
use crate::net::http_client::{HttpClientError, Response, ServerUrl};
use crate::net::sse_parser::{SseMessage, SseParser, TooLarge};
use crate::tailnet::ranges::is_machine_or_tailnet;

mod lines;

use lines::LineFormatter;

/// A stream that says nothing for this long, not even a heartbeat, is dead.
const SILENCE_MAX: Duration = Duration::from_secs(90);
/// Largest event accepted. Far above what the default bounds let a server send.
const EVENT_BYTES_MAX: usize = 256 << 20;
/// Longest wait between two tries.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// First wait when the server asked for none; doubled with each failure in a row.
const WAIT_FIRST: Duration = Duration::from_millis(250);
/// Shortest wait that a server may ask for.
const RETRY_MIN: Duration = Duration::from_millis(50);
/// Servers that may send on to the next one after the other, without an event between.
const MOVES_MAX: u32 = 10;

const _: () = assert!(SILENCE_MAX.as_secs() > HEARTBEAT_MAX.as_secs(), "a heartbeat that is allowed comes in time");

/// Follows until Ctrl-C, a closed stdout (both 0), or a refusal that no retry changes (1).
pub(super) async fn run(options: WatchOptions) -> ExitCode {
    let mut signals = match StopSignals::new() {
        Ok(signals) => signals,
        Err(e) => return super::print_failure(&format_args!("cannot receive signals: {e}"), super::EXIT_MACHINE),
    };
    let mut watch = Watch::new(options, io::stdout(), io::stderr(), WAIT_FIRST);
    let end = tokio::select! {
        end = watch.follow(&SystemEntropy) => end,
        _ = signals.next() => WatchEnd::ReaderGone,
    };
    match end {
        WatchEnd::ReaderGone => ExitCode::SUCCESS,
        WatchEnd::Refused(why) => super::print_failure(&why, 1),
    }
}

/// Why following is over.
#[derive(Debug, PartialEq, Eq)]
enum WatchEnd {
    /// Nobody reads what is printed.
    ReaderGone,
    /// The server's answer, which a retry does not change.
    Refused(String),
}

/// Why one connection is over.
#[derive(Debug, thiserror::Error)]
enum Interruption {
    #[error("{0}")]
    Client(#[from] HttpClientError),
    #[error("{0}")]
    TooLarge(#[from] TooLarge),
    #[error("the stream ended")]
    Ended,
    #[error("the server answered {status}")]
    Busy { status: u16, wait: Option<Duration> },
    #[error("it has moved")]
    MoveNotice(MoveNotice),
    #[error("{0}")]
    Refused(String),
    #[error("nobody reads")]
    ReaderGone,
}

/// Where a document goes on, as the server says that it left.
#[derive(Debug, Deserialize)]
struct MoveNotice {
    /// `http://host:port`.
    to: String,
    /// From where on, if nothing was seen of it yet. Not in a refusal.
    position: Option<String>,
}

struct Watch<Out, Notes> {
    options: WatchOptions,
    /// What the document did.
    out: Out,
    /// What the connection did, when `out` is for programs.
    notes: Notes,
    lines: LineFormatter,
    wait_first: Duration,
    last_event_id: String,
    /// What the server last asked to wait before a reconnect.
    retry: Option<Duration>,
    /// Tries in a row that brought no event.
    failures: u32,
    /// Servers in a row that only said where it is.
    moves: u32,
}

impl<Out: Write, Notes: Write> Watch<Out, Notes> {
    fn new(options: WatchOptions, out: Out, notes: Notes, wait_first: Duration) -> Self {
        let several = matches!(options.watched, Watched::Collection(_));
        let (lines, last_event_id) = (LineFormatter::new(several), String::new());
        Self { options, out, notes, lines, wait_first, last_event_id, retry: None, failures: 0, moves: 0 }
    }

    /// The event loop: one round per connection.
    async fn follow(&mut self, entropy: &dyn Entropy) -> WatchEnd {
        loop {
            let interruption = match self.connect_and_read().await {
                Interruption::Refused(why) => return WatchEnd::Refused(why),
                Interruption::ReaderGone => return WatchEnd::ReaderGone,
                Interruption::MoveNotice(moved) => match self.follow_move(moved).await {
                    Ok(()) => continue,
                    Err(end) => return end,
                },
                interruption => interruption,
            };
            let wait = self.wait(&interruption, entropy);
            let note = format!("disconnected ({interruption}); trying again in {:.1} s", wait.as_secs_f64());
            if self.show_notice(&note).is_err() {
                return WatchEnd::ReaderGone;
            }
            tokio::time::sleep(wait).await;
            self.failures = self.failures.saturating_add(1);
        }
    }

    /// Goes on at another server, from the same position. Only where games may move to: whoever answers here could name
    /// any address.
    async fn follow_move(&mut self, MoveNotice { to, position }: MoveNotice) -> Result<(), WatchEnd> {
        self.moves += 1;
        let refused = |why: &str| WatchEnd::Refused(format!("the server says that it is at {to} now, {why}"));
        if self.moves > MOVES_MAX {
            return Err(refused("and so did others before: nobody has it"));
        }
        if self.options.session.is_some() {
            // It is a secret of the server that gave it, and without it one might see more than before.
            return Err(refused("and a session is of one server: open one there and watch with it"));
        }
        let target = ServerUrl::parse(&to).map_err(|error| refused(&error))?;
        let addresses = target.resolve().await.map_err(|error| refused(&format!("which is not found: {error}")))?;
        if !addresses.iter().all(|address| is_machine_or_tailnet(address.ip())) {
            return Err(refused("which is neither on this machine nor on the tailnet"));
        }
        if self.last_event_id.is_empty() {
            self.last_event_id = position.unwrap_or_default();
        }
        self.options.server = target;
        self.retry = None;
        self.show_notice(&format!("it is at {to} now; following it there")).map_err(|_| WatchEnd::ReaderGone)
    }

    /// Doubles with each failure in a row; half of it is chance, so that those who lost the same server do not all
    /// come back at once.
    fn wait(&self, interruption: &Interruption, entropy: &dyn Entropy) -> Duration {
        if let Interruption::Busy { wait: Some(wait), .. } = interruption {
            return (*wait).min(WAIT_MAX.saturating_mul(6));
        }
        let first = self.retry.map_or(self.wait_first, |retry| retry.max(RETRY_MIN));
        let full = first.saturating_mul(1 << self.failures.min(10)).min(WAIT_MAX);
        let millis = u64::try_from(full.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(millis / 2 + below(entropy, millis / 2 + 1))
    }

    async fn connect_and_read(&mut self) -> Interruption {
        let mut answer = match self.connect().await {
            Ok(answer) => answer,
            Err(interruption) => return interruption,
        };
        let mut parser = SseParser::new(&self.last_event_id, EVENT_BYTES_MAX);
        let Err(interruption) = self.read(&mut answer, &mut parser).await;
        parser.last_event_id().clone_into(&mut self.last_event_id);
        self.retry = parser.retry().or(self.retry);
        interruption
    }

    async fn connect(&mut self) -> Result<Response, Interruption> {
        let path = match &self.options.watched {
            Watched::Document(name) => format!("/api/v1/{}/{}/events", name.collection, name.id),
            Watched::Collection(collection) => format!("/api/v1/stream?collection={collection}"),
        };
        let mut headers = vec![("accept", "text/event-stream"), ("cache-control", "no-store")];
        if !self.last_event_id.is_empty() {
            headers.push(("last-event-id", self.last_event_id.as_str()));
        }
        let bearer = self.options.session.as_ref().map(|token| format!("Bearer {}", token.expose()));
        if let Some(bearer) = &bearer {
            headers.push(("authorization", bearer));
        }
        let mut answer = self.options.server.get(&path, &headers).await?;
        let status = answer.status();
        match status {
            200 if answer.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream")) => {
                Ok(answer)
            }
            408 | 425 | 429 | 500.. => {
                let seconds = answer.header("retry-after").and_then(|text| text.parse().ok());
                Err(Interruption::Busy { status, wait: seconds.map(Duration::from_secs) })
            }
            _ => {
                let body = answer.text(64 << 10).await.unwrap_or_default();
                Err(match serde_json::from_str(&body) {
                    Ok(moved) if status == 308 => Interruption::MoveNotice(moved),
                    _ => Interruption::Refused(refusal(status, &body)),
                })
            }
        }
    }

    async fn read(
        &mut self,
        answer: &mut Response,
        parser: &mut SseParser,
    ) -> Result<std::convert::Infallible, Interruption> {
        let mut messages = Vec::new();
        // Of a collection the others are followed on.
        let is_one = matches!(self.options.watched, Watched::Document(_));
        loop {
            let piece = answer.piece(SILENCE_MAX).await?.ok_or(Interruption::Ended)?;
            parser.push(&piece, &mut messages)?;
            for message in messages.drain(..) {
                self.failures = 0;
                self.show(&message).map_err(|_| Interruption::ReaderGone)?;
                match serde_json::from_str(&message.data) {
                    Ok(moved) if message.event == "moved" && is_one => return Err(Interruption::MoveNotice(moved)),
                    _ => self.moves = 0,
                }
            }
        }
    }

    fn show(&mut self, message: &SseMessage) -> io::Result<()> {
        if message.event == "heartbeat" {
            return Ok(());
        }
        if self.options.json {
            writeln!(self.out, "{}", message.data.replace('\n', " "))?;
        } else {
            let line = self.lines.line(message);
            writeln!(self.out, "{}", escape_control_characters(&line))?;
        }
        self.out.flush()
    }

    /// Beside the data when that is for programs, in its midst when it is for people.
    fn show_notice(&mut self, text: &str) -> io::Result<()> {
        if self.options.json {
            // Nobody has to listen to the notes.
            let _ = writeln!(self.notes, "{}", escape_control_characters(text));
            return Ok(());
        }
        writeln!(self.out, "{}", escape_control_characters(text))?;
        self.out.flush()
    }
}

/// Text that cannot steer the terminal: documents are written by anybody.
fn escape_control_characters(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

fn refusal(status: u16, body: &str) -> String {
    #[derive(Deserialize)]
    struct Problem {
        title: String,
        detail: Option<String>,
    }
    match serde_json::from_str::<Problem>(body) {
        Ok(Problem { title, detail: Some(detail) }) => format!("{title}: {detail} ({status})"),
        Ok(Problem { title, detail: None }) => format!("{title} ({status})"),
        Err(_) => format!("the server answered {status}, which is not a stream of a document"),
    }
}

#[cfg(test)]
mod tests;
