//! The real reverse proxies, each with a configuration of its own, on a free port of loopback.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How often another port is tried, when somebody else took the one that was free.
const ATTEMPTS_MAX: usize = 5;

/// A running proxy. Killed when dropped.
pub struct Proxy {
    child: Child,
    /// `http://127.0.0.1:<port>`.
    pub url: String,
    directory: TempDir,
}

/// The program, if it is installed. Where it is not, the test that asks says that it did not run; on CI it fails.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian has some where only root's PATH leads.
    let directories = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let found = directories.map(|directory| directory.join(name)).find(|program| program.is_file());
    if found.is_none() {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "{name} is not installed, and on CI this test has to run"
        );
        eprintln!("not run: {name} is not installed");
    }
    found
}

impl Proxy {
    /// Starts nginx with `server`, a block of its configuration in which `listen` says `LISTEN`.
    pub fn nginx(program: &Path, server: &str) -> Self {
        Self::start(|directory, address| {
            let folder = directory.display();
            let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                .map(|of| format!("{of}_temp_path {folder}/{of};"))
                .join("\n");
            let configuration = format!(
                "daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log {folder}/error.log;\nevents {{}}\n\
                 http {{\naccess_log off;\n{temporary}\n{}\n}}\n",
                server.replace("LISTEN", address),
            );
            let path = directory.join("nginx.conf");
            std::fs::write(&path, configuration).unwrap();
            let mut command = Command::new(program);
            command.arg("-c").arg(&path).arg("-p").arg(directory).arg("-e").arg(directory.join("start.log"));
            command
        })
    }

    /// Starts Caddy with `site`, a block of its configuration whose address is `ADDRESS`. Without certificates, for
    /// which it would ask the network.
    pub fn caddy(program: &Path, site: &str) -> Self {
        Self::start(|directory, address| {
            let folder = directory.display();
            let (_, port) = address.rsplit_once(':').unwrap();
            let site = site.replace("ADDRESS", &format!("http://:{port}")).replacen('{', "{\nbind 127.0.0.1", 1);
            let configuration = format!("{{\nadmin off\nauto_https off\nstorage file_system {folder}\n}}\n{site}\n");
            let path = directory.join("Caddyfile");
            std::fs::write(&path, configuration).unwrap();
            let mut command = Command::new(program);
            command.args(["run", "--adapter", "caddyfile", "--config"]).arg(&path);
            command.env("HOME", directory).env("XDG_DATA_HOME", directory).env("XDG_CONFIG_HOME", directory);
            command
        })
    }

    /// `configured`: the command, for a folder of its own and the address to listen on.
    fn start(configured: impl Fn(&Path, &str) -> Command) -> Self {
        for _ in 0..ATTEMPTS_MAX {
            let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
            let directory = tempfile::tempdir().unwrap();
            let mut command = configured(directory.path(), &address);
            let log = std::fs::File::create(directory.path().join("stderr")).unwrap();
            let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
            let mut proxy = Self { child, url: format!("http://{address}"), directory };
            if proxy.answers(&address) {
                return proxy;
            }
        }
        panic!("the proxy does not start");
    }

    /// Waits until it takes connections. `false`: it has ended, since the port was taken.
    fn answers(&mut self, address: &str) -> bool {
        let end = Instant::now() + Duration::from_secs(20);
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < end, "the proxy does not take connections");
            if TcpStream::connect(address).is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let said = std::fs::read_to_string(self.directory.path().join("stderr")).unwrap_or_default();
        assert!(said.contains("in use"), "{said}");
        false
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
