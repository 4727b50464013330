//! The bounds of sessions, with where each number comes from and what happens at it.

use std::time::Duration;

use crate::base::limits::REVOCATIONS_PENDING_MAX;

/// Sessions of one user. Past it: the one that was not used for longest ends.
pub(crate) const SESSIONS_PER_USER_MAX: usize = 100;
/// Sessions in all: what some 1 KB each makes of 50 MB. Past it: `sessions-full`.
pub(crate) const SESSIONS_MAX: usize = 50_000;
/// How long a session is good after it was opened or renewed (default).
pub(crate) const SESSION_TTL: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long a session is good after it was last used (default).
pub(crate) const SESSION_IDLE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Longest text that a user gives to a session, characters. Past it: `invalid-request`.
pub(crate) const SESSION_TEXT_CHARS_MAX: usize = 100;
/// Characters that are kept of what a browser calls itself. The rest is cut off.
pub(crate) const USER_AGENT_CHARS_MAX: usize = 300;
/// How often it is stored when sessions were last used: what a `kill -9` forgets of it at most.
pub(crate) const SESSIONS_STORED_EVERY: Duration = Duration::from_secs(60);
/// How often is looked for sessions that have expired, and for those in use by a stream alone.
pub(crate) const SESSIONS_LOOKED_AT_EVERY: Duration = Duration::from_secs(1);
/// Rows of sessions written in one transaction.
pub(crate) const SESSIONS_PER_ROUND: usize = 1000;

const _: () = assert!(REVOCATIONS_PENDING_MAX >= 2 * SESSIONS_MAX, "all sessions can end while storage fails");
