//! What goes with a game that moves beside its history: seats, its end, tokens (as hashes, never in clear), and the
//! answers that are kept for retries. Pure.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::UserId;
use crate::base::limits::IDEMPOTENCY_KEY_LENGTH_MAX;
use crate::document::chain::{Hash, Position};
use crate::document::visibility::{OWNER, Viewer};
use crate::features::games::limits::{RECONNECT_TOKEN_MINUTES_MAX, RECONNECT_TOKENS_MAX, SEATS_MAX};
use crate::features::games::tokens::NONCE_BYTES;

/// A row of the tables of games. Its JSON is one line of what the servers tell each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum AttachedRow {
    /// Of `games`.
    Game(GameRow),
    /// Of `seats`.
    Seat(SeatRow),
    /// Of `reconnect_tokens`.
    Token(TokenRow),
    /// Of `reconnect_answers`.
    Answer(AnswerRow),
    /// Of `idempotency_keys`.
    Key(KeyRow),
}

impl AttachedRow {
    /// Who sits there, of a seat.
    pub(crate) fn player(&self) -> Option<&UserId> {
        match self {
            Self::Seat(seat) => Some(&seat.player),
            Self::Game(_) | Self::Token(_) | Self::Answer(_) | Self::Key(_) => None,
        }
    }

    /// Whether what it tells of happened by `latest`.
    fn is_until(&self, latest: Timestamp) -> bool {
        let past = |at: Timestamp| at <= latest;
        match self {
            Self::Game(game) => game.completed_at.is_none_or(past),
            Self::Seat(seat) => past(seat.joined_at),
            Self::Token(token) => {
                let good_until = latest.plus(Duration::from_secs(u64::from(RECONNECT_TOKEN_MINUTES_MAX) * 60));
                let (used, revoked) = (token.used_at.is_none_or(past), token.revoked_at.is_none_or(past));
                past(token.issued_at) && used && revoked && token.expires_at <= good_until
            }
            Self::Answer(_) => true,
            Self::Key(key) => past(key.at),
        }
    }
}

/// Whether a game is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct GameRow {
    /// Since when; `None`: it runs.
    pub completed_at: Option<Timestamp>,
}

/// A seat that is taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SeatRow {
    pub player: UserId,
    /// Which, counted from 0.
    pub seat: u32,
    /// The user who holds it.
    pub identity: UserId,
    pub joined_at: Timestamp,
}

/// A reconnect token, by its hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TokenRow {
    pub hash: Hex,
    pub player: UserId,
    /// Who may show it.
    pub identity: UserId,
    /// The hash of the first of its line.
    pub family: Hex,
    /// Since when it is there.
    pub issued_at: Timestamp,
    /// Until when it is good.
    pub expires_at: Timestamp,
    /// When it was used.
    pub used_at: Option<Timestamp>,
    /// The hash of the next.
    pub replaced_by: Option<Hex>,
    /// When its line ended.
    pub revoked_at: Option<Timestamp>,
}

/// What was answered to a reconnect, sealed under the token that was shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct AnswerRow {
    pub scope: KeyScope,
    /// Its `Idempotency-Key`.
    pub key: String,
    pub fingerprint: Hex,
    /// The hash of the token.
    pub token: Hex,
    /// See [`Sealed`](crate::features::games::tokens::Sealed).
    pub nonce: Binary,
    pub sealed: Binary,
}

/// What was answered to a change of the game.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct KeyRow {
    pub scope: KeyScope,
    /// Its `Idempotency-Key`.
    pub key: String,
    pub fingerprint: Hex,
    /// The answer, as it is kept.
    pub answer: Binary,
    pub at: Timestamp,
}

/// A SHA-256 in 64 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hex(String);

impl TryFrom<String> for Hex {
    type Error = &'static str;

    fn try_from(text: String) -> std::result::Result<Self, &'static str> {
        if Hash::parse(&text).is_some() { Ok(Self(text)) } else { Err("is not 64 hexadecimal digits") }
    }
}

impl From<Hex> for String {
    fn from(hex: Hex) -> Self {
        hex.0
    }
}

impl Hex {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// See [`Viewer::scope`](crate::document::visibility::Viewer::scope).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyScope(String);

impl TryFrom<String> for KeyScope {
    type Error = &'static str;

    fn try_from(text: String) -> std::result::Result<Self, &'static str> {
        let known = text == "@owner" || UserId::new(&text).is_ok();
        if known { Ok(Self(text)) } else { Err("is nobody") }
    }
}

impl From<KeyScope> for String {
    fn from(scope: KeyScope) -> Self {
        scope.0
    }
}

impl KeyScope {
    /// As it is stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Bytes, in JSON as base64.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Binary(pub Vec<u8>);

impl TryFrom<String> for Binary {
    type Error = data_encoding::DecodeError;

    fn try_from(text: String) -> std::result::Result<Self, Self::Error> {
        data_encoding::BASE64.decode(text.as_bytes()).map(Self)
    }
}

impl From<Binary> for String {
    fn from(binary: Binary) -> Self {
        data_encoding::BASE64.encode(&binary.0)
    }
}

impl std::fmt::Debug for Binary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// An answer to a change, as it is kept for a retry: whole, or as `Prefer: return=minimal` has it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct KeptAnswer {
    pub status: u16,
    /// `ETag`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// `Rejoin-Position`. Of a change of what belongs to the game there is none, nor any other header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<String>,
    /// `Location`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// Whether it has the headers alone.
    #[serde(default)]
    pub minimal: bool,
    pub body: String,
}

impl KeptAnswer {
    /// Reads one. Error: `Rejected` for what is none of ours.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        let answer: Self = serde_json::from_slice(bytes).map_err(|e| invalid_rows("an answer").caused_by(e))?;
        let placed = answer.position.as_deref().is_none_or(|position| Position::parse(position).is_some());
        if placed && matches!(answer.status, 200 | 201 | 202 | 204) {
            Ok(answer)
        } else {
            Err(invalid_rows("an answer"))
        }
    }

    /// The same without its body: what keeps a retry from being carried out again when there are too many to be sent
    /// whole. One without a position is small, and stays.
    #[must_use]
    pub(crate) fn minimal(self) -> Self {
        if self.position.is_none() { self } else { Self { status: 204, minimal: true, body: String::new(), ..self } }
    }
}

/// The lines as they are sent, and what stands for them: one digest over all.
#[derive(Clone, Debug, Default)]
pub(crate) struct AttachedLines {
    /// Each a [`AttachedRow`] as JSON.
    pub lines: Vec<String>,
}

impl AttachedLines {
    /// Of these, in their order.
    pub(crate) fn of(attached: &[AttachedRow]) -> Result<Self> {
        let line = |attached_row| serde_json::to_string(attached_row).map_err(Error::internal);
        Ok(Self { lines: attached.iter().map(line).collect::<Result<_>>()? })
    }

    /// Stands for all of them and their order.
    pub(crate) fn digest(&self) -> Hash {
        self.lines.iter().fold(Hash::ZERO, |hash, line| hash.after(line.as_bytes()))
    }

    pub(crate) fn bytes(&self) -> usize {
        self.lines.iter().map(String::len).sum()
    }

    /// What they say, if it can be so in a game: nothing twice, nothing that belongs to nothing, no time after
    /// `latest`, in the order in which it can be stored. Error: `Rejected`.
    pub(crate) fn verify(&self, told: Hash, latest: Timestamp) -> Result<Vec<AttachedRow>> {
        if self.digest() != told {
            return Err(Error::new(Kind::Rejected, "not all that belongs to the game has come as it was sent"));
        }
        let read = |line: &String| serde_json::from_str(line).map_err(|e| invalid_rows("a row").caused_by(e));
        let attached = self.lines.iter().map(read).collect::<Result<Vec<_>>>()?;
        let mut seen = SeenKeys::default();
        for attached_row in &attached {
            seen.add(attached_row)?;
            if !attached_row.is_until(latest) {
                return Err(invalid_rows("a time far ahead of this server's clock"));
            }
        }
        Ok(attached)
    }
}

/// Refuses a player whose seat the game never had: none of its states had more than `seats`. Error: `Rejected`.
pub(crate) fn check_seats(attached: &[AttachedRow], seats: u32) -> Result<()> {
    let beyond = |row: &AttachedRow| matches!(row, AttachedRow::Seat(seat) if seat.seat >= seats);
    if attached.iter().any(beyond) { Err(invalid_rows("a seat beyond the last")) } else { Ok(()) }
}

fn invalid_rows(what: &str) -> Error {
    Error::new(Kind::Rejected, format!("what belongs to the game does not verify: {what} cannot be so"))
}

/// What came before, to which the next must fit.
#[derive(Default)]
struct SeenKeys<'a> {
    game: bool,
    players: HashSet<&'a UserId>,
    seats: HashSet<u32>,
    tokens: HashSet<&'a Hex>,
    tokens_of: HashMap<&'a UserId, u32>,
    keys: HashSet<(&'a KeyScope, &'a str)>,
    answers: HashSet<(&'a KeyScope, &'a str)>,
}

impl<'a> SeenKeys<'a> {
    fn add(&mut self, attached_row: &'a AttachedRow) -> Result<()> {
        let (fits, what) = match attached_row {
            AttachedRow::Game(_) => (!std::mem::replace(&mut self.game, true), "its end"),
            AttachedRow::Seat(seat) => {
                let free = self.players.insert(&seat.player) && self.seats.insert(seat.seat);
                // A seat is held by its player. Another identity could reconnect as them.
                let own = seat.identity == seat.player;
                let own = own && (seat.player.as_str() == OWNER || !Viewer::is_owners_name(&seat.player));
                (self.game && free && own && seat.seat < SEATS_MAX, "a seat")
            }
            AttachedRow::Token(token) => {
                let count = self.tokens_of.entry(&token.player).or_default();
                *count += 1;
                let own = token.identity == token.player;
                (self.game && own && *count <= RECONNECT_TOKENS_MAX && self.tokens.insert(&token.hash), "a token")
            }
            AttachedRow::Answer(answer) => {
                let sealed = self.tokens.contains(&answer.token) && answer.nonce.0.len() == NONCE_BYTES;
                let new = self.answers.insert((&answer.scope, &answer.key));
                (sealed && new && is_key(&answer.key), "an answer to a reconnect")
            }
            AttachedRow::Key(key) => {
                KeptAnswer::parse(&key.answer.0)?;
                (is_key(&key.key) && self.keys.insert((&key.scope, &key.key)), "an idempotency key")
            }
        };
        if fits { Ok(()) } else { Err(invalid_rows(what)) }
    }
}

fn is_key(key: &str) -> bool {
    (1..=IDEMPOTENCY_KEY_LENGTH_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use serde_json::json;

    use super::*;

    const AT: &str = "2026-01-02T03:04:05.006Z";
    const LATER: &str = "2026-01-02T03:04:05.007Z";

    fn lines() -> Vec<serde_json::Value> {
        let hash = |byte: &str| byte.repeat(32);
        let answer = json!({ "status": 200, "position": "start", "minimal": false, "body": "{}" });
        let binary = |bytes: &[u8]| data_encoding::BASE64.encode(bytes);
        let position = Position::Start.to_string();
        let answer = answer.to_string().replace("start", &position);
        vec![
            json!({ "game": { "completedAt": null } }),
            json!({ "seat": { "player": "bob", "seat": 3, "identity": "bob", "joinedAt": AT } }),
            json!({ "token": { "hash": hash("0a"), "player": "bob", "identity": "bob", "family": hash("0a"),
                "issuedAt": AT, "expiresAt": AT, "usedAt": AT, "replacedBy": hash("0b"), "revokedAt": null } }),
            json!({ "answer": { "scope": "bob", "key": "k1", "fingerprint": hash("0c"), "token": hash("0a"),
                "nonce": binary(&[7; 12]), "sealed": binary(b"x") } }),
            json!({ "key": { "scope": "@owner", "key": "k2", "fingerprint": hash("0d"),
                "answer": binary(answer.as_bytes()), "at": AT } }),
        ]
    }

    fn verified(lines: &[serde_json::Value]) -> Result<Vec<AttachedRow>> {
        let lines = AttachedLines { lines: lines.iter().map(serde_json::Value::to_string).collect() };
        lines.verify(lines.digest(), Timestamp::parse(AT).unwrap())
    }

    #[test]
    fn what_a_game_may_have_is_taken_and_reads_as_it_was_sent() {
        let read = verified(&lines()).unwrap();
        let again = AttachedLines::of(&read).unwrap();
        let values: Vec<serde_json::Value> =
            again.lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(values, lines());
        assert_eq!(again.verify(again.digest(), Timestamp::MAX).unwrap(), read);
        assert!(again.verify(Hash::ZERO, Timestamp::MAX).is_err());
        assert!(check_seats(&read, 4).is_ok());
        assert_eq!(check_seats(&read, 3).unwrap_err().kind(), Kind::Rejected);
        assert!(verified(&[]).unwrap().is_empty());
    }

    #[test]
    fn what_cannot_be_so_is_refused() {
        for (index, pointer, value) in [
            (1, "/seat/seat", json!(SEATS_MAX)),
            (1, "/seat/player", json!("not a user")),
            (1, "/seat/identity", json!("eve")),
            (0, "/game/completedAt", json!(LATER)),
            (1, "/seat/joinedAt", json!(LATER)),
            (2, "/token/issuedAt", json!(LATER)),
            (2, "/token/usedAt", json!("9999-12-31T23:59:59.999Z")),
            (2, "/token/revokedAt", json!(LATER)),
            (2, "/token/expiresAt", json!("2026-01-09T03:04:05.007Z")),
            (4, "/key/at", json!(LATER)),
            (2, "/token/identity", json!("eve")),
            (2, "/token/expiresAt", json!("10000-01-01T00:00:00Z")),
            (1, "/seat/more", json!(1)),
            (2, "/token/hash", json!("rjt_in_clear")),
            (2, "/token/family", json!("")),
            (2, "/token/expiresAt", json!("soon")),
            (3, "/answer/token", json!("0e".repeat(32))),
            (3, "/answer/nonce", json!("")),
            (3, "/answer/key", json!("")),
            (4, "/key/scope", json!("@nobody")),
            (4, "/key/answer", json!(data_encoding::BASE64.encode(b"{}"))),
            (4, "/key/fingerprint", json!(1)),
        ] {
            let mut lines = lines();
            let (parent, member) = pointer.rsplit_once('/').unwrap();
            let line = lines.get_mut(index).unwrap().pointer_mut(parent).unwrap().as_object_mut().unwrap();
            line.insert(member.to_owned(), value);
            assert_eq!(verified(&lines).unwrap_err().kind(), Kind::Rejected, "{pointer}");
        }
        for twice in 0..lines().len() {
            let mut lines = lines();
            let line = lines.get(twice).unwrap().clone();
            lines.insert(twice, line);
            assert_eq!(verified(&lines).unwrap_err().kind(), Kind::Rejected, "line {twice} twice");
        }
        for missing in [0, 2] {
            let mut lines = lines();
            lines.remove(missing);
            assert_eq!(verified(&lines).unwrap_err().kind(), Kind::Rejected, "without line {missing}");
        }
        for name in ["host", "Owner", "OWNER"] {
            let mut lines = lines();
            let seat = lines.get_mut(1).unwrap().get_mut("seat").unwrap().as_object_mut().unwrap();
            seat.insert("player".to_owned(), json!(name));
            seat.insert("identity".to_owned(), json!(name));
            lines.truncate(2);
            assert_eq!(verified(&lines).unwrap_err().kind(), Kind::Rejected, "{name}");
        }
        let mut same_seat = lines();
        let other = json!({ "seat": { "player": "eve", "seat": 3, "identity": "eve", "joinedAt": AT } });
        same_seat.insert(2, other);
        assert!(verified(&same_seat).is_err());
    }
}
