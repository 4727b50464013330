//! Which documents belong to a project, and what is counted of each.

use serde_json::Value;

use super::progress::words::count_words;
use crate::base::ids::{Collection, DocumentId};

/// The collection of projects.
pub(crate) const PROJECTS: &str = "projects";

/// The kinds of documents that belong to a project by naming it in `projectId`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum MemberKind {
    Chapter,
    Character,
    WikiEntry,
    PlotLoop,
}

impl MemberKind {
    pub(crate) const ALL: [Self; 4] = [Self::Chapter, Self::Character, Self::WikiEntry, Self::PlotLoop];

    /// The collection of such documents.
    pub(crate) const fn collection(self) -> &'static str {
        match self {
            Self::Chapter => "chapters",
            Self::Character => "characters",
            Self::WikiEntry => "wiki-entries",
            Self::PlotLoop => "plot-loops",
        }
    }

    /// The kind of the documents of a collection; `None`: they belong to no project.
    pub(crate) fn of_collection(collection: &Collection) -> Option<Self> {
        Self::from_name(collection.as_str())
    }

    pub(crate) fn from_name(collection: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.collection() == collection)
    }
}

/// A document of a project, as it is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// The id of the project, which need not be there.
    pub project: String,
    pub kind: MemberKind,
    /// Of a chapter: the words of its text.
    pub words: u64,
    /// Of a plot loop: whether it is closed.
    pub closed: bool,
}

impl Member {
    /// What a document with this state counts as; `None`: it names no project. Only the public members are looked at.
    pub(crate) fn of_state(kind: MemberKind, state: &Value) -> Option<Self> {
        let project = project_of(state)?.to_owned();
        let text = state.get("text").and_then(Value::as_str).filter(|_| kind == MemberKind::Chapter);
        let closed = kind == MemberKind::PlotLoop && state.get("status").is_some_and(|status| status == "closed");
        Some(Self { project, kind, words: text.map_or(0, count_words), closed })
    }
}

/// The id of the project that a state names, if that can be one.
pub(crate) fn project_of(state: &Value) -> Option<&str> {
    state.get("projectId").and_then(Value::as_str).filter(|id| DocumentId::new(id).is_ok())
}
