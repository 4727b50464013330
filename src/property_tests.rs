//! What the property tests of this crate have in common.

use proptest::test_runner::{Config, FileFailurePersistence};

/// A configuration of so many cases. The seed of one that fails is written to `tests/regressions`, in a file named
/// after that of the test, and is tried first from then on. The file is to be committed with the fix.
pub(crate) fn cases(cases: u32) -> Config {
    let failure_persistence = Some(Box::new(FileFailurePersistence::SourceParallel("tests/regressions")) as _);
    Config { cases, failure_persistence, ..Config::default() }
}
