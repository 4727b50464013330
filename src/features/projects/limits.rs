//! The bounds of projects.

/// Most documents that name one project.
pub(crate) const MEMBERS_MAX: u64 = 20_000;
/// Most phases that a project may name, and the longest name, bytes.
pub(crate) const PHASES_MAX: usize = 50;
pub(crate) const PHASE_BYTES_MAX: usize = 100;
/// Longest notes of a project's progress, bytes.
pub(crate) const NOTES_BYTES_MAX: usize = 4_000;
/// Longest reason of a phase change, bytes.
pub(crate) const REASON_BYTES_MAX: usize = 1_000;
/// Most words that somebody may say a project has.
pub(crate) const WORDS_MAX: u64 = 1_000_000_000;
/// How far apart snapshots of a project's progress are saved, milliseconds.
pub(crate) const SNAPSHOT_INTERVAL_MS: u64 = 60_000;
/// Most snapshots of a project: of the older ones the last of each quarter of an hour stays, then the oldest go.
pub(crate) const SNAPSHOTS_MAX: u64 = 20_000;
/// Most phase changes of a project: the oldest go.
pub(crate) const PHASE_CHANGES_MAX: u64 = 1_000;
/// Documents that are looked at in one step when the index of members is built.
pub(crate) const INDEXED_AT_ONCE: usize = 200;
/// Most buckets of a trend.
pub(crate) const TREND_BUCKETS_MAX: usize = 1_000;
/// Most open warnings of each check of a project; further findings are told when some of these are gone.
pub(crate) const WARNINGS_OPEN_MAX: u64 = 1_000;
/// Most resolved warnings of a project: the oldest go.
pub(crate) const WARNINGS_KEPT_MAX: usize = 2_000;
/// Longest note or reason of a change of warnings, bytes.
pub(crate) const WARNING_NOTE_BYTES_MAX: usize = 1_000;
/// Most warnings that are changed by their ids at once.
pub(crate) const WARNINGS_AT_ONCE_MAX: usize = 500;
/// Most warnings of one check that open streams are told of.
pub(crate) const WARNINGS_TOLD_MAX: usize = 200;
/// Bytes of projects that are kept in memory from one check to the next.
pub(crate) const MODELS_BYTES_MAX: usize = 64 << 20;
/// Most documents outside of a project that a check looks up.
pub(crate) const OUTSIDE_MAX: usize = 10_000;
