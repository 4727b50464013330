//! A character who is mentioned in chapters that come after their death.

use serde_json::{Value, json};

use crate::base::ids::DocumentName;
use crate::features::projects::consistency::check::{
    Check, Finding, Severity, Unit, called, document_of, documents_of, shown_value,
};
use crate::features::projects::consistency::dates::DateSpan;
use crate::features::projects::consistency::entity::Entity;
use crate::features::projects::consistency::model::ProjectModel;
use crate::features::projects::members::MemberKind;

pub(crate) struct AfterDeath;

impl Check for AfterDeath {
    fn name(&self) -> &'static str {
        "mentioned-after-death"
    }

    fn severity(&self) -> Severity {
        Severity::Warning
    }

    fn units(&self, model: &ProjectModel) -> Vec<Unit> {
        documents_of(model, MemberKind::Character)
    }

    fn touched(&self, model: &ProjectModel, document: &DocumentName) -> Vec<Unit> {
        let all = model.mentioned_in(document).chain([document]);
        let characters = all.filter(|name| model.entity(name, MemberKind::Character).is_some());
        characters.cloned().map(Unit::Document).collect()
    }

    fn findings(&self, model: &ProjectModel, unit: &Unit) -> Vec<Finding> {
        let character = document_of(unit).and_then(|name| Some((name, model.entity(name, MemberKind::Character)?)));
        let Some((name, character)) = character else { return Vec::new() };
        let Some(death) = date(character, "died") else { return Vec::new() };
        let chapters = model.chapters_with(name).filter_map(|at| Some((at, model.entity(at, MemberKind::Chapter)?)));
        let later = chapters.filter(|(_, chapter)| date(chapter, "date").is_some_and(|date| death.is_before(date)));
        let value = |entity: &Entity, member: &str| entity.state.get(member).map_or(Value::Null, shown_value);
        let finding = |(chapter_name, chapter): (&DocumentName, &Entity)| Finding {
            key: chapter_name.to_string(),
            document: chapter_name.clone(),
            path: "/text".to_owned(),
            what: format!("{} mentions {} after their death", called(model, chapter_name), called(model, name)),
            why: "a name of the character stands in its text, and its date is after the death".to_owned(),
            values: json!({
                "character": name.to_string(), "died": value(character, "died"), "date": value(chapter, "date"),
            }),
            suggestion: "if it is a memory, dismiss this; else correct a date or the text".to_owned(),
        };
        later.map(finding).collect()
    }
}

fn date(entity: &Entity, member: &str) -> Option<DateSpan> {
    entity.state.get(member).and_then(DateSpan::of_value)
}
