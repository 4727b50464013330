//! A character or a wiki entry that no chapter mentions. A project whose chapters have no text yet has none.

use serde_json::json;

use crate::base::ids::DocumentName;
use crate::features::projects::consistency::check::{Check, Finding, Severity, Unit, called, document_of, shown};
use crate::features::projects::consistency::model::ProjectModel;
use crate::features::projects::members::MemberKind;

pub(crate) struct Unmentioned;

impl Check for Unmentioned {
    fn name(&self) -> &'static str {
        "never-mentioned"
    }

    fn severity(&self) -> Severity {
        Severity::Info
    }

    fn units(&self, model: &ProjectModel) -> Vec<Unit> {
        let named = model.documents().filter(|(_, entity)| entity.is_mentioned_by_name());
        named.map(|(name, _)| Unit::Document(name.clone())).collect()
    }

    fn touched(&self, model: &ProjectModel, document: &DocumentName) -> Vec<Unit> {
        let cast = model.entity(document, MemberKind::Chapter).into_iter();
        let cast = cast.flat_map(|chapter| &chapter.references).flat_map(|reference| &reference.targets);
        let mentioned: Vec<&DocumentName> = model.mentioned_in(document).chain(cast).chain([document]).collect();
        // An entry about a character is mentioned where the character is.
        let about = mentioned.iter().flat_map(|name| model.referrers(name));
        let all = about.chain(mentioned.iter().copied());
        let named = all.filter(|name| model.document(name).is_some_and(|entity| entity.is_mentioned_by_name()));
        named.cloned().map(Unit::Document).collect()
    }

    fn findings(&self, model: &ProjectModel, unit: &Unit) -> Vec<Finding> {
        let entity = document_of(unit).and_then(|name| Some((name, model.document(name)?)));
        let Some((name, entity)) = entity.filter(|(_, entity)| entity.is_mentioned_by_name()) else {
            return Vec::new();
        };
        let about = entity.targets("about").map(|(_, character)| character);
        if !model.has_text() || entity.names.is_empty() || about.chain([name]).any(|name| is_mentioned(model, name)) {
            return Vec::new();
        }
        let names: Vec<String> = entity.names.iter().take(10).map(|name| shown(name)).collect();
        vec![Finding {
            key: String::new(),
            document: name.clone(),
            path: if entity.kind == MemberKind::Character { "/name" } else { "/title" }.to_owned(),
            what: format!("no chapter mentions {}", called(model, name)),
            why: "none of its names stands in the text of a chapter, and no chapter lists it".to_owned(),
            values: json!({ "names": names }),
            suggestion: "mention it, add the alias that the text has for it, or delete it".to_owned(),
        }]
    }
}

fn is_mentioned(model: &ProjectModel, name: &DocumentName) -> bool {
    let lists = |chapter: &&DocumentName| model.entity(chapter, MemberKind::Chapter).is_some();
    model.chapters_with(name).next().is_some() || model.referrers(name).any(|by| lists(&by))
}
