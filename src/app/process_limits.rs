//! Limits that the operating system sets for the process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Descriptors that are not connections: database, WAL, lock, logs, the runtime's own, the reader pool, calls to
/// tailscaled and to other servers, and some to spare.
const RESERVED_DESCRIPTORS: u64 = 64;
/// Fewest connections that are worth a start.
const CONNECTIONS_MIN: usize = 16;
/// `SIGXFSZ` has this number on Linux, macOS and the BSDs.
const FILE_SIZE_EXCEEDED: i32 = 25;

/// Raises the soft limit of open files to the hard one. Where that is refused it stays as it is, and
/// [`connections_max`] follows it.
pub(crate) fn raise_open_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    // macOS refuses more than OPEN_MAX although it says "unlimited".
    for wanted in [maximum, maximum.map(|maximum| maximum.min(10_240)).or(Some(10_240))] {
        if setrlimit(Resource::Nofile, Rlimit { current: wanted, maximum }).is_ok() {
            return;
        }
    }
    tracing::debug!("the limit of open files could not be raised");
}

/// How many of `configured` connections the limit of open files leaves room for.
pub(crate) fn connections_max(configured: usize) -> usize {
    let Some(open_files) = getrlimit(Resource::Nofile).current else { return configured };
    let room = usize::try_from(open_files.saturating_sub(RESERVED_DESCRIPTORS)).unwrap_or(usize::MAX);
    let connections = configured.min(room.max(CONNECTIONS_MIN));
    if connections < configured {
        tracing::warn!(
            connections,
            configured,
            open_files,
            "at most {connections} connections instead of {configured}: the limit of open files is {open_files}"
        );
    }
    connections
}

/// Makes a write past the limit of a file's size an error of that write (EFBIG) instead of the end of the process, for
/// as long as the value lives and after it. Must be called within a runtime.
pub(crate) fn survive_file_size_limit() -> std::io::Result<Signal> {
    signal(SignalKind::from_raw(FILE_SIZE_EXCEEDED))
}
