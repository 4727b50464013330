//! When a project is checked: a moment after its last change, some time after its first at most, and not too often.

use std::time::Duration;

use crate::base::clock::Timestamp;

/// How long nothing has to change before a project is checked.
pub(crate) const QUIET: Duration = Duration::from_secs(2);
/// How long a change waits for that at most.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(10);

/// Changes of a project that no check has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unchecked {
    /// When the first of them was made,
    pub first: Timestamp,
    /// and the last.
    pub last: Timestamp,
}

/// When a project may be checked again after its last check. A check that lies ahead, since the clock was set back,
/// counts as one of now.
pub(crate) fn free_at(checked: Option<Timestamp>, interval: Duration, now: Timestamp) -> Timestamp {
    checked.map_or(now, |checked| checked.min(now).plus(interval))
}

/// When these changes are to be checked.
pub(crate) fn due_at(
    unchecked: Unchecked,
    checked: Option<Timestamp>,
    interval: Duration,
    now: Timestamp,
) -> Timestamp {
    let Unchecked { first, last } = unchecked;
    let settled = last.min(now).plus(QUIET).min(first.min(now).plus(WAIT_MAX));
    settled.max(checked.map_or(settled, |_| free_at(checked, interval, now)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::property_tests::cases;

    const INTERVAL: Duration = Duration::from_secs(30);

    /// A project that is changed and looked at; the clock moves with that.
    #[derive(Default)]
    struct Simulated {
        now: Timestamp,
        unchecked: Option<Unchecked>,
        checks: Vec<Timestamp>,
        changed: Vec<Timestamp>,
        /// How many changes the last check saw.
        seen: usize,
    }

    impl Simulated {
        fn change(&mut self) {
            let first = self.unchecked.map_or(self.now, |unchecked| unchecked.first);
            self.unchecked = Some(Unchecked { first, last: self.now });
            self.changed.push(self.now);
        }

        /// Lets time pass in steps of at most `step`, and checks when it is due.
        fn pass(&mut self, millis: u64, step: u64) {
            let end = self.now.plus(Duration::from_millis(millis));
            while self.now < end {
                self.now = self.now.plus(Duration::from_millis(step.max(1))).min(end);
                let due = |unchecked| due_at(unchecked, self.checks.last().copied(), INTERVAL, self.now) <= self.now;
                if self.unchecked.is_some_and(due) {
                    self.unchecked = None;
                    self.seen = self.changed.len();
                    self.checks.push(self.now);
                }
            }
        }
    }

    proptest! {
        #![proptest_config(cases(200))]

        #[test]
        fn any_burst_within_the_debounce_window_causes_exactly_one_check_that_sees_the_last_change(
            gaps in prop::collection::vec(0_u64..2_000, 1..50),
            step in 1_u64..500,
        ) {
            let mut project = Simulated { now: Timestamp::from_millis(1_000_000), ..Simulated::default() };
            let mut lasted = 0;
            for gap in gaps {
                // Within the window: no gap of 2 s, and 10 s in all.
                if lasted + gap >= 9_000 {
                    break;
                }
                project.pass(gap, step);
                lasted += gap;
                project.change();
            }
            project.change();
            prop_assert!(project.checks.is_empty());
            project.pass(12_000, step);
            prop_assert_eq!(project.checks.len(), 1);
            prop_assert_eq!(project.seen, project.changed.len());
            project.pass(120_000, step);
            prop_assert_eq!(project.checks.len(), 1);
        }

        #[test]
        fn checks_of_a_project_never_exceed_the_limit_and_the_last_change_is_always_covered(
            gaps in prop::collection::vec(0_u64..40_000, 1..40),
            step in 1_u64..900,
        ) {
            let mut project = Simulated { now: Timestamp::from_millis(1_000_000), ..Simulated::default() };
            for gap in gaps {
                project.change();
                project.pass(gap, step);
            }
            project.change();
            project.pass(60_000, step);
            prop_assert_eq!(project.seen, project.changed.len());
            let pairs = project.checks.iter().zip(project.checks.iter().skip(1));
            prop_assert!(pairs.into_iter().all(|(one, next)| next.as_millis() - one.as_millis() >= 30_000));
        }
    }

    #[test]
    fn a_steady_writer_is_checked_after_ten_seconds_and_a_clock_that_was_set_back_holds_nothing_up() {
        let at = |seconds: i64| Timestamp::from_millis(1_000_000 + seconds * 1_000);
        let writing = Unchecked { first: at(0), last: at(9) };
        assert_eq!(due_at(writing, None, INTERVAL, at(9)), at(10));
        let ahead = Unchecked { first: at(5_000), last: at(5_000) };
        assert_eq!(due_at(ahead, Some(at(5_000)), INTERVAL, at(0)), at(30));
        assert_eq!(free_at(None, INTERVAL, at(7)), at(7));
    }
}
