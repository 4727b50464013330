//! The calls about invitations, and the page at `/join`.

use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use http::header::{HOST, HeaderValue, ORIGIN, SET_COOKIE, USER_AGENT};
use qrcode::render::svg;
use qrcode::{EcLevel, QrCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::creation::{InvitationWish, create};
use super::exchange::{Arrival, Joined, exchange};
use super::limits::KEY_CHARS_MIN;
use super::problems::{DOCUMENTS_GONE, ENDED, EXPIRED, INVITATIONS_FULL, NAME_TAKEN, NAMES_FULL, UNKNOWN, USED};
use super::rules::{Invitation, InvitationSecret, InvitationState, InvitedSeat};
use super::volatile::VolatileDocuments;
use super::{link, service};
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind as K, Result};
use crate::base::ids::{DocumentName, SessionId, UserId};
use crate::document::input::whole_number;
use crate::document::model::Document;
use crate::document::visibility::{Audience, redact_state};
use crate::http::api::Api;
use crate::http::error::HandlerResult;
use crate::http::page::{Cursor, Page, PageLimit, PageRequest};
use crate::http::request::body::Json;
use crate::http::request::caller::{Caller, CallerResolution, PeerAddress};
use crate::http::request::headers::idempotency_key;
use crate::http::request::path::PathParameter;
use crate::http::request::query::Query;
use crate::http::response::json::json;
use crate::http::response::openapi::{BODY, problems};
use crate::http::response::revoked::{RevokedLater, revoked};
use crate::http::response::success::Success;

mod page;

pub(crate) fn router(volatile: Arc<VolatileDocuments>) -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, make))
        .routes(routes!(end))
        .routes(routes!(look))
        .routes(routes!(exchange_token))
        .layer(Extension(volatile))
        .merge(page::router())
}

const ACCESS: &[K] = &[K::Unauthenticated, K::StorageUnavailable];

problems! {
    /// Of making one.
    MakeProblems: ACCESS, BODY, &[K::NotFound, K::Gone], &[&INVITATIONS_FULL];
    /// Of listing them.
    ListProblems: ACCESS, &[K::NotFound, K::Gone];
    /// Of ending one.
    EndProblems: ACCESS, &[K::NotFound];
    /// Of looking at one.
    LookProblems: BODY, &[K::StorageUnavailable], &[&UNKNOWN, &USED, &EXPIRED, &ENDED, &DOCUMENTS_GONE];
    /// Of coming in by one.
    ExchangeProblems: BODY, &[K::StorageUnavailable, K::AlreadyExists, K::Frozen],
        &[&UNKNOWN, &USED, &EXPIRED, &ENDED, &DOCUMENTS_GONE, &NAME_TAKEN, &NAMES_FULL];
}

/// An invitation to make.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct InvitationBody {
    /// For whom; administrators only. Their session has that user's rights, within `documents`.
    #[schema(value_type = Option<String>, pattern = "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
    user: Option<UserId>,
    /// `ask`, as without `user`: who comes is asked for a name, and is a new user.
    #[schema(example = "ask")]
    name: Option<String>,
    /// To which documents, each `collection/id`, at most 20; left out: to all, by administrators only.
    #[schema(example = json!(["games/g1"]))]
    documents: Option<Vec<String>>,
    /// The place that who comes takes in the one document: its number, counted from 0, or `any`.
    #[schema(example = "any")]
    seat: Option<Value>,
    /// How many may come in by it, at most 1000.
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 1000, default = 1)]
    uses: Option<Value>,
    /// How long it is good, at most 30 days.
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 2592000, default = 86400)]
    expires_in_seconds: Option<Value>,
    /// The path of the page that the page at `/join` goes on to.
    #[schema(example = "/table.html")]
    to: Option<String>,
}

impl InvitationBody {
    fn wish(self) -> Result<InvitationWish> {
        let mut wrong: Vec<Error> = Vec::new();
        let mut note = |field: &str, why: &str| wrong.push(Error::invalid_field(field, why));
        match (&self.user, self.name.as_deref()) {
            (_, None) | (None, Some("ask")) => {}
            (Some(_), Some(_)) => note("name", "is not for an invitation that names its 'user'; leave one of them out"),
            (None, Some(_)) => note("name", "must be \"ask\": who comes says what they are called"),
        }
        let seat = self.seat.filter(|seat| !seat.is_null()).and_then(|seat| {
            let number = whole_number(&seat).and_then(|number| u32::try_from(number).ok());
            let wish = number.map(InvitedSeat::Number).or_else(|| (seat == "any").then_some(InvitedSeat::Any));
            if wish.is_none() {
                note("seat", "must be \"any\" or the number of a place, from 0 on");
            }
            wish
        });
        let mut number = |field: &str, value: Option<Value>| {
            let value = value.filter(|value| !value.is_null())?;
            let number = whole_number(&value);
            if number.is_none() {
                note(field, "must be a whole number");
            }
            number
        };
        let (uses, expires_in_seconds) =
            (number("uses", self.uses), number("expiresInSeconds", self.expires_in_seconds));
        let Self { user, documents, to, .. } = self;
        match wrong.into_iter().reduce(Error::and) {
            Some(error) => Err(error),
            None => Ok(InvitationWish { user, documents, seat, uses, expires_in_seconds, target: to }),
        }
    }
}

/// An invitation.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Invitation)]
struct InvitationItem {
    /// Names it; no secret.
    #[schema(value_type = String)]
    id: SessionId,
    /// `open`, `used`, `expired`, `ended` or `documents-gone`.
    state: &'static str,
    /// For whom; null: who comes is asked for a name.
    #[schema(value_type = Option<String>, required = true)]
    user: Option<UserId>,
    /// To which documents, as far as they are there; null: to all.
    #[schema(required = true)]
    documents: Option<Vec<String>>,
    /// `any`, or the number of a place; null: none is taken.
    #[schema(required = true)]
    seat: Value,
    /// How many may come in by it,
    uses: u32,
    /// and did.
    used: u32,
    /// The path that the page goes on to.
    #[schema(required = true)]
    to: Option<String>,
    /// Who made it; `@owner`: the server's owner.
    created_by: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

impl InvitationItem {
    fn new((invitation, state): (Invitation, InvitationState)) -> Self {
        let documents = invitation.documents.map(|documents| documents.iter().map(|it| it.name.to_string()).collect());
        Self {
            id: invitation.id,
            state: state.as_str(),
            user: invitation.user,
            documents,
            seat: seat_value(invitation.seat),
            uses: invitation.uses,
            used: invitation.used,
            to: invitation.target,
            created_by: invitation.created_by,
            created_at: invitation.created_at,
            expires_at: invitation.expires_at,
        }
    }
}

fn seat_value(seat: Option<InvitedSeat>) -> Value {
    match seat {
        None => Value::Null,
        Some(InvitedSeat::Any) => Value::from("any"),
        Some(InvitedSeat::Number(number)) => Value::from(number),
    }
}

/// An invitation that was made.
#[derive(Serialize, ToSchema)]
struct MadeInvitation {
    /// The link: a secret, in its part after `#`. It stands in this answer and nowhere else.
    #[schema(example = "http://192.168.1.20:7766/join#rejoin_invitation_…")]
    url: String,
    /// The link as a QR code: an SVG image.
    qr: String,
    #[serde(flatten)]
    invitation: InvitationItem,
}

/// The address of this machine in its network: what it would send from to another. Nothing is sent.
fn outward_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind(("0.0.0.0", 0)).ok()?;
    socket.connect(("192.0.2.1", 9)).ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_unspecified() && !ip.is_loopback())
}

fn link_url(api: &Api, headers: &HeaderMap, invitation: &Invitation, secret: &InvitationSecret) -> String {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let host = text(HOST).unwrap_or_default();
    let authority = link::authority(host, &api.listening.get(), outward_address);
    let scheme = link::scheme(text(ORIGIN), &authority);
    link::url(scheme, &authority, invitation.target.as_deref(), secret.expose())
}

/// The text as a QR code. Error: `Internal` for one that is too long.
fn qr_code(text: &str) -> Result<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M).map_err(Error::internal)?;
    Ok(code.render::<svg::Color<'_>>().min_dimensions(240, 240).build())
}

/// Invite somebody
///
/// Administrators, and a document's host to that document. The link is good for `uses` people within
/// `expiresInSeconds`; who opens it comes to the page at `/join`. Its session reaches the documents alone. No
/// `Idempotency-Key`: the link is kept nowhere, so that it could not be given again; end one that was made once too
/// often.
#[utoipa::path(
    post, path = "/api/v1/invitations", operation_id = "invite", tag = "invitations",
    params(Caller), request_body = InvitationBody,
    responses((status = 201, description = "It is made, on disk.", body = MadeInvitation), MakeProblems),
)]
async fn make(
    State(api): State<Api>,
    Extension(volatile): Extension<Arc<VolatileDocuments>>,
    caller: Caller,
    headers: HeaderMap,
    Json(body): Json<InvitationBody>,
) -> HandlerResult<Response> {
    let (secret, invitation) = create(&api, &volatile, &caller, body.wish()?).await?;
    let url = link_url(&api, &headers, &invitation, &secret);
    let qr = qr_code(&url)?;
    let invitation = InvitationItem::new((invitation, InvitationState::Open));
    Ok(json(Success::Created, &MadeInvitation { url, qr, invitation })?)
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct InvitationListQuery {
    /// Those for this document, `collection/id`, whoever made them; for its host.
    document: Option<String>,
    /// Most entries in the page.
    #[param(value_type = Option<usize>, minimum = 1, maximum = 500, default = 50)]
    limit: Option<PageLimit>,
    /// The `nextCursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor>,
}

/// List invitations
///
/// Those that the caller made; of administrators, all. Also those that are over, for 30 days.
#[utoipa::path(
    get, path = "/api/v1/invitations", operation_id = "listInvitations", tag = "invitations",
    params(Caller, InvitationListQuery),
    responses((status = 200, description = "Newest first.", body = Page<InvitationItem>), ListProblems),
)]
async fn list(
    State(api): State<Api>,
    Extension(volatile): Extension<Arc<VolatileDocuments>>,
    caller: Caller,
    Query(query): Query<InvitationListQuery>,
) -> HandlerResult<Response> {
    let page = PageRequest::new(query.limit, query.cursor);
    let document = query.document.as_deref().map(DocumentName::parse).transpose();
    let document = document.map_err(|error| Error::invalid_field("document", error.message()))?;
    let found = service::list(&api, &volatile, &caller, document, (page.after, page.limit)).await?;
    let page = Page::new(found, page.limit, |(invitation, _)| invitation.id.to_string(), InvitationItem::new);
    Ok(json(Success::Done, &page)?)
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct EndQuery {
    /// Whether the sessions end, too, that it opened or gave more.
    #[serde(default)]
    sessions: bool,
}

/// End an invitation
///
/// By whoever made it, by the host of its documents, or by an administrator. Nobody comes in by it from then on.
#[utoipa::path(
    delete, path = "/api/v1/invitations/{id}", operation_id = "endInvitation", tag = "invitations",
    params(("id" = String, Path, description = "The invitation's id."), Caller, EndQuery),
    responses((status = 204, description = "It has ended, on disk."), RevokedLater, EndProblems),
)]
async fn end(
    State(api): State<Api>,
    caller: Caller,
    PathParameter(id): PathParameter,
    Query(EndQuery { sessions }): Query<EndQuery>,
) -> HandlerResult<Response> {
    let invitation = service::own(&api, &caller, &id).await?;
    Ok(revoked(service::end(&api, &invitation, sessions).await?)?)
}

/// The token of a link.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LookBody {
    /// What follows the `#` of the link.
    token: String,
}

/// What an invitation is for.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SeenInvitation {
    /// Who invites.
    invited_by: String,
    /// To what; null: to all.
    #[schema(required = true)]
    documents: Option<Vec<SeenDocument>>,
    /// `ask` when who comes is to say what they are called; null: they need not.
    #[schema(required = true)]
    name: Option<&'static str>,
    /// Whom it is for; null: whoever has the link.
    #[schema(value_type = Option<String>, required = true)]
    user: Option<UserId>,
    /// What the user of the session is called that the request shows; they may come in as who they are.
    #[schema(required = true)]
    known_as: Option<String>,
    /// Whether the session that the request shows came in by it.
    joined: bool,
    /// `any`, or the number of a place; null: none is taken.
    #[schema(required = true)]
    seat: Value,
    /// How many may still come in by it.
    uses_left: u32,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// The path that the page goes on to.
    #[schema(required = true)]
    to: Option<String>,
}

/// A document that somebody is invited to.
#[derive(Serialize, ToSchema)]
struct SeenDocument {
    collection: String,
    id: String,
    /// The member `title` or `name` of its state, if it is a text that players may see.
    #[schema(required = true)]
    title: Option<String>,
}

impl SeenDocument {
    fn new(document: &Document) -> Result<Self> {
        let name = &document.meta.name;
        // As the new user would see it, whoever that will be.
        let guest = UserId::new("guest")?;
        let state = redact_state(document.state.as_deref().unwrap_or(b"null"), Audience::Player(&guest))?;
        let state: Value = serde_json::from_slice(&state).map_err(Error::internal)?;
        let text = |member: &str| state.get(member).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
        let title = text("title").or_else(|| text("name")).map(|title| title.chars().take(100).collect());
        Ok(Self { collection: name.collection.to_string(), id: name.id.to_string(), title })
    }
}

/// Look at an invitation
///
/// Says who invites to what, and whether a name is needed. Uses nothing up. For everybody who has the link.
#[utoipa::path(
    post, path = "/api/v1/invitations/look", operation_id = "lookAtInvitation", tag = "invitations",
    request_body = LookBody,
    responses((status = 200, description = "It is good.", body = SeenInvitation), LookProblems),
)]
async fn look(
    State(api): State<Api>,
    Extension(volatile): Extension<Arc<VolatileDocuments>>,
    Extension(resolution): Extension<CallerResolution>,
    Json(body): Json<LookBody>,
) -> HandlerResult<Response> {
    let caller = resolution.caller();
    let service::Found { invitation, documents, joined, .. } =
        service::find(&api, &volatile, &body.token, caller).await?;
    if joined.is_none() {
        invitation.state(api.clock.now()).check()?;
    }
    let documents = documents
        .map(|documents| documents.iter().map(|it| SeenDocument::new(it)).collect::<Result<_>>())
        .transpose()?;
    let asks = invitation.user.is_none();
    let shown = caller.filter(|caller| asks && caller.session().is_some()).and_then(Caller::user);
    let seen = SeenInvitation {
        invited_by: invitation.created_by_name,
        documents,
        name: asks.then_some("ask"),
        user: invitation.user,
        known_as: shown.and_then(|user| api.names.of(user)).map(|name| name.to_string()),
        joined: joined.is_some(),
        seat: seat_value(invitation.seat),
        uses_left: invitation.uses.saturating_sub(invitation.used),
        expires_at: invitation.expires_at,
        to: invitation.target,
    };
    Ok(json(Success::Done, &seen)?)
}

/// Coming in by an invitation.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ExchangeBody {
    /// What follows the `#` of the link.
    token: String,
    /// What one wants to be called: 1 to 40 characters.
    #[schema(example = "Ann")]
    name: Option<String>,
}

/// Somebody who came in.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct JoinedInvitation {
    /// The session: the one that the cookie shows.
    session: String,
    #[schema(value_type = String)]
    user: UserId,
    /// What they are called; null: they were not asked.
    #[schema(required = true)]
    name: Option<String>,
    /// What the session reaches by this invitation; null: all that its user may.
    #[schema(required = true)]
    documents: Option<Vec<String>>,
    /// The place that was taken now.
    #[schema(required = true)]
    seat: Option<u32>,
    /// The path to go on to.
    #[schema(required = true)]
    to: Option<String>,
}

/// Come in by an invitation
///
/// Opens a session and takes the place that was meant, in one transaction, and sets the session's cookie. A browser
/// that has a session of the same person already keeps it, and it reaches the documents from then on, too (200, no
/// cookie); one that came in by this invitation before uses nothing up. With an `Idempotency-Key` of at least 20
/// characters that nobody guesses, a repetition gives the same session again.
#[utoipa::path(
    post, path = "/api/v1/invitations/exchange", operation_id = "exchangeInvitation", tag = "invitations",
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repetition safe: 20 to 200 characters")),
    request_body = ExchangeBody,
    responses(
        (status = 201, description = "The session is open, on disk.", body = JoinedInvitation,
            headers(("Set-Cookie" = String, description = "The session's token, as a cookie that no script reads."))),
        (status = 200, description = "The session that the request shows reaches the documents.",
            body = JoinedInvitation),
        ExchangeProblems,
    ),
)]
async fn exchange_token(
    State(api): State<Api>,
    Extension(volatile): Extension<Arc<VolatileDocuments>>,
    Extension(resolution): Extension<CallerResolution>,
    PeerAddress(address): PeerAddress,
    headers: HeaderMap,
    Json(body): Json<ExchangeBody>,
) -> HandlerResult<Response> {
    let key = idempotency_key(&headers)?;
    if key.as_ref().is_some_and(|key| key.chars().count() < KEY_CHARS_MIN) {
        let why = format!("must have at least {KEY_CHARS_MIN} characters here, and be random: it lets in who has it");
        return Err(Error::invalid_field("Idempotency-Key", why).into());
    }
    let arrival = Arrival {
        token: &body.token,
        name: body.name.as_deref(),
        key,
        caller: resolution.caller(),
        address: address.ip().to_canonical().to_string(),
        user_agent: headers.get(USER_AGENT).cloned(),
    };
    let Joined { invitation, session, user, seat, cookie } = exchange(&api, &volatile, arrival).await?;
    let documents = invitation.documents.map(|documents| documents.iter().map(|it| it.name.to_string()).collect());
    let name = api.names.of(&user).map(|name| name.to_string());
    let joined = JoinedInvitation { session, user, name, documents, seat, to: invitation.target };
    let mut response = json(Success::created_if(cookie.is_some()), &joined)?;
    response.headers_mut().extend(cookie.map(|cookie| (SET_COOKIE, cookie)));
    Ok(response)
}
