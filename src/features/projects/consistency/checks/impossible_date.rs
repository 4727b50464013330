//! Dates of a character that cannot be: a death before the birth, a deed after the death, a child older than a parent.

use serde_json::{Value, json};

use crate::base::ids::DocumentName;
use crate::features::projects::consistency::check::{
    Check, Finding, Severity, Unit, called, document_of, documents_of, shown_value,
};
use crate::features::projects::consistency::dates::DateSpan;
use crate::features::projects::consistency::entity::Entity;
use crate::features::projects::consistency::model::ProjectModel;
use crate::features::projects::members::MemberKind;

pub(crate) struct ImpossibleDate;

impl Check for ImpossibleDate {
    fn name(&self) -> &'static str {
        "impossible-date"
    }

    fn severity(&self) -> Severity {
        Severity::Error
    }

    fn units(&self, model: &ProjectModel) -> Vec<Unit> {
        documents_of(model, MemberKind::Character)
    }

    fn touched(&self, model: &ProjectModel, document: &DocumentName) -> Vec<Unit> {
        let cast = model.entity(document, MemberKind::Chapter).into_iter();
        let cast = cast.flat_map(|chapter| chapter.targets("characterIds")).map(|(_, name)| name);
        let all = model.referrers(document).chain(cast).chain([document]);
        let characters = all.filter(|name| model.entity(name, MemberKind::Character).is_some());
        characters.cloned().map(Unit::Document).collect()
    }

    fn findings(&self, model: &ProjectModel, unit: &Unit) -> Vec<Finding> {
        let character = document_of(unit).and_then(|name| Some((name, model.entity(name, MemberKind::Character)?)));
        let Some((name, character)) = character else { return Vec::new() };
        let (born, died) = (date(character, "born"), date(character, "died"));
        let mut found = Vec::new();
        if let (Some(birth), Some(death)) = (born, died)
            && death.is_before(birth)
        {
            found.push(Finding {
                key: "died".to_owned(),
                document: name.clone(),
                path: "/died".to_owned(),
                what: format!("{} dies before being born", called(model, name)),
                why: "the date of the death is before that of the birth".to_owned(),
                values: json!({ "born": value(character, "born"), "died": value(character, "died") }),
                suggestion: "correct one of the two dates".to_owned(),
            });
        }
        if let Some(birth) = born {
            found.extend(
                character.targets("parents").filter_map(|parent| older(model, (name, character), birth, parent)),
            );
        }
        if let Some(death) = died {
            let chapters = model.referrers(name).filter_map(|at| Some((at, model.entity(at, MemberKind::Chapter)?)));
            found.extend(chapters.filter_map(|chapter| acts(model, (name, character), death, chapter)));
        }
        found
    }
}

fn date(entity: &Entity, member: &str) -> Option<DateSpan> {
    entity.state.get(member).and_then(DateSpan::of_value)
}

fn value(entity: &Entity, member: &str) -> Value {
    entity.state.get(member).map_or(Value::Null, shown_value)
}

fn older(
    model: &ProjectModel,
    (name, character): (&DocumentName, &Entity),
    birth: DateSpan,
    (path, parent_name): (&str, &DocumentName),
) -> Option<Finding> {
    let parent = model.entity(parent_name, MemberKind::Character)?;
    birth.is_before(date(parent, "born")?).then(|| Finding {
        key: format!("parent {parent_name}"),
        document: name.clone(),
        path: path.to_owned(),
        what: format!("{} is older than the parent {}", called(model, name), called(model, parent_name)),
        why: "the date of the birth is before that of the parent's".to_owned(),
        values: json!({
            "born": value(character, "born"), "parent": parent_name.to_string(), "parentBorn": value(parent, "born"),
        }),
        suggestion: "correct one of the two dates, or the parent".to_owned(),
    })
}

fn acts(
    model: &ProjectModel,
    (name, character): (&DocumentName, &Entity),
    death: DateSpan,
    (chapter_name, chapter): (&DocumentName, &Entity),
) -> Option<Finding> {
    let (path, _) = chapter.targets("characterIds").find(|(_, target)| *target == name)?;
    death.is_before(date(chapter, "date")?).then(|| Finding {
        key: format!("acts {chapter_name}"),
        document: chapter_name.clone(),
        path: path.to_owned(),
        what: format!("{} acts after their death", called(model, name)),
        why: format!(
            "{} lists them among its characters, and its date is after their death",
            called(model, chapter_name)
        ),
        values: json!({
            "character": name.to_string(), "died": value(character, "died"), "date": value(chapter, "date"),
        }),
        suggestion: "correct one of the two dates, or take the character out of the chapter".to_owned(),
    })
}
