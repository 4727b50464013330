//! The phases of a project.

use serde::Serialize;
use serde_json::Value;

use crate::base::clock::Timestamp;
use crate::base::error::{Error, Result};
use crate::features::projects::limits::{PHASE_BYTES_MAX, PHASES_MAX};
use crate::features::projects::problems::{PHASE_IS_CURRENT, PHASE_NEEDS_REASON};

/// The phases of a project that names none.
const DEFAULT: &[&str] = &["idea", "worldbuilding", "characters", "outline", "writing", "revision", "completed"];

/// The phases that a project goes through, in order, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Phases(Vec<String>);

impl Default for Phases {
    fn default() -> Self {
        Self(DEFAULT.iter().map(|name| (*name).to_owned()).collect())
    }
}

impl Phases {
    /// Those that the state of a project names in `phases`; what is no list of different names counts as none.
    pub(crate) fn of_project(state: &Value) -> Self {
        let named = state.get("phases").and_then(Value::as_array);
        let names = named.map(|names| names.iter().map(|name| name.as_str().unwrap_or_default().to_owned()).collect());
        names.and_then(Self::new).unwrap_or_default()
    }

    /// `None` for an empty list, one that is too long, and one with a name that is empty, too long or there twice.
    pub(crate) fn new(names: Vec<String>) -> Option<Self> {
        let fits = |name: &String| (1..=PHASE_BYTES_MAX).contains(&name.len());
        let once = |(at, name): (usize, &String)| names.iter().position(|other| other == name) == Some(at);
        let good = (1..=PHASES_MAX).contains(&names.len()) && names.iter().all(fits);
        (good && names.iter().enumerate().all(once)).then_some(Self(names))
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.0
    }

    /// The one that a project begins in.
    pub(crate) fn first(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }

    /// Where a phase is among them.
    pub(crate) fn place(&self, phase: &str) -> Option<usize> {
        self.0.iter().position(|name| name == phase)
    }

    /// How far a phase is on the way from the first to the last, percent.
    pub(crate) fn percent(&self, phase: &str) -> u64 {
        let last = self.0.len().saturating_sub(1).max(1);
        self.place(phase).map_or(0, |place| (100 * place / last) as u64)
    }
}

/// A change from one phase to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PhaseChange {
    pub from: String,
    pub to: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who had it made.
    pub changed_by: String,
    pub at: Timestamp,
    /// How long the project had been in `from`, milliseconds.
    #[serde(rename = "lastedSeconds", serialize_with = "write_seconds")]
    pub lasted_ms: u64,
}

pub(super) fn write_seconds<S: serde::Serializer>(ms: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(ms / 1_000)
}

/// Whether a project may go from `current` to the phase `to`. `field`: what the caller calls that. Errors: `Invalid`
/// for one that it does not have; `phase-is-current`; `phase-needs-reason` for one before the current without a reason.
pub(crate) fn check_change(phases: &Phases, current: &str, (field, to): (&str, &str), reasoned: bool) -> Result<()> {
    if to == current {
        return Err(PHASE_IS_CURRENT.error(format!("the project is in the phase {current} already")));
    }
    let Some(place) = phases.place(to) else {
        return Err(Error::invalid_field(field, format!("must be one of {}", phases.names().join(", "))));
    };
    // One that the project does not name any more is before all others.
    if !reasoned && phases.place(current).is_some_and(|now| place < now) {
        let message = format!("the project is in the phase {current}, and {to} comes before it: say why");
        return Err(PHASE_NEEDS_REASON.error(message).with("phase", current));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_project_names_its_phases_or_has_the_usual_ones() {
        let of = |phases: Value| Phases::of_project(&json!({ "phases": phases }));
        assert_eq!(of(json!(["draft", "done"])).names(), ["draft", "done"]);
        let long = "x".repeat(PHASE_BYTES_MAX + 1);
        for bad in [json!(null), json!([]), json!("draft"), json!(["a", "a"]), json!([""]), json!([1]), json!([long])] {
            assert_eq!(of(bad.clone()), Phases::default(), "{bad}");
        }
    }

    #[test]
    fn the_first_phase_is_no_percent_and_the_last_all() {
        let phases = Phases::default();
        let percent: Vec<u64> = phases.names().iter().map(|name| phases.percent(name)).collect();
        assert_eq!(percent, [0, 16, 33, 50, 66, 83, 100]);
        assert_eq!(phases.percent("unknown"), 0);
    }

    #[test]
    fn forward_goes_freely_back_with_a_reason_and_nowhere_not() {
        let phases = Phases::default();
        let slug = |current: &str, to: &str, reasoned: bool| {
            check_change(&phases, current, ("to", to), reasoned).err().map(|error| error.slug().unwrap_or("invalid"))
        };
        assert_eq!(slug("idea", "writing", false), None);
        assert_eq!(slug("writing", "idea", false), Some("phase-needs-reason"));
        assert_eq!(slug("writing", "idea", true), None);
        assert_eq!(slug("writing", "writing", true), Some("phase-is-current"));
        assert_eq!(slug("writing", "elsewhere", true), Some("invalid"));
        assert_eq!(slug("of before", "idea", false), None);
    }
}
