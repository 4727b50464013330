//! Rank 8: the program. What the command line asks for, from the first line on stdout to the exit code.

use std::fmt;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::process_limits::{raise_open_files, survive_file_size_limit};
use crate::app::{Builder, Server, Stopped};
use crate::base::clock::{Clock as _, SystemClock};
use crate::base::entropy::SystemEntropy;
use crate::config::{self, Config, ProgramCommand, ProgramName};
use crate::features::commands;
use crate::store::server_lock::{LockState, lock_state};
use crate::tailnet::listen_address::ListenAddress;

mod logs;
mod operator;
mod watch;

/// Fewest threads for connections. One that is busy must not hold up all streams.
const WORKERS_MIN: usize = 2;
/// The exit code when the machine gives no threads or no signals.
const EXIT_MACHINE: u8 = 1;
/// The exit code when the engine ended by a bug of ours.
const EXIT_ENGINE: u8 = 5;
/// The exit code when the data directory takes no file.
const EXIT_DATA: u8 = 10;
/// The exit code of a stop after which not everything that was told is on disk.
const EXIT_UNSTORED: u8 = 6;

/// Runs the program that `builder` is the heart of: reads the process's arguments, environment and file, does what
/// they ask for, and returns what `main` is to return. An embedding program calls it with its own rules:
///
/// ```no_run
/// fn main() -> std::process::ExitCode {
///     rejoin::run(rejoin::Server::builder())
/// }
/// ```
///
/// Exit codes: 0 done, 1 the machine, 2 the configuration, 5 a bug of ours, 6 stopped while storage failed, 128 +
/// signal when a second signal cut the stop short, and those of [`StartError`](crate::app::StartError).
pub fn run(builder: Builder) -> ExitCode {
    match config::from_process(Config::default(), builder.program_name()) {
        Ok(ProgramCommand::Serve(config)) => serve(builder, *config),
        Ok(ProgramCommand::CheckConfig(text) | ProgramCommand::Help(text)) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Ok(ProgramCommand::Session(config)) => session(&config),
        Ok(ProgramCommand::Operate(options)) => operator::run(*options),
        Ok(ProgramCommand::Watch(options)) => match runtime(1) {
            Ok(runtime) => runtime.block_on(watch::run(options)),
            Err(e) => print_failure(&format_args!("cannot start threads: {e}"), EXIT_MACHINE),
        },
        Err(e) => {
            let (faults, code) = (e.to_string(), config::EXIT_CODE);
            faults.lines().fold(ExitCode::from(code), |_, fault| print_failure(&fault, code))
        }
    }
}

fn serve(builder: Builder, config: Config) -> ExitCode {
    logs::init(&config.log, config.log_format);
    raise_open_files();
    let workers = std::thread::available_parallelism().map_or(WORKERS_MIN, usize::from).max(WORKERS_MIN);
    let runtime = match runtime(workers) {
        Ok(runtime) => runtime,
        Err(e) => return print_failure(&format_args!("cannot start threads: {e}"), EXIT_MACHINE),
    };
    let code = runtime.block_on(serve_until_stopped(builder.config(config)));
    // Whatever still runs was told to stop and did not, or a second signal means: now.
    runtime.shutdown_background();
    code
}

/// Makes a link for an administrator, and prints it.
fn session(config: &Config) -> ExitCode {
    let Some(create_link) = commands().find_map(|parts| parts.administrator_link) else {
        return print_failure(&"this server has no sessions", config::EXIT_CODE);
    };
    match create_link(&config.data_dir, &SystemEntropy, SystemClock.now()) {
        Ok(link) => {
            let address = match lock_state(&config.data_dir) {
                Ok(LockState::Held { addresses }) => first_reachable(&addresses),
                Ok(LockState::Free) | Err(_) => None,
            };
            let address = address.or_else(|| configured_address(config));
            print(&link_line(&address.map_or_else(|| "ADDRESS".to_owned(), |address| address.to_string()), &link));
            ExitCode::SUCCESS
        }
        Err(error) => {
            let place = config.data_dir.display();
            print_failure(
                &format_args!("no link can be made in {place}: {error}; --data-dir names the server's data"),
                EXIT_DATA,
            )
        }
    }
}

/// Where a server with this configuration listens, unless that is on the tailnet alone.
fn configured_address(config: &Config) -> Option<SocketAddr> {
    config.listen.addresses().iter().find_map(|place| match place {
        ListenAddress::Address(address) => Some(reachable(*address)),
        ListenAddress::Tailnet { .. } => None,
    })
}

/// How a link is printed. Through a proxy it is the same path at another address.
fn link_line(address: &str, link: &str) -> String {
    format!("administrator: http://{address}{link}\n")
}

fn runtime(workers: usize) -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(workers).thread_name("rejoin-io").enable_all().build()
}

async fn serve_until_stopped(builder: Builder) -> ExitCode {
    // Before anything is opened, so that a signal during start-up is not the kernel's to answer.
    let mut signals = match StopSignals::new() {
        Ok(signals) => signals,
        Err(e) => return print_failure(&format_args!("cannot receive signals: {e}"), EXIT_MACHINE),
    };
    let program = builder.program_name();
    let started = tokio::select! {
        started = builder.start() => started,
        _ = signals.next() => return ExitCode::SUCCESS,
    };
    let mut server = match started {
        Ok(server) => server,
        Err(e) => return print_failure(&e, e.exit_code()),
    };
    print(&startup_report(&server, program));
    let first = tokio::select! {
        first = signals.next() => first,
        () = server.wait_for_engine_failure() => {
            return print_failure(&"the engine ended by a fault of ours; start again", EXIT_ENGINE);
        }
    };
    tracing::info!(signal = first, "stopping; a second signal ends at once");
    tokio::select! {
        stopped = server.stop() => match stopped {
            Stopped::Clean => ExitCode::SUCCESS,
            Stopped::Unstored { lost, journaled } => print_failure(&unstored(lost, journaled), EXIT_UNSTORED),
            Stopped::Unfinished => print_failure(&"the engine did not finish in time", EXIT_UNSTORED),
        },
        second = signals.next() => ExitCode::from(128 + second),
    }
}

/// What whoever runs the program is told when not everything is in the database.
fn unstored(lost: usize, journaled: usize) -> String {
    let counted = [("changes that are lost", lost), ("revocations that are stored at the next start", journaled)];
    let told: Vec<_> = counted.iter().filter(|(_, count)| *count > 0).map(|(what, n)| format!("{what}: {n}")).collect();
    format!("stopped while storage failed; {}", told.join("; "))
}

/// What starting prints: one fact per line, its name before the first colon.
fn startup_report(server: &Server, program: ProgramName) -> String {
    let data = std::path::absolute(server.data_dir());
    let data = data.as_deref().unwrap_or_else(|_| server.data_dir()).display();
    let mut out = format!("{}: {}\n", program.name, program.version);
    let addresses = server.addresses();
    for address in &addresses {
        out.push_str(&format!("listening: {address}\n"));
    }
    if !server.missing_listeners().is_empty() {
        out.push_str(&format!("waiting: {}\n", server.missing_listeners().replace(char::is_control, " ")));
    }
    if let (Some(link), Some(address)) = (server.administrator_link(), addresses.first()) {
        out.push_str(&link_line(&reachable(*address).to_string(), link));
    }
    out.push_str(&format!("data: {data}\n"));
    if let Some(address) = addresses.first() {
        out.push_str(&format!("open: http://{}/\n", reachable(*address)));
    }
    out.push_str(&format!("contents: {}\n", server.contents()));
    out
}

/// An address at which this machine reaches a listener.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

/// Of the addresses that a running server noted, the one to reach it at: loopback before others, since there this
/// machine's user may be the owner.
fn first_reachable(addresses: &[String]) -> Option<SocketAddr> {
    let known = addresses.iter().filter_map(|address| address.parse().ok()).map(reachable);
    known.min_by_key(|address| !address.ip().is_loopback())
}

/// The signals that mean stop.
struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
    _file_size: Signal,
}

impl StopSignals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            _file_size: survive_file_size_limit()?,
        })
    }

    /// The number of the next one. Cancel safe.
    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 2,
            _ = self.terminate.recv() => 15,
        }
    }
}

/// Writes to stdout. Whether anybody reads it (a closed pipe) is no reason to end a server.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Says on stderr, in one line, why there is nothing to do, and returns the exit code. The log is not used: this is
/// for whoever typed the command.
fn print_failure(why: &dyn fmt::Display, code: u8) -> ExitCode {
    let why = why.to_string().replace(char::is_control, " ");
    let _ = writeln!(std::io::stderr(), "rejoin: {why}");
    ExitCode::from(code)
}
