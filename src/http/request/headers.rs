//! Parsers of the request headers that handlers go by. Pure.

use http::HeaderMap;
use http::header::{ACCEPT, ACCEPT_ENCODING, AsHeaderName, HeaderName, IF_MATCH, IF_NONE_MATCH, TRANSFER_ENCODING};

use crate::base::error::{Error, Result};
use crate::base::limits::IDEMPOTENCY_KEY_LENGTH_MAX;
use crate::document::chain::Tag;
use crate::document::decide::Tags;

pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// `Idempotency-Replayed`, on an answer that is given again.
pub(crate) const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
pub(crate) const PREFER: HeaderName = HeaderName::from_static("prefer");
pub(crate) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
pub(crate) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
pub(crate) const REJOIN_POSITION: HeaderName = HeaderName::from_static("rejoin-position");
pub(crate) const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// `If-Match`. The comparison is the strong one: a weak tag, or one that is not of our making, matches nothing.
/// Error: `Invalid` when it is not a list of entity tags.
pub(crate) fn if_match(headers: &HeaderMap) -> Result<Option<Tags>> {
    tags(headers, IF_MATCH, "If-Match", Weak::MatchesNothing)
}

/// `If-None-Match`. The comparison is the weak one (RFC 9110 §13.1.2), since a proxy that compresses weakens our tags.
/// Error: `Invalid` when it is not a list of entity tags.
pub(crate) fn if_none_match(headers: &HeaderMap) -> Result<Option<Tags>> {
    tags(headers, IF_NONE_MATCH, "If-None-Match", Weak::MatchesAlike)
}

#[derive(Clone, Copy, PartialEq)]
enum Weak {
    MatchesNothing,
    MatchesAlike,
}

fn tags(headers: &HeaderMap, header: HeaderName, name: &str, weak: Weak) -> Result<Option<Tags>> {
    let ours = |tag: &&[u8]| std::str::from_utf8(tag).ok().and_then(Tag::parse);
    Ok(opaque_tags(headers, header, name, weak)?.map(|tags| match tags {
        OpaqueTags::Any => Tags::Any,
        OpaqueTags::These(tags) => Tags::These(tags.iter().filter_map(ours).collect()),
    }))
}

/// Whether `If-Match` holds for what has this tag; `true` when it is not there. Error: `Invalid`.
pub(crate) fn if_match_holds(headers: &HeaderMap, tag: &[u8]) -> Result<bool> {
    let tags = opaque_tags(headers, IF_MATCH, "If-Match", Weak::MatchesNothing)?;
    Ok(tags.is_none_or(|tags| tags.matches(tag)))
}

/// Whether `If-None-Match` names this tag. Error: `Invalid`.
pub(crate) fn if_none_match_names(headers: &HeaderMap, tag: &[u8]) -> Result<bool> {
    let tags = opaque_tags(headers, IF_NONE_MATCH, "If-None-Match", Weak::MatchesAlike)?;
    Ok(tags.is_some_and(|tags| tags.matches(tag)))
}

/// What is between the quotes of the entity tags that count.
enum OpaqueTags<'a> {
    Any,
    These(Vec<&'a [u8]>),
}

impl OpaqueTags<'_> {
    fn matches(&self, tag: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::These(tags) => tags.contains(&tag),
        }
    }
}

fn opaque_tags<'a>(
    headers: &'a HeaderMap,
    header: HeaderName,
    name: &str,
    weak: Weak,
) -> Result<Option<OpaqueTags<'a>>> {
    let garbage = || Error::invalid_field(name, "must be * or a list of entity tags in double quotes");
    let mut values = headers.get_all(header).iter().peekable();
    if values.peek().is_none() {
        return Ok(None);
    }
    let (mut found, mut tags, mut any) = (0, Vec::new(), false);
    for value in values {
        let mut rest = trim(value.as_bytes());
        any |= rest == b"*";
        if any {
            found += 1;
            continue;
        }
        while !rest.is_empty() {
            let (tag, after) = entity_tag(rest).ok_or_else(garbage)?;
            found += 1;
            if !tag.weak || weak == Weak::MatchesAlike {
                tags.push(tag.opaque);
            }
            rest = match trim(after) {
                [] => break,
                [b',', more @ ..] => trim(more),
                _ => return Err(garbage()),
            };
        }
    }
    match (any, found) {
        (true, 1) => Ok(Some(OpaqueTags::Any)),
        (false, 1..) => Ok(Some(OpaqueTags::These(tags))),
        _ => Err(garbage()),
    }
}

struct EntityTag<'a> {
    weak: bool,
    opaque: &'a [u8],
}

/// Reads one entity tag, and returns what follows it.
fn entity_tag(text: &[u8]) -> Option<(EntityTag<'_>, &[u8])> {
    let (weak, text) = text.strip_prefix(b"W/").map_or((false, text), |text| (true, text));
    let text = text.strip_prefix(b"\"")?;
    let end = memchr::memchr(b'"', text)?;
    let (opaque, after) = text.split_at_checked(end)?;
    let clean = opaque.iter().all(|byte| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..));
    clean.then_some((EntityTag { weak, opaque }, after.get(1..)?))
}

fn trim(text: &[u8]) -> &[u8] {
    text.trim_ascii()
}

/// `Last-Event-ID`, whatever it says; `None` when it is absent or empty.
pub(crate) fn last_event_id(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(LAST_EVENT_ID).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    value.filter(|text| !text.is_empty())
}

/// The value of a header that may be there once. `None`: not there. Error: `Invalid` when it is repeated, or is not
/// visible ASCII and spaces.
pub(crate) fn single<'a>(headers: &'a HeaderMap, header: impl AsHeaderName, name: &str) -> Result<Option<&'a str>> {
    let mut values = headers.get_all(header).iter();
    let value = match (values.next(), values.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => value,
        (Some(_), Some(_)) => return Err(Error::invalid_field(name, "is given more than once")),
    };
    value.to_str().map(Some).map_err(|_| Error::invalid_field(name, "has characters other than visible ASCII"))
}

/// Error: `Invalid` when the body comes in a transfer coding other than `chunked`, which would not be decoded.
pub(crate) fn check_transfer_coding(headers: &HeaderMap) -> Result<()> {
    let mut codings =
        headers.get_all(TRANSFER_ENCODING).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    let chunked = |coding: &[u8]| coding.trim_ascii().eq_ignore_ascii_case(b"chunked");
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(only), None) if chunked(only) => Ok(()),
        _ => Err(Error::invalid_field("Transfer-Encoding", "may be chunked alone; other codings are not decoded")),
    }
}

/// `Idempotency-Key`: 1 to 255 visible ASCII characters, with or without the quotes of a structured string, which are
/// no part of it. Error: `Invalid`.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>> {
    const NAME: &str = "Idempotency-Key";
    let Some(value) = single(headers, IDEMPOTENCY_KEY, NAME)? else { return Ok(None) };
    let garbage = || {
        let rule = format!("must be 1 to {IDEMPOTENCY_KEY_LENGTH_MAX} visible ASCII characters");
        Error::invalid_field(NAME, rule)
    };
    let key = match value.strip_prefix('"') {
        Some(quoted) => unquote(quoted).ok_or_else(garbage)?,
        None => value.to_owned(),
    };
    let fits = (1..=IDEMPOTENCY_KEY_LENGTH_MAX).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
    if fits { Ok(Some(key)) } else { Err(garbage()) }
}

/// The text of a structured string (RFC 8941) after its opening quote.
fn unquote(quoted: &str) -> Option<String> {
    let inner = quoted.strip_suffix('"')?;
    let mut text = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => text.push(characters.next().filter(|c| matches!(c, '"' | '\\'))?),
            '"' => return None,
            other => text.push(other),
        }
    }
    Some(text)
}

/// What a write is to be answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Return {
    Minimal,
    Representation,
}

/// `Prefer: return=…`. Preferences that we do not know are ignored, as RFC 7240 wants it; the first `return` counts.
pub(crate) fn prefer_return(headers: &HeaderMap) -> Option<Return> {
    let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let mut preferences = values.flat_map(|value| value.split(','));
    preferences.find_map(|preference| {
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        match (name.trim().to_ascii_lowercase().as_str(), value.trim().trim_matches('"')) {
            ("return", "minimal") => Some(Return::Minimal),
            ("return", "representation") => Some(Return::Representation),
            _ => None,
        }
    })
}

/// How much a media type is wanted by `Accept`: in thousandths, and how exactly it was named (2: itself, 1: `type/*`,
/// 0: `*/*` or not at all). The most exact item counts; items that are malformed are passed over.
fn wanted(headers: &HeaderMap, media_type: &str) -> (u16, u8) {
    let (main, _) = media_type.split_once('/').unwrap_or((media_type, ""));
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut best = None;
    let mut named_any = false;
    for item in values.flat_map(|value| value.split(',')) {
        let mut parts = item.split(';').map(str::trim);
        let range = parts.next().unwrap_or_default();
        if range.is_empty() {
            continue;
        }
        named_any = true;
        let exact = match range.split_once('/') {
            _ if range.eq_ignore_ascii_case(media_type) => 2,
            Some((named, "*")) if named.eq_ignore_ascii_case(main) => 1,
            Some(("*", "*")) => 0,
            _ => continue,
        };
        let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let Some(quality) = quality.map_or(Some(1000), thousandths) else { continue };
        if best.is_none_or(|(_, than)| exact >= than) {
            best = Some((quality, exact));
        }
    }
    best.unwrap_or(if named_any { (0, 0) } else { (1000, 0) })
}

/// A quality value, `0` to `1` with at most three decimals, in thousandths.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let decimals: u16 = format!("{decimals:0<3}").parse().ok()?;
    match (whole, decimals) {
        ("0", _) => Some(decimals),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

/// Whether `Accept` wants `one` rather than `other`: by a higher quality, or by naming it more exactly. Wanting both
/// alike is not wanting `one` rather.
pub(crate) fn prefers(headers: &HeaderMap, one: &str, other: &str) -> bool {
    let one = wanted(headers, one);
    one.0 > 0 && one > wanted(headers, other)
}

/// Whether `Accept-Encoding` names gzip, or anything, and does not refuse it.
pub(crate) fn takes_gzip(headers: &HeaderMap) -> bool {
    let values = || headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let takes = |name: &str| {
        values().flat_map(|value| value.split(',')).find_map(|item| {
            let mut parts = item.split(';').map(str::trim);
            let is_named = parts.next().is_some_and(|coding| coding.eq_ignore_ascii_case(name));
            let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
            is_named.then(|| quality.and_then(thousandths) != Some(0))
        })
    };
    takes("gzip").or_else(|| takes("*")).unwrap_or(false)
}

/// Whether `Accept` asks for a stream rather than for JSON. `*/*`, or no `Accept`, does not.
pub(crate) fn wants_event_stream(headers: &HeaderMap) -> bool {
    prefers(headers, "text/event-stream", "application/json")
}

#[cfg(test)]
#[path = "headers_tests.rs"]
mod tests;
