//! A plot loop that is left open in a project that is completed.

use serde_json::{Value, json};

use crate::base::ids::DocumentName;
use crate::features::projects::consistency::check::{
    Check, Finding, Severity, Unit, called, document_of, documents_of, shown_value,
};
use crate::features::projects::consistency::model::ProjectModel;
use crate::features::projects::members::MemberKind;

pub(crate) struct PlotLoopLeftOpen;

impl Check for PlotLoopLeftOpen {
    fn name(&self) -> &'static str {
        "plot-loop-left-open"
    }

    fn severity(&self) -> Severity {
        Severity::Warning
    }

    fn units(&self, model: &ProjectModel) -> Vec<Unit> {
        documents_of(model, MemberKind::PlotLoop)
    }

    fn touched(&self, model: &ProjectModel, document: &DocumentName) -> Vec<Unit> {
        let plot = model.entity(document, MemberKind::PlotLoop);
        plot.map(|_| Unit::Document(document.clone())).into_iter().collect()
    }

    fn findings(&self, model: &ProjectModel, unit: &Unit) -> Vec<Finding> {
        let plot = document_of(unit).and_then(|name| Some((name, model.entity(name, MemberKind::PlotLoop)?)));
        let Some((name, plot)) = plot.filter(|_| model.project.completed) else { return Vec::new() };
        let status = plot.state.get("status");
        if status.and_then(Value::as_str) == Some("closed") {
            return Vec::new();
        }
        vec![Finding {
            key: String::new(),
            document: name.clone(),
            path: "/status".to_owned(),
            what: format!("{} is left open", called(model, name)),
            why: "the project is completed, and this plot loop is not closed".to_owned(),
            values: json!({ "status": status.map_or(Value::Null, shown_value) }),
            suggestion: "close it, and name the chapter in closedIn".to_owned(),
        }]
    }
}
