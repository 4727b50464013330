//! A tailscaled that says what the test tells it to: its LocalAPI, on a socket in a folder of its own.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A recorded answer.
macro_rules! recorded {
    ($name:literal) => {
        include_str!(concat!("../../fixtures/localapi/", $name, ".json"))
    };
}

pub const STATUS: &str = recorded!("status");
pub const STATUS_USERSPACE: &str = recorded!("status-userspace");
pub const STATUS_STARTING: &str = recorded!("status-starting");
pub const PERSON: &str = recorded!("whois-person");
pub const OWNER: &str = recorded!("whois-owner");
pub const GRANTED: &str = recorded!("whois-granted");
pub const TAGGED: &str = recorded!("whois-tagged");
pub const SHARED_IN: &str = recorded!("whois-shared-in");
pub const SHAREE: &str = recorded!("whois-sharee");
pub const OTHER_TAILNET: &str = recorded!("whois-other-tailnet");
pub const EXPIRED: &str = recorded!("whois-expired");
pub const NULLS: &str = recorded!("whois-null");

/// What a request is answered with.
#[derive(Clone, Debug)]
pub enum Answer {
    /// This status and body.
    Says(u16, String),
    /// Nothing, on a connection that stays open.
    Hangs,
    /// The end of the connection.
    Closes,
    /// Half of this body, of the length that is announced.
    BreaksOff(String),
    /// Ten megabytes.
    IsHuge,
}

impl Answer {
    /// 200 with this body.
    pub fn ok(body: impl ToString) -> Self {
        Self::Says(200, body.to_string())
    }

    /// How tailscaled says that it knows nobody there.
    pub fn nobody() -> Self {
        Self::Says(404, "no match for IP:port\n".to_owned())
    }
}

/// What is done about what went wrong, in each way that tailscaled can.
pub fn troubles() -> Vec<(&'static str, Answer)> {
    vec![
        ("403", Answer::Says(403, "access denied\n".to_owned())),
        ("400", Answer::Says(400, "invalid 'addr' parameter\n".to_owned())),
        ("500", Answer::Says(500, "no backend\n".to_owned())),
        ("401", Answer::Says(401, "Tailscale already in use\n".to_owned())),
        ("hang", Answer::Hangs),
        ("closed", Answer::Closes),
        ("truncated", Answer::BreaksOff(PERSON.to_owned())),
        ("half of the JSON", Answer::ok(&PERSON[..PERSON.len() / 2])),
        ("10 MB", Answer::IsHuge),
        ("no JSON", Answer::ok("<html>")),
        ("wrong types", Answer::ok(r#"{"Node":{"Tags":"tag:ci"},"UserProfile":{"ID":"1001"}}"#)),
    ]
}

/// What is said now, and what was asked.
#[derive(Default)]
struct Script {
    status: Option<Answer>,
    whois: Option<Answer>,
    /// By address, without port.
    of: HashMap<String, Answer>,
    asked: Vec<String>,
}

/// A scripted tailscaled. Gone when dropped.
pub struct Tailscaled {
    script: Arc<parking_lot::Mutex<Script>>,
    folder: tempfile::TempDir,
    ended: Arc<AtomicBool>,
}

impl Tailscaled {
    /// One that has an interface in the kernel, and knows nobody.
    pub fn start() -> Self {
        let (script, folder, ended) = (Arc::default(), tempfile::tempdir().unwrap(), Arc::new(AtomicBool::new(true)));
        let mut this = Self { script, folder, ended };
        this.script.lock().status = Some(Answer::ok(STATUS));
        this.begin();
        this
    }

    /// One in userspace mode, of which everybody who connects over loopback is `whois`.
    pub fn userspace(whois: Answer) -> Self {
        let this = Self::start();
        this.set_status(Answer::ok(STATUS_USERSPACE));
        this.set_whois(whois);
        this
    }

    /// Where its socket is.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("tailscaled.sock")
    }

    /// The flags of a server that asks it.
    pub fn flags(&self) -> [String; 2] {
        ["--tailscaled-socket".to_owned(), self.socket().display().to_string()]
    }

    pub fn set_status(&self, answer: Answer) {
        self.script.lock().status = Some(answer);
    }

    /// Who everybody is of whom nothing else is said.
    pub fn set_whois(&self, answer: Answer) {
        self.script.lock().whois = Some(answer);
    }

    /// Who has an address.
    pub fn set_whois_of(&self, address: &str, answer: Answer) {
        self.script.lock().of.insert(address.to_owned(), answer);
    }

    /// The targets that were asked for so far.
    pub fn asked(&self) -> Vec<String> {
        self.script.lock().asked.clone()
    }

    /// Takes the socket away, as a tailscaled that is stopped does.
    pub fn stop(&self) {
        if !self.ended.swap(true, Ordering::SeqCst) {
            // The listener waits for a connection.
            let _ = UnixStream::connect(self.socket());
            let _ = std::fs::remove_file(self.socket());
        }
    }

    /// Begins to listen, at the start or after [`stop`](Self::stop).
    pub fn begin(&mut self) {
        let listener = UnixListener::bind(self.socket()).unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        self.ended = Arc::clone(&ended);
        let script = Arc::clone(&self.script);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let script = Arc::clone(&script);
                std::thread::spawn(move || answer(stream.unwrap(), &script));
            }
        });
    }
}

impl Drop for Tailscaled {
    fn drop(&mut self) {
        self.stop();
    }
}

fn answer(mut stream: UnixStream, script: &parking_lot::Mutex<Script>) -> Option<()> {
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        (stream.read(&mut byte).ok()? == 1).then_some(())?;
        head.extend_from_slice(&byte);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let target = head.split(' ').nth(1)?.to_owned();
    let ours = head.contains("\r\nhost: local-tailscaled.sock\r\n");
    let answer = {
        let mut script = script.lock();
        script.asked.push(target.clone());
        let whois = target.strip_prefix("/localapi/v0/whois?proto=tcp&addr=");
        match whois {
            _ if !ours || head.contains("\r\norigin:") || head.contains("\r\nreferer:") => {
                Answer::Says(403, "invalid localapi request\n".to_owned())
            }
            Some(address) => {
                let address = address.replace("%3a", ":").replace("%5b", "[").replace("%5d", "]");
                let of = address.parse::<std::net::SocketAddr>().ok().map(|address| address.ip().to_string());
                let of = of.and_then(|address| script.of.get(&address).cloned());
                of.or_else(|| script.whois.clone()).unwrap_or_else(Answer::nobody)
            }
            None if target == "/localapi/v0/status?peers=false" => script.status.clone().unwrap(),
            None => Answer::Says(404, "404 page not found\n".to_owned()),
        }
    };
    say(&mut stream, answer)
}

fn say(stream: &mut UnixStream, answer: Answer) -> Option<()> {
    let mut send = |status: u16, length: usize, body: &[u8]| {
        let head = format!("HTTP/1.1 {status} Said\r\nTailscale-Version: 1.96.2\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(&[head.as_bytes(), body].concat()).ok()
    };
    match answer {
        Answer::Says(status, body) => send(status, body.len(), body.as_bytes()),
        Answer::BreaksOff(body) => send(200, body.len(), &body.as_bytes()[..body.len() / 2]),
        Answer::IsHuge => send(200, 10 << 20, &vec![b' '; 10 << 20]),
        Answer::Closes => None,
        Answer::Hangs => {
            // Until the other side has had enough.
            let _ = stream.read(&mut [0]);
            None
        }
    }
}
