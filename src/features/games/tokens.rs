//! Reconnect tokens: what one is, whether one that is shown is good, and answers sealed under one. Pure.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use sha2::{Digest, Sha256};

use super::problems::{
    RECONNECT_TOKEN_EXPIRED, RECONNECT_TOKEN_MISMATCH, RECONNECT_TOKEN_RACED, RECONNECT_TOKEN_UNKNOWN,
    RECONNECT_TOKEN_USED,
};
use crate::base::clock::Timestamp;
use crate::base::entropy::Entropy;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::UserId;
use crate::base::secret::{Secret, SecretHash};
use crate::document::visibility::Viewer;
use crate::features::games::limits::RECONNECT_RACE;

/// How every token begins, so that people and secret scanners know one.
pub(crate) const PREFIX: &str = "rjt_";
/// Keeps the key of an answer apart from the hash that is stored: both are made from the same token.
const SEAL_LABEL: &[u8] = b"rejoin: the key of a sealed reconnect answer, 1\0";
/// Random bytes beside each sealed answer.
pub(crate) const NONCE_BYTES: usize = 12;

/// A secret that takes a seat back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReconnectToken(Secret);

impl ReconnectToken {
    pub(crate) fn new(entropy: &dyn Entropy) -> Self {
        Self(Secret::new(PREFIX, entropy))
    }

    /// Reads one. Error: `reconnect-token-unknown`, which does not repeat what was sent.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        Secret::parse(PREFIX, text).map(Self).ok_or_else(unknown)
    }

    /// What is stored in its place.
    pub(crate) fn hash(&self) -> SecretHash {
        self.0.hash()
    }

    /// The text, for the answer to whoever it is made for and nowhere else.
    pub(crate) fn expose(&self) -> &str {
        self.0.expose()
    }

    /// A hash is enough of a key derivation: what goes in has 256 random bits.
    fn sealing_key(&self) -> Key {
        let mut hasher = Sha256::new();
        hasher.update(SEAL_LABEL);
        hasher.update(self.expose().as_bytes());
        let bytes: [u8; 32] = hasher.finalize().into();
        bytes.into()
    }
}

/// What is known of a token. Found by its hash: how long a search in hashes takes tells nothing of the secret.
#[derive(Clone, Debug)]
pub(crate) struct StoredToken {
    /// The key of the game that it is for.
    pub document: i64,
    /// The player that it is for.
    pub player: UserId,
    /// The user that it is for.
    pub identity: UserId,
    /// What its line of tokens is called.
    pub family: String,
    /// From when on it is good no more.
    pub expires_at: Timestamp,
    /// When it was used.
    pub used_at: Option<Timestamp>,
    /// When its line ended.
    pub revoked_at: Option<Timestamp>,
}

/// Who shows a token, and for what.
#[derive(Clone, Debug)]
pub(crate) struct TokenAttempt {
    /// The key of the game.
    pub document: i64,
    /// As which player they want to come back.
    pub player: UserId,
    pub viewer: Viewer,
    /// Whether they are the game's host: such a one may ask for anybody's token, and so may show it too.
    pub host: bool,
}

/// What is to be made of a token that is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenVerdict {
    Good,
    /// It is for another game, player or user.
    Mismatch,
    /// Its time is over.
    Expired,
    /// It was used a moment ago: two requests of one client have met.
    Raced,
    /// It was used before: two clients have it, one of them a thief perhaps. Its line must end.
    Reused,
    /// Its line has ended.
    Ended,
}

/// Judges a token that is known. Whether it fits comes first: who may not use it must not be able to end its line.
pub(crate) fn check_token(known: &StoredToken, showing: &TokenAttempt, now: Timestamp) -> TokenVerdict {
    let holder = showing.host || showing.viewer.user() == Some(&known.identity);
    if known.document != showing.document || known.player != showing.player || !holder {
        return TokenVerdict::Mismatch;
    }
    if known.revoked_at.is_some() {
        return TokenVerdict::Ended;
    }
    match known.used_at {
        Some(used_at) if now <= used_at.plus(RECONNECT_RACE) => TokenVerdict::Raced,
        Some(_) => TokenVerdict::Reused,
        None if now >= known.expires_at => TokenVerdict::Expired,
        None => TokenVerdict::Good,
    }
}

impl TokenVerdict {
    /// Lets a good token through. Error: the refusal, which says what to do next.
    pub(crate) fn check(self) -> Result<()> {
        const ASK: &str = "ask for a new one at connection-token, as the player or by the host";
        let (problem, message) = match self {
            Self::Good => return Ok(()),
            Self::Mismatch => (
                &RECONNECT_TOKEN_MISMATCH,
                "this token is for another game, player or user; send the one that was given to this player for this \
                 game, or ask the host for one"
                    .to_owned(),
            ),
            Self::Expired => (&RECONNECT_TOKEN_EXPIRED, format!("this token has expired; {ASK}")),
            Self::Raced => (
                &RECONNECT_TOKEN_RACED,
                "another request has just used this token; go on with the token that it was given, or repeat it with \
                 its Idempotency-Key"
                    .to_owned(),
            ),
            Self::Reused => (
                &RECONNECT_TOKEN_USED,
                format!("this token was used before, so all tokens that came from it have ended; {ASK}"),
            ),
            Self::Ended => (
                &RECONNECT_TOKEN_USED,
                format!("this token has ended, since an older one was shown again or the player left; {ASK}"),
            ),
        };
        Err(problem.error(message))
    }
}

/// The refusal of a token that nobody knows.
pub(crate) fn unknown() -> Error {
    let message = "nobody knows this token; ask for a new one at connection-token, as the player or by the host";
    RECONNECT_TOKEN_UNKNOWN.error(message)
}

/// An answer that only the holder of a token can read.
#[derive(Clone, Debug)]
pub(crate) struct SealedAnswer {
    /// Random, [`NONCE_BYTES`] long.
    pub nonce: Vec<u8>,
    /// The answer, encrypted, with its authentication tag.
    pub text: Vec<u8>,
}

/// Seals `answer` under `token`, for the use that `context` names: elsewhere it does not open.
pub(crate) fn seal(
    token: &ReconnectToken,
    entropy: &dyn Entropy,
    context: &str,
    answer: &[u8],
) -> Result<SealedAnswer> {
    let mut nonce = [0; NONCE_BYTES];
    entropy.fill(&mut nonce);
    let payload = Payload { msg: answer, aad: context.as_bytes() };
    let sealed = ChaCha20Poly1305::new(&token.sealing_key()).encrypt(&Nonce::from(nonce), payload);
    let text = sealed.map_err(|_| Error::internal("an answer could not be sealed"))?;
    Ok(SealedAnswer { nonce: nonce.into(), text })
}

/// The answer. Error: `Damaged` when it does not open with this token in this context.
pub(crate) fn open(token: &ReconnectToken, context: &str, sealed: &SealedAnswer) -> Result<Vec<u8>> {
    let damaged = || Error::new(Kind::Damaged, "the kept answer to this request cannot be read; reconnect anew");
    let nonce: [u8; NONCE_BYTES] = sealed.nonce.as_slice().try_into().map_err(|_| damaged())?;
    let payload = Payload { msg: &sealed.text, aad: context.as_bytes() };
    ChaCha20Poly1305::new(&token.sealing_key()).decrypt(&Nonce::from(nonce), payload).map_err(|_| damaged())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic fails the test")]
    use crate::property_tests::cases;
    use proptest::prelude::*;

    use super::*;
    use crate::base::entropy::SeededEntropy;

    fn user(id: &str) -> UserId {
        UserId::new(id).unwrap()
    }

    fn known() -> StoredToken {
        StoredToken {
            document: 1,
            player: user("alice"),
            identity: user("alice"),
            family: "f".into(),
            expires_at: Timestamp::from_millis(1_800_000),
            used_at: None,
            revoked_at: None,
        }
    }

    fn showing() -> TokenAttempt {
        TokenAttempt { document: 1, player: user("alice"), viewer: Viewer::User(user("alice")), host: false }
    }

    fn check(known: &StoredToken, showing: &TokenAttempt, millis: i64, verdict: TokenVerdict, slug: Option<&str>) {
        let found = check_token(known, showing, Timestamp::from_millis(millis));
        assert_eq!(found, verdict, "{known:?} {showing:?} {millis}");
        assert_eq!(found.check().err().and_then(|error| error.slug()), slug);
    }

    #[test]
    fn a_token_is_good_up_to_its_last_millisecond() {
        for millis in [0, 1_799_000, 1_799_999] {
            check(&known(), &showing(), millis, TokenVerdict::Good, None);
        }
        for millis in [1_800_000, 1_800_001, 1_801_000] {
            check(&known(), &showing(), millis, TokenVerdict::Expired, Some("reconnect-token-expired"));
        }
    }

    #[test]
    fn a_used_token_is_a_lost_race_for_ten_seconds_and_then_a_theft() {
        let used = StoredToken { used_at: Some(Timestamp::from_millis(5000)), ..known() };
        for millis in [4999, 5000, 14_999, 15_000] {
            check(&used, &showing(), millis, TokenVerdict::Raced, Some("reconnect-token-raced"));
        }
        for millis in [15_001, 1_799_999, 1_800_001] {
            check(&used, &showing(), millis, TokenVerdict::Reused, Some("reconnect-token-used"));
        }
        let revoked = StoredToken { revoked_at: Some(Timestamp::from_millis(20_000)), ..used };
        check(&revoked, &showing(), 5001, TokenVerdict::Ended, Some("reconnect-token-used"));
    }

    #[test]
    fn whoever_it_is_not_for_learns_nothing_of_its_state() {
        let ended = StoredToken { revoked_at: Some(Timestamp::from_millis(1)), ..known() };
        let used = StoredToken { used_at: Some(Timestamp::from_millis(1)), ..known() };
        for known in [known(), ended, used] {
            for showing in [
                TokenAttempt { document: 2, ..showing() },
                TokenAttempt { player: user("bob"), ..showing() },
                TokenAttempt { viewer: Viewer::User(user("bob")), ..showing() },
                TokenAttempt { viewer: Viewer::Owner, ..showing() },
            ] {
                check(&known, &showing, 60_000, TokenVerdict::Mismatch, Some("reconnect-token-mismatch"));
            }
        }
        check(&known(), &TokenAttempt { viewer: Viewer::Owner, host: true, ..showing() }, 0, TokenVerdict::Good, None);
    }

    #[test]
    fn no_token_is_shown_by_debug() {
        let token = ReconnectToken::new(&SeededEntropy::new(7));
        let secret = &token.expose()[PREFIX.len()..];
        let shown =
            format!("{token:?} {:?} {:?}", Some(&token), ReconnectToken::parse(&format!("{}x", token.expose())));
        assert!(!shown.contains(secret), "{shown}");
        assert_eq!(ReconnectToken::parse(token.expose()).unwrap(), token);
        assert_eq!(ReconnectToken::parse("no").unwrap_err().slug(), Some("reconnect-token-unknown"));
    }

    proptest! {
        #![proptest_config(cases(256))]

        #[test]
        fn an_answer_opens_with_its_token_in_its_place_and_untouched_only(
            seed: u64, answer: Vec<u8>, context in ".{0,40}", other in ".{0,40}", flip: usize,
        ) {
            let entropy = SeededEntropy::new(seed);
            let (token, stranger) = (ReconnectToken::new(&entropy), ReconnectToken::new(&entropy));
            let sealed = seal(&token, &entropy, &context, &answer).unwrap();
            prop_assert_eq!(open(&token, &context, &sealed).unwrap(), answer);
            prop_assert!(open(&stranger, &context, &sealed).is_err());
            prop_assert!(other == context || open(&token, &other, &sealed).is_err());
            let mut touched = sealed;
            let at = flip % touched.text.len();
            touched.text[at] ^= 1;
            prop_assert!(open(&token, &context, &touched).is_err());
        }
    }
}
