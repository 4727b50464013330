//! Who the server takes a caller for, and why.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{SessionItem, SessionProblems, json};
use crate::base::ids::UserId;
use crate::features::sessions::service::SessionStore;
use crate::http::api::Api;
use crate::http::error::HandlerResult;
use crate::http::request::caller::{ActiveCredential, Caller, CredentialKind, Principal, TailnetIdentity};
use crate::http::response::success::Success;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(me))
}

/// Who the server takes the caller for.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Me {
    /// As whom they read and write; `owner`: as the server's owner, and nobody else is called so.
    #[schema(value_type = String)]
    user: UserId,
    /// What they are called, if they were asked for their name.
    #[schema(required = true)]
    name: Option<String>,
    /// `owner` or `user`.
    viewer: &'static str,
    /// Whether they may do what only administrators may.
    administrator: bool,
    /// Why, in words.
    why: String,
    /// The session that the request shows; null: none.
    #[schema(required = true)]
    session: Option<SessionItem>,
    /// The address that the connection comes from.
    address: String,
    /// What the tailnet says of whoever connects; null: the connection comes from elsewhere.
    #[schema(required = true)]
    member: Option<MemberItem>,
}

/// What the tailnet says of somebody.
#[derive(Serialize, ToSchema)]
#[schema(as = TailnetMember)]
struct MemberItem {
    /// Stable, unlike the login.
    #[schema(value_type = String)]
    user: UserId,
    login: String,
    /// The machine that they come from.
    node: String,
}

impl MemberItem {
    fn new(member: &TailnetIdentity) -> Self {
        Self { user: member.user.clone(), login: member.login.clone(), node: member.node.clone() }
    }
}

/// Who am I?
///
/// Who the server takes the caller for, and why.
#[utoipa::path(
    get, path = "/api/v1/me", operation_id = "me", tag = "sessions",
    params(Caller),
    responses((status = 200, description = "Who that is.", body = Me), SessionProblems),
)]
async fn me(
    State(api): State<Api>,
    Extension(sessions): Extension<SessionStore>,
    caller: Caller,
) -> HandlerResult<Response> {
    let viewer = if caller.user().is_none() { "owner" } else { "user" };
    let session = caller.session().and_then(|shown| sessions.table.find(&shown.id, None));
    let me = Me {
        user: caller.viewer.user_id()?,
        name: caller.user().and_then(|user| api.names.of(user)).map(|name| name.to_string()),
        viewer,
        administrator: caller.administrator,
        why: describe_caller(&caller),
        session: session.map(|live| SessionItem::new(live.session(), &sessions, &caller)).transpose()?,
        address: caller.peer.address.ip().to_canonical().to_string(),
        member: match &caller.peer.principal {
            Principal::Member(member) => Some(MemberItem::new(member)),
            Principal::Local | Principal::Anonymous => None,
        },
    };
    Ok(json(Success::Done, &me)?)
}

/// Why the server takes a caller for whom it does.
fn describe_caller(caller: &Caller) -> String {
    let connection = match &caller.peer.principal {
        Principal::Local => "the connection comes from the server's own machine",
        Principal::Member(member) => member.why.as_str(),
        Principal::Anonymous => "nobody vouches for the connection",
    };
    let Some(ActiveCredential { kind, id, .. }) = &caller.credential else {
        return match caller.user() {
            None => format!("{connection}, so the caller is the owner of the server"),
            Some(_) => connection.to_owned(),
        };
    };
    let whose = caller.user().map_or_else(|| "the owner's".to_owned(), |user| format!("{user}'s"));
    match kind {
        CredentialKind::Session => format!("the request shows session {id}, which is {whose}; {connection}"),
        CredentialKind::ServiceToken => format!("the request shows service token {id}, which is {whose}; {connection}"),
    }
}
