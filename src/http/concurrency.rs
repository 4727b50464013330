//! A bound on how much each key holds at once: connections of a user, streams of a viewer.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;

/// At most `max` permits per key. Keys without a permit take no memory.
#[derive(Debug)]
pub(crate) struct ConcurrencyLimit<K> {
    max: usize,
    /// Held only to count, never across an await.
    held: Mutex<HashMap<K, usize>>,
}

/// One use of a [`ConcurrencyLimit`]. Released when dropped.
pub(crate) struct Permit<K: Eq + Hash>(Arc<ConcurrencyLimit<K>>, K);

impl<K: Eq + Hash + Clone> ConcurrencyLimit<K> {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, held: Mutex::default() })
    }

    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// The keys that have permits, and how many each.
    pub(crate) fn held(&self) -> Vec<(K, usize)> {
        self.held.lock().iter().map(|(key, count)| (key.clone(), *count)).collect()
    }

    /// `None` when `key` has `max` permits already.
    pub(crate) fn try_acquire(self: &Arc<Self>, key: K) -> Option<Permit<K>> {
        let mut held = self.held.lock();
        if held.get(&key).copied().unwrap_or(0) >= self.max {
            return None;
        }
        *held.entry(key.clone()).or_default() += 1;
        drop(held);
        Some(Permit(Arc::clone(self), key))
    }
}

impl<K: Eq + Hash> Drop for Permit<K> {
    fn drop(&mut self) {
        let mut held = self.0.held.lock();
        if let Some(count) = held.get_mut(&self.1) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                held.remove(&self.1);
            }
        }
    }
}

impl<K: Eq + Hash + fmt::Debug> fmt::Debug for Permit<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Permit").field(&self.1).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_gets_its_permits_and_a_dropped_one_can_be_acquired_again() {
        let limit = ConcurrencyLimit::new(2);
        let first = limit.try_acquire("ann");
        let second = limit.try_acquire("ann");
        assert!(first.is_some() && second.is_some() && limit.try_acquire("ann").is_none());
        let other = limit.try_acquire("bob");
        assert!(other.is_some(), "keys are counted apart");
        let mut held = limit.held();
        held.sort_unstable();
        assert_eq!(held, [("ann", 2), ("bob", 1)]);
        drop(first);
        assert!(limit.try_acquire("ann").is_some());
        drop((second, other));
        assert!(limit.held.lock().is_empty(), "a key without a permit is forgotten");
        let none = ConcurrencyLimit::new(0);
        assert!(none.try_acquire("ann").is_none() && none.held.lock().is_empty());
    }
}
