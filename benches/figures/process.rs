//! A server as a process of its own, and what `/proc` tells about it.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

/// Ticks per second in `/proc/<pid>/stat`: a constant of the kernel's interface on every common platform.
const TICKS_PER_SECOND: f64 = 100.0;

/// A running server. Killed when dropped.
pub struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    /// Where it listens.
    pub address: SocketAddr,
}

/// Resident memory, bytes.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// All of it, the pages of the program's file included.
    pub resident: f64,
    /// What it allocated.
    pub anonymous: f64,
}

impl Process {
    /// Starts `rejoin` on `data_dir`, at a free port; returns when it says where it listens.
    pub fn rejoin(data_dir: &Path) -> Result<Self> {
        Self::rejoin_with(data_dir, &[])
    }

    /// The same with further flags.
    pub fn rejoin_with(data_dir: &Path, flags: &[&str]) -> Result<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rejoin"));
        // Requests are made before the port is known, so they go by a name.
        command
            .args(["--listen", "127.0.0.1:0", "--allowed-host", "localhost", "--log", "warn"])
            // All of them are the owner's.
            .args(["--streams-per-user-max", "100000", "--data-dir"])
            .arg(data_dir)
            .args(flags);
        Self::spawn(command)
    }

    /// Starts this program again as the server of a limit.
    pub fn limit(arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--limit").args(arguments);
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take();
        let mut lines = BufReader::new(child.stdout.take().context("no stdout")?).lines();
        let address = lines.find_map(|line| line.ok()?.strip_prefix("listening: ")?.parse().ok());
        // Whatever else it prints must not block it.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self { address: address.context("the server did not start")?, child, stdin })
    }

    /// Writes a line to its standard input.
    pub fn tell(&mut self, line: &str) -> Result<()> {
        let stdin = self.stdin.as_mut().context("no stdin")?;
        writeln!(stdin, "{line}")?;
        Ok(stdin.flush()?)
    }

    /// Processor time used so far, all threads, user and system. To 10 ms.
    pub fn cpu(&self) -> Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name in parentheses may hold anything; what follows it is numbers.
        let (_, fields) = stat.rsplit_once(')').context("an unusual stat line")?;
        let ticks: f64 = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
        Ok(Duration::from_secs_f64(ticks / TICKS_PER_SECOND))
    }

    /// Its memory.
    pub fn memory(&self) -> Result<Memory> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|text| text.parse::<f64>().ok());
            kib.map(|kib| kib * 1024.0).with_context(|| format!("no {name}"))
        };
        Ok(Memory { resident: field("VmRSS:")?, anonymous: field("RssAnon:")? })
    }

    /// `kill -9`, and waits for it to be gone.
    pub fn kill(&mut self) {
        // Fails only when it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
