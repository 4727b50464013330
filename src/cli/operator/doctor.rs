//! `rejoin doctor`: looks at what a server needs, and says of each thing that is not well how to mend it. Ends in time
//! whatever does not answer: each look is a thread of its own.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::CommandFailure;
use super::backup::backup_folder;
use super::server::{ServerChoice, find};
use crate::base::clock::{Clock as _, SystemClock, Timestamp};
use crate::cli::{print, runtime};
use crate::config::Config;
use crate::store::FILE_NAME;
use crate::store::file::backup::list_backups;
use crate::store::file::check::newest_event;
use crate::store::file::copy::{BackupError, check_room};
use crate::store::file::open::open_to_read;
use crate::store::server_lock::{LockState, lock_state};
use crate::tailnet::client::LocalApi;
use crate::tailnet::listen_address::ListenAddress;

/// How long all looks together may take; the rest of ten seconds is for starting and ending.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long tailscaled may take.
const TAILNET_PATIENCE: Duration = Duration::from_secs(3);
/// A good backup is not older than two days.
const BACKUP_AGE_MAX: Duration = Duration::from_secs(48 * 3600);
/// A clock that is this far before the newest event is wrong.
const CLOCK_SLACK: Duration = Duration::from_secs(60);
/// The exit code when something is to be mended.
const EXIT_TO_MEND: u8 = 1;

/// What a look found: what is so, or what is wrong and how to mend it.
type CheckOutcome = Result<String, String>;

type DoctorCheck = fn(&Known) -> CheckOutcome;

/// Runs all looks and says what each found, in their order.
pub(super) fn run(config: &Config, asked: ServerChoice) -> Result<u8, CommandFailure> {
    let known = Known { config: config.clone(), database: config.data_dir.join(FILE_NAME) };
    let looks: [(&str, DoctorCheck); 7] = [
        ("data directory", data_directory),
        ("permissions", permissions),
        ("disk space", disk_space),
        ("database", database),
        ("clock", clock),
        ("last backup", last_backup),
        ("tailnet", tailnet),
    ];
    // Room for all: a look that comes late blocks nobody.
    let (sender, answers) = sync_channel(looks.len() + 1);
    for (index, (_, look)) in looks.iter().enumerate() {
        let (sender, known, look) = (sender.clone(), known.clone(), *look);
        // Nobody waits for one that does not come back; it ends with the process.
        thread::spawn(move || drop(sender.send((index, look(&known)))));
    }
    let (data_dir, listen) = (config.data_dir.clone(), config.clone());
    thread::spawn(move || drop(sender.send((looks.len(), port(&listen, asked, &data_dir)))));
    let names: Vec<&str> = looks.iter().map(|(name, _)| *name).chain(["port"]).collect();
    let mut found: Vec<Option<CheckOutcome>> = vec![None; names.len()];
    let end = Instant::now() + PATIENCE;
    while found.iter().any(Option::is_none) {
        match answers.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok((index, answer)) => {
                if let Some(place) = found.get_mut(index) {
                    *place = Some(answer);
                }
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    let mut exit = 0;
    for (name, found) in names.iter().zip(found) {
        let found =
            found.unwrap_or_else(|| Err("does not answer in time; see whether its disk or daemon hangs".into()));
        let (word, text) = match found {
            Ok(text) => ("ok", text),
            Err(text) => {
                exit = EXIT_TO_MEND;
                ("mend", text)
            }
        };
        print(&format!("{word:<4}  {name}: {}\n", text.replace(char::is_control, " ")));
    }
    Ok(exit)
}

#[derive(Clone)]
struct Known {
    config: Config,
    database: PathBuf,
}

fn data_directory(known: &Known) -> CheckOutcome {
    let directory = &known.config.data_dir;
    let shown = directory.display();
    match fs::metadata(directory) {
        Ok(found) if found.is_dir() => Ok(shown.to_string()),
        Ok(_) => Err(format!("{shown} is no folder; set data-dir to one")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            match parent.is_dir() {
                true => Ok(format!("{shown} is made by the first start")),
                false => Err(format!("{shown} cannot be made: {} is no folder; set data-dir", parent.display())),
            }
        }
        Err(error) => Err(format!("{shown} cannot be read: {error}; run this as the server's user")),
    }
}

fn permissions(known: &Known) -> CheckOutcome {
    let mut open = Vec::new();
    for path in [known.config.data_dir.clone(), known.database.clone()] {
        let Ok(found) = fs::metadata(&path) else { continue };
        if found.permissions().mode() & 0o077 != 0 {
            let mode = if found.is_dir() { "700" } else { "600" };
            open.push(format!("chmod {mode} {}", path.display()));
        }
    }
    match open.is_empty() {
        true => Ok("only the server's user can read the data".to_owned()),
        false => Err(format!("others on this machine can read the data: {}", open.join("; "))),
    }
}

fn disk_space(known: &Known) -> CheckOutcome {
    let directory = backup_folder(&known.config);
    match check_room(&known.database, &directory) {
        Ok(bytes) => Ok(format!("there is room for a backup of {bytes} bytes")),
        Err(error @ BackupError::NoRoom { .. }) => Err(format!("{error}: remove something, or set backup-dir")),
        Err(error) => Err(error.to_string()),
    }
}

fn database(known: &Known) -> CheckOutcome {
    if !known.database.exists() {
        return Ok("none yet; the first start makes it".to_owned());
    }
    let conn = open_to_read(&known.database).map_err(|error| error.to_string())?;
    match newest_event(&conn) {
        Ok(Some((seq, at))) => Ok(format!("its format is known, its newest event is {seq} of {at}")),
        Ok(None) => Ok("its format is known, and it is empty".to_owned()),
        Err(error) => Err(format!("it cannot be read: {error}; rejoin verify tells more")),
    }
}

fn clock(known: &Known) -> CheckOutcome {
    let now = SystemClock.now();
    let newest = match known.database.exists() {
        true => open_to_read(&known.database).ok().and_then(|conn| newest_event(&conn).ok()).flatten(),
        false => None,
    };
    match newest {
        Some((_, at)) if at > now.plus(CLOCK_SLACK) => {
            Err(format!("it says {now}, and the newest event is of {at}: set the clock, or wait until it is right"))
        }
        _ if now < Timestamp::from_millis(1_700_000_000_000) => Err(format!("it says {now}: set it")),
        _ => Ok(now.to_string()),
    }
}

fn last_backup(known: &Known) -> CheckOutcome {
    if !known.database.exists() {
        return Ok("nothing to back up yet".to_owned());
    }
    let directory = backup_folder(&known.config);
    let found = list_backups(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let newest = found.into_iter().find(|backup| backup.verified);
    match newest {
        None => Err("there is none that verified: rejoin backup makes one".to_owned()),
        Some(backup) if backup.at.plus(BACKUP_AGE_MAX) < SystemClock.now() => Err(format!(
            "the newest is of {}: rejoin backup makes one, rejoin jobs says why the job did not",
            backup.at
        )),
        Some(backup) => Ok(format!("of {}, {} bytes", backup.at, backup.bytes)),
    }
}

fn tailnet(known: &Known) -> CheckOutcome {
    let wanted = known.config.listen.addresses().iter().any(|place| matches!(place, ListenAddress::Tailnet(_)));
    if !wanted {
        return Ok("not used; --listen tailnet would".to_owned());
    }
    let client = LocalApi::new(&known.config.tailscaled_socket).with_timeout(TAILNET_PATIENCE);
    let runtime = runtime(1).map_err(|error| format!("cannot start threads: {error}"))?;
    match runtime.block_on(client.status()) {
        Ok(status) if status.backend_state == "Running" => Ok(format!("this node is {}", status.own.dns_name)),
        Ok(status) => Err(format!("tailscaled is there and says {}: tailscale up", status.backend_state)),
        Err(error) => Err(format!("tailscaled does not answer ({error}): start it, or set tailscaled-socket")),
    }
}

/// Whether the address is free, or the server of this data directory has it.
fn port(config: &Config, asked: ServerChoice, data_dir: &Path) -> CheckOutcome {
    if let Ok(LockState::Held { addresses }) = lock_state(data_dir) {
        let server = find(asked, data_dir).map_err(|refusal| refusal.why)?;
        let answer =
            server.map(|server| server.get_with_status("/readyz")).transpose().map_err(|refusal| refusal.why)?;
        let status = answer.as_ref().and_then(|(_, report)| report.get("status")).and_then(Value::as_str);
        return match status {
            Some("ready") => Ok(format!("the server answers at {}", addresses.join(" and "))),
            Some(other) => Err(format!("the server says that it is {other}: rejoin status tells more")),
            None => Err("the server does not answer as one: rejoin status tells more".to_owned()),
        };
    }
    let mut free = Vec::new();
    for place in config.listen.addresses() {
        let ListenAddress::Address(address) = place else { continue };
        match TcpListener::bind(address) {
            Ok(_) => free.push(address.to_string()),
            Err(error) => return Err(format!("{address}: {error}; --port or --listen choose another address")),
        }
    }
    match free.is_empty() {
        true => Ok("no server runs".to_owned()),
        false => Ok(format!("no server runs, and {} is free", free.join(" and "))),
    }
}
