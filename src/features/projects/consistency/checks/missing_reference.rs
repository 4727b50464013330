//! A reference to a document, or a link to a title, that is not there.

use serde_json::json;

use crate::base::ids::DocumentName;
use crate::features::projects::consistency::check::{Check, Finding, Severity, Unit, called, document_of, shown};
use crate::features::projects::consistency::model::ProjectModel;

pub(crate) struct MissingReference;

impl Check for MissingReference {
    fn name(&self) -> &'static str {
        "missing-reference"
    }

    fn severity(&self) -> Severity {
        Severity::Error
    }

    fn units(&self, model: &ProjectModel) -> Vec<Unit> {
        let refers = model.documents().filter(|(_, entity)| !entity.references.is_empty() || !entity.links.is_empty());
        refers.map(|(name, _)| Unit::Document(name.clone())).collect()
    }

    fn touched(&self, model: &ProjectModel, document: &DocumentName) -> Vec<Unit> {
        let titles = model.document(document).map_or(&[][..], |entity| &entity.names);
        let others = model.referrers(document).chain(model.linkers(titles));
        others.chain([document]).cloned().map(Unit::Document).collect()
    }

    fn findings(&self, model: &ProjectModel, unit: &Unit) -> Vec<Finding> {
        let Some((name, entity)) = document_of(unit).and_then(|name| Some((name, model.document(name)?))) else {
            return Vec::new();
        };
        let missing = entity.references.iter().filter(|reference| !model.resolves(reference));
        let references = missing.map(|reference| Finding {
            key: format!("{} {}", reference.path, reference.id),
            document: name.clone(),
            path: reference.path.clone(),
            what: format!("{} refers to a document that is not there", called(model, name)),
            why: format!("no document that readers of the project may read is meant by '{}'", shown(&reference.id)),
            values: json!({ "id": shown(&reference.id) }),
            suggestion: "create the document, or name another one".to_owned(),
        });
        let dead = entity.links.iter().filter(|link| model.named(&link.title).next().is_none());
        let links = dead.map(|link| Finding {
            key: format!("[[{}]]", link.title),
            document: name.clone(),
            path: link.path.clone(),
            what: format!("{} links to a title that is not there", called(model, name)),
            why: format!("nothing in the project is called '{}'", shown(&link.title)),
            values: json!({ "title": shown(&link.title) }),
            suggestion: "create an entry of this title, give one this alias, or change the link".to_owned(),
        });
        references.chain(links).collect()
    }
}
