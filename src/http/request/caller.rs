//! Authentication of requests.
//!
//! A connection has a [`Peer`], authenticated when it was accepted. A request may present a session, by cookie or as a
//! bearer token, or a service token as a bearer token, and is then that one's; else it is the peer's own. The result is
//! the [`Caller`], which handlers take as an extractor.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::response::Response;
use http::header::{AUTHORIZATION, HeaderValue, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use crate::base::error::{Error, Kind, Result};
use crate::base::ids::UserId;
use crate::document::visibility::Viewer;
use crate::http::error::HttpError;
use crate::http::request::cookie::SessionCookie;
use crate::http::request::forwarding::forwarding_header;
pub(crate) use crate::tailnet::policy::TailnetIdentity;

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Where the connection comes from.
    pub address: SocketAddr,
    /// Who it was authenticated as.
    pub principal: Principal,
    /// Cancelled when the person may no longer be here, and when the server stops.
    pub life: CancellationToken,
    /// Cancelled when the server stops.
    pub stop: CancellationToken,
}

/// Who a peer is by its connection alone, before any session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// A process on this machine: the server's owner, where that is trusted ([`Loopback`]).
    Local,
    /// Somebody of the tailnet.
    Member(Arc<TailnetIdentity>),
    /// Not authenticated: only a session lets the caller in.
    Anonymous,
}

impl Peer {
    /// The peer at `address`, told by that address alone: loopback is this machine. `stop` ends what it has open.
    pub fn at(address: SocketAddr, stop: CancellationToken) -> Self {
        let principal = if is_loopback(address.ip()) { Principal::Local } else { Principal::Anonymous };
        Self { address, principal, life: stop.clone(), stop }
    }

    /// Whether the person may no longer be here, though the server goes on.
    fn is_revoked(&self) -> bool {
        self.life.is_cancelled() && !self.stop.is_cancelled()
    }
}

/// Who asks: an extractor. A handler that has it takes nobody whom the server does not know; the refusal is
/// `unauthenticated`.
///
/// ```
/// use rejoin::{Caller, HandlerResult, Json};
///
/// async fn name(caller: Caller) -> HandlerResult<Json<String>> {
///     caller.require_administrator()?;
///     Ok(Json(caller.user().map_or_else(|| "owner".to_owned(), ToString::to_string)))
/// }
/// # let _ = name;
/// ```
#[derive(Clone, Debug)]
pub struct Caller {
    /// As whom they read and write.
    pub(crate) viewer: Viewer,
    /// Whether they may do what only administrators may.
    pub(crate) administrator: bool,
    /// The other end of the connection.
    pub(crate) peer: Peer,
    /// What the request showed.
    pub(crate) credential: Option<ActiveCredential>,
}

/// What kind of credential that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialKind {
    /// A session, of a person's device or browser.
    Session,
    /// A token of a script or a bot.
    ServiceToken,
}

/// A credential that a request showed and that is good.
#[derive(Clone, Debug)]
pub struct ActiveCredential {
    pub kind: CredentialKind,
    /// Names it; not a secret. Whatever goes on under it holds this, and nothing else does: so it is known whether it
    /// is in use.
    pub id: Arc<str>,
    pub viewer: Viewer,
    /// Whether it is an administrator's.
    pub administrator: bool,
    /// Cancelled when it ends.
    pub life: CancellationToken,
    /// For how long a browser is to keep its cookie from now on, where that is to be told: its time began anew.
    pub keep_cookie: Option<Duration>,
}

/// Authenticates session tokens.
pub trait Sessions: Send + Sync + fmt::Debug {
    /// The cookie by which browsers show a session to this server.
    fn cookie(&self) -> &SessionCookie;

    /// The session of `token`, shown by `peer`. Called at each request that shows one, so it must not wait.
    /// Error: `Unauthenticated` for one that is unknown, has ended, or is somebody else's.
    fn authenticate(&self, token: &str, peer: &Peer) -> Result<ActiveCredential>;
}

/// Authenticates the tokens of scripts and bots.
pub(crate) trait ServiceTokens: Send + Sync + fmt::Debug {
    /// The service token of `token`. Called at each request that shows one as a bearer token, so it must not wait.
    /// `None`: it is no service token, whatever else it is. Error: `Unauthenticated` for one that is unknown or has
    /// ended.
    fn authenticate(&self, token: &str) -> Option<Result<ActiveCredential>>;
}

/// Who knows what a request may show.
#[derive(Debug)]
pub(crate) struct Authenticators {
    pub sessions: Arc<dyn Sessions>,
    pub service_tokens: Option<Arc<dyn ServiceTokens>>,
}

impl Authenticators {
    fn authenticate(&self, token: ShownToken<'_>, peer: &Peer) -> Result<ActiveCredential> {
        let service = self.service_tokens.as_ref().filter(|_| token.as_bearer);
        match service.and_then(|service| service.authenticate(token.text)) {
            Some(authenticated) => authenticated,
            None => self.sessions.authenticate(token.text, peer),
        }
    }
}

/// No session is good: for a server without a feature that has them.
#[derive(Clone, Debug)]
pub(crate) struct NoSessions(pub SessionCookie);

#[cfg(test)]
impl Default for NoSessions {
    fn default() -> Self {
        Self(SessionCookie::of_server("0a1b"))
    }
}

impl Sessions for NoSessions {
    fn cookie(&self) -> &SessionCookie {
        &self.0
    }

    fn authenticate(&self, _: &str, _: &Peer) -> Result<ActiveCredential> {
        Err(unknown_session())
    }
}

/// What a session is refused with, whatever the reason.
pub(crate) fn unknown_session() -> Error {
    Error::new(Kind::Unauthenticated, "the session is unknown or has ended; open a new one: POST /api/v1/sessions")
}

/// Whom a connection from this machine is authenticated as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loopback {
    /// The server's owner, unless a header says that a proxy forwarded the request.
    Owner,
    /// Nobody: the connection may be a reverse proxy's.
    Nobody,
}

/// Why a request from this machine is not authenticated as its owner's. `None`: it is.
fn loopback_refusal(peer: &Peer, headers: &HeaderMap, loopback: Loopback) -> Option<String> {
    const SHOW: &str = "show a session: Authorization: Bearer, or the cookie";
    if peer.principal != Principal::Local {
        return None;
    }
    if loopback == Loopback::Nobody {
        return Some(format!("this server takes nobody on its machine for its owner (loopback-owner = false); {SHOW}"));
    }
    forwarding_header(headers).map(|header| {
        format!("the header {header} says that this request was passed on, so it is not taken for the owner's; {SHOW}")
    })
}

impl Caller {
    /// Says who asks. Error: `Unauthenticated`; `Invalid` when what they show is malformed.
    pub(crate) fn of(
        peer: &Peer,
        headers: &HeaderMap,
        authenticators: &Authenticators,
        loopback: Loopback,
    ) -> Result<Self> {
        let distrusted = loopback_refusal(peer, headers, loopback);
        let mut peer = peer.clone();
        if distrusted.is_some() {
            peer.principal = Principal::Anonymous;
        }
        if let Some(token) = token(headers, authenticators.sessions.cookie())? {
            let credential = authenticators.authenticate(token, &peer)?;
            let (viewer, administrator) = (credential.viewer.clone(), credential.administrator);
            return Ok(Self { viewer, administrator, peer, credential: Some(credential) });
        }
        let (viewer, administrator) = match &peer.principal {
            Principal::Local => (Viewer::Owner, true),
            Principal::Member(member) => (Viewer::User(member.user.clone()), member.administrator),
            Principal::Anonymous => {
                let unknown = || "only callers on this machine, of its tailnet or with a session are known".to_owned();
                return Err(Error::new(Kind::Unauthenticated, distrusted.unwrap_or_else(unknown)));
            }
        };
        Ok(Self { viewer, administrator, peer, credential: None })
    }

    /// The session that the request showed, if it showed one.
    pub(crate) fn session(&self) -> Option<&ActiveCredential> {
        self.credential.as_ref().filter(|credential| credential.kind == CredentialKind::Session)
    }

    /// The service token that the request showed, if it showed one.
    pub(crate) fn service_token(&self) -> Option<&ActiveCredential> {
        self.credential.as_ref().filter(|credential| credential.kind == CredentialKind::ServiceToken)
    }

    /// The user; `None`: the owner of the server.
    pub fn user(&self) -> Option<&UserId> {
        self.viewer.user()
    }

    /// Tells the caller's devices apart: by what they show, else by where they connect from. A copy: the id itself is
    /// held by what goes on under the credential.
    pub(crate) fn device(&self) -> Arc<str> {
        match &self.credential {
            Some(credential) => Arc::from(&*credential.id),
            None => self.peer.address.ip().to_canonical().to_string().into(),
        }
    }

    /// Error: `Forbidden` for whoever is no administrator.
    pub fn require_administrator(&self) -> Result<()> {
        if self.administrator { Ok(()) } else { Err(Error::new(Kind::Forbidden, "this is for administrators")) }
    }

    /// Whether what the caller has open must end: see [`Caller::ended`].
    pub(crate) fn has_ended(&self) -> bool {
        self.peer.life.is_cancelled() || self.has_credential_ended()
    }

    fn has_credential_ended(&self) -> bool {
        self.credential.as_ref().is_some_and(|credential| credential.life.is_cancelled())
    }

    /// Refuses a caller who is nobody any more: what they showed has ended, or they may no longer be here. What was
    /// begun before is finished while the server stops. Error: `Unauthenticated`.
    pub(crate) fn check_active(&self) -> Result<()> {
        if self.has_credential_ended() || self.peer.is_revoked() { Err(unknown_session()) } else { Ok(()) }
    }

    /// Waits until what the caller has open must end: what they showed has, the person may no longer be here, or the
    /// server stops. Cancel safe.
    pub(crate) fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        let person = self.peer.life.clone();
        let credential = self.credential.as_ref().map(|credential| credential.life.clone());
        async move {
            match credential {
                None => person.cancelled().await,
                Some(credential) => tokio::select! { () = person.cancelled() => {}, () = credential.cancelled() => {} },
            }
        }
    }
}

/// A token that a request shows.
#[derive(Clone, Copy)]
struct ShownToken<'a> {
    text: &'a str,
    /// As a bearer token, and not by cookie alone.
    as_bearer: bool,
}

/// The token that a request shows. Errors: `Invalid` for one that is repeated or is not said as it should be.
fn token<'a>(headers: &'a HeaderMap, cookie: &SessionCookie) -> Result<Option<ShownToken<'a>>> {
    let bearer = bearer(headers)?;
    let cookie = cookie.find_token(headers)?.map(|shown| shown.token);
    match (bearer, cookie) {
        (Some(bearer), Some(cookie)) if bearer != cookie => {
            Err(Error::invalid("the request shows two sessions; show one"))
        }
        (bearer, cookie) => Ok(bearer.or(cookie).map(|text| ShownToken { text, as_bearer: bearer.is_some() })),
    }
}

fn bearer(headers: &HeaderMap) -> Result<Option<&str>> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = match (values.next(), values.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => value.to_str().unwrap_or_default(),
        (Some(_), Some(_)) => return Err(Error::invalid_field("Authorization", "is given more than once")),
    };
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty() => {
            Ok(Some(token.trim()))
        }
        _ => Err(Error::invalid_field("Authorization", "must be: Bearer <token of a session, or service token>")),
    }
}

/// An IPv4 peer of a listener that takes both families arrives as an IPv6 address with the other inside.
fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// What the middleware found out about the caller, as an extension of the request.
#[derive(Clone, Debug)]
pub(crate) enum CallerResolution {
    Known(Caller),
    Refused(Kind, String, Map<String, Value>),
}

impl CallerResolution {
    /// Keeps an answer or a refusal of [`Caller::of`].
    pub(crate) fn new(caller: Result<Caller>) -> Self {
        match caller {
            Ok(caller) => Self::Known(caller),
            Err(error) => Self::Refused(error.kind(), error.message().to_owned(), error.details().clone()),
        }
    }

    /// Who asks, if that is known.
    pub(crate) fn caller(&self) -> Option<&Caller> {
        match self {
            Self::Known(caller) => Some(caller),
            Self::Refused(..) => None,
        }
    }

    /// Who asks, or what they are refused with.
    pub(crate) fn to_result(&self) -> Result<Caller> {
        match self {
            Self::Known(caller) => Ok(caller.clone()),
            Self::Refused(kind, message, details) => {
                let error = Error::new(*kind, message.clone());
                Err(details.iter().fold(error, |error, (name, value)| error.with(name, value.clone())))
            }
        }
    }

    /// What the browser that sent `headers` is to be told about its `cookie`, if it sent one.
    pub(crate) fn cookie_update(&self, headers: &HeaderMap, cookie: &SessionCookie) -> Option<CookieUpdate> {
        let shown = cookie.find_token(headers).ok()??;
        match self {
            Self::Known(caller) => {
                let kept = caller.credential.as_ref()?.keep_cookie?;
                cookie.set_token(shown.token, kept).map(CookieUpdate::Keep)
            }
            // One that another server may have set is left alone.
            Self::Refused(Kind::Unauthenticated, ..) if shown.own => cookie.clear_token().map(CookieUpdate::Forget),
            Self::Refused(..) => None,
        }
    }
}

/// What a browser is to be told about its cookie.
pub(crate) enum CookieUpdate {
    /// To keep it for longer.
    Keep(HeaderValue),
    /// To forget it, if the request is refused for it.
    Forget(HeaderValue),
}

impl CookieUpdate {
    /// Tells it, unless the response says something about the cookie itself.
    pub(crate) fn apply(self, response: &mut Response) {
        let refused = response.status() == StatusCode::UNAUTHORIZED;
        let value = match self {
            Self::Keep(value) => value,
            Self::Forget(value) if refused => value,
            Self::Forget(_) => return,
        };
        response.headers_mut().entry(SET_COOKIE).or_insert(value);
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, HttpError> {
        match parts.extensions.get::<CallerResolution>() {
            Some(resolution) => Ok(resolution.to_result()?),
            None => Err(Error::internal("a request came past the guard").into()),
        }
    }
}

/// The extractor of where a connection comes from: for calls that take callers whom nobody knows yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerAddress(pub SocketAddr);

impl<S: Send + Sync> FromRequestParts<S> for PeerAddress {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, HttpError> {
        let address = parts.extensions.get().copied();
        address.ok_or_else(|| Error::internal("a request came past the guard").into())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;

    fn headers(name: &'static str, values: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    fn viewer_of(peer: &str, headers: &HeaderMap) -> Result<Viewer, Kind> {
        let peer = Peer::at(peer.parse().unwrap(), CancellationToken::new());
        let mut headers = headers.clone();
        headers.insert("host", HeaderValue::from_static("localhost:7766"));
        let authenticators = Authenticators { sessions: Arc::new(NoSessions::default()), service_tokens: None };
        Caller::of(&peer, &headers, &authenticators, Loopback::Owner)
            .map(|caller| caller.viewer)
            .map_err(|error| error.kind())
    }

    #[test]
    fn this_machine_is_the_owner_and_others_are_nobody() {
        for peer in ["127.0.0.1:5", "[::1]:5", "[::ffff:127.0.0.1]:5"] {
            assert_eq!(viewer_of(peer, &HeaderMap::new()), Ok(Viewer::Owner), "{peer}");
        }
        for peer in ["192.168.1.5:5", "100.64.1.2:5", "[fe80::1]:5", "[::ffff:10.0.0.1]:5"] {
            assert_eq!(viewer_of(peer, &HeaderMap::new()), Err(Kind::Unauthenticated), "{peer}");
        }
    }

    #[test]
    fn an_unknown_session_is_never_the_owner() {
        let here = "127.0.0.1:5";
        for unknown in [&b"Bearer x"[..], b"bearer  x ", b"Bearer rejoin_session_x"] {
            assert_eq!(
                viewer_of(here, &headers("authorization", &[unknown])),
                Err(Kind::Unauthenticated),
                "{unknown:?}"
            );
        }
        for malformed in [&b""[..], b"Bearer", b"Bearer ", b"Basic eDp5", b"x", b"Bearer \xff"] {
            assert_eq!(viewer_of(here, &headers("authorization", &[malformed])), Err(Kind::Invalid), "{malformed:?}");
        }
        assert_eq!(viewer_of(here, &headers("authorization", &[b"Bearer x", b"Bearer x"])), Err(Kind::Invalid));
        for unknown in [&b"a=b; rejoin_session=x; c"[..], b"rejoin_session=", b"rejoin_session", b"rejoin_session=\xff"]
        {
            assert_eq!(viewer_of(here, &headers("cookie", &[unknown])), Err(Kind::Unauthenticated), "{unknown:?}");
        }
        assert_eq!(
            viewer_of(here, &headers("cookie", &[b"rejoin_session=x", b"rejoin_session=y"])),
            Err(Kind::Invalid)
        );
        assert_eq!(viewer_of(here, &headers("cookie", &[b"other=\xff"])), Ok(Viewer::Owner));
        let mut both = headers("cookie", &[b"rejoin_session=x"]);
        both.append("authorization", HeaderValue::from_static("Bearer x"));
        assert_eq!(viewer_of(here, &both), Err(Kind::Unauthenticated));
        both.insert("authorization", HeaderValue::from_static("Bearer y"));
        assert_eq!(viewer_of(here, &both), Err(Kind::Invalid));
    }
}
