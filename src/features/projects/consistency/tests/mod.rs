//! The checks on made-up projects.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic fails the test")]

mod novel;
mod random;
mod single;

use serde_json::Value;

use super::checks::{self, CheckFinding, all_units};
use super::entity::Entity;
use super::model::{ProjectFacts, ProjectModel};
use crate::base::ids::DocumentName;
use crate::features::projects::members::MemberKind;

fn name(text: &str) -> DocumentName {
    DocumentName::parse(text).unwrap()
}

fn entity(name: &DocumentName, state: Value) -> Entity {
    Entity::new(MemberKind::from_name(name.collection.as_str()).unwrap(), state)
}

/// A project of documents.
fn project(facts: ProjectFacts, documents: &[(&str, Value)]) -> ProjectModel {
    let mut model = ProjectModel::new(facts);
    let with_entity = |(text, state): &(&str, Value)| {
        let name = name(text);
        let entity = entity(&name, state.clone());
        (name, Some(entity))
    };
    model.update(documents.iter().map(with_entity).collect());
    model.set_outside([(name("projects/p"), true)], Vec::new());
    model
}

fn all_findings(model: &ProjectModel) -> Vec<CheckFinding> {
    checks::findings(model, &all_units(model))
}

/// Check, document and path of each finding, in order.
fn places(found: &[CheckFinding]) -> Vec<String> {
    let place = |found: &CheckFinding| format!("{} {}{}", found.check, found.finding.document, found.finding.path);
    let mut places: Vec<String> = found.iter().map(place).collect();
    places.sort();
    places
}
