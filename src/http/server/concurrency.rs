//! How many of something each holds, and a bound on it.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;

/// Counts what is held by each, and says when one has as much as may be. Remembers only those that hold something.
#[derive(Debug)]
pub(crate) struct Counts<K> {
    max: usize,
    held: Mutex<HashMap<K, usize>>,
}

/// Something held. Given back when dropped.
pub(crate) struct Held<K: Eq + Hash>(Arc<Counts<K>>, K);

impl<K: Eq + Hash + Clone> Counts<K> {
    /// Nobody holds anything yet; each may hold `max`.
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, held: Mutex::default() })
    }

    /// How many each may hold.
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// Takes one more for `key`; `None` when it has as many as it may have.
    pub(crate) fn take(self: &Arc<Self>, key: K) -> Option<Held<K>> {
        let mut held = self.held.lock();
        let count = held.entry(key.clone()).or_default();
        if *count >= self.max {
            return None;
        }
        *count += 1;
        drop(held);
        Some(Held(Arc::clone(self), key))
    }
}

impl<K: Eq + Hash> Drop for Held<K> {
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

impl<K: Eq + Hash + fmt::Debug> fmt::Debug for Held<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Held").field(&self.1).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_holds_as_many_as_may_be_and_what_is_given_back_is_free_again() {
        let counts = Counts::new(2);
        let first = counts.take("ann");
        let second = counts.take("ann");
        assert!(first.is_some() && second.is_some() && counts.take("ann").is_none());
        let other = counts.take("bob");
        assert!(other.is_some(), "one does not take what is another's");
        drop(first);
        assert!(counts.take("ann").is_some());
        drop((second, other));
        assert!(counts.held.lock().is_empty(), "who holds nothing is forgotten");
        assert!(Counts::new(0).take("ann").is_none());
    }
}
