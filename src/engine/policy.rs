//! When a snapshot is due: the server's policy, a document's own, and the changes that always deserve one. Pure.

use std::time::Duration;

use serde_json::Value;

use crate::document::input::whole_number;

/// The top-level members of a state of which a change forces a snapshot: a phase ends, a status
/// changes. Looking back to such a moment is what people do, and it costs least where a snapshot is.
const LANDMARKS: [&str; 2] = ["phase", "status"];
/// The top-level member by which a state brings its own policy.
const MEMBER: &str = "persistence";
/// The ratio when nobody says otherwise, in thousandths: recovery then reads at most as much of patches as of state.
pub(crate) const RATIO_DEFAULT: u32 = 1000;
/// Smallest ratio, in thousandths. Below it nearly every change writes the whole state.
pub(crate) const RATIO_MIN: u32 = 10;
/// Largest ratio, in thousandths. Above it loading a document reads more than a hundred times its state.
pub(crate) const RATIO_MAX: u32 = 100_000;
/// Longest age of a snapshot that may be asked for.
pub(crate) const AGE_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// How much may come after a document's last snapshot before the next is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotPolicy {
    /// Patches may add up to this many thousandths of the state.
    pub ratio_thousandths: u32,
    /// A snapshot that is older than this is followed by another, if anything has changed since. `None`: any age.
    pub age: Option<Duration>,
}

impl Default for SnapshotPolicy {
    fn default() -> Self {
        Self { ratio_thousandths: RATIO_DEFAULT, age: None }
    }
}

impl SnapshotPolicy {
    /// The policy of a document with this state: what `persistence: {patchRatio, maxAgeSeconds}` in it says, and the
    /// server's policy for the rest. A value that is mistyped or out of bounds counts as absent: the state is the
    /// user's, and a wrong wish about storage is no reason to refuse a change.
    #[must_use]
    pub fn of(self, state: &Value) -> Self {
        let Some(own) = state.get(MEMBER) else { return self };
        let ratio = own.get("patchRatio").and_then(Value::as_f64).and_then(thousandths);
        let age = own.get("maxAgeSeconds").and_then(whole_number).map(Duration::from_secs);
        Self {
            ratio_thousandths: ratio.unwrap_or(self.ratio_thousandths),
            age: age.filter(|age| !age.is_zero() && *age <= AGE_MAX).or(self.age),
        }
    }

    /// How many bytes of patches may follow a snapshot of a state of this size.
    pub fn patch_bytes(&self, state_bytes: usize) -> usize {
        let ratio = usize::try_from(self.ratio_thousandths).unwrap_or(usize::MAX);
        state_bytes.saturating_mul(ratio) / 1000
    }
}

/// A ratio in thousandths, if it is within the bounds.
pub(crate) fn thousandths(ratio: f64) -> Option<u32> {
    let thousandths = (ratio * 1000.0).round();
    let within = thousandths >= f64::from(RATIO_MIN) && thousandths <= f64::from(RATIO_MAX);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within bounds that fit")]
    within.then_some(thousandths as u32)
}

/// Whether the step from one state to the next deserves a snapshot of its own. Coming into being does not: that event
/// carries the whole state.
pub(crate) fn forces(before: Option<&Value>, after: Option<&Value>) -> bool {
    let (Some(before), Some(after)) = (before, after) else { return false };
    LANDMARKS.iter().any(|member| before.get(member) != after.get(member))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_state_brings_its_own_policy_and_nonsense_counts_as_absent() {
        let server = SnapshotPolicy { ratio_thousandths: 2000, age: Some(Duration::from_secs(60)) };
        let own = |persistence: Value| {
            let policy = server.of(&json!({ "persistence": persistence }));
            (policy.ratio_thousandths, policy.age.map(|age| age.as_secs()))
        };
        assert_eq!(server.of(&json!({})), server);
        assert_eq!(own(json!({ "patchRatio": 0.5, "maxAgeSeconds": 5 })), (500, Some(5)));
        assert_eq!(own(json!({ "patchRatio": 100 })), (100_000, Some(60)));
        assert_eq!(own(json!({ "maxAgeSeconds": 31_536_000 })), (2000, Some(31_536_000)));
        for wrong in [json!(-1), json!(0), json!(0.001), json!(101), json!(1e300), json!("1"), json!(null), json!([1])]
        {
            assert_eq!(own(json!({ "patchRatio": wrong })), (2000, Some(60)), "{wrong}");
        }
        for wrong in [json!(-1), json!(0), json!(0.5), json!(31_536_001), json!("1"), json!(null)] {
            assert_eq!(own(json!({ "maxAgeSeconds": wrong })), (2000, Some(60)), "{wrong}");
        }
        for wrong in [json!(1), json!("x"), json!([]), json!(null)] {
            assert_eq!(own(wrong), (2000, Some(60)));
        }
    }

    #[test]
    fn phases_and_statuses_force_a_snapshot() {
        let forced = |before: Value, after: Value| forces(Some(&before), Some(&after));
        assert!(forced(json!({ "phase": "flop" }), json!({ "phase": "turn" })));
        assert!(forced(json!({}), json!({ "status": "running" })));
        assert!(forced(json!({ "status": 1 }), json!({})));
        assert!(!forced(json!({ "phase": "flop", "pot": 1 }), json!({ "phase": "flop", "pot": 2 })));
        assert!(!forced(json!({ "table": { "phase": 1 } }), json!({ "table": { "phase": 2 } })));
        assert!(!forces(None, Some(&json!({ "phase": "flop" }))));
        assert!(!forces(Some(&json!({ "phase": "flop" })), None));
    }

    #[test]
    fn the_ratio_is_of_the_state() {
        let policy = |ratio_thousandths| SnapshotPolicy { ratio_thousandths, age: None };
        assert_eq!(policy(1000).patch_bytes(50_000), 50_000);
        assert_eq!(policy(250).patch_bytes(50_000), 12_500);
        assert_eq!(policy(RATIO_MAX).patch_bytes(usize::MAX), usize::MAX / 1000);
    }
}
