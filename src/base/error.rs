//! What can go wrong, without knowing how it is told.

use std::fmt;

use serde_json::{Map, Value};

/// What sort of failure an [`Error`] is. `http` gives each its status and its problem type, in one match without a
/// wildcard; nothing else decides by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Malformed or mistyped input.
    Invalid,
    /// Nobody knows who is asking.
    Unauthenticated,
    /// Known, and not allowed.
    Forbidden,
    NotFound,
    /// The thing exists; it cannot be asked that.
    MethodNotAllowed,
    AlreadyExists,
    /// `If-Match` or `If-None-Match` does not hold.
    PreconditionFailed,
    /// `expectedVersion` does not hold.
    VersionConflict,
    /// It was there once.
    Gone,
    /// Larger, deeper or more than a bound allows.
    TooLarge,
    /// A body of a type that is not taken here.
    UnsupportedMediaType,
    /// The rest of the request did not come in time.
    RequestTimeout,
    /// Addressed to a host name that is not ours.
    MisdirectedHost,
    /// The rules said no.
    Rejected,
    /// The patch does not apply to the state.
    PatchFailed,
    /// A known idempotency key with another request.
    IdempotencyMismatch,
    /// More requests than the caller's limit allows; waiting helps.
    RateLimited,
    /// A bug of ours, or a stored thing that is damaged.
    Internal,
    /// What is stored of a document does not add up; it is not served.
    Damaged,
    /// It is on another server now.
    Moved,
    /// It is on its way to or from another server; waiting helps.
    Frozen,
    /// As many streams as one may have are open.
    TooManyStreams,
    /// It cannot be found out now who is asking; waiting helps.
    IdentityUnavailable,
    /// Storage does not take writes now; waiting may help.
    StorageUnavailable,
    /// Storage is full; waiting helps only if someone makes room.
    StorageFull,
}

impl Kind {
    /// Whether the same request may succeed later without being changed.
    pub const fn retryable(self) -> bool {
        matches!(
            self,
            Self::StorageUnavailable
                | Self::RateLimited
                | Self::StorageFull
                | Self::RequestTimeout
                | Self::Frozen
                | Self::IdentityUnavailable
                | Self::TooManyStreams
        )
    }
}

/// A failure: what sort, a message that is safe to show to the caller, members that help the caller to act, and a
/// source that is only logged.
pub struct Error {
    kind: Kind,
    problem: Option<&'static str>,
    message: String,
    details: Map<String, Value>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The result of whatever can fail with an [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A failure of `kind`; `message` is shown to the caller.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, problem: None, message: message.into(), details: Map::new(), source: None }
    }

    /// Malformed or mistyped input.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, message)
    }

    /// Input of which the part named `field` is wrong.
    pub fn invalid_field(field: &str, message: impl Into<String>) -> Self {
        let message = message.into();
        let errors = serde_json::json!([{ "field": field, "detail": message }]);
        Self::new(Kind::Invalid, format!("{field}: {message}")).with("errors", errors)
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    /// A bug, or a fault that the caller can do nothing about: `what` is only logged.
    pub fn internal(what: impl fmt::Display) -> Self {
        Self::new(Kind::Internal, "something went wrong on our side").caused_by(what.to_string())
    }

    /// Adds a member that helps the caller to act.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// Names the problem more exactly than its kind does, where the caller is to do something else about it: the last
    /// part of its `type`. The status stays that of the kind, and `http` has to know the name.
    #[must_use]
    pub fn problem(mut self, slug: &'static str) -> Self {
        self.problem = Some(slug);
        self
    }

    #[must_use]
    pub fn without(mut self, names: &[&str]) -> Self {
        self.details.retain(|name, _| !names.contains(&name.as_str()));
        self
    }

    /// Adds what lies behind the failure. It is logged and never shown.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What sort of failure.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The name of the problem, where it has one of its own.
    pub fn slug(&self) -> Option<&'static str> {
        self.problem
    }

    /// What the caller is told.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The members that help the caller to act.
    pub fn details(&self) -> &Map<String, Value> {
        &self.details
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.source {
            Some(source) => write!(f, " ({source})"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}
