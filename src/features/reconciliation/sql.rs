//! The tables of reconciliation. What writes runs on the engine's thread, in its transaction.

use serde::Serialize;

use crate::base::error::{Error, Result};

pub(crate) mod audit;
pub(crate) mod external;

fn text(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(Error::internal)
}
