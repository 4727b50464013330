//! A fact of a character that the wiki entry about the character has otherwise.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::base::ids::DocumentName;
use crate::features::projects::consistency::check::{
    Check, Finding, Severity, Unit, called, document_of, documents_of, shown, shown_value,
};
use crate::features::projects::consistency::dates::DateSpan;
use crate::features::projects::consistency::entity::Entity;
use crate::features::projects::consistency::model::ProjectModel;
use crate::features::projects::members::MemberKind;

pub(crate) struct FactMismatch;

/// Facts that may also stand beside the others, as members of the document.
const MEMBERS: [&str; 2] = ["born", "died"];

impl Check for FactMismatch {
    fn name(&self) -> &'static str {
        "fact-mismatch"
    }

    fn severity(&self) -> Severity {
        Severity::Warning
    }

    fn units(&self, model: &ProjectModel) -> Vec<Unit> {
        documents_of(model, MemberKind::WikiEntry)
    }

    fn touched(&self, model: &ProjectModel, document: &DocumentName) -> Vec<Unit> {
        let entries = model.referrers(document).chain([document]);
        let entries = entries.filter(|name| model.entity(name, MemberKind::WikiEntry).is_some());
        entries.cloned().map(Unit::Document).collect()
    }

    fn findings(&self, model: &ProjectModel, unit: &Unit) -> Vec<Finding> {
        let entry = document_of(unit).and_then(|name| Some((name, model.entity(name, MemberKind::WikiEntry)?)));
        let Some((name, entry)) = entry else { return Vec::new() };
        let character = entry.targets("about").next();
        let character = character.and_then(|(_, name)| Some((name, model.entity(name, MemberKind::Character)?)));
        let Some((about, character)) = character else { return Vec::new() };
        let known = facts(character);
        let differing = facts(entry).into_iter().filter_map(|(fact, (path, here))| {
            let (_, there) = known.get(fact)?;
            (!agree(here, there)).then_some((fact, path, here, *there))
        });
        let finding = |(fact, path, here, there): (&str, String, &Value, &Value)| Finding {
            key: fact.to_owned(),
            document: name.clone(),
            path,
            what: format!("{} has another {} than {about}", called(model, name), shown(fact)),
            why: "the entry is about this character, and both say what it is".to_owned(),
            values: json!({ "fact": shown(fact), "character": shown_value(there), "wikiEntry": shown_value(here) }),
            suggestion: "decide which of the two holds, and change the other".to_owned(),
        };
        differing.map(finding).collect()
    }
}

/// The facts of a document by name, with where they stand.
fn facts(entity: &Entity) -> BTreeMap<&str, (String, &Value)> {
    let escaped = |name: &str| name.replace('~', "~0").replace('/', "~1");
    let listed = entity.state.get("facts").and_then(Value::as_object).into_iter().flatten();
    let listed = listed.map(|(name, value)| (name.as_str(), (format!("/facts/{}", escaped(name)), value)));
    let members = MEMBERS.iter().filter_map(|name| Some((*name, (format!("/{name}"), entity.state.get(*name)?))));
    // One in the list is the more explicit of the two.
    members.chain(listed).filter(|(_, (_, value))| !value.is_null()).collect()
}

/// Whether two values say the same, one maybe less exactly.
fn agree(a: &Value, b: &Value) -> bool {
    match (DateSpan::of_value(a), DateSpan::of_value(b)) {
        (Some(a), Some(b)) => a.overlaps(b),
        _ => a == b || text(a).is_some_and(|a| Some(a) == text(b)),
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
