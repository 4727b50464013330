//! What is kept of an error, and how many may be told. Pure.

use std::collections::HashMap;
use std::time::Duration;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::base::clock::Timestamp;
use crate::features::client_errors::limits::{
    CLIENT_ERROR_BURST, CLIENT_ERROR_BURST_ALL, CLIENT_ERROR_CALLERS_MAX, CLIENT_ERROR_MESSAGE_LENGTH_MAX,
    CLIENT_ERROR_SPACING, CLIENT_ERROR_SPACING_ALL, CLIENT_ERROR_STACK_LENGTH_MAX, CLIENT_ERROR_TEXT_LENGTH_MAX,
};

/// An error as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClientError {
    /// What the browser said.
    pub message: String,
    /// Where in the program.
    pub stack: Option<String>,
    /// On which page, without query and fragment: they may hold secrets.
    pub url: Option<String>,
    pub user_agent: Option<String>,
    pub app_version: Option<String>,
}

impl ClientError {
    /// The same within the bounds: what is too long is cut.
    #[must_use]
    pub(crate) fn bounded(self) -> Self {
        let text = |text: Option<String>| text.map(|text| truncate(text, CLIENT_ERROR_TEXT_LENGTH_MAX));
        Self {
            message: truncate(self.message, CLIENT_ERROR_MESSAGE_LENGTH_MAX),
            stack: self.stack.map(|stack| truncate(stack, CLIENT_ERROR_STACK_LENGTH_MAX)),
            url: text(self.url.map(|url| url.split(['?', '#']).next().unwrap_or_default().to_owned())),
            user_agent: text(self.user_agent),
            app_version: text(self.app_version),
        }
    }

    /// What makes two errors one: message, stack and release.
    pub(crate) fn fingerprint(&self) -> String {
        let mut hasher = Sha256::new();
        for part in [Some(&self.message), self.stack.as_ref(), self.app_version.as_ref()] {
            // Lengths go first, so that no two errors are written alike; nothing is not the empty text.
            hasher.update(part.map_or(u64::MAX, |text| u64::try_from(text.len()).unwrap_or(0)).to_le_bytes());
            hasher.update(part.map_or("", |text| text));
        }
        HEXLOWER.encode(&hasher.finalize())
    }
}

/// The beginning of `text`, at most `length_max` bytes.
fn truncate(mut text: String, length_max: usize) -> String {
    text.truncate(text.floor_char_boundary(length_max));
    text
}

/// So many at once, and one more after each spacing.
#[derive(Clone, Copy, Debug)]
struct Rate {
    burst: u32,
    spacing: Duration,
}

const EACH: Rate = Rate { burst: CLIENT_ERROR_BURST, spacing: CLIENT_ERROR_SPACING };
const ALL: Rate = Rate { burst: CLIENT_ERROR_BURST_ALL, spacing: CLIENT_ERROR_SPACING_ALL };

impl Rate {
    fn spacing_millis(self) -> i64 {
        i64::try_from(self.spacing.as_millis()).unwrap_or(i64::MAX)
    }

    /// The moment at which all is as if nothing had ever come, after one more. Error: how long to wait for it,
    /// milliseconds.
    fn admit(self, free_at: i64, now: i64) -> Result<i64, i64> {
        let spacing = self.spacing_millis();
        let span = spacing.saturating_mul(self.burst.into());
        // Further ahead than it ever gets: the clock was set back.
        let free_at = if free_at - now > span { now } else { free_at.max(now) };
        let next = free_at.saturating_add(spacing);
        if next - now <= span { Ok(next) } else { Err(next - now - span) }
    }
}

/// Counts errors per caller and in all.
#[derive(Clone, Debug, Default)]
pub(crate) struct ErrorLimiter {
    /// When each caller is free again, milliseconds. At most [`CLIENT_ERROR_CALLERS_MAX`]: who finds no room is counted
    /// with all others only.
    callers: HashMap<String, i64>,
    all: i64,
}

impl ErrorLimiter {
    /// Counts an error of `caller`. Error: the seconds after which it is worth trying again.
    pub(crate) fn admit(&mut self, caller: &str, now: Timestamp) -> Result<(), u64> {
        let now = now.as_millis();
        let seconds = |millis: i64| u64::try_from(millis.div_euclid(1000) + 1).unwrap_or(1);
        let of_caller = EACH.admit(self.callers.get(caller).copied().unwrap_or(now), now).map_err(seconds)?;
        self.all = ALL.admit(self.all, now).map_err(seconds)?;
        if self.callers.len() >= CLIENT_ERROR_CALLERS_MAX && !self.callers.contains_key(caller) {
            self.callers.retain(|_, free_at| *free_at > now);
        }
        if self.callers.len() < CLIENT_ERROR_CALLERS_MAX || self.callers.contains_key(caller) {
            self.callers.insert(caller.to_owned(), of_caller);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use crate::property_tests::cases;
    use proptest::prelude::*;

    use super::*;

    fn error(message: &str) -> ClientError {
        ClientError { message: message.into(), ..ClientError::default() }
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters_and_addresses_lose_their_secrets() {
        let long = ClientError {
            message: "ä".repeat(2000),
            stack: Some("s".repeat(1 << 20)),
            url: Some("https://host/a/b?token=1#x".into()),
            user_agent: Some("u".repeat(5000)),
            app_version: Some("v".repeat(5000)),
        };
        let bounded = long.bounded();
        assert_eq!((bounded.message.len(), bounded.stack.as_ref().unwrap().len()), (2000, 16 << 10));
        assert_eq!(bounded.url.as_deref(), Some("https://host/a/b"));
        assert_eq!((bounded.user_agent.unwrap().len(), bounded.app_version.unwrap().len()), (1000, 1000));
        let fragment = ClientError { url: Some("/a#token=1?b".into()), ..error("x") };
        assert_eq!(fragment.bounded().url.as_deref(), Some("/a"));
    }

    #[test]
    fn message_stack_and_release_make_an_error() {
        let of = |stack: Option<&str>, version: Option<&str>| {
            let (stack, app_version) = (stack.map(str::to_owned), version.map(str::to_owned));
            ClientError { stack, app_version, ..error("x") }.fingerprint()
        };
        let all =
            [of(None, None), of(Some(""), None), of(Some("a"), None), of(None, Some("a")), of(Some("a"), Some("a"))];
        let different: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
        let elsewhere = ClientError { url: Some("/b".into()), user_agent: Some("c".into()), ..error("x") };
        assert_eq!(elsewhere.fingerprint(), error("x").fingerprint());
        assert_eq!(error("x").fingerprint().len(), 64);
    }

    #[test]
    fn a_burst_is_taken_and_then_one_after_each_spacing() {
        let mut limiter = ErrorLimiter::default();
        let at = Timestamp::from_millis;
        for _ in 0..CLIENT_ERROR_BURST {
            limiter.admit("alice", at(1000)).unwrap();
        }
        assert_eq!(limiter.admit("alice", at(1000)), Err(7));
        assert_eq!(limiter.admit("alice", at(6_999)), Err(1));
        limiter.admit("bob", at(1000)).unwrap();
        limiter.admit("alice", at(7_000)).unwrap();
        assert!(limiter.admit("alice", at(7_000)).is_err());
        // A clock that was set back by a day locks nobody out.
        let mut limiter = ErrorLimiter::default();
        limiter.admit("alice", at(86_400_000)).unwrap();
        limiter.admit("alice", at(0)).unwrap();
    }

    #[test]
    fn all_together_have_a_bound_and_so_has_the_memory_of_callers() {
        let mut limiter = ErrorLimiter::default();
        let admitted = (0..5000).filter(|n| limiter.admit(&format!("c{n}"), Timestamp::from_millis(0)).is_ok()).count();
        assert_eq!(admitted, usize::try_from(CLIENT_ERROR_BURST_ALL).unwrap());
        for n in 0..5000_i64 {
            let _ = limiter.admit(&format!("d{n}"), Timestamp::from_millis(n * 300));
            assert!(limiter.callers.len() <= CLIENT_ERROR_CALLERS_MAX);
        }
    }

    proptest! {
        #![proptest_config(cases(256))]

        #[test]
        fn over_any_time_no_more_are_admitted_than_burst_and_spacing_allow(
            steps in prop::collection::vec(0..4000_i64, 1..200),
        ) {
            let (mut limiter, mut now, mut admitted) = (ErrorLimiter::default(), 0, 0);
            for step in steps {
                now += step;
                admitted += i64::from(limiter.admit("alice", Timestamp::from_millis(now)).is_ok());
            }
            prop_assert!(admitted <= i64::from(CLIENT_ERROR_BURST) + now / EACH.spacing_millis());
        }
    }
}
