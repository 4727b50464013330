//! Answers to writes that touched volatile documents alone, kept for retries. Not on disk: they hold what must not be
//! there, and a retry after a restart finds nothing that it could repeat.

use std::collections::{HashMap, VecDeque};

use crate::base::clock::Timestamp;
use crate::base::limits::{IDEMPOTENCY_KEPT, VOLATILE_KEYS_BYTES_MAX, VOLATILE_KEYS_MAX};
use crate::store::IdempotencyRow;

/// The scope and the key of a request.
pub(crate) type ScopedKey = (String, String);

/// See the module. Bounded by age, number and bytes; the oldest go first.
#[derive(Default)]
pub(crate) struct KeptAnswers {
    by_key: HashMap<ScopedKey, IdempotencyRow>,
    order: VecDeque<(ScopedKey, Timestamp)>,
    bytes: usize,
}

impl KeptAnswers {
    pub(crate) fn find(&self, key: &ScopedKey) -> Option<&IdempotencyRow> {
        self.by_key.get(key)
    }

    /// Keeps answers, and drops those that are too old or too many. `now`: `None` while the clock is doubted, and then
    /// none is too old.
    pub(crate) fn keep(&mut self, rows: Vec<IdempotencyRow>, now: Option<Timestamp>) {
        for row in rows {
            let key = (row.scope.clone(), row.key.clone());
            self.bytes += row.answer.len();
            self.order.push_back((key.clone(), row.at));
            self.by_key.insert(key, row);
        }
        let oldest = now.map(|now| now.minus(IDEMPOTENCY_KEPT));
        let full = |kept: &Self| kept.order.len() > VOLATILE_KEYS_MAX || kept.bytes > VOLATILE_KEYS_BYTES_MAX;
        while self.order.front().is_some_and(|(_, at)| oldest.is_some_and(|oldest| *at < oldest)) || full(self) {
            let Some((key, _)) = self.order.pop_front() else { return };
            if let Some(row) = self.by_key.remove(&key) {
                self.bytes -= row.answer.len();
            }
        }
    }
}
