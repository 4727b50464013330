//! Errors: a kind, and for some a problem type of their own. How they are shown is `http`'s.

use std::fmt;

use serde_json::{Map, Value};

use super::limits::FIELD_ERRORS_MAX;

/// What sort of failure an [`Error`] is. `http` gives each its status, in one match without a wildcard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Malformed or mistyped input.
    Invalid,
    /// Nobody knows who is asking.
    Unauthenticated,
    /// Known, and not allowed.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// There is such a thing already.
    AlreadyExists,
    /// A precondition of the request does not hold.
    PreconditionFailed,
    /// The document is not at the version that the request expects.
    VersionConflict,
    /// It was there once.
    Gone,
    /// Larger, deeper or more than a bound allows.
    TooLarge,
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
                | Self::Frozen
                | Self::IdentityUnavailable
                | Self::TooManyStreams
        )
    }
}

/// A problem that callers can tell from others: what it is called, what it means and what to do about it. The names are
/// public (RFC 9457) and stay as they are once released.
///
/// ```
/// use rejoin::{Error, Kind, ProblemType};
///
/// static TABLE_FULL: ProblemType = ProblemType {
///     slug: "table-full",
///     kind: Kind::AlreadyExists,
///     title: "The table is full",
///     meaning: "All seats of the table are taken.",
///     remedy: "Wait until somebody leaves, or choose another table.",
/// };
///
/// let error: Error = TABLE_FULL.error("table 4 has 8 players").with("seats", 8);
/// assert_eq!(error.slug(), Some("table-full"));
/// assert_eq!(error.details()["seats"], 8);
/// ```
#[derive(Debug, PartialEq, Eq)]
pub struct ProblemType {
    /// The last part of the type's address, `/problems/<slug>`.
    pub slug: &'static str,
    /// The kind of its errors.
    pub kind: Kind,
    /// The short text that is the same for all of this type.
    pub title: &'static str,
    /// What happened, for people. Plain text without `<`, `>`, `&` and `"`.
    pub meaning: &'static str,
    /// What the caller can do, likewise.
    pub remedy: &'static str,
}

impl ProblemType {
    /// An error of this type; `message` is shown to the caller.
    pub fn error(&'static self, message: impl Into<String>) -> Error {
        Error { problem: Some(self), ..Error::new(self.kind, message) }
    }
}

/// A failure: what sort, a message that is safe to show to the caller, members that help the caller to act, and a
/// source that is only logged.
///
/// ```
/// use rejoin::{Error, Kind};
///
/// let error = Error::not_found("there is no list 'shopping'").caused_by("row 17 has no name");
/// assert_eq!(error.kind(), Kind::NotFound);
/// assert_eq!(error.message(), "there is no list 'shopping'");
/// assert!(!error.kind().retryable());
/// ```
pub struct Error {
    kind: Kind,
    problem: Option<&'static ProblemType>,
    message: String,
    details: Map<String, Value>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// A part of the input that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FieldError {
    /// `operations[2].state`, or the name of a header or a parameter.
    pub(crate) field: String,
    pub(crate) detail: String,
}

impl FieldError {
    fn into_value(self) -> Value {
        serde_json::json!({ "field": self.field, "detail": self.detail })
    }
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
        Self::invalid_fields(vec![FieldError { field: field.to_owned(), detail: message.into() }])
    }

    /// Input of which these parts are wrong.
    pub(crate) fn invalid_fields(errors: Vec<FieldError>) -> Self {
        let message: Vec<String> = errors.iter().map(|error| format!("{}: {}", error.field, error.detail)).collect();
        let errors: Vec<Value> = errors.into_iter().map(FieldError::into_value).collect();
        Self::new(Kind::Invalid, message.join("; ")).with("errors", errors)
    }

    /// Both failures as one where both name parts of the input that are wrong, else the one that does not.
    #[must_use]
    pub(crate) fn and(mut self, mut other: Self) -> Self {
        match (self.details.get_mut("errors"), other.details.remove("errors")) {
            (Some(Value::Array(errors)), Some(Value::Array(more))) => {
                if errors.len() < FIELD_ERRORS_MAX {
                    errors.extend(more);
                    errors.truncate(FIELD_ERRORS_MAX);
                    self.message = format!("{}; {}", self.message, other.message);
                }
                self
            }
            (Some(_), _) => other,
            (None, _) => self,
        }
    }

    /// There is no such thing.
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

    /// Takes members away.
    #[must_use]
    pub(crate) fn without(mut self, names: &[&str]) -> Self {
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

    /// The type of the problem, where it has one of its own besides its kind's.
    pub fn problem_type(&self) -> Option<&'static ProblemType> {
        self.problem
    }

    /// The slug of [`problem_type`](Self::problem_type).
    pub fn slug(&self) -> Option<&'static str> {
        self.problem.map(|problem| problem.slug)
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

/// Both, or what is wrong with either.
pub(crate) fn both<A, B>(one: Result<A>, other: Result<B>) -> Result<(A, B)> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok((one, other)),
        (Err(one), Err(other)) => Err(one.and(other)),
        (Err(error), Ok(_)) | (Ok(_), Err(error)) => Err(error),
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
