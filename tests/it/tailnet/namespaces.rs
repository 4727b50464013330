//! Tailnet addresses on a machine of its own, made of network namespaces: the server's, one of the tailnet and one of
//! another network. Takes root; without, it says so and is not run.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::json;

use crate::support::Process;
use crate::support::call::parse;
use crate::support::localapi::{Answer, PERSON, STATUS, STATUS_STARTING, Tailscaled};

const PATIENCE: Duration = Duration::from_secs(20);
const OWN: [&str; 2] = ["100.100.1.2", "fd7a:115c:a1e0::2"];
const PEER: [&str; 2] = ["100.100.1.3", "fd7a:115c:a1e0::3"];
const PORT: u16 = 7766;

/// A network namespace. It is gone with the process that holds it, which ends when this is dropped, and by itself soon
/// after the tests in any case.
struct Namespace(Child);

impl Namespace {
    /// Error: why there can be none.
    fn new() -> Result<Self, String> {
        let mut command = Command::new("unshare");
        let holder = command.args(["--net", "sleep", "300"]).stdin(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut this = Self(holder.map_err(|error| format!("unshare: {error}"))?);
        let ours = std::fs::read_link("/proc/self/ns/net").map_err(|error| error.to_string())?;
        let end = Instant::now() + PATIENCE;
        while std::fs::read_link(this.path()).is_ok_and(|theirs| theirs == ours) {
            if this.0.try_wait().is_ok_and(|ended| ended.is_some()) || Instant::now() > end {
                let mut said = String::new();
                let _ = this.0.stderr.take().map(|mut errors| errors.read_to_string(&mut said));
                return Err(said.trim().to_owned());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        this.ip("link set lo up")?;
        Ok(this)
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }

    /// Runs `ip` there.
    fn ip(&self, arguments: &str) -> Result<(), String> {
        let net = format!("--net={}", self.path());
        let done = Command::new("nsenter").arg(net).arg("ip").args(arguments.split(' ')).output();
        let done = done.map_err(|error| format!("nsenter: {error}"))?;
        let said = String::from_utf8_lossy(&done.stderr);
        if done.status.success() { Ok(()) } else { Err(format!("ip {arguments}: {}", said.trim())) }
    }

    /// Runs `work` on a thread that is there. What it starts is there, too.
    fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(self.path()).unwrap();
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// What the server answers to a GET from there; empty when it closes the connection without a byte.
    fn get(&self, address: &str, path: &str) -> Vec<u8> {
        self.send(address, &format!("GET {path}"), "\r\n")
    }

    /// The same for any request; `rest` is what comes after the headers that all have.
    fn send(&self, address: &str, what: &str, rest: &str) -> Vec<u8> {
        let address = SocketAddr::new(address.parse().unwrap(), PORT);
        let request = format!("{what} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{rest}");
        self.within(move || {
            let mut stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let _ = stream.write_all(request.as_bytes());
            let mut answer = Vec::new();
            match stream.read_to_end(&mut answer) {
                Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => panic!("{address}: {error}"),
                _ => answer,
            }
        })
    }

    fn status(&self, address: &str, path: &str) -> u16 {
        parse(&self.get(address, path)).status
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The server's machine, one of its tailnet, and one of another network that both are in.
struct World {
    server: Namespace,
    tailnet: Namespace,
    lan: Namespace,
}

impl World {
    /// Without the tailnet's interface. `None`, with a word why, where there can be none.
    fn new(test: &str) -> Option<Self> {
        let made = || {
            let this = Self { server: Namespace::new()?, tailnet: Namespace::new()?, lan: Namespace::new()? };
            this.server.ip(&format!("link add lan0 type veth peer name lan0 netns {}", this.lan.0.id()))?;
            for (namespace, n) in [(&this.server, 1), (&this.lan, 2)] {
                namespace.ip(&format!("address add 192.168.77.{n}/24 dev lan0"))?;
                namespace.ip(&format!("address add fd00:77::{n}/64 dev lan0 nodad"))?;
                namespace.ip("link set lan0 up")?;
            }
            this.lan.ip("route add 100.64.0.0/10 via 192.168.77.1")?;
            this.lan.ip("route add fd7a:115c:a1e0::/48 via fd00:77::1")?;
            Ok(this)
        };
        made().map_err(|why: String| eprintln!("NOT RUN: {test}: no network namespaces here: {why}")).ok()
    }

    /// Puts the tailnet's interface in place, on both sides.
    fn join(&self) {
        self.server
            .ip(&format!("link add tailscale0 type veth peer name tailscale0 netns {}", self.tailnet.0.id()))
            .unwrap();
        for (namespace, own) in [(&self.server, OWN), (&self.tailnet, PEER)] {
            namespace.ip(&format!("address add {}/32 dev tailscale0", own[0])).unwrap();
            namespace.ip(&format!("address add {}/128 dev tailscale0 nodad", own[1])).unwrap();
            namespace.ip("link set tailscale0 up").unwrap();
            namespace.ip("route add 100.64.0.0/10 dev tailscale0").unwrap();
            namespace.ip("route add fd7a:115c:a1e0::/48 dev tailscale0").unwrap();
        }
    }

    fn start(&self, listen: &str, tailscaled: &Tailscaled, flags: &[&str]) -> Process {
        let socket = tailscaled.flags();
        let flags = [&[socket[0].as_str(), &socket[1], "--tailnet-poll-seconds", "1"], flags].concat();
        self.server.within(|| Process::start_at(listen, &flags))
    }
}

fn tailscaled() -> Tailscaled {
    let tailscaled = Tailscaled::start();
    PEER.iter().for_each(|peer| tailscaled.set_whois_of(peer, Answer::ok(PERSON)));
    tailscaled
}

/// Where a process of a namespace listens: all listening sockets that there are in it.
fn listening(process: &Process) -> BTreeSet<SocketAddr> {
    let mut found = BTreeSet::new();
    for table in ["tcp", "tcp6"] {
        let text = std::fs::read_to_string(format!("/proc/{}/net/{table}", process.id())).unwrap();
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (address, port) = fields[1].split_once(':').unwrap();
            if fields[3] == "0A" {
                found.insert(SocketAddr::new(from_hex(address), u16::from_str_radix(port, 16).unwrap()));
            }
        }
    }
    found
}

/// An address as the kernel's tables have it: words of four bytes in the machine's own order.
fn from_hex(text: &str) -> IpAddr {
    let words: Vec<[u8; 4]> = text
        .as_bytes()
        .chunks(8)
        .map(|word| u32::from_str_radix(std::str::from_utf8(word).unwrap(), 16).unwrap().to_ne_bytes())
        .collect();
    match words.as_slice() {
        [v4] => Ipv4Addr::from(*v4).into(),
        v6 => Ipv6Addr::from(<[u8; 16]>::try_from(v6.concat()).unwrap()).into(),
    }
}

/// Waits until the server listens at exactly these addresses. On the way there it must never listen at all addresses,
/// and never at none if it did before.
fn until_listening(process: &Process, addresses: &[&str]) {
    let wanted: BTreeSet<_> = addresses.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), PORT)).collect();
    let (end, before) = (Instant::now() + PATIENCE, listening(process));
    loop {
        let now = listening(process);
        assert!(now.iter().all(|address| !address.ip().is_unspecified()), "{now:?}");
        assert!(before.is_empty() || !now.is_empty(), "new ones are opened before old ones are closed");
        if now == wanted {
            return;
        }
        assert!(Instant::now() < end, "{now:?} instead of {wanted:?}: {}", process.log());
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn until_logged(process: &Process, text: &str) {
    let end = Instant::now() + PATIENCE;
    while !process.log().contains(text) {
        assert!(Instant::now() < end, "{text}: {}", process.log());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn who_sends_to_a_tailnet_address_from_another_network_gets_no_byte() {
    let Some(world) = World::new("who_sends_to_a_tailnet_address_from_another_network_gets_no_byte") else { return };
    world.join();
    let tailscaled = tailscaled();
    // An address of the tailnet's range that is none of the tailnet's, as providers give them out, too.
    world.lan.ip("address add 100.99.9.9/32 dev lan0").unwrap();
    world.server.ip("route add 100.99.9.9 dev lan0").unwrap();
    for listen in ["tailnet:7766", "100.100.1.2:7766, [fd7a:115c:a1e0::2]:7766"] {
        let server = world.start(listen, &tailscaled, &[]);
        until_listening(&server, &OWN);
        for own in OWN {
            assert_eq!(world.tailnet.status(own, "/"), 200, "{own}");
            // The kernel takes the connection; the server does not.
            assert_eq!(world.lan.get(own, "/"), b"", "{own}");
        }
        world.lan.ip("route replace 100.64.0.0/10 via 192.168.77.1 src 100.99.9.9").unwrap();
        assert_eq!(world.lan.get(OWN[0], "/"), b"", "nobody whom tailscaled knows");
        world.lan.ip("route replace 100.64.0.0/10 via 192.168.77.1 src 192.168.77.2").unwrap();
        until_logged(&server, "connections are closed: they are not from the tailnet");

        // Names of loopback are not those of this listener, and a failing tailscaled lets nobody in.
        let misdirected = world.tailnet.within(|| {
            let mut stream = TcpStream::connect((OWN[0], PORT)).unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost:7766\r\nConnection: close\r\n\r\n").unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            parse(&answer).status
        });
        assert_eq!(misdirected, 421);
    }
}

#[test]
fn addresses_are_waited_for_and_followed_and_nothing_is_listened_on_instead() {
    let Some(world) = World::new("addresses_are_waited_for_and_followed_and_nothing_is_listened_on_instead") else {
        return;
    };
    let mut tailscaled = tailscaled();
    tailscaled.stop();
    let server = world.start("tailnet:7766", &tailscaled, &["--tailnet-recheck-seconds", "1"]);
    assert_eq!(server.address(), "", "it runs, and waits");
    until_logged(&server, "nobody listens at");
    assert_eq!(listening(&server), BTreeSet::new());

    tailscaled.set_status(Answer::ok(STATUS_STARTING));
    tailscaled.begin();
    until_logged(&server, "its state is NeedsLogin");
    tailscaled.set_status(Answer::ok(STATUS));
    until_logged(&server, "is not an address of this machine yet");
    assert_eq!(listening(&server), BTreeSet::new());
    world.join();
    until_listening(&server, &OWN);
    for own in OWN {
        assert_eq!(world.tailnet.status(own, "/"), 200, "{own}");
    }

    // Another address instead of one of them, before and after it is there.
    world.server.ip("address add 100.100.1.9/32 dev tailscale0").unwrap();
    tailscaled.set_status(Answer::ok(STATUS.replace(OWN[0], "100.100.1.9")));
    until_listening(&server, &["100.100.1.9", OWN[1]]);
    assert_eq!(world.tailnet.status("100.100.1.9", "/"), 200);
    tailscaled.set_status(Answer::ok(STATUS));
    until_listening(&server, &OWN);

    // tailscaled restarts: its interface goes and comes back.
    for _ in 0..3 {
        tailscaled.set_status(Answer::ok(STATUS_STARTING));
        world.server.ip("link delete tailscale0").unwrap();
        world.join();
        tailscaled.set_status(Answer::ok(STATUS));
        until_listening(&server, &OWN);
        for own in OWN {
            assert_eq!(world.tailnet.status(own, "/"), 200, "{own}");
        }
    }

    // An address that no node can have is never listened on, whoever says it is ours.
    let all = json!(["0.0.0.0", "::", "192.168.77.1", "127.0.0.1", OWN[0]]).to_string();
    let lying = STATUS.replace("\"TailscaleIPs\": [", &format!("\"TailscaleIPs\": {all}, \"Was\": ["));
    tailscaled.set_status(Answer::ok(lying));
    until_listening(&server, &[OWN[0]]);
    let log = server.log();
    assert!(log.matches("its state is NeedsLogin").count() <= 4, "said once each time: {log}");
}

#[test]
fn in_userspace_mode_it_is_said_why_the_tailnet_is_waited_for_in_vain() {
    let Some(world) = World::new("in_userspace_mode_it_is_said_why_the_tailnet_is_waited_for_in_vain") else { return };
    let tailscaled = Tailscaled::userspace(Answer::nobody());
    let server = world.start("tailnet:7766", &tailscaled, &[]);
    until_logged(&server, "listen on 127.0.0.1 instead");
    assert_eq!(listening(&server), BTreeSet::new());
}

#[test]
fn beyond_the_tailnet_callers_are_nobody_without_a_session() {
    let Some(world) = World::new("beyond_the_tailnet_callers_are_nobody_without_a_session") else { return };
    world.join();
    let tailscaled = tailscaled();
    let server = world.start("0.0.0.0:7766", &tailscaled, &["--allow-listen-beyond-tailnet"]);
    for path in ["/api/v1/games", "/api/v1/admin/jobs"] {
        assert_eq!(world.lan.status("192.168.77.1", path), 401, "{path}");
        assert_eq!(world.lan.status(OWN[0], path), 401, "{path}");
    }
    assert_eq!(world.tailnet.status(OWN[0], "/api/v1/games"), 200);
    assert_eq!(world.tailnet.status(OWN[0], "/api/v1/admin/jobs"), 403);
    assert_eq!(world.server.status("127.0.0.1", "/api/v1/admin/jobs"), 200, "a process of this machine");

    let body = json!({ "user": "cat" }).to_string();
    let rest = format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let opened = parse(&world.server.send("127.0.0.1", "POST /api/v1/sessions", &rest));
    assert_eq!(opened.status, 201, "{}", opened.text);
    let shown = format!("Authorization: Bearer {}\r\n\r\n", opened.body["token"].as_str().unwrap());
    let me = parse(&world.lan.send("192.168.77.1", "GET /api/v1/me", &shown)).body;
    assert_eq!((&me["user"], &me["administrator"]), (&json!("cat"), &json!(false)), "{me}");
    drop(server);
}

#[test]
fn who_comes_from_a_lan_sees_the_way_in_alone_and_gets_in_by_an_invitation() {
    let Some(world) = World::new("who_comes_from_a_lan_sees_the_way_in_alone_and_gets_in_by_an_invitation") else {
        return;
    };
    let (pages, tailscaled) = (tempfile::tempdir().unwrap(), tailscaled());
    std::fs::write(pages.path().join("index.html"), "<!doctype html><title>Table</title>").unwrap();
    let public = pages.path().to_str().unwrap();
    let flags = ["--listen", "192.168.77.1:7766", "--allow-listen-beyond-tailnet", "--public", public];
    let server = world.start("127.0.0.1:7766", &tailscaled, &flags);
    let (loopback, lan) = ("127.0.0.1", "192.168.77.1");
    let tell = |from: &Namespace, address: &str, call: &str, headers: &str, body: &serde_json::Value| {
        let body = body.to_string();
        let length = body.len();
        let rest = format!("Content-Type: application/json\r\nContent-Length: {length}\r\n{headers}\r\n{body}");
        parse(&from.send(address, call, &rest))
    };
    let state = json!({ "state": { "title": "The Sunless Keep", "hidden": { "deck": 7 } } });
    tell(&world.server, loopback, "PUT /api/v1/games/g1", "", &state).expect(201);
    tell(&world.server, loopback, "PUT /api/v1/games/g2", "", &state).expect(201);
    let wish = json!({ "documents": ["games/g1"], "seat": "any", "uses": 2, "to": "/" });
    let made = tell(&world.server, loopback, "POST /api/v1/invitations", "", &wish).expect(201).body;
    let url = made["url"].as_str().unwrap();
    assert!(url.starts_with("http://192.168.77.1:7766/join?to=/#rejoin_invitation_"), "{url}");
    let token = json!({ "token": url.split_once('#').unwrap().1 });

    for open in [
        "/join",
        "/join/join.js",
        "/join/join.css",
        "/_/favicon.svg",
        "/",
        "/healthz",
        "/problems",
        "/problems/name-taken",
    ] {
        assert_eq!(world.lan.status(lan, open), 200, "{open}");
    }
    let closed = [
        "/openapi.json",
        "/readyz",
        "/metrics",
        "/docs/",
        "/_/",
        "/audit",
        "/reconciliation",
        "/api/v1/me",
        "/api/v1/flags",
        "/api/v1/games",
        "/api/v1/games/g1",
        "/api/v1/games/g1/events",
        "/api/v1/invitations",
        "/api/v1/admin/jobs",
    ];
    let statuses = |rest: &str| closed.map(|path| parse(&world.lan.send(lan, &format!("GET {path}"), rest)).status);
    assert_eq!(statuses("\r\n"), closed.map(|_| 401));
    tell(&world.lan, lan, "POST /api/v1/invitations", "", &wish).problem(401, "unauthenticated");
    tell(&world.lan, lan, "PUT /api/v1/games/g1", "", &state).problem(401, "unauthenticated");

    let seen = tell(&world.lan, lan, "POST /api/v1/invitations/look", "", &token).expect(200).body;
    assert_eq!(seen["documents"][0]["title"], "The Sunless Keep");
    let name = |name: &str| json!({ "token": token["token"], "name": name });
    let ann = tell(&world.lan, lan, "POST /api/v1/invitations/exchange", "", &name("Ann")).expect(201);
    tell(&world.lan, lan, "POST /api/v1/invitations/exchange", "", &name("Bob")).expect(201);
    tell(&world.lan, lan, "POST /api/v1/invitations/exchange", "", &name("Eve")).problem(410, "invitation-used");
    let shown = format!("Cookie: {}\r\n", ann.header("set-cookie").split(';').next().unwrap());
    let game = parse(&world.lan.send(lan, "GET /api/v1/games/g1", &format!("{shown}\r\n"))).expect(200);
    assert!(!game.text.contains("deck"), "{}", game.text);
    let expect = closed.map(|path| match path {
        "/_/" | "/api/v1/me" | "/api/v1/flags" | "/api/v1/games/g1" | "/api/v1/games/g1/events" => 200,
        _ => 403,
    });
    let rest = format!("{shown}Accept: application/json\r\n\r\n");
    assert_eq!(statuses(&rest), expect, "{closed:?}");
    parse(&world.lan.send(lan, "GET /api/v1/games/g2", &rest)).problem(404, "not-found");
    let end = format!("DELETE /api/v1/invitations/{}?sessions=true", made["id"].as_str().unwrap());
    parse(&world.server.send(loopback, &end, "\r\n")).expect(204);
    assert_eq!(statuses(&rest), closed.map(|_| 401), "the sessions have ended with it");
    drop(server);
}
