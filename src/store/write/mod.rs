//! What writes: [`batch`] (what one transaction stores), [`commit`] (the transaction), [`writer`] (the connection and
//! its failures), [`lookup`] (what that reads), [`checkpoint`], [`keys`] (stored answers by idempotency key), [`trim`]
//! (bounded history, compaction), [`feature_tables`] (those that the format does not have), [`purge`]
//! (removing documents), [`repair`] and [`proven_history`] (rewriting rows), [`rewrite`] (writing everything to another
//! file).

pub(crate) mod batch;
pub(crate) mod checkpoint;
pub(crate) mod commit;
pub(crate) mod feature_tables;
pub(crate) mod keys;
pub(crate) mod lookup;
pub(crate) mod proven_history;
pub(crate) mod purge;
pub(crate) mod repair;
pub(crate) mod rewrite;
pub(crate) mod trim;
pub(crate) mod writer;
