//! A server in this process, whose clock stands still until the test moves it.

use std::sync::Arc;
use std::time::Duration;

use rejoin::{Clock, Config, ManualClock, Server, SystemClock};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::call::{Reply, send, with};
use super::session;

/// A running server. The heartbeat of its streams goes by the machine's time and comes every second.
pub struct Clocked {
    clock: Arc<ManualClock>,
    /// `http://127.0.0.1:<port>`.
    pub url: String,
    client: Client,
    server: Server,
    directory: TempDir,
}

impl Clocked {
    /// Starts a server with this change to the default configuration; its clock shows the present.
    pub async fn start(configure: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            data_dir: directory.path().join("data"),
            heartbeat: Duration::from_secs(1),
            ..Config::default()
        };
        configure(&mut config);
        let clock = Arc::new(ManualClock::at(SystemClock.now()));
        let data_dir = config.data_dir.clone();
        let server = Server::builder().config(config).clock(clock.clone()).start().await.unwrap();
        let url = format!("http://{}", server.local_addr());
        session::serves(&url, &data_dir);
        // No connection is kept: moving the clock makes the server close those that are idle.
        let client = Client::builder().pool_max_idle_per_host(0).build().unwrap();
        Self { clock, url, client, server, directory }
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// Its database, opened beside it.
    pub fn database(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.directory.path().join("data/rejoin.db")).unwrap()
    }

    fn request(&self, method: &str, path: &str) -> RequestBuilder {
        self.client.request(method.parse().unwrap(), format!("{}{path}", self.url))
    }

    /// A request without a body, with these headers.
    pub async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
        send(with(self.request(method, path), headers).await).await
    }

    /// POST of JSON.
    pub async fn post(&self, path: &str, body: Value) -> Reply {
        send(self.request("POST", path).json(&body)).await
    }

    /// PUT of a state.
    pub async fn put(&self, path: &str, state: Value) -> Reply {
        send(self.request("PUT", path).json(&json!({ "state": state }))).await
    }

    /// Stops the server.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}
