//! The description of the whole HTTP interface, for programs: `GET /openapi.json`, OpenAPI 3.1. [`assemble`] joins the
//! parts at the start and writes the document once; a request costs nothing more.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use serde_json::Value;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::response::Response as Answer;
use utoipa::openapi::schema::Schema;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{OpenApi, RefOr, Tag};
use utoipa::{Modify as _, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::error::ProblemType;
use crate::http::error::HandlerResult;
use crate::http::request::cookie::SessionCookie;
use crate::http::response::openapi::{
    CHANGE_REFUSALS, CommonProblems, DIVIDED_REFUSALS, FileProblems, IfNoneMatch, refusal,
};
use crate::http::response::static_file::StaticFile;
use crate::http::response::{problem, problem_types};
use crate::live::relocations::RelocationProblems;

/// What is true of all calls, and the schemas that all share. Name, version, text and licence are the package's.
#[derive(utoipa::OpenApi)]
#[openapi(
    components(schemas(ProblemSchema)),
    security((), ("bearer" = []), ("cookie" = [])),
    tags(
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
    fn modify(&self, whole: &mut OpenApi) {
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
    pub errors: Vec<FieldErrorSchema>,
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
    /// `internal`, `damaged-document`: by which the server's log knows the request.
    #[schema(required = false)]
    pub request_id: String,
}

/// A part of a request that does not fit.
#[expect(dead_code, reason = "only its schema is used")]
#[derive(ToSchema)]
#[schema(as = Misfit)]
pub(crate) struct FieldErrorSchema {
    /// Where: a member, a parameter, a header, or `body`.
    pub field: String,
    /// What is wrong with it.
    pub detail: String,
}

/// What features add to the description, beside their calls.
#[derive(Default)]
pub(crate) struct ApiAdditions {
    pub tags: Vec<Tag>,
    /// The schemas of members that problems of features have.
    pub problem_members: Vec<RefOr<Schema>>,
    /// The problems with which features refuse changes of documents.
    pub change_problems: Vec<&'static ProblemType>,
    pub relocation: RelocationProblems,
}

impl ApiAdditions {
    pub(crate) fn add_tag(&mut self, name: &str, description: &str) {
        self.tags.push(TagBuilder::new().name(name).description(Some(description)).build());
    }

    pub(crate) fn extend(&mut self, more: Self) {
        let Self { tags, problem_members, change_problems, relocation: _ } = more;
        self.tags.extend(tags);
        self.problem_members.extend(problem_members);
        self.change_problems.extend(change_problems);
    }

    fn add_to(self, whole: &mut OpenApi) {
        whole.tags.get_or_insert_default().extend(self.tags);
        let problem = whole.components.as_mut().and_then(|components| components.schemas.get_mut("Problem"));
        if let Some(RefOr::T(Schema::Object(problem))) = problem {
            let members = self.problem_members.into_iter().filter_map(|schema| match schema {
                RefOr::T(Schema::Object(members)) => Some(members.properties),
                _ => None,
            });
            problem.properties.extend(members.flatten());
        }
        let relocation = self.relocation;
        for responses in whole.paths.paths.values_mut().flat_map(operations).map(|found| &mut found.responses.responses)
        {
            if responses.remove(CHANGE_REFUSALS).is_some() {
                self.change_problems.iter().for_each(|problem| add_refusal(responses, problem));
            }
            if responses.remove(DIVIDED_REFUSALS).is_some() {
                relocation.divided.into_iter().for_each(|problem| add_refusal(responses, problem));
            }
            for own in [relocation.moved, relocation.frozen].into_iter().flatten() {
                responses.values_mut().for_each(|answer| rename_refusal(answer, own));
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, put, post, delete, patch, head, options, .. } = item;
    [get, put, post, delete, patch, head, options].into_iter().flatten()
}

/// The problem types that a response lists.
fn listed_types(answer: &mut RefOr<Answer>) -> Option<(&mut String, &mut Vec<Value>)> {
    let RefOr::T(Answer { description, content, .. }) = answer else { return None };
    let RefOr::T(content) = content.get_mut(problem::MEDIA_TYPE)? else { return None };
    let Some(RefOr::T(Schema::AllOf(parts))) = &mut content.schema else { return None };
    let types = parts.items.iter_mut().find_map(|part| match part {
        RefOr::T(Schema::Object(object)) => match object.properties.get_mut("type")? {
            RefOr::T(Schema::Object(types)) => types.enum_values.as_mut(),
            _ => None,
        },
        _ => None,
    });
    Some((description, types?))
}

/// Lists `problem` among the refusals of a call.
fn add_refusal(responses: &mut BTreeMap<String, RefOr<Answer>>, problem: &ProblemType) {
    let status = problem_types::status(problem).as_u16();
    let Some((description, types)) = responses.get_mut(&status.to_string()).and_then(listed_types) else {
        responses.insert(status.to_string(), refusal(status, &[problem]).into());
        return;
    };
    let path = Value::from(problem_types::path(problem));
    if !types.contains(&path) {
        description.push_str(", or: ");
        description.push_str(problem.title);
        types.push(path);
    }
}

/// Puts a feature's problem in the place of the general one of its kind.
fn rename_refusal(answer: &mut RefOr<Answer>, own: &ProblemType) {
    let general = problem_types::of_kind(own.kind);
    let Some((description, types)) = listed_types(answer) else { return };
    if let Some(listed) = types.iter_mut().find(|listed| **listed == problem_types::path(general)) {
        *listed = problem_types::path(own).into();
        *description = description.replace(general.title, own.title);
    }
}

/// Joins the parts of what the server can be asked, adds the call that describes them, and writes its answer.
pub(crate) fn assemble<S: Clone + Send + Sync + 'static>(
    parts: impl IntoIterator<Item = OpenApiRouter<S>>,
    additions: ApiAdditions,
    cookie: &SessionCookie,
) -> Router<S> {
    let mut description = <ApiBase as utoipa::OpenApi>::openapi();
    SecuritySchemes { cookie: cookie.name().to_owned() }.modify(&mut description);
    let whole = OpenApiRouter::with_openapi(description);
    let (router, mut about) = parts.into_iter().fold(whole, OpenApiRouter::merge).split_for_parts();
    let (itself, about_itself) = OpenApiRouter::new().routes(routes!(describe)).split_for_parts();
    about.merge(about_itself);
    additions.add_to(&mut about);
    // Strings, numbers and trees of them always serialise.
    let text = about.to_pretty_json().unwrap_or_default();
    router.merge(itself.with_state(StaticFile::new("application/json", text)))
}

/// The paths of calls, as they are written.
pub(crate) fn paths<S: Clone + Send + Sync + 'static>(routes: &OpenApiRouter<S>) -> impl Iterator<Item = &str> {
    routes.get_openapi().paths.paths.keys().map(String::as_str)
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

/// Why two sets of calls cannot both be served: a call that both have, or a schema that each has and describes in
/// another way, of which the description would have one. `None`: they can.
pub(crate) fn overlap<S: Clone + Send + Sync + 'static>(
    known: &OpenApiRouter<S>,
    more: &OpenApiRouter<S>,
) -> Option<String> {
    if let Some(name) = differing_schema(known, more) {
        return Some(format!("another has a schema {name} too, which says something else"));
    }
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

/// A schema that both describe, each in its own way.
fn differing_schema<'a, S: Clone + Send + Sync + 'static>(
    known: &OpenApiRouter<S>,
    more: &'a OpenApiRouter<S>,
) -> Option<&'a str> {
    let known = &known.get_openapi().components.as_ref()?.schemas;
    let more = &more.get_openapi().components.as_ref()?.schemas;
    let differing = more.iter().find(|(name, schema)| known.get(*name).is_some_and(|other| other != *schema));
    differing.map(|(name, _)| name.as_str())
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
        FileProblems,
    ),
)]
async fn describe(State(description): State<StaticFile>, headers: HeaderMap) -> HandlerResult<Response> {
    Ok(description.respond(&headers)?)
}
