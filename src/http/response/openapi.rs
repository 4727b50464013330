//! What the descriptions of calls share: the parameters that go with an extractor, the headers of answers, the
//! problems. A route and its description are made in one place: `routes!(handler)` takes both from the
//! `#[utoipa::path]` at the handler, and no route is made in another way.

use std::collections::BTreeMap;

use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::response::{Response as Answer, ResponseBuilder};
use utoipa::openapi::schema::{AllOfBuilder, ObjectBuilder, Type};
use utoipa::openapi::{ContentBuilder, HeaderBuilder, Ref, RefOr, Required};

use crate::base::error::{Kind, ProblemType};
use crate::http::protocol_problems::{MISDIRECTED_HOST, REQUEST_TIMEOUT, UNSUPPORTED_MEDIA_TYPE};
use crate::http::request::caller::Caller;
use crate::http::request::path::{CollectionPath, DocumentPath};
use crate::http::response::problem;
use crate::http::response::problem_types::{self, TOO_LARGE};

/// Every call may be refused with these: the guard does that, and reads the request.
const EVERYWHERE: &[Kind] =
    &[Kind::Invalid, Kind::Forbidden, Kind::RateLimited, Kind::Internal, Kind::IdentityUnavailable];

/// The problems of a call that takes a body, besides those that its content may have.
pub(crate) const BODY: &[&ProblemType] = &[&UNSUPPORTED_MEDIA_TYPE, &TOO_LARGE, &REQUEST_TIMEOUT];

/// Problems that a call may end with, in one list: a problem type, or a kind for the general type of it.
pub(crate) trait ListedProblem {
    fn problem_type(&self) -> &'static ProblemType;
}

impl ListedProblem for Kind {
    fn problem_type(&self) -> &'static ProblemType {
        problem_types::of_kind(*self)
    }
}

impl ListedProblem for &'static ProblemType {
    fn problem_type(&self) -> &'static ProblemType {
        self
    }
}

pub(crate) fn listed<T: ListedProblem>(problems: &[T]) -> Vec<&'static ProblemType> {
    problems.iter().map(ListedProblem::problem_type).collect()
}

/// The responses of a call that may fail with one of these problems, one response per status code.
pub(crate) fn refusals(problems: &[Vec<&'static ProblemType>]) -> BTreeMap<String, RefOr<Answer>> {
    let mut by_status: BTreeMap<u16, Vec<&'static ProblemType>> = BTreeMap::new();
    let everywhere = listed(EVERYWHERE).into_iter().chain([&MISDIRECTED_HOST]);
    for problem in problems.iter().flatten().copied().chain(everywhere) {
        let same_status = by_status.entry(problem_types::status(problem).as_u16()).or_default();
        if same_status.iter().all(|known| known.slug != problem.slug) {
            same_status.push(problem);
        }
    }
    by_status.into_iter().map(|(status, problems)| (status.to_string(), refusal(status, &problems).into())).collect()
}

pub(crate) fn refusal(status: u16, problems: &[&ProblemType]) -> Answer {
    let titles: Vec<&str> = problems.iter().map(|problem| problem.title).collect();
    let types = problems.iter().map(|problem| problem_types::path(problem));
    let types = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(types));
    let schema =
        AllOfBuilder::new().item(Ref::from_schema_name("Problem")).item(ObjectBuilder::new().property("type", types));
    let content = ContentBuilder::new().schema(Some(RefOr::T(schema.build().into()))).build();
    let answer = ResponseBuilder::new().description(titles.join(", or: ")).content(problem::MEDIA_TYPE, content);
    match status {
        429 | 503 | 507 => answer.header("Retry-After", whole_number("Seconds after which it is worth trying again.")),
        _ => answer,
    }
    .build()
}

/// Stands in the responses of an operation for the problems with which features refuse changes of documents.
pub(crate) const CHANGE_REFUSALS: &str = "x-change-refusals";
/// Stands there for the problem of documents of which some are on another server.
pub(crate) const DIVIDED_REFUSALS: &str = "x-divided-refusals";

/// In `responses(...)`: the problems with which features refuse changes of documents.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChangeRefusals;
/// The same for a call that changes several documents.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchRefusals;

impl utoipa::IntoResponses for ChangeRefusals {
    fn responses() -> BTreeMap<String, RefOr<Answer>> {
        placeholders(&[CHANGE_REFUSALS])
    }
}

impl utoipa::IntoResponses for BatchRefusals {
    fn responses() -> BTreeMap<String, RefOr<Answer>> {
        placeholders(&[CHANGE_REFUSALS, DIVIDED_REFUSALS])
    }
}

/// Responses that are replaced when it is known which features there are.
fn placeholders(names: &[&str]) -> BTreeMap<String, RefOr<Answer>> {
    names.iter().map(|name| ((*name).to_owned(), Answer::new("").into())).collect()
}

/// Gives types their place in `responses(...)`: each stands for the problems in the lists behind its name, besides
/// those that any call may end with. A list is of kinds or of problem types.
macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident: $($list:expr),*;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub(crate) struct $name;

        impl utoipa::IntoResponses for $name {
            fn responses() -> std::collections::BTreeMap<
                String,
                utoipa::openapi::RefOr<utoipa::openapi::response::Response>,
            > {
                $crate::http::response::openapi::refusals(&[$($crate::http::response::openapi::listed($list)),*])
            }
        }
    )*};
}
pub(crate) use problems;

problems! {
    /// No problems but those of every call.
    CommonProblems: ;
    /// What can also be asked for and not be there.
    NotFoundProblems: &[Kind::NotFound];
    /// Of a file that stays the same while the server runs.
    FileProblems: &[Kind::PreconditionFailed];
}

/// A successful answer, to be given its content and headers.
pub(crate) fn answer(description: &str) -> ResponseBuilder {
    ResponseBuilder::new().description(description)
}

/// A header of an answer that holds text.
pub(crate) fn text(description: &str) -> utoipa::openapi::Header {
    of_type(Type::String, description)
}

fn whole_number(description: &str) -> utoipa::openapi::Header {
    of_type(Type::Integer, description)
}

fn of_type(kind: Type, description: &str) -> utoipa::openapi::Header {
    let schema = ObjectBuilder::new().schema_type(kind).build();
    HeaderBuilder::new().schema(Some(schema)).description(Some(description)).build()
}

fn parameter(name: &str, place: ParameterIn, required: Required, pattern: &str, description: &str) -> Parameter {
    let pattern = (!pattern.is_empty()).then_some(pattern);
    let schema = ObjectBuilder::new().schema_type(Type::String).pattern(pattern).build();
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .description(Some(description))
        .schema(Some(schema))
        .build()
}

fn request_header(name: &str, pattern: &str, description: &str) -> Parameter {
    parameter(name, ParameterIn::Header, Required::False, pattern, description)
}

const COLLECTION_PATTERN: &str = "^[a-z][a-z0-9-]{0,62}$";
/// Of documents and of users.
const ID_PATTERN: &str = "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$";
/// `*`, or entity tags.
const TAGS_PATTERN: &str = r#"^(\*|(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)$"#;
/// Keys without quotes around them.
const KEY_PATTERN: &str = "^[!#-~][!-~]{0,254}$";

/// Declares the parameters that a type stands for in `params(...)`.
macro_rules! parameters {
    ($($(#[$doc:meta])* $type:ty => $list:expr;)*) => {$(
        impl utoipa::IntoParams for $type {
            fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
                $list.into()
            }
        }
    )*};
}

/// `If-Match` and `If-None-Match` on a write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Preconditions;
/// `If-Match` and `If-None-Match` on a read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IfNoneMatch;
/// `Idempotency-Key` and `Prefer` on a write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WriteHeaders;
/// `Last-Event-ID` on a stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResumeHeader;

parameters! {
    CollectionPath => [collection()];
    DocumentPath => [
        collection(),
        parameter("id", ParameterIn::Path, Required::True, ID_PATTERN, "The document's id in its collection."),
    ];
    // By a session, or by nothing at all: the description's `security` says that, for all calls.
    Caller => [];
    Preconditions => [
        request_header(
            "If-Match",
            TAGS_PATTERN,
            "Only if the document has one of these tags, `\"<version>-<short hash>\"` as in `ETag`; `*`: if it is \
             there.",
        ),
        request_header(
            "If-None-Match",
            TAGS_PATTERN,
            "Only if the document has none of these tags; `*`: if it is not there.",
        ),
    ];
    IfNoneMatch => [
        request_header("If-Match", TAGS_PATTERN, "Answer 412 unless what is asked for has one of these tags."),
        request_header("If-None-Match", TAGS_PATTERN, "Answer 304 if what is asked for still has one of these tags."),
    ];
    WriteHeaders => [
        idempotency_key(),
        request_header("Prefer", "", "`return=minimal`: answer with the headers alone."),
    ];
    ResumeHeader => [request_header(
        "Last-Event-ID",
        "",
        "The `id` of the last event that the client saw (`EventSource` sends it by itself); `0`: from the beginning of \
         the kept history. One that this log does not know is answered with a snapshot, never with a refusal.",
    )];
}

/// `Idempotency-Key` on a write.
pub(crate) fn idempotency_key() -> Parameter {
    request_header(
        "Idempotency-Key",
        KEY_PATTERN,
        "1 to 255 visible ASCII characters, best random ones, that make a retry safe: the same request with the same \
         key is done once and gets the first answer again.",
    )
}

fn collection() -> Parameter {
    parameter("collection", ParameterIn::Path, Required::True, COLLECTION_PATTERN, "The collection's name.")
}
