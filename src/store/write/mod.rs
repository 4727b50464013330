//! What writes: [`batch`] (what one transaction stores), [`commit`] (the transaction), [`writer`] (the connection),
//! [`reopen`] (its failures), [`lookup`] (what it reads), [`checkpoint`] and [`checkpoints`], [`file_watch`] and
//! [`wal_copy`] (files that somebody else writes to), [`keys`] (stored answers by idempotency key), [`trim`]
//! (bounded history, compaction), [`feature_tables`] (those that the format does not have), [`purge`]
//! (removing documents), [`repair`] and [`proven_history`] (rewriting rows), [`rewrite`] (writing everything to another
//! file).

pub(crate) mod batch;
pub(crate) mod checkpoint;
pub(crate) mod checkpoints;
pub(crate) mod commit;
pub(crate) mod feature_tables;
pub(crate) mod file_copy;
pub(crate) mod file_watch;
pub(crate) mod keys;
pub(crate) mod lookup;
pub(crate) mod proven_history;
pub(crate) mod purge;
pub(crate) mod reopen;
pub(crate) mod repair;
pub(crate) mod rewrite;
pub(crate) mod trim;
pub(crate) mod wal_copy;
pub(crate) mod writer;
