//! A place in a JSON tree, and what is wrong there.

use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use super::wording::explain;
use crate::base::error::FieldError;

/// One step from a tree to what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// To a member of an object.
    Member(String),
    /// To an item of an array.
    Item(usize),
}

/// What does not fit, and where.
#[derive(Debug)]
pub(crate) struct InvalidValue {
    pub(super) place: Vec<Step>,
    /// Whether nothing at all is taken there.
    pub(super) is_unknown: bool,
    detail: String,
}

impl InvalidValue {
    /// `message` is what the deserialiser said at `path`.
    pub(crate) fn new(path: &Path, message: &str) -> Self {
        let steps = path.iter().map_while(|segment| match segment {
            Segment::Seq { index } => Some(Step::Item(*index)),
            Segment::Map { key } => Some(Step::Member(key.clone())),
            Segment::Enum { variant } => Some(Step::Member(variant.clone())),
            Segment::Unknown => None,
        });
        Self::at(steps.collect(), message)
    }

    /// The same where the place is known in steps.
    pub(crate) fn at(mut place: Vec<Step>, message: &str) -> Self {
        let (member, detail) = explain(message);
        if let Some(member) = member.map(|member| Step::Member(member.to_owned()))
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
                Step::Item(index) => field.push_str(&format!("[{index}]")),
                Step::Member(member) if field.is_empty() => field.push_str(member),
                Step::Member(member) => field.push_str(&format!(".{member}")),
            }
        }
        let field = if field.is_empty() { "body".to_owned() } else { field };
        FieldError { field, detail: self.detail.clone() }
    }
}

/// Puts `value` at `place` of `tree`, or takes away what is there. Whether there is such a place; items are not taken
/// away, since those after them would be in other places then.
pub(super) fn put(tree: &mut Value, place: &[Step], value: Option<Value>) -> bool {
    let Some((last, path)) = place.split_last() else { return false };
    let mut at = tree;
    for step in path {
        let next = match (step, at) {
            (Step::Member(name), Value::Object(members)) => members.get_mut(name),
            (Step::Item(index), Value::Array(items)) => items.get_mut(*index),
            _ => None,
        };
        let Some(next) = next else { return false };
        at = next;
    }
    match (last, at, value) {
        (Step::Member(name), Value::Object(members), Some(value)) => drop(members.insert(name.clone(), value)),
        (Step::Member(name), Value::Object(members), None) => drop(members.remove(name)),
        (Step::Item(index), Value::Array(items), value) => match (items.get_mut(*index), value) {
            (Some(item), Some(value)) => *item = value,
            (Some(_), None) => {}
            (None, _) => return false,
        },
        _ => return false,
    }
    true
}

/// The first item of the array that `place` is a later item of.
pub(super) fn first_item(tree: &Value, place: &[Step]) -> Option<Value> {
    let (Step::Item(1..), path) = place.split_last()? else { return None };
    let mut at = tree;
    for step in path {
        at = match step {
            Step::Member(name) => at.get(name)?,
            Step::Item(index) => at.get(index)?,
        };
    }
    at.get(0).cloned()
}
