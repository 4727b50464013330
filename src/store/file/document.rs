//! Judging one document of a file: whether all that is kept of it adds up, and which version still does.

use std::fmt;

use rusqlite::Connection;
use serde_json::Value;

use crate::base::ids::{DocumentName, Version};
use crate::store::error::StoreError;
use crate::store::read::inspect::{ReadTransaction, StoredDocument};
use crate::store::read::{replay, verify};
use crate::store::rows;

/// A document of which something is not as it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DamagedDocument {
    /// Its row; of a document without one, what its events say.
    pub key: i64,
    /// `collection/id`, as far as that can be read.
    pub name: String,
    /// The first version that is not as it was stored; 0: what belongs to no version.
    pub version: Version,
    /// The newest version that can still be made; `None`: there is none.
    pub last_good: Option<Version>,
    /// What was found at `version`.
    pub what: String,
}

impl fmt::Display for DamagedDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, version, last_good, what, .. } = self;
        match last_good {
            Some(good) => write!(f, "{name}: damaged at version {version}; last good version {good} ({what})"),
            None => write!(f, "{name}: damaged at version {version}; no good version ({what})"),
        }
    }
}

/// What was read of a document.
#[derive(Debug)]
pub(super) struct Judgement {
    pub damage: Option<DamagedDocument>,
    /// Bytes of its rows.
    pub bytes: u64,
}

/// Reads all that is kept of the document of this key, in the transaction that `conn` is in. `None`: it is gone.
/// Errors: when it is not its rows that are at fault.
pub(super) fn assess_document(conn: &Connection, key: i64) -> Result<Option<Judgement>, StoreError> {
    let transaction = ReadTransaction::new(conn);
    let (stored, checked) = match (transaction.stored_document(key)?, transaction.check(key, None)?) {
        (Some(stored), Some(checked)) => (stored, checked),
        _ => return Ok(None),
    };
    let replayed = replay_all(conn, &stored)?;
    let mut found: Vec<(Version, String)> =
        checked.defects.into_iter().map(|defect| (defect.version, defect.what)).collect();
    let good = match replayed {
        Replayed::Whole { head, stretches } => {
            found.extend(stretches.into_iter().map(|first| (first, "the history up to there does not verify".into())));
            Some(head)
        }
        Replayed::Broken { at, what } => {
            found.push((at, what));
            None
        }
    };
    let Some((version, what)) = found.into_iter().min_by_key(|(version, _)| *version) else {
        return Ok(Some(Judgement { damage: None, bytes: checked.bytes }));
    };
    let last_good = match good {
        Some(head) => Some(head),
        None => newest_readable(conn, key, version)?,
    };
    let damage = DamagedDocument { key, name: stored.name, version, last_good, what };
    Ok(Some(Judgement { damage: Some(damage), bytes: checked.bytes }))
}

/// What replaying a document from its base came to.
enum Replayed {
    /// Its newest version can be made. `stretches`: where older history does not verify, the first version of each.
    Whole {
        head: Version,
        stretches: Vec<Version>,
    },
    Broken {
        at: Version,
        what: String,
    },
}

fn replay_all(conn: &Connection, stored: &StoredDocument) -> Result<Replayed, StoreError> {
    let name = stored.meta.as_ref().map(|meta| meta.name.clone()).or_else(|| DocumentName::parse(&stored.name).ok());
    let Some(name) = name else {
        return Ok(Replayed::Broken { at: Version::ZERO, what: "its name is not one".to_owned() });
    };
    match verify::verify(conn, &name) {
        Ok(Some(verified)) => {
            let stretches = verified.damaged.into_iter().map(|(first, _)| first).collect();
            Ok(Replayed::Whole { head: verified.document.version, stretches })
        }
        Ok(None) => Ok(Replayed::Broken { at: Version::ZERO, what: "its row is not found by its name".to_owned() }),
        Err(failure) if failure.is_damage() => {
            let error = failure.into_error();
            let at = error.details().get("version").and_then(Value::as_u64).unwrap_or(0);
            let what = error.message().rsplit_once(": ").map_or(error.message(), |(_, reason)| reason);
            Ok(Replayed::Broken { at: Version(at), what: what.to_owned() })
        }
        Err(failure) => Err(failure),
    }
}

/// The version before `damaged`, if it can be made from the rows.
fn newest_readable(conn: &Connection, key: i64, damaged: Version) -> Result<Option<Version>, StoreError> {
    let Ok(Some(row)) = rows::document_by_key(conn, key) else { return Ok(None) };
    let before = Version(damaged.0.saturating_sub(1));
    if before == Version::ZERO || before < row.base.version {
        return Ok(None);
    }
    match replay::restore(conn, &row, Some(before)) {
        Ok(_) => Ok(Some(before)),
        Err(failure) if failure.is_damage() => Ok(None),
        Err(failure) => Err(failure),
    }
}
