//! Names of what a document says.

use std::str::FromStr;

use crate::base::limits::{QUERY_PATH_LENGTH_MAX, QUERY_PATH_MEMBERS_MAX};

/// A property of the document itself, which its state need not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Property {
    Id,
    Version,
    CreatedAt,
    UpdatedAt,
}

/// Where something stands in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    Property(Property),
    /// In the state: names of members, from the outermost on; at least one. Elements of arrays have no path.
    State(Vec<String>),
}

impl FromStr for Path {
    type Err = String;

    /// Names of members with dots between. `id`, `version`, `createdAt` and `updatedAt` are the document's;
    /// `state.version` is the member of the state.
    fn from_str(text: &str) -> Result<Self, String> {
        let property = match text {
            "id" => Some(Property::Id),
            "version" => Some(Property::Version),
            "createdAt" => Some(Property::CreatedAt),
            "updatedAt" => Some(Property::UpdatedAt),
            _ => None,
        };
        if let Some(property) = property {
            return Ok(Self::Property(property));
        }
        let names = text.strip_prefix("state.").unwrap_or(text);
        let members: Vec<String> = names.split('.').map(str::to_owned).collect();
        if text.len() > QUERY_PATH_LENGTH_MAX || members.len() > QUERY_PATH_MEMBERS_MAX {
            return Err(format!(
                "has a path of more than {QUERY_PATH_MEMBERS_MAX} names or {QUERY_PATH_LENGTH_MAX} bytes"
            ));
        }
        if members.iter().any(String::is_empty) {
            return Err(format!("has \"{text}\", which is no path: names of members with dots between"));
        }
        Ok(Self::State(members))
    }
}
