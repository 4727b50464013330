//! Two characters, or two wiki entries, that go by one name.

use serde_json::json;

use crate::base::ids::DocumentName;
use crate::features::projects::consistency::check::{Check, Finding, Severity, Unit, shown};
use crate::features::projects::consistency::model::ProjectModel;
use crate::features::projects::members::MemberKind;

/// Documents that a finding names.
const NAMED_MAX: usize = 20;

pub(crate) struct DuplicateName;

const KINDS: [MemberKind; 2] = [MemberKind::Character, MemberKind::WikiEntry];

impl Check for DuplicateName {
    fn name(&self) -> &'static str {
        "duplicate-name"
    }

    fn severity(&self) -> Severity {
        Severity::Warning
    }

    fn units(&self, model: &ProjectModel) -> Vec<Unit> {
        let shared = model.names().filter(|name| model.named(name).nth(1).is_some());
        shared.flat_map(|name| KINDS.map(|kind| Unit::Name(kind, name.clone()))).collect()
    }

    fn touched(&self, model: &ProjectModel, document: &DocumentName) -> Vec<Unit> {
        let Some(entity) = model.document(document).filter(|entity| KINDS.contains(&entity.kind)) else {
            return Vec::new();
        };
        entity.names.iter().map(|name| Unit::Name(entity.kind, name.clone())).collect()
    }

    fn findings(&self, model: &ProjectModel, unit: &Unit) -> Vec<Finding> {
        let Unit::Name(kind, name) = unit else { return Vec::new() };
        let same: Vec<&DocumentName> =
            model.named(name).filter(|document| model.entity(document, *kind).is_some()).collect();
        let [_, second, ..] = same.as_slice() else { return Vec::new() };
        let title = model.document(second).and_then(|entity| entity.names.first()) == Some(name);
        let path = match (title, kind) {
            (false, _) => "/aliases",
            (true, MemberKind::Character) => "/name",
            (true, _) => "/title",
        };
        vec![Finding {
            key: String::new(),
            document: (*second).clone(),
            path: path.to_owned(),
            what: format!("{} {} go by the name '{}'", same.len(), kind.collection(), shown(name)),
            why: "readers cannot tell which of them is meant".to_owned(),
            values: json!({
                "name": shown(name),
                "documents": same.iter().take(NAMED_MAX).map(ToString::to_string).collect::<Vec<_>>(),
            }),
            suggestion: "rename one of them, or merge them".to_owned(),
        }]
    }
}
