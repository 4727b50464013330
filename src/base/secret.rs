//! Secrets that are handed out once and known again by their hash.

use std::fmt;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use sha2::{Digest, Sha256};

use super::entropy::Entropy;

/// Random bytes of a secret: nobody guesses 256 bits, and so a plain hash keeps them as safe as any slow one would.
const SECRET_BYTES: usize = 32;

/// 256 random bits behind a prefix that people and secret scanners know, with nothing readable in them. It shows itself
/// to no log: only [`expose`](Self::expose) gives the text out.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(prefix: &str, entropy: &dyn Entropy) -> Self {
        let mut bytes = [0; SECRET_BYTES];
        entropy.fill(&mut bytes);
        Self::of(prefix, &bytes)
    }

    /// The one that is made of these bits, which nobody guesses.
    pub(crate) fn of(prefix: &str, bytes: &[u8; SECRET_BYTES]) -> Self {
        Self(format!("{prefix}{}", BASE64URL_NOPAD.encode(bytes)))
    }

    /// Bits for another secret: the same for the same `salt`, and nobody finds them who does not know both.
    pub(crate) fn derive(&self, salt: &str) -> [u8; SECRET_BYTES] {
        Sha256::new()
            .chain_update(b"derived\0")
            .chain_update(self.0.as_bytes())
            .chain_update(b"\0")
            .chain_update(salt)
            .finalize()
            .into()
    }

    /// Reads one with this prefix. `None`: it is none, whatever else it is.
    pub(crate) fn parse(prefix: &str, text: &str) -> Option<Self> {
        let secret = BASE64URL_NOPAD.decode(text.strip_prefix(prefix)?.as_bytes()).ok()?;
        (secret.len() == SECRET_BYTES).then(|| Self(text.to_owned()))
    }

    /// What is stored in its place.
    pub(crate) fn hash(&self) -> SecretHash {
        SecretHash(Sha256::digest(self.0.as_bytes()).into())
    }

    /// The text, for the answer to whoever it is made for and nowhere else.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(kept back)")
    }
}

/// SHA-256 of a secret, written as 64 lower-case hexadecimal digits. No secret: one cannot be found from it. What is
/// looked up by it tells by its time nothing of the secret either.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// Reads what [`Display`](fmt::Display) writes.
    pub fn parse(text: &str) -> Option<Self> {
        HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok().map(Self)
    }
}

impl fmt::Display for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        HEXLOWER.encode_display(&self.0).fmt(f)
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use crate::property_tests::cases;
    use proptest::prelude::*;

    use super::*;
    use crate::base::entropy::SeededEntropy;

    const PREFIX: &str = "test_";

    #[test]
    fn no_secret_is_shown_by_debug_and_none_is_like_another() {
        let entropy = SeededEntropy::new(7);
        let (one, other) = (Secret::new(PREFIX, &entropy), Secret::new(PREFIX, &entropy));
        assert!(one != other && one.hash() != other.hash());
        let shown = format!("{one:?} {:?} {:?}", Some(&one), Secret::parse(PREFIX, &format!("{}x", one.expose())));
        assert!(!shown.contains(&one.expose()[PREFIX.len()..]), "{shown}");
    }

    proptest! {
        #![proptest_config(cases(256))]

        #[test]
        fn a_secret_reads_back_and_nothing_near_it_does(seed: u64, at in 0_usize..48, other in "[ -~]") {
            let secret = Secret::new(PREFIX, &SeededEntropy::new(seed));
            let text = secret.expose();
            prop_assert_eq!(text.len(), 48);
            prop_assert_eq!(Secret::parse(PREFIX, text).unwrap().hash(), secret.hash());
            prop_assert_eq!(SecretHash::parse(&secret.hash().to_string()), Some(secret.hash()));
            let changed = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            if let Some(read) = Secret::parse(PREFIX, &changed) {
                prop_assert!(changed == text || read.hash() != secret.hash());
            }
            let longer = format!("{text}A");
            prop_assert!(Secret::parse(PREFIX, &text[..47]).is_none() && Secret::parse(PREFIX, &longer).is_none());
            prop_assert!(Secret::parse("other_", text).is_none());
        }
    }
}
