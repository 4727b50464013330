//! The bounds of invitations.

use std::time::Duration;

/// Invitations that are kept, good or not. Past it: `invitations-full`.
pub(crate) const INVITATIONS_MAX: u64 = 2000;
/// How often one may be used.
pub(crate) const USES_MAX: u32 = 1000;
/// Documents that one may name.
pub(crate) const DOCUMENTS_MAX: usize = 20;
/// How long one is good unless it says so.
pub(crate) const LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// How long one may be good.
pub(crate) const LIFETIME_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long one that is over is kept, so that who comes by it is told what became of it.
pub(crate) const KEPT_AFTER: Duration = Duration::from_secs(30 * 24 * 3600);
/// Names of people that are kept, in memory too. Past it: `names-full`.
pub(crate) const NAMES_MAX: usize = 50_000;
/// How long the name is kept of somebody who was invited to nothing that is still there: a session that is in use does
/// not end.
pub(crate) const NAMES_KEPT: Duration = Duration::from_secs(400 * 24 * 3600);
/// Longest path to which it may lead, characters.
pub(crate) const TARGET_CHARS_MAX: usize = 500;
/// Fewest characters of an `Idempotency-Key` of an exchange: a session's token is made of it and of the invitation's,
/// which several may have.
pub(crate) const KEY_CHARS_MIN: usize = 20;
