//! What writes: [`writer`] (the transaction), [`keys`] (answers that are given again), [`trim`] (bounded history,
//! compaction), [`purge`] (removing documents) and [`repair`] (writing rows anew).

pub(crate) mod keys;
pub(crate) mod purge;
pub(crate) mod repair;
pub(crate) mod trim;
pub(crate) mod writer;
