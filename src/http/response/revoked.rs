//! The answer to whoever takes something away: also while storage fails it is gone at once.

use axum::response::Response;
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

use super::json::json;
use super::success::{Success, no_content};
use crate::base::error::Result;
use crate::engine::request::Durability;

/// It is taken away. Storage fails, and takes it before everything else when it returns.
#[derive(IntoResponses, Serialize, ToSchema)]
#[response(status = 202)]
pub(crate) struct RevokedLater {
    /// False.
    durable: bool,
}

/// 204 when it is gone from the disk, 202 while storage fails.
pub(crate) fn revoked(durability: Durability) -> Result<Response> {
    match durability {
        Durability::Durable => Ok(no_content()),
        Durability::Pending => json(Success::Accepted, &RevokedLater { durable: false }),
    }
}
