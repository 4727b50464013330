//! Comparing, the audit, its stream and outside reports: the bounds, and what happens at each.

use std::time::Duration;

/// Documents that may have changed between two comparisons of memory with the disk, some 150 bytes each. Past it the
/// next comparison starts anew: it reads where each document stands.
pub(crate) const CHANGES_MAX: usize = 100_000;
/// How often memory is compared with the disk (default).
pub(crate) const RECONCILIATION_INTERVAL: Duration = Duration::from_secs(10);
/// KiB a second that are read and hashed again in the background (default): some 2 % of a core.
pub(crate) const RECONCILIATION_SCRUB_KIB: u64 = 1024;
/// Documents that are told as different from what they should be. Past it they are only counted.
pub(crate) const DIFFERENCES_MAX: usize = 100;
/// Updates of reconciliation kept in memory for streams, and their bytes. Older ones are read from the audit.
pub(crate) const RECONCILIATION_RING_UPDATES_MAX: usize = 1024;
/// See [`RECONCILIATION_RING_UPDATES_MAX`].
pub(crate) const RECONCILIATION_RING_BYTES_MAX: usize = 8 << 20;
/// Missed updates that a stream tells one by one. Past it: only the latest verdicts.
pub(crate) const RECONCILIATION_REPLAY_MAX: usize = 1000;
/// Rows of the audit (default), of some 500 bytes each. Past it the oldest go, verified ones first.
pub(crate) const RECONCILIATION_AUDIT_ROWS: u64 = 100_000;
/// Days that a row of the audit is kept (default).
pub(crate) const RECONCILIATION_AUDIT_DAYS: u32 = 30;
/// Verdicts that wait in memory for their rows while storage fails. Past it the oldest get none.
pub(crate) const RECONCILIATION_PENDING_MAX: usize = 1000;
/// Starts of the server whose event ids are still understood. Past it: as any id that nobody knows.
pub(crate) const RECONCILIATION_RUNS_MAX: u32 = 1000;
/// Outside services. Past it: `too-large`.
pub(crate) const OUTSIDE_SERVICES_MAX: usize = 1000;
/// Longest name of an outside service, bytes. Past it: `invalid-request`.
pub(crate) const OUTSIDE_NAME_LENGTH_MAX: usize = 64;
/// Longest description of an outside service, bytes. Past it: `invalid-request`.
pub(crate) const OUTSIDE_DESCRIPTION_LENGTH_MAX: usize = 1000;
/// Counts on each side of a report. Past it: `invalid-request`.
pub(crate) const REPORT_COUNTS_MAX: usize = 100;
/// Longest name of a count, bytes. Past it: `invalid-request`.
pub(crate) const REPORT_COUNT_NAME_LENGTH_MAX: usize = 64;
/// Job ids on each side of a report: all of them may be missing, and go to every dashboard then. Past it:
/// `invalid-request`.
pub(crate) const REPORT_JOB_IDS_MAX: usize = 1000;
/// Longest job id, bytes. Past it: `invalid-request`.
pub(crate) const REPORT_JOB_ID_LENGTH_MAX: usize = 128;
/// How far ahead of ours the clock of a reporter may be. Past it: `invalid-request`.
pub(crate) const REPORT_AHEAD_MAX: Duration = Duration::from_secs(300);
