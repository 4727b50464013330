//! A disk that fails on order. Linux and a C compiler are needed: the order is carried out by a small library that is
//! preloaded into the server (`tests/fixtures/faults.c`).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use tempfile::TempDir;

use super::Process;

/// Compiled once per run of the tests.
static LIBRARY: LazyLock<PathBuf> = LazyLock::new(|| {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (library, fresh) = (directory.join("faults.so"), directory.join(format!("faults-{}.so", std::process::id())));
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/faults.c");
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let status = Command::new(compiler).args(["-shared", "-fPIC", "-O1", "-o"]).arg(&fresh).arg(source).status();
    assert!(status.unwrap().success(), "faults.c compiles");
    // A server of another run may have the old one mapped: it keeps that.
    std::fs::rename(fresh, &library).unwrap();
    library
});

/// The disk of one server.
pub struct Disk {
    directory: TempDir,
}

impl Disk {
    /// A disk that works, and a server on it.
    pub fn with_server(flags: &[&str]) -> (Self, Process) {
        let disk = Self { directory: tempfile::tempdir().unwrap() };
        disk.set("off");
        let (library, control) = (LIBRARY.to_str().unwrap(), disk.control());
        let environment = [("LD_PRELOAD", library), ("FAULTS_CONTROL", control.to_str().unwrap())];
        let server = Process::start_with(flags, &environment);
        (disk, server)
    }

    fn control(&self) -> PathBuf {
        self.directory.path().join("control")
    }

    /// From now on this fails; `off`: nothing.
    pub fn set(&self, fault: &str) {
        let next = self.directory.path().join("next");
        std::fs::write(&next, fault).unwrap();
        std::fs::rename(next, self.control()).unwrap();
    }
}
