//! A warning: a finding that is kept. Its states, and what becomes of it when the project is checked again.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::checks::CheckFinding;

/// Where a warning is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WarningStatus {
    Open,
    /// By hand, or since it is not found any more.
    Resolved,
    /// Somebody said that it is none.
    Dismissed,
}

impl WarningStatus {
    pub(crate) const ALL: [Self; 3] = [Self::Open, Self::Resolved, Self::Dismissed];

    /// Its name in the table and on the wire.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Resolved => "resolved",
            Self::Dismissed => "dismissed",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }

    /// The state after `step`; `None`: it is not allowed in this one.
    pub(crate) const fn after(self, step: WarningStep) -> Option<Self> {
        match (self, step) {
            (Self::Open, WarningStep::Resolve | WarningStep::Gone) => Some(Self::Resolved),
            (Self::Open, WarningStep::Dismiss) => Some(Self::Dismissed),
            (Self::Open | Self::Resolved, WarningStep::Found { .. }) => Some(Self::Open),
            // What was dismissed is another matter when its values are others.
            (Self::Dismissed, WarningStep::Found { changed: true }) => Some(Self::Open),
            (Self::Dismissed, WarningStep::Found { changed: false } | WarningStep::Gone) => Some(Self::Dismissed),
            (Self::Resolved, WarningStep::Gone) => Some(Self::Resolved),
            (Self::Resolved | Self::Dismissed, WarningStep::Resolve | WarningStep::Dismiss) => None,
        }
    }
}

/// What happens to a warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WarningStep {
    /// Somebody resolves it.
    Resolve,
    /// Somebody dismisses it.
    Dismiss,
    /// A check finds it again; `changed`: with other values.
    Found { changed: bool },
    /// A check does not find it any more.
    Gone,
}

/// What is known of a warning when its project is checked again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KnownWarning {
    pub number: i64,
    pub fingerprint: String,
    pub values_digest: String,
    pub status: WarningStatus,
}

/// What a check makes of warnings.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct WarningChanges {
    /// New ones, with their fingerprints.
    pub new: Vec<(String, CheckFinding)>,
    /// Those that are found again: their numbers, what they are now, and the state in which they are.
    pub found: Vec<(i64, CheckFinding, WarningStatus)>,
    /// Those that are resolved since they are not found.
    pub gone: Vec<i64>,
}

/// Compares what is found with what is known of the units that were looked at.
pub(crate) fn changes(known: &[KnownWarning], found: Vec<CheckFinding>) -> WarningChanges {
    let by_fingerprint: HashMap<&str, &KnownWarning> =
        known.iter().map(|warning| (warning.fingerprint.as_str(), warning)).collect();
    let (mut changes, mut again) = (WarningChanges::default(), HashSet::new());
    for found in found {
        let fingerprint = found.finding.fingerprint(found.check, &found.unit);
        if !again.insert(fingerprint.clone()) {
            continue;
        }
        let Some(warning) = by_fingerprint.get(fingerprint.as_str()) else {
            changes.new.push((fingerprint, found));
            continue;
        };
        let changed = warning.values_digest != found.finding.values_digest();
        let status = warning.status.after(WarningStep::Found { changed }).unwrap_or(warning.status);
        changes.found.push((warning.number, found, status));
    }
    let gone = known.iter().filter(|warning| {
        let not_found = !again.contains(&warning.fingerprint);
        not_found && warning.status.after(WarningStep::Gone) != Some(warning.status)
    });
    changes.gone = gone.map(|warning| warning.number).collect();
    changes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::property_tests::cases;

    fn step() -> impl Strategy<Value = WarningStep> {
        prop_oneof![
            Just(WarningStep::Resolve),
            Just(WarningStep::Dismiss),
            prop::bool::ANY.prop_map(|changed| WarningStep::Found { changed }),
            Just(WarningStep::Gone),
        ]
    }

    proptest! {
        #![proptest_config(cases(200))]

        #[test]
        fn resolve_and_dismiss_move_a_warning_only_along_its_allowed_states(
            steps in prop::collection::vec(step(), 1..60),
        ) {
            let mut status = WarningStatus::Open;
            for step in steps {
                let after = status.after(step);
                let by_hand = matches!(step, WarningStep::Resolve | WarningStep::Dismiss);
                let allowed = match (status, after) {
                    (before, Some(after)) if before == after => !by_hand,
                    (WarningStatus::Open, Some(WarningStatus::Resolved)) => step != WarningStep::Dismiss,
                    (WarningStatus::Open, Some(WarningStatus::Dismissed)) => step == WarningStep::Dismiss,
                    (WarningStatus::Resolved, Some(WarningStatus::Open)) => matches!(step, WarningStep::Found { .. }),
                    (WarningStatus::Dismissed, Some(WarningStatus::Open)) => {
                        step == WarningStep::Found { changed: true }
                    }
                    (WarningStatus::Open, None) => false,
                    (_, None) => by_hand,
                    _ => false,
                };
                prop_assert!(allowed, "{:?} {:?} {:?}", status, step, after);
                status = after.unwrap_or(status);
            }
        }
    }
}
