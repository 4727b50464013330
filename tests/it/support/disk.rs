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

/// A moment of a commit at which the server dies as by `kill -9`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before the write that holds the change.
    BeforeWrite,
    /// When half of that write went through.
    MidWrite,
    /// When it went through whole, before the sync.
    BeforeSync,
    /// After the sync, before anybody is answered.
    AfterSync,
}

impl Moment {
    /// In their order.
    pub const ALL: [Self; 4] = [Self::BeforeWrite, Self::MidWrite, Self::BeforeSync, Self::AfterSync];

    /// Whether the change is there after the next start. What the kernel has taken survives the process.
    pub fn keeps_the_change(self) -> bool {
        matches!(self, Self::BeforeSync | Self::AfterSync)
    }
}

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

    /// The server dies at this moment of the next commit that writes `text`, a text that the file does not hold yet.
    pub fn kill(&self, moment: Moment, text: &str) {
        let order = match moment {
            Moment::BeforeWrite => "kill-before-write",
            Moment::MidWrite => "kill-mid-write",
            Moment::BeforeSync => "kill-before-sync",
            Moment::AfterSync => "kill-after-sync",
        };
        self.set(&format!("{order} {text}"));
    }

    /// From now on this fails; `off`: nothing.
    pub fn set(&self, fault: &str) {
        let next = self.directory.path().join("next");
        std::fs::write(&next, fault).unwrap();
        std::fs::rename(next, self.control()).unwrap();
    }
}

/// A file system of its own, in memory, at some folder; gone when this is dropped.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None`: this user may not mount any.
    pub fn mount(folder: &Path, kib: u32) -> Option<Self> {
        let size = format!("size={kib}k");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder).status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(folder.to_owned()))
    }

    /// Leaves no room, until [`free`](Self::free).
    pub fn fill(&self) {
        let mut filler = std::fs::File::create(self.0.join("filler")).unwrap();
        while std::io::Write::write_all(&mut filler, &[1; 4096]).is_ok() {}
    }

    pub fn free(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
