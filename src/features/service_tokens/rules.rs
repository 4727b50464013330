//! What a service token is, and what it reaches. Pure.

use serde::{Deserialize, Serialize};

use super::limits::NAMED_MAX;
use crate::base::clock::Timestamp;
use crate::base::display_name::DisplayName;
use crate::base::entropy::Entropy;
use crate::base::error::{Error, Result, both};
use crate::base::ids::{Collection, DocumentName, SessionId};
use crate::base::secret::{Secret, SecretHash};
use crate::document::scope::{CredentialScope, DocumentGrant, ScopeExtent};

/// How every token begins, so that people and secret scanners know one.
pub(crate) const PREFIX: &str = "rejoin_service_";

/// What is shown.
#[derive(Clone, Debug)]
pub(crate) struct ServiceTokenSecret(Secret);

impl ServiceTokenSecret {
    pub(crate) fn new(entropy: &dyn Entropy) -> Self {
        Self(Secret::new(PREFIX, entropy))
    }

    /// Reads one; `None`: it is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Secret::parse(PREFIX, text).map(Self)
    }

    /// What is stored in its place.
    pub(crate) fn hash(&self) -> SecretHash {
        self.0.hash()
    }

    /// The text, for the answer to whoever made it and nowhere else.
    pub(crate) fn expose(&self) -> &str {
        self.0.expose()
    }
}

/// What a token lets do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenAccess {
    Read,
    Write,
    /// Everything, as an administrator.
    Administrator,
}

impl TokenAccess {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Administrator => "administrator",
        }
    }

    /// Reads what [`as_str`](Self::as_str) writes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Read, Self::Write, Self::Administrator].into_iter().find(|access| access.as_str() == text)
    }
}

/// The documents that a token names, where it does not reach all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NamedExtent {
    pub documents: Vec<String>,
    pub collections: Vec<Collection>,
}

/// A service token. Its secret is not part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServiceToken {
    /// Names it; no secret.
    pub id: SessionId,
    /// For people.
    pub name: DisplayName,
    pub access: TokenAccess,
    /// `None`: all documents.
    pub extent: Option<NamedExtent>,
    /// Who made it: `@owner`, or a user.
    pub created_by: String,
    pub created_at: Timestamp,
    pub last_used_at: Option<Timestamp>,
}

impl ServiceToken {
    /// What it reaches. What is no name of a document, as a damaged file may have it, reaches nothing.
    pub(crate) fn scope(&self) -> CredentialScope {
        let extent = match &self.extent {
            None => ScopeExtent::All,
            Some(named) => {
                let names = named.documents.iter().filter_map(|name| DocumentName::parse(name).ok());
                ScopeExtent::Some {
                    collections: named.collections.clone(),
                    documents: names.map(DocumentGrant::Name).collect(),
                }
            }
        };
        CredentialScope { extent, writes: self.access != TokenAccess::Read }
    }
}

/// What a new token reaches, as it was asked for. Error: `Invalid`, naming all members that do not fit.
pub(crate) fn named_extent(
    access: TokenAccess,
    documents: Option<Vec<String>>,
    collections: Option<Vec<String>>,
) -> Result<Option<NamedExtent>> {
    let fields = [("documents", documents.as_ref()), ("collections", collections.as_ref())];
    if access == TokenAccess::Administrator
        && let Some((field, _)) = fields.iter().find(|(_, named)| named.is_some())
    {
        let why =
            "is not for an administrator's token, which reaches everything; leave it out, or take access \"write\"";
        return Err(Error::invalid_field(field, why));
    }
    if let Some((field, _)) = fields.iter().find(|(_, named)| named.is_some_and(|named| named.len() > NAMED_MAX)) {
        return Err(Error::invalid_field(field, format!("must not name more than {NAMED_MAX}")));
    }
    if documents.is_none() && collections.is_none() {
        return Ok(None);
    }
    let (documents, collections) = (documents.unwrap_or_default(), collections.unwrap_or_default());
    if documents.is_empty() && collections.is_empty() {
        let why = "must name a document, or collections a collection; leave both out for all documents";
        return Err(Error::invalid_field("documents", why));
    }
    let field = |field: &str, error: &Error| Error::invalid_field(field, error.message());
    let documents: Result<Vec<String>> = documents
        .iter()
        .map(|text| DocumentName::parse(text).map(|name| name.to_string()).map_err(|e| field("documents", &e)))
        .collect();
    let collections: Result<Vec<Collection>> =
        collections.iter().map(|text| Collection::new(text).map_err(|e| field("collections", &e))).collect();
    let (documents, collections) = both(documents, collections)?;
    Ok(Some(NamedExtent { documents, collections }))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;

    fn check(
        access: TokenAccess,
        documents: Option<&[&str]>,
        collections: Option<&[&str]>,
        expect: Result<bool, &str>,
    ) {
        let owned = |names: Option<&[&str]>| names.map(|names| names.iter().map(|&name| name.to_owned()).collect());
        let named = named_extent(access, owned(documents), owned(collections));
        let told = named.map(|named| named.is_some()).map_err(|error| format!("{:?}", error.details()));
        match expect {
            Ok(some) => assert_eq!(told, Ok(some)),
            Err(field) => assert!(told.as_ref().is_err_and(|told| told.contains(field)), "{field} {told:?}"),
        }
    }

    #[test]
    fn a_token_reaches_what_it_names_or_everything() {
        use TokenAccess::{Administrator, Read, Write};
        check(Read, None, None, Ok(false));
        check(Write, Some(&["games/g1"]), None, Ok(true));
        check(Write, None, Some(&["games"]), Ok(true));
        check(Administrator, None, None, Ok(false));
        check(Administrator, Some(&["games/g1"]), None, Err("documents"));
        check(Administrator, None, Some(&[]), Err("collections"));
        check(Read, Some(&[]), None, Err("documents"));
        check(Read, Some(&["games"]), Some(&["games"]), Err("documents"));
        check(Read, Some(&["games/g1"]), Some(&["no name"]), Err("collections"));
        check(Read, Some(&["games/g1"; NAMED_MAX + 1]), None, Err("documents"));
    }

    #[test]
    fn what_is_damaged_reaches_nothing() {
        let token = ServiceToken {
            id: SessionId::new("t1").unwrap(),
            name: DisplayName::new("name", "bot").unwrap(),
            access: TokenAccess::Write,
            extent: Some(NamedExtent { documents: vec!["no name".to_owned()], collections: Vec::new() }),
            created_by: "@owner".to_owned(),
            created_at: Timestamp::from_millis(0),
            last_used_at: None,
        };
        assert!(token.scope().grants().is_empty());
        assert!(!token.scope().names(&DocumentName::parse("games/g1").unwrap()));
    }
}
