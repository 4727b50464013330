//! What a list shows of each state: `fields`.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::path::Path;
use crate::base::limits::FIELDS_MAX;

/// The parts of a state that are wanted. What is the document's own is shown in any case.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Fields {
    paths: Vec<Vec<String>>,
}

impl TryFrom<String> for Fields {
    type Error = String;

    /// Paths with commas between.
    fn try_from(text: String) -> Result<Self, String> {
        let paths = text.split(',').map(str::parse).collect::<Result<Vec<Path>, String>>()?;
        if paths.len() > FIELDS_MAX {
            return Err(format!("must not name more than {FIELDS_MAX}"));
        }
        let in_state = |path| match path {
            Path::State(members) => Some(members),
            Path::Property(_) => None,
        };
        Ok(Self { paths: paths.into_iter().filter_map(in_state).collect() })
    }
}

impl Fields {
    /// Of `state` what is wanted and there, each where it stands in it.
    pub(crate) fn select(&self, state: &Value) -> Value {
        let mut selected = Value::Object(Map::new());
        for path in &self.paths {
            let found = path.iter().try_fold(state, |value, member| value.as_object()?.get(member));
            if let Some(found) = found {
                insert(&mut selected, path, found.clone());
            }
        }
        selected
    }
}

/// Puts `value` where `path` names, making objects on the way. Whatever is there already came from the same state.
fn insert(into: &mut Value, path: &[String], value: Value) {
    let Value::Object(members) = into else { return };
    match path {
        [] => {}
        [last] => drop(members.insert(last.clone(), value)),
        [first, rest @ ..] => {
            insert(members.entry(first.clone()).or_insert_with(|| Value::Object(Map::new())), rest, value);
        }
    }
}
