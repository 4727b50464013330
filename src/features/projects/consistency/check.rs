//! What a check is, and what it finds. A check is pure: the same project has the same findings.
//!
//! A check looks at a project in *units*: a document, or a name. The findings of a unit follow from what it looks at
//! for that unit, so that a change is checked by looking again at the units that it can touch.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::model::ProjectModel;
use crate::base::ids::DocumentName;
use crate::features::projects::members::MemberKind;

/// Longest text of a document that is shown in a finding, characters.
const SHOWN_CHARACTERS_MAX: usize = 100;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    Info,
    Warning,
    Error,
}

impl Severity {
    pub(crate) const ALL: [Self; 3] = [Self::Error, Self::Warning, Self::Info];

    /// Its name in the table and on the wire.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.as_str() == name)
    }
}

/// What a check looks at as one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Unit {
    Document(DocumentName),
    /// A name that documents of a kind go by.
    Name(MemberKind, String),
}

impl Unit {
    /// Reads what [`Display`](fmt::Display) writes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let name = text.split_once(": ").and_then(|(kind, name)| Some((MemberKind::from_name(kind)?, name)));
        match name {
            Some((kind, name)) => Some(Self::Name(kind, name.to_owned())),
            None => DocumentName::parse(text).ok().map(Self::Document),
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Document(name) => write!(f, "{name}"),
            Self::Name(kind, name) => write!(f, "{}: {name}", kind.collection()),
        }
    }
}

/// Something that contradicts itself.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Finding {
    /// Tells it from others of the same check and unit.
    pub key: String,
    /// Where it is,
    pub document: DocumentName,
    /// and at which place of the document, a JSON Pointer.
    pub path: String,
    pub what: String,
    pub why: String,
    /// What stands there, by name.
    pub values: Value,
    pub suggestion: String,
}

impl Finding {
    /// What it is recognised by when it is found again.
    pub(crate) fn fingerprint(&self, check: &str, unit: &Unit) -> String {
        digest(&[check, &unit.to_string(), &self.key])
    }

    /// Differs when its values do.
    pub(crate) fn values_digest(&self) -> String {
        digest(&[&self.values.to_string()])
    }
}

fn digest(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.len().to_be_bytes());
        hasher.update(part.as_bytes());
    }
    let digest = hasher.finalize();
    data_encoding::HEXLOWER.encode(digest.get(..16).unwrap_or_default())
}

/// A check. One file each in `checks`.
pub(crate) trait Check: Sync {
    /// By which projects switch it: lower-case words with '-' between.
    fn name(&self) -> &'static str;

    /// Unless a project says otherwise.
    fn severity(&self) -> Severity;

    /// All units of a project.
    fn units(&self, model: &ProjectModel) -> Vec<Unit>;

    /// The units whose findings can be others when this document is changed. Asked before the change and after it.
    fn touched(&self, model: &ProjectModel, document: &DocumentName) -> Vec<Unit>;

    /// The findings of a unit, which need not be there any more.
    fn findings(&self, model: &ProjectModel, unit: &Unit) -> Vec<Finding>;
}

/// The documents of a kind, as units.
pub(crate) fn documents_of(model: &ProjectModel, kind: MemberKind) -> Vec<Unit> {
    model.of_kind(kind).map(|(name, _)| Unit::Document(name.clone())).collect()
}

/// The document that a unit is.
pub(crate) fn document_of(unit: &Unit) -> Option<&DocumentName> {
    match unit {
        Unit::Document(name) => Some(name),
        Unit::Name(..) => None,
    }
}

/// A text of a document as findings show it.
pub(crate) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_CHARACTERS_MAX).collect();
    if shown.len() < text.len() {
        shown.push('\u{2026}');
    }
    shown
}

/// What a document is called, or its name where it has none.
pub(crate) fn called(model: &ProjectModel, document: &DocumentName) -> String {
    let name = model.document(document).and_then(|entity| entity.names.first());
    name.map_or_else(|| document.to_string(), |name| shown(name))
}

/// A value as findings show it.
pub(crate) fn shown_value(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(shown(text)),
        Value::Array(_) | Value::Object(_) => Value::String(shown(&value.to_string())),
        other => other.clone(),
    }
}
