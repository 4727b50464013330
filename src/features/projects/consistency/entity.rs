//! A document of a project: what it is called, and what it refers to.

use serde_json::Value;

use super::references::{self, Reference, WikiLink};
use crate::base::ids::DocumentName;
use crate::features::projects::members::MemberKind;

/// Most names that a document goes by.
const NAMES_MAX: usize = 100;
/// Longest name that is looked for, bytes.
const NAME_BYTES_MAX: usize = 200;

/// A document of a project: its public state.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entity {
    pub kind: MemberKind,
    pub state: Value,
    /// Its name or title and its aliases, each once.
    pub names: Vec<String>,
    pub references: Vec<Reference>,
    pub links: Vec<WikiLink>,
}

impl Entity {
    /// Of a public state.
    pub(crate) fn new(kind: MemberKind, state: Value) -> Self {
        let title = state.get(if kind == MemberKind::Character { "name" } else { "title" });
        let aliases = state.get("aliases").and_then(Value::as_array).into_iter().flatten();
        let mut names: Vec<String> = Vec::new();
        for name in title.into_iter().chain(aliases).filter_map(Value::as_str).map(str::trim) {
            let fits = (1..=NAME_BYTES_MAX).contains(&name.len()) && names.len() < NAMES_MAX;
            if fits && !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        let (references, links) = (references::references(&state), references::links(&state));
        Self { kind, state, names, references, links }
    }

    /// Its text; empty: it has none.
    pub(crate) fn text(&self) -> &str {
        self.state.get("text").and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether chapters mention such documents by their names.
    pub(crate) fn is_mentioned_by_name(&self) -> bool {
        matches!(self.kind, MemberKind::Character | MemberKind::WikiEntry)
    }

    /// The documents that the field `name` of it refers to.
    pub(crate) fn targets<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, &'a DocumentName)> {
        let of_field = move |reference: &&Reference| {
            let rest = reference.path.strip_prefix('/').and_then(|path| path.strip_prefix(name));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let references = self.references.iter().filter(of_field);
        references.filter_map(|reference| Some((reference.path.as_str(), reference.targets.first()?)))
    }
}
