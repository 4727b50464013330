//! From one state to the next: RFC 6902 and RFC 7396 on JSON trees.
//!
//! Clients may send the whole of RFC 6902; what we compute and store uses only `add`, `remove` and `replace`. A whole
//! document that appears is `add` at the root, one that disappears is `replace` of the root by `null`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use json_patch::PatchErrorKind;
use json_patch::jsonptr::PointerBuf;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::json::{self, JsonBounds};
use crate::base::error::{Error, Kind, Result};
use crate::base::limits::PATCH_OPERATIONS_MAX;

/// One operation of a patch that we computed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum PatchOperation {
    /// Puts a value where none was (in an array: before what was there).
    Add {
        path: String,
        /// What to put there.
        value: Value,
    },
    /// Takes a value away.
    Remove { path: String },
    /// Puts a value in the place of another.
    Replace {
        path: String,
        /// What to put there.
        value: Value,
    },
}

impl PatchOperation {
    /// Where it acts, as a JSON Pointer.
    pub fn path(&self) -> &str {
        match self {
            Self::Add { path, .. } | Self::Remove { path } | Self::Replace { path, .. } => path,
        }
    }

    /// The same operation with another value; `Remove` has none to change.
    #[must_use]
    pub fn map_value(self, f: impl FnOnce(Value) -> Value) -> Self {
        match self {
            Self::Add { path, value } => Self::Add { path, value: f(value) },
            Self::Replace { path, value } => Self::Replace { path, value: f(value) },
            Self::Remove { path } => Self::Remove { path },
        }
    }
}

/// How a state changed.
#[derive(Debug)]
pub struct StateChange {
    /// The operations, in order.
    pub operations: Vec<PatchOperation>,
    /// Whether the document is gone after it.
    pub deletes: bool,
}

/// The unescaped tokens of a JSON Pointer; none for the root.
pub(crate) fn tokens(pointer: &str) -> Vec<Cow<'_, str>> {
    let unescape = |token: &str| token.replace("~1", "/").replace("~0", "~");
    pointer
        .split('/')
        .skip(1)
        .map(|token| if token.contains('~') { Cow::Owned(unescape(token)) } else { Cow::Borrowed(token) })
        .collect()
}

/// How to get from `before` to `after`; `None` stands for a document that is not there.
///
/// When the operations would take more room than the new state (an element put at the head of a long list), the change
/// is one replacement of the whole. What only some may see is weighed by itself: else the others would learn how much
/// of it there is, by which of the two they are told.
pub(crate) fn diff(before: Option<&Value>, after: Option<&Value>, after_bytes: usize) -> Result<StateChange> {
    let root = String::new();
    let operations = match (before, after) {
        (None, None) => Vec::new(),
        (None, Some(value)) => vec![PatchOperation::Add { path: root, value: value.clone() }],
        (Some(_), None) => vec![PatchOperation::Replace { path: root, value: Value::Null }],
        (Some(before), Some(after)) => {
            let operations = json_patch::diff(before, after).0.into_iter().map(computed).collect::<Result<Vec<_>>>()?;
            let (operations, public_bytes) = compact_secrets(operations, before, after);
            let bytes: usize = operations.iter().filter_map(public_size).sum();
            if bytes > public_bytes.unwrap_or(after_bytes) + REPLACEMENT_BYTES {
                vec![PatchOperation::Replace { path: root, value: after.clone() }]
            } else {
                operations
            }
        }
    };
    Ok(StateChange { operations, deletes: after.is_none() })
}

/// What operations may take more than what they could be replaced by.
const REPLACEMENT_BYTES: usize = 64;

/// Where in a state an operation acts, by who may see it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum PathVisibility {
    Public,
    /// A member that not everyone may see, as a JSON Pointer.
    Secret(String),
}

fn part_of(pointer: &str) -> PathVisibility {
    let mut tokens = pointer.split('/').skip(1);
    match (tokens.next(), tokens.next()) {
        (Some("hidden"), _) => PathVisibility::Secret("/hidden".to_owned()),
        (Some("private"), Some(player)) => PathVisibility::Secret(format!("/private/{player}")),
        _ => PathVisibility::Public,
    }
}

/// What an operation takes of what everyone is told; `None`: nothing.
fn public_size(operation: &PatchOperation) -> Option<usize> {
    match (part_of(operation.path()), operation.path()) {
        (PathVisibility::Secret(_), _) => None,
        // Each is told of it without what is for others.
        (PathVisibility::Public, "/private") => Some("/private".len() + 34),
        (PathVisibility::Public, _) => Some(operation_size(operation)),
    }
}

/// Replaces the operations within each secret part that take more room than the part as it is after them. Returns what
/// the public rest of the new state takes, too, if there are such parts.
fn compact_secrets(
    operations: Vec<PatchOperation>,
    before: &Value,
    after: &Value,
) -> (Vec<PatchOperation>, Option<usize>) {
    let secret =
        |members: &serde_json::Map<String, Value>| ["hidden", "private"].iter().any(|m| members.contains_key(*m));
    let (Some(old), Some(new)) = (before.as_object(), after.as_object()) else { return (operations, None) };
    if !secret(old) && !secret(new) {
        return (operations, None);
    }
    let mut bytes: BTreeMap<PathVisibility, usize> = BTreeMap::new();
    for operation in &operations {
        *bytes.entry(part_of(operation.path())).or_default() += operation_size(operation);
    }
    let whole = |(part, bytes): (PathVisibility, usize)| match part {
        PathVisibility::Public => None,
        PathVisibility::Secret(path) => {
            let value =
                after.pointer(&path).filter(|value| bytes > json::size(value) + path.len() + REPLACEMENT_BYTES)?;
            before.pointer(&path)?;
            Some((path, value.clone()))
        }
    };
    let mut replaced: BTreeMap<String, Option<Value>> =
        bytes.into_iter().filter_map(whole).map(|(path, value)| (path, Some(value))).collect();
    let compacted = operations.into_iter().filter_map(|operation| match part_of(operation.path()) {
        PathVisibility::Secret(path) => match replaced.get_mut(&path) {
            None => Some(operation),
            Some(value) => value.take().map(|value| PatchOperation::Replace { path, value }),
        },
        PathVisibility::Public => Some(operation),
    });
    let public = new.iter().filter(|(name, _)| !matches!(name.as_str(), "hidden" | "private"));
    let public_bytes = 2 + public.map(|(name, value)| name.len() + 4 + json::size(value)).sum::<usize>();
    (compacted.collect(), Some(public_bytes))
}

fn operation_size(operation: &PatchOperation) -> usize {
    let value = match operation {
        PatchOperation::Add { value, .. } | PatchOperation::Replace { value, .. } => json::size(value),
        PatchOperation::Remove { .. } => 0,
    };
    operation.path().len() + value + 32
}

fn computed(operation: json_patch::PatchOperation) -> Result<PatchOperation> {
    use json_patch::PatchOperation as P;
    match operation {
        P::Add(o) => Ok(PatchOperation::Add { path: o.path.to_string(), value: o.value }),
        P::Remove(o) => Ok(PatchOperation::Remove { path: o.path.to_string() }),
        P::Replace(o) => Ok(PatchOperation::Replace { path: o.path.to_string(), value: o.value }),
        P::Move(_) | P::Copy(_) | P::Test(_) => Err(Error::internal("a computed patch holds move, copy or test")),
    }
}

/// Applies operations that we computed earlier. An operation that does not apply means that history and state are not
/// of one piece. Error: `Damaged`.
pub(crate) fn apply(state: &mut Option<Value>, operations: Vec<PatchOperation>) -> Result<()> {
    for operation in operations {
        if operation.path().is_empty() {
            *state = match operation {
                PatchOperation::Add { value, .. } | PatchOperation::Replace { value, .. } if !value.is_null() => {
                    Some(value)
                }
                _ => None,
            };
            continue;
        }
        let Some(tree) = state else { return Err(damaged("a change to a document that is not there")) };
        json_patch::patch(tree, &[to_json_patch(operation)?]).map_err(damaged)?;
    }
    Ok(())
}

/// The same operation in the library's words. Error: `Damaged` when its path is no JSON Pointer.
fn to_json_patch(operation: PatchOperation) -> Result<json_patch::PatchOperation> {
    use json_patch::{AddOperation, PatchOperation as P, RemoveOperation, ReplaceOperation};
    let pointer = |path: String| PointerBuf::parse(path).map_err(damaged);
    Ok(match operation {
        PatchOperation::Add { path, value } => P::Add(AddOperation { path: pointer(path)?, value }),
        PatchOperation::Remove { path } => P::Remove(RemoveOperation { path: pointer(path)? }),
        PatchOperation::Replace { path, value } => P::Replace(ReplaceOperation { path: pointer(path)?, value }),
    })
}

fn damaged(source: impl ToString) -> Error {
    Error::new(Kind::Damaged, "a stored change does not apply to the state before it").caused_by(source.to_string())
}

/// A patch that a client sent.
#[derive(Clone, Debug)]
pub enum ClientPatch {
    /// RFC 7396.
    Merge(Value),
    /// RFC 6902.
    Operations(JsonPatch),
}

impl ClientPatch {
    /// Whether it is a JSON Patch without operations.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Operations(patch) if patch.0.is_empty())
    }

    /// The state after the patch. Errors: those of [`JsonPatch::apply_to`].
    pub(crate) fn apply_to(&self, state: &Value, bounds: JsonBounds) -> Result<Value> {
        match self {
            Self::Merge(patch) => Ok(merge(state, patch)),
            Self::Operations(patch) => patch.apply_to(state, bounds),
        }
    }
}

/// As a merge patch.
impl From<Value> for ClientPatch {
    fn from(patch: Value) -> Self {
        Self::Merge(patch)
    }
}

impl<'de> Deserialize<'de> for ClientPatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ClientPatchVisitor)
    }
}

struct ClientPatchVisitor;

impl<'de> Visitor<'de> for ClientPatchVisitor {
    type Value = ClientPatch;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object (a merge patch) or an array (a JSON Patch)")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<ClientPatch, A::Error> {
        Value::deserialize(MapAccessDeserializer::new(members)).map(ClientPatch::Merge)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<ClientPatch, A::Error> {
        JsonPatch::deserialize(SeqAccessDeserializer::new(items)).map(ClientPatch::Operations)
    }
}

/// A JSON Patch (RFC 6902) that a client sent.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct JsonPatch(Vec<json_patch::PatchOperation>);

impl JsonPatch {
    /// Every pointer in it, `from` included.
    pub fn pointers(&self) -> impl Iterator<Item = &str> {
        use json_patch::PatchOperation as P;
        self.0.iter().flat_map(|operation| {
            let from = match operation {
                P::Move(o) => Some(o.from.as_str()),
                P::Copy(o) => Some(o.from.as_str()),
                P::Add(_) | P::Remove(_) | P::Replace(_) | P::Test(_) => None,
            };
            from.into_iter().chain([operation.path().as_str()])
        })
    }

    /// The state after the patch. Error: `PatchFailed` with the index of the operation that does not apply,
    /// `TooLarge` when it has too many, or grows past `bounds` on the way: a few `copy` operations could double it
    /// without end.
    fn apply_to(&self, state: &Value, bounds: JsonBounds) -> Result<Value> {
        if self.0.len() > PATCH_OPERATIONS_MAX {
            return Err(Error::new(Kind::TooLarge, format!("a patch has at most {PATCH_OPERATIONS_MAX} operations")));
        }
        let mut after = state.clone();
        let mut budget = bounds.state_bytes_max.saturating_mul(2);
        for (index, operation) in self.0.iter().enumerate() {
            if let json_patch::PatchOperation::Copy(copy) = operation {
                let copied = after.pointer(copy.from.as_str()).map_or(0, json::size);
                budget = budget.checked_sub(copied).ok_or_else(|| too_large(index))?;
            }
            apply_operation(&mut after, operation).map_err(|kind| {
                Error::new(Kind::PatchFailed, format!("operation {index} of the patch does not apply: {kind}"))
                    .with("operation", index)
            })?;
            let deepens =
                !matches!(operation, json_patch::PatchOperation::Test(_) | json_patch::PatchOperation::Remove(_));
            if deepens && tokens(operation.path().as_str()).len() > bounds.depth_max {
                return Err(json::depth_error(bounds.depth_max));
            }
            if matches!(operation, json_patch::PatchOperation::Copy(_)) && json::depth(&after) > bounds.depth_max {
                return Err(json::depth_error(bounds.depth_max));
            }
        }
        Ok(after)
    }
}

/// Applies one operation. `test` is ours: the library compares numbers by their spelling, RFC 6902 by value.
fn apply_operation(state: &mut Value, operation: &json_patch::PatchOperation) -> Result<(), PatchErrorKind> {
    let json_patch::PatchOperation::Test(test) = operation else {
        return json_patch::patch(state, std::slice::from_ref(operation)).map_err(|error| error.kind);
    };
    match state.pointer(test.path.as_str()) {
        Some(found) if json::equal(found, &test.value) => Ok(()),
        Some(_) => Err(PatchErrorKind::TestFailed),
        None => Err(PatchErrorKind::InvalidPointer),
    }
}

fn too_large(index: usize) -> Error {
    Error::new(Kind::TooLarge, format!("operation {index} of the patch copies more than a state may hold"))
        .with("operation", index)
}

/// The state after a merge patch (RFC 7396).
pub(crate) fn merge(state: &Value, patch: &Value) -> Value {
    let mut after = state.clone();
    json_patch::merge(&mut after, patch);
    after
}
