//! What a session is, whose it may be, who may show it, and when it ends. Pure.

use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::base::entropy::Entropy;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::{SessionId, UserId};
use crate::base::secret::{Secret, SecretHash};
use crate::document::visibility::Viewer;
use crate::features::sessions::limits::{SESSION_TEXT_CHARS_MAX, USER_AGENT_CHARS_MAX};
use crate::http::request::caller::Principal;

/// How every token begins, so that people and secret scanners know one.
pub(crate) const PREFIX: &str = "rejoin_session_";

/// What is shown to be let in as a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token(Secret);

impl Token {
    /// A new one.
    pub fn new(entropy: &dyn Entropy) -> Self {
        Self(Secret::new(PREFIX, entropy))
    }

    /// The one that is made of these bits.
    pub(crate) fn of(secret: &[u8; 32]) -> Self {
        Self(Secret::of(PREFIX, secret))
    }

    /// Reads one; `None`: it is none.
    pub fn parse(text: &str) -> Option<Self> {
        Secret::parse(PREFIX, text).map(Self)
    }

    /// What is stored in its place.
    pub fn hash(&self) -> SecretHash {
        self.0.hash()
    }

    /// The text, for the answer to whoever opened the session and nowhere else.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

/// Whose a session is, and who may show it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SessionHolder {
    /// The server's owner. Good on the server's own machine alone, where the owner needs none.
    Owner,
    /// The server's owner, who came by an administrator's link. Good wherever it is shown.
    LinkedOwner,
    /// A member of the tailnet, who opened it and alone may show it.
    Member(UserId),
    /// A user for whom an administrator opened it. Good for whoever was given the token and gets in.
    Granted(UserId),
    /// A user who was let in to some documents only. Good as [`Granted`](Self::Granted).
    Scoped(UserId),
}

impl SessionHolder {
    /// As whom it reads and writes, within what it reaches.
    pub fn viewer(&self) -> Viewer {
        match self {
            Self::Owner | Self::LinkedOwner => Viewer::Owner,
            Self::Member(user) | Self::Granted(user) | Self::Scoped(user) => Viewer::User(user.clone()),
        }
    }

    /// The user; `None`: the server's owner.
    pub fn user(&self) -> Option<&UserId> {
        match self {
            Self::Owner | Self::LinkedOwner => None,
            Self::Member(user) | Self::Granted(user) | Self::Scoped(user) => Some(user),
        }
    }

    /// Whether `person` may show it, and then whether it is an administrator's now. One that was granted never is.
    pub fn admits(&self, person: &Principal) -> Option<bool> {
        match (self, person) {
            (Self::Owner, Principal::Local) | (Self::LinkedOwner, _) => Some(true),
            (Self::Member(user), Principal::Member(member)) if member.user == *user => Some(member.administrator),
            (Self::Granted(_) | Self::Scoped(_), Principal::Local | Principal::Member(_) | Principal::Anonymous) => {
                Some(false)
            }
            (Self::Owner | Self::Member(_), _) => None,
        }
    }
}

/// Whose a new session is. `wanted`: the user for whom it is to be, instead of oneself; `shown`: the session with which
/// it is asked for. Errors: `Forbidden` for a user whom the asker may not name; `Invalid` for what the server's owner
/// is called; `Unauthenticated`.
pub(crate) fn holder(
    wanted: Option<UserId>,
    administrator: bool,
    person: &Principal,
    shown: Option<&SessionHolder>,
) -> Result<SessionHolder> {
    match (wanted, shown, person) {
        (Some(user), _, _) if administrator && Viewer::is_owners_name(&user) => {
            Err(Error::invalid_field("user", "is what the server's owner is called; call the user something else"))
        }
        (Some(user), _, _) if administrator => Ok(SessionHolder::Granted(user)),
        (Some(_), _, _) => {
            Err(Error::new(Kind::Forbidden, "only administrators open sessions for others; leave out 'user'"))
        }
        (None, Some(SessionHolder::Scoped(_)), _) => {
            Err(Error::new(Kind::Forbidden, "a session that reaches some documents only opens no other"))
        }
        (None, Some(holder), _) => Ok(holder.clone()),
        (None, None, Principal::Local) => Ok(SessionHolder::Owner),
        (None, None, Principal::Member(member)) => Ok(SessionHolder::Member(member.user.clone())),
        (None, None, Principal::Anonymous) => Err(Error::new(Kind::Unauthenticated, "nobody knows who is asking")),
    }
}

/// What somebody uses a session on, in their own words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// What it is called.
    pub name: Option<String>,
    /// What kind of device.
    pub kind: Option<String>,
    /// Its operating system.
    pub os: Option<String>,
}

/// A session. Its token is not part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Names it.
    pub id: SessionId,
    /// Whose it is.
    pub holder: SessionHolder,
    /// On what.
    pub device: Device,
    /// What the program that opened it calls itself.
    pub user_agent: Option<String>,
    /// From where it was opened.
    pub address: String,
    /// What its user is at, in their own words.
    pub current_phase: Option<String>,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When its time last began anew.
    pub renewed_at: Timestamp,
    /// When it was last shown.
    pub last_seen_at: Timestamp,
    /// The session that was shown to open it, if one was.
    pub opened_by: Option<SessionId>,
}

/// How long a session is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionTerms {
    /// After it was opened or renewed. It slides: whoever uses a session in the second half of this time renews it, so
    /// that one that is in use does not end.
    pub ttl: Duration,
    /// After it was last used.
    pub idle: Duration,
}

impl SessionTerms {
    /// From when on a session is good no more, unless it is used before.
    pub fn expires_at(&self, renewed_at: Timestamp, last_seen_at: Timestamp) -> Timestamp {
        renewed_at.plus(self.ttl).min(last_seen_at.plus(self.idle))
    }

    /// Whether its use at `now` renews a session.
    pub fn renews(&self, renewed_at: Timestamp, now: Timestamp) -> bool {
        now >= renewed_at.plus(self.ttl / 2)
    }
}

/// Checks a text that people write and read: some characters, none of them a control character. Error: `Invalid`,
/// naming `field`.
pub(crate) fn text(field: &str, text: String) -> Result<String> {
    if text.trim().is_empty() || text.chars().count() > SESSION_TEXT_CHARS_MAX || text.chars().any(char::is_control) {
        let rule = format!("must be 1 to {SESSION_TEXT_CHARS_MAX} characters, none of them a control character");
        return Err(Error::invalid_field(field, rule));
    }
    Ok(text)
}

/// What a program calls itself, cut to a bound and without what would upset a terminal. `None` when it says nothing.
pub(crate) fn user_agent(said: &[u8]) -> Option<String> {
    let said = String::from_utf8_lossy(said);
    let kept: String = said.chars().take(USER_AGENT_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    (!kept.trim().is_empty()).then_some(kept)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use std::sync::Arc;

    use crate::property_tests::cases;
    use proptest::prelude::*;

    use super::*;
    use crate::http::request::caller::TailnetIdentity;

    const DAY: Duration = Duration::from_secs(24 * 3600);
    const TERMS: SessionTerms =
        SessionTerms { ttl: Duration::from_secs(30 * 24 * 3600), idle: Duration::from_secs(7 * 24 * 3600) };

    fn user(id: &str) -> UserId {
        UserId::new(id).unwrap()
    }

    fn member(id: &str, administrator: bool) -> Principal {
        let (login, node, why) = (format!("{id}@example"), "laptop".to_owned(), "a test says so".to_owned());
        Principal::Member(Arc::new(TailnetIdentity { user: user(id), login, node, administrator, why }))
    }

    #[test]
    fn a_session_is_good_for_whom_it_was_opened_and_for_no_other() {
        let (owner, ann, granted) =
            (SessionHolder::Owner, SessionHolder::Member(user("ann")), SessionHolder::Granted(user("bob")));
        for (holder, person, expect) in [
            (&owner, Principal::Local, Some(true)),
            (&owner, member("ann", true), None),
            (&owner, Principal::Anonymous, None),
            (&SessionHolder::LinkedOwner, Principal::Local, Some(true)),
            (&SessionHolder::LinkedOwner, Principal::Anonymous, Some(true)),
            (&SessionHolder::LinkedOwner, member("ann", false), Some(true)),
            (&ann, member("ann", false), Some(false)),
            (&ann, member("ann", true), Some(true)),
            (&ann, member("eve", true), None),
            (&ann, Principal::Local, None),
            (&ann, Principal::Anonymous, None),
            (&granted, Principal::Local, Some(false)),
            (&granted, member("ann", true), Some(false)),
            (&granted, member("bob", true), Some(false)),
            (&granted, Principal::Anonymous, Some(false)),
        ] {
            assert_eq!(holder.admits(&person), expect, "{holder:?} {person:?}");
        }
    }

    #[test]
    fn sessions_for_others_are_opened_by_administrators_alone() {
        let check = |wanted: Option<&str>, administrator, person: Principal, shown: Option<&SessionHolder>| {
            holder(wanted.map(user), administrator, &person, shown).map_err(|error| error.kind())
        };
        let (bob, granted) = (|| Ok(SessionHolder::Granted(user("bob"))), SessionHolder::Granted(user("cat")));
        assert_eq!(check(Some("bob"), true, Principal::Local, None), bob());
        assert_eq!(check(Some("bob"), true, Principal::Local, Some(&SessionHolder::Owner)), bob());
        assert_eq!(check(Some("bob"), true, member("ann", true), None), bob());
        for name in ["host", "owner", "Owner", "OWNER", "hOST"] {
            let named = check(Some(name), true, Principal::Local, None);
            assert_eq!(named, Err(Kind::Invalid), "nobody acts in the owner's name");
        }
        assert_eq!(check(Some("bob"), false, member("ann", false), None), Err(Kind::Forbidden));
        assert_eq!(check(Some("cat"), false, Principal::Local, Some(&granted)), Err(Kind::Forbidden));
        assert_eq!(check(None, true, Principal::Local, None), Ok(SessionHolder::Owner));
        assert_eq!(check(None, false, member("ann", false), None), Ok(SessionHolder::Member(user("ann"))));
        assert_eq!(check(None, false, Principal::Local, Some(&granted)), Ok(granted.clone()));
        assert_eq!(check(None, false, Principal::Anonymous, None), Err(Kind::Unauthenticated));
    }

    #[test]
    fn a_session_ends_a_week_after_its_last_use_and_goes_on_while_it_is_used() {
        let start = Timestamp::from_millis(1_000_000);
        assert_eq!(TERMS.expires_at(start, start), start.plus(7 * DAY));
        assert_eq!(TERMS.expires_at(start, start.plus(29 * DAY)), start.plus(30 * DAY));
        assert!(!TERMS.renews(start, start.plus(15 * DAY - Duration::from_millis(1))));
        assert!(TERMS.renews(start, start.plus(15 * DAY)));
    }

    #[test]
    fn texts_are_short_and_harmless() {
        let long = "x".repeat(SESSION_TEXT_CHARS_MAX);
        for good in ["Ann's phone", "ä", "combat: round 3", &long] {
            assert_eq!(text("name", good.to_owned()).unwrap(), good);
        }
        for bad in ["", "  ", "a\nb", "\u{1b}[31m", &format!("{long}x")] {
            assert_eq!(text("name", bad.to_owned()).unwrap_err().kind(), Kind::Invalid, "{bad:?}");
        }
        assert_eq!(user_agent(b"curl/8\x1b\xff").as_deref(), Some("curl/8 \u{fffd}"));
        assert_eq!(user_agent(b" "), None);
        assert_eq!(user_agent(&[b'x'; 9999]).unwrap().len(), USER_AGENT_CHARS_MAX);
    }

    proptest! {
        #![proptest_config(cases(256))]

        #[test]
        fn whoever_comes_back_within_the_idle_time_is_never_sent_away(
            gaps in prop::collection::vec(1_u64..7 * 24 * 3600, 1..200),
        ) {
            let mut now = Timestamp::from_millis(0);
            let (mut renewed, mut seen) = (now, now);
            for gap in gaps {
                now = now.plus(Duration::from_secs(gap));
                prop_assert!(now < TERMS.expires_at(renewed, seen));
                seen = now;
                if TERMS.renews(renewed, now) {
                    renewed = now;
                }
            }
        }
    }
}
