//! Errors of handlers and extractors. [`problem`](super::response::problem) renders them.

use crate::base::error::Error;

/// The result of a handler: `?` takes an [`Error`], which is answered as a problem (RFC 9457).
///
/// ```
/// use rejoin::{Error, HandlerResult, Json};
///
/// #[derive(serde::Deserialize)]
/// struct Half {
///     of: u64,
/// }
///
/// async fn half(Json(Half { of }): Json<Half>) -> HandlerResult<Json<u64>> {
///     match of % 2 {
///         0 => Ok(Json(of / 2)),
///         _ => Err(Error::invalid("the number must be even"))?,
///     }
/// }
/// # let _ = half;
/// ```
pub type HandlerResult<T> = Result<T, HttpError>;

/// An [`Error`] on its way out of a handler.
#[derive(Debug)]
pub struct HttpError(pub(crate) Error);

impl From<Error> for HttpError {
    fn from(error: Error) -> Self {
        Self(error)
    }
}
