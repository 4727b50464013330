//! Errors of handlers and extractors. [`problem`](super::response::problem) renders them.

use crate::base::error::Error;

/// The result of a handler.
pub(crate) type HandlerResult<T> = Result<T, HttpError>;

/// An [`Error`] on its way out of a handler.
#[derive(Debug)]
pub(crate) struct HttpError(pub Error);

impl From<Error> for HttpError {
    fn from(error: Error) -> Self {
        Self(error)
    }
}
