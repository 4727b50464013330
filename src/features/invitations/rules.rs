//! What an invitation is, what may be asked for, and when it is good. Pure.

use super::limits::TARGET_CHARS_MAX;
use super::problems::{DOCUMENTS_GONE, ENDED, EXPIRED, USED};
use super::volatile::VolatileDocuments;
use crate::base::clock::Timestamp;
use crate::base::entropy::Entropy;
use crate::base::error::{Error, Result};
use crate::base::ids::{SessionId, UserId};
use crate::base::secret::{Secret, SecretHash};
use crate::http::providers::ReachedDocument;

/// How every token begins, so that people and secret scanners know one.
const PREFIX: &str = "rejoin_invitation_";

/// What a link holds after its `#`.
#[derive(Clone, Debug)]
pub(crate) struct InvitationSecret(Secret);

impl InvitationSecret {
    pub(crate) fn new(entropy: &dyn Entropy) -> Self {
        Self(Secret::new(PREFIX, entropy))
    }

    /// Reads one; `None`: it is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Secret::parse(PREFIX, text).map(Self)
    }

    /// What is stored in its place.
    pub(crate) fn hash(&self) -> SecretHash {
        self.0.hash()
    }

    /// Bits of the token of a session: the same for the same key.
    pub(crate) fn session_secret(&self, key: &str) -> [u8; 32] {
        self.0.derive(key)
    }

    /// The text, for the link and nowhere else.
    pub(crate) fn expose(&self) -> &str {
        self.0.expose()
    }
}

/// Which place who comes in takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InvitedSeat {
    /// The lowest free one.
    Any,
    /// This one, counted from 0.
    Number(u32),
}

impl InvitedSeat {
    /// The place that is wanted; `None`: any.
    pub(crate) fn number(self) -> Option<u32> {
        match self {
            Self::Any => None,
            Self::Number(number) => Some(number),
        }
    }

    /// As it is stored.
    pub(crate) fn to_text(self) -> String {
        self.number().map_or_else(|| "any".to_owned(), |number| number.to_string())
    }

    /// Reads what [`to_text`](Self::to_text) writes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text == "any" { Some(Self::Any) } else { text.parse().ok().map(Self::Number) }
    }
}

/// An invitation. Its secret is not part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Invitation {
    /// Names it; no secret.
    pub id: SessionId,
    /// For whom; `None`: who comes is asked for a name, and is a new user.
    pub user: Option<UserId>,
    /// To which documents, as far as they are there; `None`: to all.
    pub documents: Option<Vec<ReachedDocument>>,
    /// The place that is taken in the one document that it is for.
    pub seat: Option<InvitedSeat>,
    /// How often it may be used.
    pub uses: u32,
    pub used: u32,
    /// The path that the page goes on to.
    pub target: Option<String>,
    /// Who made it: `@owner`, or a user.
    pub created_by: String,
    /// What those who come are told who invites them.
    pub created_by_name: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub ended_at: Option<Timestamp>,
}

/// How it stands with an invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InvitationState {
    Open,
    Used,
    Expired,
    Ended,
    DocumentsGone,
}

impl InvitationState {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Used => "used",
            Self::Expired => "expired",
            Self::Ended => "ended",
            Self::DocumentsGone => "documents-gone",
        }
    }

    /// Refuses whoever comes by one that is over.
    pub(crate) fn check(self) -> Result<()> {
        match self {
            Self::Open => Ok(()),
            Self::Used => Err(USED.error("this invitation is used up; ask for another")),
            Self::Expired => Err(EXPIRED.error("this invitation has expired; ask for another")),
            Self::Ended => Err(ENDED.error("this invitation was ended; ask for another")),
            Self::DocumentsGone => Err(DOCUMENTS_GONE.error("what this invitation was for is gone; ask for another")),
        }
    }
}

impl Invitation {
    /// Leaves out documents in memory to which it is not an invitation any more.
    pub(super) fn retain_invited(&mut self, volatile: &VolatileDocuments) {
        let Self { id, documents, .. } = self;
        documents.iter_mut().for_each(|documents| documents.retain(|document| volatile.is_invited(document, id)));
    }

    /// How it stands at `now`. What somebody did comes before what time did.
    pub(crate) fn state(&self, now: Timestamp) -> InvitationState {
        if self.ended_at.is_some() {
            InvitationState::Ended
        } else if self.documents.as_ref().is_some_and(Vec::is_empty) {
            InvitationState::DocumentsGone
        } else if self.used >= self.uses {
            InvitationState::Used
        } else if now >= self.expires_at {
            InvitationState::Expired
        } else {
            InvitationState::Open
        }
    }
}

/// The path of a page on this server, as the page may go on to it: nothing that a browser takes for another address.
/// Error: `Invalid`.
pub(crate) fn check_target(target: &str) -> Result<()> {
    let own = target.starts_with('/') && !target.starts_with("//");
    let plain = target.bytes().all(|b| (0x21..0x7f).contains(&b) && b != b'\\');
    if own && plain && target.len() <= TARGET_CHARS_MAX {
        return Ok(());
    }
    let why = format!(
        "must be a path of this server, as /table.html, without '\\' and space, at most {TARGET_CHARS_MAX} characters"
    );
    Err(Error::invalid_field("to", why))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;
    use crate::base::entropy::SeededEntropy;
    use crate::base::ids::DocumentName;

    fn open() -> Invitation {
        Invitation {
            id: SessionId::new("i1").unwrap(),
            user: None,
            documents: Some(vec![ReachedDocument { name: DocumentName::parse("games/g1").unwrap(), key: 1 }]),
            seat: Some(InvitedSeat::Any),
            uses: 2,
            used: 1,
            target: None,
            created_by: "@owner".to_owned(),
            created_by_name: "the host".to_owned(),
            created_at: Timestamp::from_millis(0),
            expires_at: Timestamp::from_millis(1000),
            ended_at: None,
        }
    }

    #[test]
    fn an_invitation_is_good_until_it_is_used_up_expired_ended_or_about_nothing() {
        let at = Timestamp::from_millis;
        for (invitation, now, state) in [
            (open(), 999, InvitationState::Open),
            (open(), 1000, InvitationState::Expired),
            (Invitation { used: 2, ..open() }, 999, InvitationState::Used),
            (Invitation { used: 2, ..open() }, 1000, InvitationState::Used),
            (Invitation { documents: Some(Vec::new()), ..open() }, 999, InvitationState::DocumentsGone),
            (Invitation { documents: None, ..open() }, 999, InvitationState::Open),
            (Invitation { ended_at: Some(at(5)), used: 2, ..open() }, 1000, InvitationState::Ended),
        ] {
            assert_eq!(invitation.state(at(now)), state);
            assert_eq!(state.check().is_ok(), state == InvitationState::Open);
        }
    }

    #[test]
    fn a_page_goes_on_to_this_server_alone() {
        for good in ["/", "/table.html", "/t/?game=g1&x=%20", "/a/../b", "/#friday"] {
            check_target(good).unwrap();
        }
        let long = format!("/{}", "x".repeat(TARGET_CHARS_MAX));
        for bad in [
            "",
            "table.html",
            "//evil.example",
            "/\\evil.example",
            "http://evil.example/",
            "/a b",
            "/a\n",
            "javascript:alert(1)",
            "/ä",
            &long,
        ] {
            assert!(check_target(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_same_key_gives_the_same_session_and_another_another() {
        let (one, other) =
            (InvitationSecret::new(&SeededEntropy::new(1)), InvitationSecret::new(&SeededEntropy::new(2)));
        assert_eq!(one.session_secret("a"), one.session_secret("a"));
        assert_ne!(one.session_secret("a"), one.session_secret("b"));
        assert_ne!(one.session_secret("a"), other.session_secret("a"));
        assert_eq!(InvitationSecret::parse(one.expose()).unwrap().hash(), one.hash());
    }

    #[test]
    fn wishes_go_to_disk_and_back() {
        for wish in [InvitedSeat::Any, InvitedSeat::Number(0), InvitedSeat::Number(11)] {
            assert_eq!(InvitedSeat::parse(&wish.to_text()), Some(wish));
        }
        assert_eq!(InvitedSeat::parse("none"), None);
    }
}
