//! A place in a JSON tree, and what is wrong there.

use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use super::error_messages::parse_message;
use crate::base::error::FieldError;

/// One step from a tree to what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PathStep {
    /// To a member of an object.
    Member(String),
    /// To an item of an array.
    Item(usize),
}

/// What does not fit, and where.
#[derive(Debug)]
pub(crate) struct InvalidValue {
    pub(super) place: Vec<PathStep>,
    /// Whether nothing at all is taken there.
    pub(super) is_unknown: bool,
    detail: String,
}

impl InvalidValue {
    /// `message` is what the deserialiser said at `path`.
    pub(crate) fn new(path: &Path, message: &str) -> Self {
        let steps = path.iter().map_while(|segment| match segment {
            Segment::Seq { index } => Some(PathStep::Item(*index)),
            Segment::Map { key } => Some(PathStep::Member(key.clone())),
            Segment::Enum { variant } => Some(PathStep::Member(variant.clone())),
            Segment::Unknown => None,
        });
        Self::at_path(steps.collect(), message)
    }

    /// The same where the place is known in steps.
    pub(crate) fn at_path(mut place: Vec<PathStep>, message: &str) -> Self {
        let (member, detail) = parse_message(message);
        if let Some(member) = member.map(|member| PathStep::Member(member.to_owned()))
            && place.last() != Some(&member)
        {
            place.push(member);
        }
        Self { place, is_unknown: message.starts_with("unknown field"), detail }
    }

    /// As a caller is told, of the part `name` of what was sent; empty: of the body.
    pub(crate) fn field(&self, name: &str) -> FieldError {
        let mut field = name.to_owned();
        for step in &self.place {
            match step {
                PathStep::Item(index) => field.push_str(&format!("[{index}]")),
                PathStep::Member(member) if field.is_empty() => field.push_str(member),
                PathStep::Member(member) => field.push_str(&format!(".{member}")),
            }
        }
        let field = if field.is_empty() { "body".to_owned() } else { field };
        FieldError { field, detail: self.detail.clone() }
    }
}

/// Puts `value` at `place` of `tree`, or takes away what is there; the items after it move up then. Whether there is
/// such a place.
pub(super) fn replace_at(tree: &mut Value, place: &[PathStep], value: Option<Value>) -> bool {
    let Some((last, path)) = place.split_last() else { return false };
    let mut at = tree;
    for step in path {
        let next = match (step, at) {
            (PathStep::Member(name), Value::Object(members)) => members.get_mut(name),
            (PathStep::Item(index), Value::Array(items)) => items.get_mut(*index),
            _ => None,
        };
        let Some(next) = next else { return false };
        at = next;
    }
    match (last, at, value) {
        (PathStep::Member(name), Value::Object(members), Some(value)) => drop(members.insert(name.clone(), value)),
        (PathStep::Member(name), Value::Object(members), None) => drop(members.remove(name)),
        (PathStep::Item(index), Value::Array(items), value) => match (items.get_mut(*index), value) {
            (Some(item), Some(value)) => *item = value,
            (Some(_), None) => drop(items.remove(*index)),
            (None, _) => return false,
        },
        _ => return false,
    }
    true
}

/// Items that were taken away, so that those after them stand in earlier places than they were sent in.
#[derive(Debug, Default)]
pub(super) struct RemovedItems(Vec<Vec<PathStep>>);

impl RemovedItems {
    /// Notes that what was at `place` is taken away, if it was an item.
    pub(super) fn note_removed(&mut self, place: &[PathStep]) -> bool {
        let is_item = matches!(place.last(), Some(PathStep::Item(_)));
        if is_item {
            // What was noted within it is gone with it. Earlier places stay, and later ones were not looked at yet.
            self.0.retain(|removed| removed.len() == place.len() || !removed.starts_with(place));
            self.0.push(place.to_vec());
        }
        is_item
    }

    /// The same with the place in which it was sent.
    pub(super) fn as_sent(&self, invalid: &InvalidValue) -> InvalidValue {
        let mut place = invalid.place.clone();
        for (length, step) in place.iter_mut().enumerate() {
            let PathStep::Item(index) = step else { continue };
            let path = invalid.place.get(..length).unwrap_or_default();
            *index += self.0.iter().filter(|removed| removed.split_last().is_some_and(|(_, of)| of == path)).count();
        }
        InvalidValue { place, is_unknown: invalid.is_unknown, detail: invalid.detail.clone() }
    }
}
