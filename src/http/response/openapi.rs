//! The description of the whole HTTP interface, for programs: `GET /openapi.json`, OpenAPI 3.1.
//!
//! A route and its description are made in one place: `routes!(handler)` takes both from the `#[utoipa::path]` at the
//! handler, and no route is made in another way. What handlers share stands here: the parameters that go with an
//! extractor, the headers of answers, the problems. [`assemble`] joins the parts at the start and writes the document
//! once; a request costs nothing more.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use serde_json::Value;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::response::{Response as Answer, ResponseBuilder};
use utoipa::openapi::schema::{AllOfBuilder, ObjectBuilder, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, HeaderBuilder, Ref, RefOr, Required};
use utoipa::{Modify as _, OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::error::{Kind, ProblemType};
use crate::http::request::caller::Caller;
use crate::http::request::cookie::SessionCookie;
use crate::http::request::path::{CollectionPath, DocumentPath};
use crate::http::response::static_file::StaticFile;
use crate::http::response::{problem, problem_types};

/// Every call may be refused with these: the guard does that, and reads the request.
const EVERYWHERE: &[Kind] = &[
    Kind::Invalid,
    Kind::Forbidden,
    Kind::MisdirectedHost,
    Kind::RateLimited,
    Kind::Internal,
    Kind::IdentityUnavailable,
];

/// What is true of all calls, and the schemas that all share. Name, version, text and licence are the package's.
#[derive(OpenApi)]
#[openapi(
    components(schemas(ProblemSchema)),
    security((), ("bearer" = []), ("cookie" = [])),
    tags(
        (name = "documents", description = "Creating, reading and changing documents."),
        (name = "streams", description = "Following documents: server-sent events, history, long polls."),
        (name = "usage", description = "How much each user may create."),
        (name = "sessions", description = "Who one is, and on which devices."),
        (name = "operations", description = "For whoever runs the server."),
        (name = "problems", description = "What the server's refusals mean."),
    )
)]
struct ApiBase;

/// How a caller shows a session. Without one they are who the server takes them for: on its own machine its owner.
struct SecuritySchemes {
    /// The name of this server's cookie.
    cookie: String,
}

impl utoipa::Modify for SecuritySchemes {
    fn modify(&self, whole: &mut utoipa::openapi::OpenApi) {
        let said = "The token of a session: `POST /api/v1/sessions` answers with one.";
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(said)).build();
        let said = "The same token, as browsers and their `EventSource` show it.";
        let cookie = ApiKeyValue::with_description(self.cookie.as_str(), said);
        let components = whole.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
        components.add_security_scheme("cookie", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    }
}

/// A refusal (RFC 9457). `type` says what kind, and `GET` on it what it means; which of the further members are there
/// depends on it.
#[expect(dead_code, reason = "only its schema is used")]
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[schema(as = Problem)]
pub(crate) struct ProblemSchema {
    /// What went wrong: `/problems/<slug>`, a page of this server.
    #[schema(pattern = "^/problems/[a-z-]+$", example = "/problems/version-conflict")]
    pub r#type: String,
    /// The type in words; the same for all of a type.
    pub title: String,
    /// The status code of the answer.
    pub status: u16,
    /// What went wrong this time.
    pub detail: String,
    /// `invalid-request`: which parts of the request are wrong.
    #[schema(required = false)]
    pub errors: Vec<FieldError>,
    /// `version-conflict`, `already-exists`: the version that the document has; 0 when there is none.
    #[schema(required = false)]
    pub current_version: u64,
    /// `version-conflict`, `already-exists`: its hash.
    #[schema(required = false)]
    pub current_hash: String,
    /// `version-conflict`: its state as the caller may see it; null when it is deleted.
    #[schema(required = false, value_type = Option<Object>)]
    pub current: Option<Value>,
    /// `gone`: the version of the deletion.
    #[schema(required = false)]
    pub last_version: u64,
    /// `gone`: its hash.
    #[schema(required = false)]
    pub last_hash: String,
    /// `gone`: the oldest version that is kept, when an older one was asked for.
    #[schema(required = false)]
    pub first_version: u64,
    /// `too-large`: the most bytes that a body may have.
    #[schema(required = false)]
    pub max_bytes: u64,
    /// `unsupported-media-type`: those that are taken.
    #[schema(required = false)]
    pub accepted: Vec<String>,
    /// `patch-failed`: which operation of the patch does not apply, counted from 0.
    #[schema(required = false)]
    pub operation: u64,
    /// Any refusal of a batch: which of its operations is meant, counted from 0.
    #[schema(required = false)]
    pub index: u64,
    /// `rate-limited`: the name of the rule; `default` or `user` where it is no rule's limit.
    #[schema(required = false)]
    pub rule: String,
    /// `storage-unavailable`, `storage-full`, `rate-limited`: when it is worth trying again; `Retry-After` says the
    /// same.
    #[schema(required = false)]
    pub retry_after_seconds: u64,
    /// `quota-exceeded`: which count is at its limit, such as `partiesCreated`.
    #[schema(required = false)]
    pub counter: String,
    /// `quota-exceeded`: how many were created, those included that wait for the disk.
    #[schema(required = false)]
    pub used: u64,
    /// `quota-exceeded`: how many may be.
    #[schema(required = false)]
    pub limit: u64,
    /// `quota-exceeded`: when counting begins anew; null: not as long as the subscription is paused.
    #[schema(required = false, value_type = Option<String>, format = DateTime)]
    pub reset_at: Option<String>,
    /// `internal`, `damaged-document`: by which the server's log knows the request.
    #[schema(required = false)]
    pub request_id: String,
}

/// A part of a request that does not fit.
#[expect(dead_code, reason = "only its schema is used")]
#[derive(ToSchema)]
#[schema(as = Misfit)]
pub(crate) struct FieldError {
    /// Where: a member, a parameter, a header, or `body`.
    pub field: String,
    /// What is wrong with it.
    pub detail: String,
}

/// The responses of a call that may fail with one of these kinds or problems, one response per status code.
pub(crate) fn refusals(kinds: &[&[Kind]], problems: &[&[&'static ProblemType]]) -> BTreeMap<String, RefOr<Answer>> {
    let mut by_status: BTreeMap<u16, Vec<&'static ProblemType>> = BTreeMap::new();
    let of_kinds = kinds.iter().copied().flatten().chain(EVERYWHERE).map(|kind| problem_types::of_kind(*kind));
    for problem in of_kinds.chain(problems.iter().copied().flatten().copied()) {
        let same_status = by_status.entry(problem_types::status(problem.kind).as_u16()).or_default();
        if same_status.iter().all(|known| known.slug != problem.slug) {
            same_status.push(problem);
        }
    }
    by_status.into_iter().map(|(status, problems)| (status.to_string(), refusal(status, &problems).into())).collect()
}

fn refusal(status: u16, problems: &[&ProblemType]) -> Answer {
    let titles: Vec<&str> = problems.iter().map(|problem| problem.title).collect();
    let types = problems.iter().map(|problem| format!("/problems/{}", problem.slug));
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

/// Gives types their place in `responses(...)`: each stands for the problems in the lists behind its name, besides
/// those that any call may end with; behind `=>` stand lists of problems with names of their own.
macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident: $($kinds:expr),* $(=> $($names:expr),+)?;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub(crate) struct $name;

        impl utoipa::IntoResponses for $name {
            fn responses() -> std::collections::BTreeMap<
                String,
                utoipa::openapi::RefOr<utoipa::openapi::response::Response>,
            > {
                $crate::http::response::openapi::refusals(&[$($kinds),*], &[$($($names),+)?])
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

/// Joins the parts of what the server can be asked, adds the call that describes them, and writes its answer.
pub(crate) fn assemble<S: Clone + Send + Sync + 'static>(
    parts: impl IntoIterator<Item = OpenApiRouter<S>>,
    cookie: &SessionCookie,
) -> Router<S> {
    let mut description = ApiBase::openapi();
    SecuritySchemes { cookie: cookie.name().to_owned() }.modify(&mut description);
    let whole = OpenApiRouter::with_openapi(description);
    let (router, mut about) = parts.into_iter().fold(whole, OpenApiRouter::merge).split_for_parts();
    let (itself, about_itself) = OpenApiRouter::new().routes(routes!(describe)).split_for_parts();
    about.merge(about_itself);
    // Strings, numbers and trees of them always serialise.
    let text = about.to_json().unwrap_or_default();
    router.merge(itself.with_state(StaticFile::new("application/json", text)))
}

/// The paths of calls, parameters without their names, each as it is written and with its methods.
fn calls<S: Clone + Send + Sync + 'static>(routes: &OpenApiRouter<S>) -> BTreeMap<String, (&str, Vec<&'static str>)> {
    let described = routes.get_openapi().paths.paths.iter().map(|(path, item)| {
        let methods = [
            ("GET", &item.get),
            ("PUT", &item.put),
            ("POST", &item.post),
            ("DELETE", &item.delete),
            ("PATCH", &item.patch),
            ("HEAD", &item.head),
            ("OPTIONS", &item.options),
        ];
        let methods = methods.into_iter().filter(|(_, operation)| operation.is_some()).map(|(method, _)| method);
        let unnamed = path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part });
        (unnamed.collect::<Vec<_>>().join("/"), (path.as_str(), methods.collect()))
    });
    described.collect()
}

/// Why two sets of calls cannot both be served: a call that both have, in words. `None`: they can.
pub(crate) fn overlap<S: Clone + Send + Sync + 'static>(
    known: &OpenApiRouter<S>,
    more: &OpenApiRouter<S>,
) -> Option<String> {
    let known = calls(known);
    calls(more).into_iter().find_map(|(template, (path, methods))| {
        let (other, taken) = known.get(&template)?;
        if *other != path {
            return Some(format!("{path} is called {other} by another"));
        }
        let method = methods.into_iter().find(|method| taken.contains(method))?;
        Some(format!("another has {method} {path}"))
    })
}

/// This description
///
/// OpenAPI 3.1, the same until the server is replaced by another version.
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "describe", tag = "operations",
    params(IfNoneMatch),
    responses(
        (status = 200, description = "The description.", body = Object,
            headers(("ETag" = String, description = "Its tag."))),
        (status = 304, description = "It is the one that the caller has."),
        CommonProblems,
    ),
)]
async fn describe(State(description): State<StaticFile>, headers: HeaderMap) -> Response {
    description.respond(&headers)
}
