//! Asking the server that has a data directory: where it is found, and one request after the other.

use std::path::Path;

use bytes::Bytes;
use http::Method;
use serde_json::Value;

use super::CommandFailure;
use crate::cli::{EXIT_DATA, EXIT_MACHINE, first_reachable, runtime};
use crate::config::SessionToken;
use crate::net::http_client::ServerUrl;
use crate::store::server_lock::{LockState, lock_state};

/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// The exit code when the server is not there, or refuses.
pub(super) const EXIT_REFUSED: u8 = 1;

/// Which server is to be asked, and as whom.
#[derive(Debug)]
pub(super) struct ServerChoice {
    pub server: Option<ServerUrl>,
    pub session: Option<SessionToken>,
}

/// A server that can be asked.
pub(super) struct OperatorClient {
    target: ServerUrl,
    session: Option<SessionToken>,
    runtime: tokio::runtime::Runtime,
}

/// Finds the server. `None`: no process has the data directory, and no server was named. Error: one has it, and does
/// not say where it listens.
pub(super) fn find(asked: ServerChoice, data_dir: &Path) -> Result<Option<OperatorClient>, CommandFailure> {
    let target = match asked.server {
        Some(target) => target,
        None => match lock_state(data_dir) {
            Ok(LockState::Free) => return Ok(None),
            Ok(LockState::Held { addresses }) => first_target(&addresses).ok_or_else(|| {
                let why = format!(
                    "the server of {} does not say where it listens; name it with --server",
                    data_dir.display()
                );
                CommandFailure { why, code: EXIT_REFUSED }
            })?,
            Err(error) => {
                let why = format!("the data directory {} cannot be read: {error}", data_dir.display());
                return Err(CommandFailure { why, code: EXIT_DATA });
            }
        },
    };
    let runtime = runtime(1)
        .map_err(|error| CommandFailure { why: format!("cannot start threads: {error}"), code: EXIT_MACHINE })?;
    Ok(Some(OperatorClient { target, session: asked.session, runtime }))
}

fn first_target(addresses: &[String]) -> Option<ServerUrl> {
    first_reachable(addresses).and_then(|address| ServerUrl::parse(&format!("http://{address}")).ok())
}

impl OperatorClient {
    /// GET of JSON. Error: no answer, or another than 2xx.
    pub(super) fn get(&self, path: &str) -> Result<Value, CommandFailure> {
        self.request(Method::GET, path, None)
    }

    /// POST without a body. Error: as [`get`](Self::get).
    pub(super) fn post(&self, path: &str) -> Result<Value, CommandFailure> {
        self.request(Method::POST, path, None)
    }

    /// POST of JSON. Error: as [`get`](Self::get).
    pub(super) fn post_json(&self, path: &str, body: &Value) -> Result<Value, CommandFailure> {
        self.request(Method::POST, path, Some(body))
    }

    /// DELETE. Error: as [`get`](Self::get).
    pub(super) fn delete(&self, path: &str) -> Result<Value, CommandFailure> {
        self.request(Method::DELETE, path, None)
    }

    /// GET of JSON, whatever its status. Error: no answer.
    pub(super) fn get_with_status(&self, path: &str) -> Result<(u16, Value), CommandFailure> {
        self.exchange(Method::GET, path, None)
    }

    /// `HOST:PORT`.
    pub(super) fn address(&self) -> String {
        self.target.to_string()
    }

    fn exchange(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(u16, Value), CommandFailure> {
        let refused = |why: String| CommandFailure { why: format!("{}: {why}", self.target), code: EXIT_REFUSED };
        let bearer = self.session.as_ref().map(|token| format!("Bearer {}", token.expose()));
        let shown = bearer.iter().map(|bearer| ("authorization", bearer.as_str()));
        let headers: Vec<(&str, &str)> = shown.chain(body.map(|_| ("content-type", "application/json"))).collect();
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let (status, text) = self.runtime.block_on(async {
            let answer = self.target.send(method, path, &headers, body).await;
            let mut answer = answer.map_err(|error| refused(error.to_string()))?;
            let text = answer.text(ANSWER_BYTES_MAX).await.map_err(|error| refused(error.to_string()))?;
            Ok::<_, CommandFailure>((answer.status(), text))
        })?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    fn request(&self, method: Method, path: &str, sent: Option<&Value>) -> Result<Value, CommandFailure> {
        let (status, body) = self.exchange(method, path, sent)?;
        if (200..300).contains(&status) {
            return Ok(body);
        }
        let told = |member: &str| body.get(member).and_then(Value::as_str).map(str::to_owned);
        let why = told("detail").or_else(|| told("title")).unwrap_or_else(|| format!("it answered {status}"));
        let hint = match status {
            401 | 403 => "; REJOIN_SESSION can hold the token of an administrator's session",
            _ => "",
        };
        Err(CommandFailure { why: format!("{}: {why} ({status}){hint}", self.target), code: EXIT_REFUSED })
    }
}
