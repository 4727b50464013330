//! Pages of lists: [`PageRequest`] extracts `limit` and `cursor`, [`Page`] is the response.

use axum::extract::FromRequestParts;
use data_encoding::BASE64URL_NOPAD;
use http::request::Parts;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::Ref;
use utoipa::openapi::schema::{Array, ArrayBuilder};

use crate::base::error::{Error, Result};
use crate::base::limits::{CURSOR_LENGTH_MAX, PAGE_LIMIT_DEFAULT, PAGE_LIMIT_MAX};
use crate::http::error::HttpError;
use crate::http::request::query::Query;

/// The query of a list that has no other parameters. One with filters has both fields too and calls
/// [`PageRequest::new`], since serde cannot flatten a query that refuses unknown parameters.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct PageQuery {
    /// Most entries in the page.
    #[param(value_type = Option<usize>, minimum = 1, maximum = 500, default = 50)]
    limit: Option<PageLimit>,
    /// The `nextCursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor>,
}

/// How many entries a page has at most: 1 to 500.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "usize")]
pub(crate) struct PageLimit(usize);

impl TryFrom<usize> for PageLimit {
    type Error = String;

    fn try_from(limit: usize) -> Result<Self, String> {
        let fits = (1..=PAGE_LIMIT_MAX).contains(&limit);
        if fits { Ok(Self(limit)) } else { Err(format!("must be from 1 to {PAGE_LIMIT_MAX}")) }
    }
}

/// The key that [`encode_cursor`] made a cursor of.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Cursor(String);

impl TryFrom<String> for Cursor {
    type Error = &'static str;

    fn try_from(cursor: String) -> Result<Self, &'static str> {
        decode_cursor(&cursor).map(Self).ok_or(FOREIGN_CURSOR)
    }
}

/// Extracts a [`PageQuery`]. Error: `Invalid`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PageRequest {
    /// Most entries in the page.
    pub limit: usize,
    /// The key after which it begins; `None`: at the start.
    pub after: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for PageRequest {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        let Query(PageQuery { limit, cursor }) = Query::from_request_parts(parts, state).await?;
        Ok(Self::new(limit, cursor))
    }
}

impl PageRequest {
    /// Of 50 entries when no limit is given.
    pub(crate) fn new(limit: Option<PageLimit>, cursor: Option<Cursor>) -> Self {
        let limit = limit.map_or(PAGE_LIMIT_DEFAULT, |PageLimit(limit)| limit);
        Self { limit, after: cursor.map(|Cursor(key)| key) }
    }

    /// [`Self::after`] as `parse` reads it. Error: `Invalid` for the cursor of another list.
    pub(crate) fn parse_after<T, E>(&self, parse: impl FnOnce(&str) -> Result<T, E>) -> Result<Option<T>> {
        self.after.as_deref().map(parse).transpose().map_err(|_| foreign_cursor())
    }
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Page<T> {
    /// The entries, in the order of the list.
    #[schema(schema_with = entries_schema::<T>)]
    pub items: Vec<T>,
    /// `cursor` of the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, value_type = String)]
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// The first `limit` of `found`, which holds one more where another page follows. `key` is what the next page
    /// begins after.
    pub(crate) fn new<R>(
        mut found: Vec<R>,
        limit: usize,
        key: impl FnOnce(&R) -> String,
        item: impl FnMut(R) -> T,
    ) -> Self {
        let more = found.len() > limit;
        found.truncate(limit);
        let next_cursor = found.last().filter(|_| more).map(|last| encode_cursor(&key(last)));
        Self { items: found.into_iter().map(item).collect(), next_cursor }
    }
}

/// Refers to the schema of the entries; the derived one would repeat it in each page.
fn entries_schema<T: ToSchema>() -> Array {
    let entries = ArrayBuilder::new().items(Ref::from_schema_name(T::name()));
    entries.description(Some("The entries, in the order of the list.")).build()
}

/// The key of a page's last entry as an opaque cursor.
pub(crate) fn encode_cursor(key: &str) -> String {
    BASE64URL_NOPAD.encode(key.as_bytes())
}

const FOREIGN_CURSOR: &str = "must be a nextCursor of this list";

/// `None` for what [`encode_cursor`] did not make.
fn decode_cursor(cursor: &str) -> Option<String> {
    let bytes = if cursor.len() <= CURSOR_LENGTH_MAX { BASE64URL_NOPAD.decode(cursor.as_bytes()).ok() } else { None };
    bytes.and_then(|bytes| String::from_utf8(bytes).ok()).filter(|key| !key.is_empty())
}

fn foreign_cursor() -> Error {
    Error::invalid_field("cursor", FOREIGN_CURSOR)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
mod tests {
    use super::*;
    use crate::http::request::query::parse;

    #[test]
    fn a_page_has_a_cursor_as_long_as_more_follows() {
        let page = |found: &[u32]| Page::new(found.to_vec(), 2, u32::to_string, |number| number);
        for (found, items, next) in
            [(&[][..], &[][..], None), (&[1, 2], &[1, 2], None), (&[1, 2, 3], &[1, 2], Some("2"))]
        {
            let page = page(found);
            assert_eq!((page.items, page.next_cursor), (items.to_vec(), next.map(encode_cursor)));
        }
    }

    #[test]
    fn pages_are_bounded_and_cursors_go_round() {
        let page = |query: &str| -> Result<PageRequest> {
            let PageQuery { limit, cursor } = parse(query)?;
            Ok(PageRequest::new(limit, cursor))
        };
        assert_eq!(page("").unwrap(), PageRequest { limit: 50, after: None });
        let cursor = encode_cursor("games/ä");
        assert_eq!(
            page(&format!("limit=500&cursor={cursor}")).unwrap(),
            PageRequest { limit: 500, after: Some("games/ä".into()) }
        );
        let too_long = encode_cursor(&"x".repeat(CURSOR_LENGTH_MAX));
        for bad in ["limit=0", "limit=501", "limit=-1", "limit=1e2", "cursor=", "cursor=!", "cursor=_w", "offset=3"] {
            assert!(page(bad).is_err(), "{bad}");
        }
        assert!(page(&format!("cursor={too_long}")).is_err());
    }
}
