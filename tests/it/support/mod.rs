//! What the tests share: a server process that can be killed and started again, and a client of its streams.

pub mod call;
pub mod clocked;
pub mod dice;
pub mod disk;
pub mod history;
pub mod localapi;
pub mod network;
pub mod process;
pub mod proxy;
pub mod relay;
pub mod replica;
pub mod session;
pub mod storage;
pub mod stream;

pub use call::{Reply, send};
pub use clocked::Clocked;
pub use dice::Dice;
pub use disk::{Disk, Moment, SmallDisk};
pub use network::Network;
pub use process::Process;
pub use replica::{Replica, position};
pub use session::AS;
pub use stream::{Follower, Told};

/// The SHA-256 chain over events as they are on the wire: verifies that each hash follows from the one before and the
/// event's own bytes. Written against the description of the wire, not with the server's code.
pub fn verify_chain(previous: &str, wire: &str) -> String {
    use sha2::{Digest, Sha256};
    let value: serde_json::Value = serde_json::from_str(wire).unwrap();
    let hash = value["hash"].as_str().unwrap().to_owned();
    let members = wire.split_once(',').unwrap().1;
    let body = format!("{{{}}}", members.strip_suffix(&format!(",\"hash\":\"{hash}\"}}")).unwrap());
    let mut hasher = Sha256::new();
    hasher.update(data_encoding::HEXLOWER.decode(previous.as_bytes()).unwrap());
    hasher.update(body.as_bytes());
    assert_eq!(data_encoding::HEXLOWER.encode(&hasher.finalize()), hash, "the hash follows from the bytes: {wire}");
    hash
}

/// What the first event of a document is chained to.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";
