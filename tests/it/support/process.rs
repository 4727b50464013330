//! The server as a process of its own.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;
use tempfile::TempDir;

use super::session;

/// The program under test.
const REJOIN: &str = env!("CARGO_BIN_EXE_rejoin");

/// A running server process. Killed when dropped.
pub struct Process {
    child: Child,
    /// `http://127.0.0.1:<port>`.
    pub url: String,
    /// For requests that are not kept for later ones.
    pub client: Client,
    program: PathBuf,
    flags: Vec<String>,
    environment: Vec<(String, String)>,
    directory: std::sync::Arc<TempDir>,
    /// What it has printed so far; by the thread that reads it.
    printed: std::sync::Arc<std::sync::Mutex<String>>,
}

impl Process {
    /// Starts a server on a free port, with its data in a new directory.
    pub fn start(flags: &[&str]) -> Self {
        Self::start_with(flags, &[])
    }

    /// The same, with environment variables.
    pub fn start_with(flags: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::start_program(Path::new(REJOIN), flags, environment)
    }

    /// The same for a program that embeds the server.
    pub fn start_program(program: &Path, flags: &[&str], environment: &[(&str, &str)]) -> Self {
        let directory = std::sync::Arc::new(tempfile::tempdir().unwrap());
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let started = Self::spawn(program.to_owned(), "127.0.0.1:0", flags, environment, directory);
        started.unwrap_or_else(|said| panic!("no start: {said}"))
    }

    /// The same with its data in `data` of this directory.
    pub fn start_in(directory: TempDir, flags: &[&str]) -> Self {
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let directory = std::sync::Arc::new(directory);
        let started = Self::spawn(REJOIN.into(), "127.0.0.1:0", flags, Vec::new(), directory);
        started.unwrap_or_else(|said| panic!("no start: {said}"))
    }

    /// The same with another place to listen. Where that is the tailnet and it is not there yet, the server has no
    /// address.
    pub fn start_at(listen: &str, flags: &[&str]) -> Self {
        let directory = std::sync::Arc::new(tempfile::tempdir().unwrap());
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let started = Self::spawn(REJOIN.into(), listen, flags, Vec::new(), directory);
        started.unwrap_or_else(|said| panic!("no start: {said}"))
    }

    /// Error: what it said before it ended.
    fn spawn(
        program: PathBuf,
        listen: &str,
        flags: Vec<String>,
        environment: Vec<(String, String)>,
        directory: std::sync::Arc<TempDir>,
    ) -> Result<Self, String> {
        let said_before = std::fs::read_to_string(directory.path().join("log")).unwrap_or_default().len();
        let mut child = command_of(&program, &directory.path().join("data"), listen, &flags)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::piped())
            .stderr(log(directory.path()))
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (mut address, printed) = (None, std::sync::Arc::<std::sync::Mutex<String>>::default());
        let address = loop {
            let Some(line) = lines.next() else {
                child.wait().unwrap();
                let said = std::fs::read_to_string(directory.path().join("log")).unwrap_or_default();
                return Err(said.get(said_before..).unwrap_or_default().to_owned());
            };
            let line = line.unwrap();
            *printed.lock().unwrap() += &format!("{line}\n");
            if let Some(first) = line.strip_prefix("listening: ") {
                address.get_or_insert(first.to_owned());
            }
            // It comes after all addresses.
            if line.starts_with("data: ") {
                break address.unwrap_or_default();
            }
        };
        let url = format!("http://{address}");
        session::serves(&url, &directory.path().join("data"));
        // Whatever else it prints must not block it.
        let printing = std::sync::Arc::clone(&printed);
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| *printing.lock().unwrap() += &format!("{line}\n"));
        });
        Ok(Self { child, url, client: Client::new(), program, flags, environment, directory, printed })
    }

    /// `127.0.0.1:<port>`.
    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where its data is.
    pub fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Its environment variables, beside those that all have.
    pub fn environment(&self) -> impl Iterator<Item = (&str, &str)> {
        self.environment.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// What it has printed so far.
    pub fn printed(&self) -> String {
        self.printed.lock().unwrap().clone()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end, which its disk brings about as `kill -9` does. See [`Disk::kill`](super::Disk::kill).
    pub async fn until_killed(&mut self) {
        use std::os::unix::process::ExitStatusExt as _;
        let end = Instant::now() + Duration::from_secs(30);
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < end, "the server was not killed");
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        assert_eq!(status.signal(), Some(9), "{}", self.log());
    }

    /// Starts it again, after [`kill`](Self::kill) or its own end, at the same address with the same data.
    pub fn start_again(&mut self) {
        self.try_start_again().unwrap_or_else(|said| panic!("no start: {said}"));
    }

    /// The same, when it may refuse to. Error: what it said.
    pub fn try_start_again(&mut self) -> Result<(), String> {
        let (flags, environment) = (self.flags.clone(), self.environment.clone());
        let address = self.address().to_owned();
        *self =
            Self::spawn(self.program.clone(), &address, flags, environment, std::sync::Arc::clone(&self.directory))?;
        Ok(())
    }

    /// Another server on the same data directory, at another address.
    pub fn start_beside(&self) -> Self {
        let (flags, environment) = (self.flags.clone(), self.environment.clone());
        let directory = std::sync::Arc::clone(&self.directory);
        let started = Self::spawn(self.program.clone(), "127.0.0.1:0", flags, environment, directory);
        started.unwrap_or_else(|said| panic!("no start: {said}"))
    }

    /// The same at another address, which is free.
    pub fn start_elsewhere(&mut self) {
        let (flags, environment) = (self.flags.clone(), self.environment.clone());
        let directory = std::sync::Arc::clone(&self.directory);
        let started = Self::spawn(self.program.clone(), "127.0.0.1:0", flags, environment, directory);
        *self = started.unwrap_or_else(|said| panic!("no start: {said}"));
    }

    /// The same with other flags.
    pub fn start_again_with(&mut self, flags: &[&str]) {
        self.flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        self.start_again();
    }

    /// The same as another program.
    pub fn start_again_as(&mut self, program: &Path) {
        self.program = program.to_owned();
        self.start_again();
    }

    /// The same with another environment.
    pub fn start_again_in(&mut self, environment: &[(&str, &str)]) {
        self.environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.start_again();
    }

    /// Sends it a signal: `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    /// SIGTERM, and how it ended.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    /// Waits for its end, and how it ended.
    pub fn wait(&mut self) -> ExitStatus {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "the server did not stop");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// A request to `path`.
    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        self.client.request(method.parse().unwrap(), format!("{}{path}", self.url))
    }

    /// A request to `path` as a user.
    pub async fn request_as(&self, user: &str, method: &str, path: &str) -> RequestBuilder {
        session::shown(self.request(method, path), user).await
    }

    /// Opens a user's session now, which cannot be done while storage fails.
    pub async fn meet(&self, user: &str) {
        session::token(&self.url, user).await;
    }

    /// What it calls its cookie.
    pub async fn cookie_name(&self) -> String {
        session::known_cookie_name(&self.url).await
    }

    /// GET, as JSON, with its status.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        json(self.request("GET", path).send().await.unwrap()).await
    }

    /// Asks `/readyz` until its status and report are as `wanted` wants them; returns the report.
    pub async fn until_ready(&self, wanted: impl Fn(u16, &Value) -> bool) -> Value {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let (status, report) = self.get("/readyz").await;
            if wanted(status, &report) {
                return report;
            }
            assert!(Instant::now() < end, "{status} {report}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// GET as a player.
    pub async fn get_as(&self, viewer: &str, path: &str) -> (u16, Value) {
        json(self.request_as(viewer, "GET", path).await.send().await.unwrap()).await
    }

    /// POST of JSON.
    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        json(self.request("POST", path).json(body).send().await.unwrap()).await
    }

    /// POST of JSON as a player.
    pub async fn post_as(&self, viewer: &str, path: &str, body: &Value) -> (u16, Value) {
        json(self.request_as(viewer, "POST", path).await.json(body).send().await.unwrap()).await
    }

    /// PUT of a state.
    pub async fn put(&self, path: &str, state: &Value) -> (u16, Value) {
        json(self.request("PUT", path).json(&serde_json::json!({ "state": state })).send().await.unwrap()).await
    }

    /// PATCH with a merge patch.
    pub async fn merge(&self, path: &str, patch: &Value) -> (u16, Value) {
        let request = self.request("PATCH", path).header("content-type", "application/merge-patch+json");
        json(request.body(patch.to_string()).send().await.unwrap()).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A response's status and its body as JSON; null when it has none.
pub async fn json(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::Null))
}

/// The binary with its flags, not started yet; no configuration from outside reaches it.
pub fn command(data: &Path, listen: &str, flags: &[String]) -> Command {
    command_of(Path::new(REJOIN), data, listen, flags)
}

fn command_of(program: &Path, data: &Path, listen: &str, flags: &[String]) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("REJOIN_")) {
        command.env_remove(name);
    }
    command.current_dir(data.parent().unwrap());
    command.args(["serve", "--listen", listen, "--data-dir"]).arg(data).args(flags);
    command
}

fn log(directory: &Path) -> Stdio {
    let options = std::fs::OpenOptions::new().create(true).append(true).open(directory.join("log"));
    options.unwrap().into()
}

/// Runs the binary to its end: exit code and what it said on stderr.
pub fn run_to_end(mut command: Command) -> (i32, String) {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    let mut errors = child.stderr.take().unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > end {
            let _ = child.kill();
            panic!("the program did not end");
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    errors.read_to_string(&mut said).unwrap();
    (status.code().unwrap_or(-1), said)
}

/// Runs a command of the binary on a data directory to its end: exit code, and what it printed and said.
pub fn operate(command: &str, arguments: &[&str], data: &Path) -> (i32, String) {
    let mut program = Command::new(REJOIN);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("REJOIN_")) {
        program.env_remove(name);
    }
    program.current_dir(data.parent().unwrap()).arg(command).args(arguments).arg("--data-dir").arg(data);
    let output = program.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8(said).unwrap())
}
