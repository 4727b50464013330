//! Which calls are open to those who are let in for a few things only: callers of other networks who show nothing, and
//! credentials that do not reach everything.
//!
//! It is decided by path, before any handler and before a body is read, and what is not named here is refused: a call
//! that is added later is closed to them until somebody opens it. What of a document they may do is decided where
//! everybody's rights are, since the scope is part of the viewer.

use std::collections::BTreeSet;

use http::Method;

use crate::base::error::{Error, Kind, Result};
use crate::base::ids::{Collection, DocumentName};
use crate::document::model::{check_credential_writes, unknown_document};
use crate::document::scope::{CredentialScope, ScopeExtent};
use crate::document::visibility::Viewer;
use crate::http::request::caller::{CallerResolution, Peer, Principal};
use crate::http::response::relocation::RelocationPaths;
use crate::http::server::public_files::OwnPaths;

/// What a feature opens beyond those who may do everything.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OpenPaths {
    /// To whoever can reach the server, each with all that is below it.
    pub to_all: &'static [&'static str],
    /// To every credential: calls that say nothing but about the caller, or look at each document by themselves. One
    /// that ends with `/` stands for all that is below it, but for `/` itself.
    pub to_credentials: &'static [&'static str],
}

/// See the module. Made at the start of what the features say.
#[derive(Debug)]
pub(crate) struct PathGuard {
    /// All other paths are files of the host's page.
    own: OwnPaths,
    /// Whether there is no such page, and `/` is one of the server's own.
    owns_front: bool,
    open: Vec<OpenPaths>,
    /// Words that are no collection's.
    reserved: BTreeSet<Collection>,
    /// Other ways to name a document in a path.
    aliases: Option<RelocationPaths>,
}

impl PathGuard {
    /// `owns_front`: whether `/` is a page of the server's own.
    pub(crate) fn new(own: OwnPaths, owns_front: bool, open: Vec<OpenPaths>) -> Self {
        Self { own, owns_front, open, reserved: BTreeSet::new(), aliases: None }
    }

    /// Sets the words that are no collection's, and the other ways to name a document in a path.
    pub(crate) fn with_documents(self, reserved: BTreeSet<Collection>, aliases: Option<RelocationPaths>) -> Self {
        Self { reserved, aliases, ..self }
    }

    /// Refuses what is not open to the caller. Errors: why it is not known who asks, for whoever shows nothing;
    /// `Forbidden`, and `NotFound` for documents, for a credential that does not reach it.
    pub(super) fn check(&self, caller: &CallerResolution, peer: &Peer, method: &Method, path: &str) -> Result<()> {
        match caller {
            CallerResolution::Refused(..) if is_stranger(peer) && !self.is_open(path) => caller.to_result().map(drop),
            CallerResolution::Refused(..) => Ok(()),
            CallerResolution::Known(caller) => match caller.viewer.credential_scope() {
                Some(scope) if !self.is_open(path) => self.check_scope(&caller.viewer, scope, method, path),
                Some(_) | None => Ok(()),
            },
        }
    }

    /// Whether a path is open to whoever can reach the server.
    fn is_open(&self, path: &str) -> bool {
        let below = |open: &&str| path.strip_prefix(open).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let own = if path == "/" { self.owns_front } else { self.own.contains(path) };
        !own || self.open.iter().flat_map(|open| open.to_all).any(below)
    }

    fn is_open_to_credentials(&self, path: &str) -> bool {
        let names =
            |open: &&str| if *open != "/" && open.ends_with('/') { path.starts_with(open) } else { *open == path };
        self.open.iter().flat_map(|open| open.to_credentials).any(names)
    }

    fn check_scope(&self, viewer: &Viewer, scope: &CredentialScope, method: &Method, path: &str) -> Result<()> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            check_credential_writes(viewer)?;
        }
        if scope.extent == ScopeExtent::All || self.is_open_to_credentials(path) {
            return Ok(());
        }
        match self.place(path) {
            Some(PathSubject::Collection(collection)) if scope.reaches_collection(&collection) => Ok(()),
            Some(PathSubject::Document(name)) if scope.names(&name) => Ok(()),
            Some(PathSubject::Document(name)) => Err(unknown_document(&name)),
            Some(PathSubject::Collection(_)) | None => {
                let message = "what this request shows reaches its own documents only; GET /api/v1/me tells which";
                Err(Error::new(Kind::Forbidden, message))
            }
        }
    }

    /// What of the documents a path is about. A name that is written with `%` in the path is none here.
    fn place(&self, path: &str) -> Option<PathSubject> {
        if let Some(RelocationPaths { collection, prefixes, .. }) = &self.aliases
            && let Some(rest) = prefixes.iter().find_map(|prefix| path.strip_prefix(prefix))
        {
            let id = rest.split('/').next().unwrap_or_default();
            return DocumentName::new(collection, id).ok().map(PathSubject::Document);
        }
        let mut segments = path.strip_prefix("/api/v1/")?.split('/');
        let collection = Collection::new(segments.next()?).ok().filter(|name| !self.reserved.contains(name))?;
        match segments.next() {
            None => Some(PathSubject::Collection(collection)),
            Some(id) => DocumentName::new(collection.as_str(), id).ok().map(PathSubject::Document),
        }
    }
}

/// Whether nobody vouches for a peer of another machine.
fn is_stranger(peer: &Peer) -> bool {
    peer.principal == Principal::Anonymous && !peer.address.ip().to_canonical().is_loopback()
}

/// What of the documents a path is about.
enum PathSubject {
    Collection(Collection),
    Document(DocumentName),
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use std::sync::Arc;

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::document::scope::{DocumentGrant, GrantedDocument};
    use crate::http::request::caller::{ActiveCredential, Caller, CredentialKind};

    fn guard() -> PathGuard {
        let paths = [
            "/",
            "/openapi.json",
            "/readyz",
            "/metrics",
            "/docs/",
            "/healthz",
            "/join",
            "/pages/{slug}",
            "/login",
            "/reports/status",
            "/api/v1/{collection}/{id}",
            "/api/old/{id}/restore",
        ];
        let to_all = &["/healthz", "/join", "/pages", "/login", "/api/v1/links/look"];
        let to_credentials = &["/api/v1/me", "/api/v1/words", "/api/v1/batch", "/api/v1/sessions/current"];
        let reserved =
            ["links", "me", "words", "batch", "sessions", "stock"].map(|word| Collection::new(word).unwrap());
        let prefixes = &["/api/old/", "/api/v1/boards/"];
        let aliases = RelocationPaths { collection: "boards", prefixes, not_redirected: &[] };
        PathGuard::new(OwnPaths::new(paths.into_iter()), true, vec![OpenPaths { to_all, to_credentials }])
            .with_documents(reserved.into(), Some(aliases))
    }

    fn peer(address: &str) -> Peer {
        Peer::at(address.parse().unwrap(), CancellationToken::new())
    }

    fn caller(scope: CredentialScope) -> CallerResolution {
        let (viewer, life) = (Viewer::scoped(None, scope), CancellationToken::new());
        let (kind, id, shown) = (CredentialKind::Session, "c1".into(), viewer.clone());
        let credential = ActiveCredential { kind, id, viewer: shown, administrator: false, life, keep_cookie: None };
        let (peer, credential) = (peer("192.168.1.5:5"), Some(credential));
        CallerResolution::new(Ok(Caller { viewer, administrator: false, peer, credential }))
    }

    fn check(caller: &CallerResolution, calls: &[(&str, Option<Kind>)]) {
        for (call, expect) in calls {
            let (method, path) = call.split_once(' ').unwrap();
            let (method, peer) = (Method::from_bytes(method.as_bytes()).unwrap(), peer("192.168.1.5:5"));
            let refused = guard().check(caller, &peer, &method, path).err().map(|error| error.kind());
            assert_eq!(refused, *expect, "{call}");
        }
    }

    #[test]
    fn strangers_see_the_way_in_and_static_pages() {
        let nobody = CallerResolution::new(Err(Error::new(Kind::Unauthenticated, "nobody knows who asks")));
        let refused = Some(Kind::Unauthenticated);
        check(
            &nobody,
            &[
                ("GET /join", None),
                ("GET /join/join.js", None),
                ("GET /healthz", None),
                ("GET /pages/gone", None),
                ("GET /table.html", None),
                ("GET /img/a.png", None),
                ("POST /api/v1/links/look", None),
                ("GET /login", None),
                ("GET /api/v1/links", refused),
                ("GET /api/v1/words", refused),
                ("GET /api/v1/boards/b1", refused),
                ("GET /openapi.json", refused),
                ("GET /readyz", refused),
                ("GET /metrics", refused),
                ("GET /docs/", refused),
                ("GET /reports/status", refused),
                ("GET /reports/added-later", refused),
                ("GET /", refused),
                ("GET //openapi.json", refused),
            ],
        );
        let local = peer("127.0.0.1:5");
        assert!(guard().check(&nobody, &local, &Method::GET, "/readyz").is_ok(), "a process of this machine");
    }

    #[test]
    fn a_credential_reaches_its_documents_and_itself() {
        let granted = GrantedDocument::new(DocumentName::parse("boards/b1").unwrap(), 1);
        let documents = vec![DocumentGrant::Document(Arc::new(granted))];
        let scope = CredentialScope { extent: ScopeExtent::Some { collections: Vec::new(), documents }, writes: true };
        let (forbidden, missing) = (Some(Kind::Forbidden), Some(Kind::NotFound));
        check(
            &caller(scope),
            &[
                ("GET /api/v1/boards/b1", None),
                ("POST /api/v1/boards/b1/places", None),
                ("POST /api/old/b1/restore", None),
                ("GET /api/v1/me", None),
                ("GET /api/v1/words", None),
                ("DELETE /api/v1/sessions/current", None),
                ("POST /api/v1/batch", None),
                ("GET /join", None),
                ("GET /table.html", None),
                ("GET /api/v1/boards/b2", missing),
                ("PUT /api/v1/boards/b2", missing),
                ("PUT /api/v1/notes/b1", missing),
                ("GET /api/old/b2/restore", missing),
                ("GET /api/v1/boards/%621", forbidden),
                ("GET /api/v1/boards", forbidden),
                ("POST /api/v1/boards", forbidden),
                ("GET /api/v1/sessions", forbidden),
                ("POST /api/v1/sessions", forbidden),
                ("DELETE /api/v1/sessions/s1", forbidden),
                ("POST /api/v1/links", forbidden),
                ("GET /openapi.json", forbidden),
                ("GET /reports/status", forbidden),
                ("GET /", forbidden),
            ],
        );
    }

    #[test]
    fn a_reserved_word_is_no_collection_though_a_credential_names_it() {
        let collections = ["stock", "boards"].map(|name| Collection::new(name).unwrap()).to_vec();
        let scope = CredentialScope { extent: ScopeExtent::Some { collections, documents: Vec::new() }, writes: true };
        let forbidden = Some(Kind::Forbidden);
        check(
            &caller(scope),
            &[
                ("GET /api/v1/boards", None),
                ("GET /api/v1/boards/b9", None),
                ("GET /api/v1/stock", forbidden),
                ("GET /api/v1/stock/s1", forbidden),
            ],
        );
    }

    #[test]
    fn a_credential_that_only_reads_changes_nothing() {
        let everything = caller(CredentialScope { extent: ScopeExtent::All, writes: false });
        let forbidden = Some(Kind::Forbidden);
        check(
            &everything,
            &[
                ("GET /api/v1/boards", None),
                ("GET /metrics", None),
                ("POST /api/v1/boards", forbidden),
                ("POST /api/v1/batch", forbidden),
                ("POST /api/v1/admin/jobs/backup/run", forbidden),
            ],
        );
    }
}
