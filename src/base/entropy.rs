//! Randomness as a value.

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Where randomness comes from. Shared by all threads.
///
/// ```
/// use rejoin::{Entropy, SeededEntropy};
///
/// let (mut one, mut other) = ([0; 8], [0; 8]);
/// SeededEntropy::new(7).fill(&mut one);
/// SeededEntropy::new(7).fill(&mut other);
/// assert_eq!(one, other);
/// ```
pub trait Entropy: Send + Sync + 'static {
    /// Fills `out` with random bytes.
    fn fill(&self, out: &mut [u8]);
}

/// The thread's cryptographically secure generator, seeded by the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, out: &mut [u8]) {
        rand::rng().fill_bytes(out);
    }
}

/// A reproducible stream of bytes. For tests.
#[derive(Debug)]
pub struct SeededEntropy(Mutex<StdRng>);

impl SeededEntropy {
    /// The stream that belongs to `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, out: &mut [u8]) {
        self.0.lock().fill_bytes(out);
    }
}

/// A random number below `bound` (0 when `bound` is 0). The slight bias of the remainder does not matter for jitter,
/// which is what this is for.
pub fn below(entropy: &dyn Entropy, bound: u64) -> u64 {
    let mut bytes = [0; 8];
    entropy.fill(&mut bytes);
    u64::from_le_bytes(bytes).checked_rem(bound).unwrap_or(0)
}

/// A new time-ordered id (UUID version 7) for a document whose creator gave none.
pub(crate) fn new_id(entropy: &dyn Entropy, now: super::clock::Timestamp) -> String {
    let mut bytes = [0; 10];
    entropy.fill(&mut bytes);
    let millis = u64::try_from(now.as_millis()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid().to_string()
}
