//! Stands between two servers that move a game, and does at one step what was ordered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::Process;
use super::stream::PATIENCE;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    /// It goes on, and so does the answer.
    Forwards,
    /// It waits for [`Relay::release`], and its connection breaks then.
    HoldsRequest,
    /// It goes on; the answer waits for [`Relay::release`], and the connection breaks then.
    HoldsAnswer,
    /// It is answered with a redirect to where it would have gone.
    Redirects,
    /// It goes on with the first of these texts replaced by the second.
    Replaces(&'static str, &'static str),
}

/// A relay before one server. Ends when dropped.
pub struct Relay {
    /// `http://127.0.0.1:<port>`.
    pub url: String,
    orders: Arc<Mutex<HashMap<String, Does>>>,
    seen: mpsc::Receiver<String>,
    held: watch::Sender<u64>,
    task: tokio::task::JoinHandle<()>,
}

impl Relay {
    /// A relay that forwards everything to `server`.
    pub async fn before(server: &Process) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let orders: Arc<Mutex<HashMap<String, Does>>> = Arc::default();
        let (tell, seen) = mpsc::channel(10_000);
        let (held, release) = watch::channel(0);
        let (target, known) = (server.url.clone(), Arc::clone(&orders));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (target, known, tell, release) =
                    (target.clone(), Arc::clone(&known), tell.clone(), release.clone());
                tokio::spawn(async move {
                    // A peer that was killed in mid-request is what the tests are about.
                    let _ = serve(stream, &target, &known, &tell, release).await;
                });
            }
        });
        Self { url, orders, seen, held, task }
    }

    /// Orders what becomes of requests of this step from now on.
    pub fn when(&self, step: &str, does: Does) {
        self.orders.lock().unwrap().insert(step.to_owned(), does);
    }

    /// Waits until a request of this step was here (and, when its answer is held, until there is one).
    pub async fn until(&mut self, step: &str) {
        let seen = async {
            while let Some(seen) = self.seen.recv().await {
                if seen == step {
                    return;
                }
            }
        };
        timeout(PATIENCE, seen).await.unwrap_or_else(|_| panic!("no {step} came"));
    }

    /// Breaks the connections that are held.
    pub fn release(&self) {
        self.held.send_modify(|count| *count += 1);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    target: &str,
    orders: &Mutex<HashMap<String, Does>>,
    tell: &mpsc::Sender<String>,
    mut release: watch::Receiver<u64>,
) -> anyhow::Result<()> {
    release.mark_unchanged();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head)?;
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await?;
    let mut body = String::from_utf8(body)?;
    let step = serde_json::from_str::<serde_json::Value>(&body)?["step"].as_str().unwrap_or_default().to_owned();
    let does = orders.lock().unwrap().get(&step).copied().unwrap_or(Does::Forwards);
    match does {
        Does::HoldsRequest => {
            tell.send(step).await?;
            release.changed().await?;
            return Ok(());
        }
        Does::Redirects => {
            tell.send(step).await?;
            let answer =
                format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: {target}{path}\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await?;
            return Ok(());
        }
        Does::Replaces(what, with) => {
            assert!(body.contains(what), "{what}: {body}");
            body = body.replacen(what, with, 1);
        }
        Does::Forwards | Does::HoldsAnswer => {}
    }
    let request = reqwest::Client::new().post(format!("{target}{path}")).header("content-type", "application/json");
    let answer = request.body(body).send().await?;
    let (status, text) = (answer.status().as_u16(), answer.text().await?);
    tell.send(step).await?;
    if does == Does::HoldsAnswer {
        release.changed().await?;
        return Ok(());
    }
    let answer = format!("HTTP/1.1 {status} OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
    stream.write_all(answer.as_bytes()).await?;
    Ok(())
}
