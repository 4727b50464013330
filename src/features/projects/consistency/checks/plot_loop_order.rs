//! A plot loop that is closed before it is opened, or whose chapters are not in the order of their numbers.

use serde_json::json;

use crate::base::ids::DocumentName;
use crate::features::projects::consistency::check::{
    Check, Finding, Severity, Unit, called, document_of, documents_of,
};
use crate::features::projects::consistency::entity::Entity;
use crate::features::projects::consistency::model::ProjectModel;
use crate::features::projects::members::MemberKind;

pub(crate) struct PlotLoopOrder;

impl Check for PlotLoopOrder {
    fn name(&self) -> &'static str {
        "plot-loop-order"
    }

    fn severity(&self) -> Severity {
        Severity::Error
    }

    fn units(&self, model: &ProjectModel) -> Vec<Unit> {
        documents_of(model, MemberKind::PlotLoop)
    }

    fn touched(&self, model: &ProjectModel, document: &DocumentName) -> Vec<Unit> {
        let all = model.referrers(document).chain([document]);
        let loops = all.filter(|name| model.entity(name, MemberKind::PlotLoop).is_some());
        loops.cloned().map(Unit::Document).collect()
    }

    fn findings(&self, model: &ProjectModel, unit: &Unit) -> Vec<Finding> {
        let plot = document_of(unit).and_then(|name| Some((name, model.entity(name, MemberKind::PlotLoop)?)));
        let Some((name, plot)) = plot else { return Vec::new() };
        let placed = |member| numbered(model, plot, member);
        let (opened, closed) = (placed("openedIn").pop(), placed("closedIn").pop());
        if let (Some(opened), Some(closed)) = (&opened, &closed)
            && closed.number < opened.number
        {
            return vec![Finding {
                key: "closed".to_owned(),
                document: name.clone(),
                path: "/closedIn".to_owned(),
                what: format!("{} is closed before it is opened", called(model, name)),
                why: "the chapter that closes it comes before the one that opens it".to_owned(),
                values: json!({
                    "openedIn": opened.chapter.to_string(), "openedInNumber": opened.number,
                    "closedIn": closed.chapter.to_string(), "closedInNumber": closed.number,
                }),
                suggestion: "name the chapters in which it is opened and closed the other way round".to_owned(),
            }];
        }
        let all: Vec<NumberedChapter<'_>> = opened.into_iter().chain(placed("chapterIds")).chain(closed).collect();
        let steps = all.iter().zip(all.iter().skip(1)).filter(|(before, after)| after.number < before.number);
        let finding = |(before, after): (&NumberedChapter<'_>, &NumberedChapter<'_>)| Finding {
            key: format!("{} {}", before.chapter, after.chapter),
            document: name.clone(),
            path: after.path.to_owned(),
            what: format!("{} names {} out of order", called(model, name), called(model, after.chapter)),
            why: format!("it comes before {}, which the plot loop names first", called(model, before.chapter)),
            values: json!({
                "before": before.chapter.to_string(), "beforeNumber": before.number,
                "after": after.chapter.to_string(), "afterNumber": after.number,
            }),
            suggestion: "name the chapters in their order, or renumber them".to_owned(),
        };
        steps.map(finding).collect()
    }
}

/// A chapter that a plot loop names, with its number.
struct NumberedChapter<'a> {
    path: &'a str,
    chapter: &'a DocumentName,
    number: f64,
}

/// The chapters in a member of a plot loop that are there and have a number.
fn numbered<'a>(model: &ProjectModel, plot: &'a Entity, member: &'a str) -> Vec<NumberedChapter<'a>> {
    let number = |chapter| model.entity(chapter, MemberKind::Chapter)?.state.get("number")?.as_f64();
    let placed = plot
        .targets(member)
        .filter_map(|(path, chapter)| Some(NumberedChapter { path, chapter, number: number(chapter)? }));
    placed.collect()
}
