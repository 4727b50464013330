//! The hash chain of a document's history, and positions in the log.

use std::fmt;

use data_encoding::HEXLOWER;
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::base::error::Error;
use crate::base::ids::{Seq, Version};

/// Characters of a short hash: 48 bits, enough to tell two histories of the same length apart.
pub(crate) const SHORT_HASH_LENGTH: usize = 12;

/// SHA-256 over a document's previous hash and the stored bytes of an event: stands for the whole history up to it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// What the first event of a document is chained to.
    pub const ZERO: Self = Self([0; 32]);

    /// The hash after the event whose stored bytes are `body`.
    #[must_use]
    pub fn after(self, body: &[u8]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(self.0);
        hasher.update(body);
        Self(hasher.finalize().into())
    }

    /// Reads 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }

    /// The first 12 digits.
    pub fn short(self) -> ShortHash {
        let mut digits = [0; SHORT_HASH_LENGTH];
        let [a, b, c, d, e, f, ..] = self.0;
        HEXLOWER.encode_mut(&[a, b, c, d, e, f], &mut digits);
        ShortHash(digits)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; 64];
        HEXLOWER.encode_mut(&self.0, &mut digits);
        f.write_str(std::str::from_utf8(&digits).unwrap_or_default())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The first 12 digits of a [`struct@Hash`], as people and `ETag`s carry them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ShortHash([u8; SHORT_HASH_LENGTH]);

impl ShortHash {
    /// Reads exactly 12 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let digits: [u8; SHORT_HASH_LENGTH] = text.as_bytes().try_into().ok()?;
        digits.iter().all(|d| matches!(d, b'0'..=b'9' | b'a'..=b'f')).then_some(Self(digits))
    }
}

impl fmt::Display for ShortHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.0).unwrap_or_default())
    }
}

impl fmt::Debug for ShortHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A place in the log and the history behind it: the `id` of a stream event, `Last-Event-ID`, `Rejoin-Position`.
/// Written `<seq>-<short hash>`; the place before the first event is written `0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// Before the first event that is kept.
    Start,
    /// Just after the event `seq`, whose hash begins with `hash`.
    After {
        seq: Seq,
        /// How its hash begins.
        hash: ShortHash,
    },
}

impl Position {
    /// Just after the event `seq` with this hash; the start when there is none yet.
    pub fn after(seq: Seq, hash: Hash) -> Self {
        if seq == Seq::ZERO { Self::Start } else { Self::After { seq, hash: hash.short() } }
    }

    /// Reads what [`Display`](fmt::Display) writes, and nothing else: no sign, no leading zero, no capital digit.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "0" {
            return Some(Self::Start);
        }
        let (seq, hash) = text.split_once('-')?;
        Some(Self::After { seq: Seq(parse_number(seq)?), hash: ShortHash::parse(hash)? })
    }

    /// The seq of the event that it is after; 0 for the start.
    pub fn seq(self) -> Seq {
        match self {
            Self::Start => Seq::ZERO,
            Self::After { seq, .. } => seq,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("0"),
            Self::After { seq, hash } => write!(f, "{seq}-{hash}"),
        }
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What an `ETag` holds: a document's version and the beginning of its hash, written `<version>-<short hash>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    pub version: Version,
    /// How its hash begins.
    pub hash: ShortHash,
}

impl Tag {
    /// Reads what [`Display`](fmt::Display) writes, and nothing else.
    pub fn parse(text: &str) -> Option<Self> {
        let (version, hash) = text.split_once('-')?;
        Some(Self { version: Version(parse_number(version)?), hash: ShortHash::parse(hash)? })
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.version, self.hash)
    }
}

/// A positive decimal number that fits SQLite's integers, without sign or leading zero.
fn parse_number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    let number: u64 = plain.then(|| text.parse().ok())??;
    i64::try_from(number).is_ok().then_some(number)
}

/// Checks that `claimed` follows from `previous` and the stored bytes of an event. Error: `Damaged`.
pub(crate) fn verify(previous: Hash, body: &[u8], claimed: Hash, version: Version) -> Result<(), Error> {
    if previous.after(body) == claimed {
        return Ok(());
    }
    Err(Error::new(
        crate::base::error::Kind::Damaged,
        format!("the stored history does not verify at version {version}: its hash does not follow from its content"),
    )
    .with("version", version.0))
}
