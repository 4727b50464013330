//! The checks, one file each, and how they are run. A new one is a file and a line in [`ALL`].

mod after_death;
mod duplicate_name;
mod fact_mismatch;
mod impossible_date;
mod missing_reference;
mod plot_loop_left_open;
mod plot_loop_order;
mod unmentioned;

use std::collections::BTreeSet;

use super::check::{Check, Finding, Severity, Unit};
use super::entity::Entity;
use super::model::ProjectModel;
use crate::base::ids::DocumentName;

/// All checks, by name.
pub(crate) const ALL: &[&dyn Check] = &[
    &after_death::AfterDeath,
    &duplicate_name::DuplicateName,
    &fact_mismatch::FactMismatch,
    &impossible_date::ImpossibleDate,
    &missing_reference::MissingReference,
    &plot_loop_left_open::PlotLoopLeftOpen,
    &plot_loop_order::PlotLoopOrder,
    &unmentioned::Unmentioned,
];

/// Units that are to be looked at, each with the place of its check in [`ALL`].
pub(crate) type Units = BTreeSet<(usize, Unit)>;

/// A finding with what found it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CheckFinding {
    pub check: &'static str,
    pub severity: Severity,
    pub unit: Unit,
    pub finding: Finding,
}

/// A unit by the name of its check and its own.
pub(crate) fn unit(check: &str, unit: &str) -> Option<(usize, Unit)> {
    Some((ALL.iter().position(|known| known.name() == check)?, Unit::parse(unit)?))
}

/// All units of a project.
pub(crate) fn all_units(model: &ProjectModel) -> Units {
    let of = |(at, check): (usize, &&dyn Check)| -> Vec<(usize, Unit)> {
        check.units(model).into_iter().map(|unit| (at, unit)).collect()
    };
    ALL.iter().enumerate().flat_map(of).collect()
}

fn touched(model: &ProjectModel, document: &DocumentName, units: &mut Units) {
    for (at, check) in ALL.iter().enumerate() {
        units.extend(check.touched(model, document).into_iter().map(|unit| (at, unit)));
    }
}

/// Changes documents of a project, and returns the units whose findings can be others then.
pub(crate) fn update(model: &mut ProjectModel, changes: Vec<(DocumentName, Option<Entity>)>) -> Units {
    let mut units = Units::new();
    let had_text = model.has_text();
    let names: Vec<DocumentName> = changes.iter().map(|(name, _)| name.clone()).collect();
    names.iter().for_each(|name| touched(model, name, &mut units));
    model.update(changes);
    names.iter().for_each(|name| touched(model, name, &mut units));
    if model.has_text() != had_text {
        units.extend(all_units(model));
    }
    units
}

/// The findings of these units, in their order.
pub(crate) fn findings(model: &ProjectModel, units: &Units) -> Vec<CheckFinding> {
    let mut found = Vec::new();
    for (check, unit) in units.iter().filter_map(|(at, unit)| Some((ALL.get(*at)?, unit))) {
        let Some(severity) = severity(model, *check) else { continue };
        let of_unit = check.findings(model, unit).into_iter();
        found.extend(of_unit.map(|finding| CheckFinding {
            check: check.name(),
            severity,
            unit: unit.clone(),
            finding,
        }));
    }
    found
}

/// How bad the findings of a check are to a project; `None`: it is switched off.
fn severity(model: &ProjectModel, check: &dyn Check) -> Option<Severity> {
    let said = model.project.state.get("checks").and_then(|checks| checks.get(check.name()));
    match said {
        Some(serde_json::Value::Bool(false)) => None,
        Some(serde_json::Value::String(name)) => Some(Severity::named(name).unwrap_or_else(|| check.severity())),
        _ => Some(check.severity()),
    }
}
