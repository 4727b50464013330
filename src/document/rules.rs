//! What decides whether an action is allowed and what it does: brought by whoever embeds the server, one per
//! collection. A collection without rules is *freeform*: its actions carry the patch that they apply.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::input;
use super::merge::strategies::MergeRules;
use super::notices::Notice;
use crate::base::clock::Timestamp;
use crate::base::ids::UserId;

/// Who acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// Their stable id; `host` for the owner of the server, who goes by no other name here.
    pub id: UserId,
    /// Whether they are the document's host. Decide rights by this, never by the id's text.
    pub host: bool,
}

/// A request to change a document.
#[derive(Clone, Copy, Debug)]
pub struct Action<'a> {
    /// What is to be done, for example `raise`.
    pub kind: &'a str,
    /// With what. Members `hidden` and `private.<playerId>` of it are kept from others just as in a state.
    pub payload: &'a Value,
    /// When it was taken up.
    pub at: Timestamp,
    /// Random bytes for this action alone: for shuffling and dice. Whatever is made of them must be put into the state
    /// (or be forgotten): rules are not run again when a history is replayed.
    pub seed: [u8; 32],
}

impl Action<'_> {
    /// The payload as a `T`; null is read as an empty object. Otherwise as [`read_as`].
    pub fn payload_as<T: DeserializeOwned>(&self) -> Result<T, Rejection> {
        let empty = Value::Object(Map::new());
        read_as(if self.payload.is_null() { &empty } else { self.payload }, "payload")
    }
}

/// Reads a `T` from `value`, which is called `name` in what is told to its sender: a state or a payload. Numbers are
/// read by value: `2.0` is a whole number. Error: names each member that does not fit, in `errors` too, and repeats
/// nothing of the value.
pub fn read_as<T: DeserializeOwned>(value: &Value, name: &str) -> Result<T, Rejection> {
    input::from_value(value, name).map_err(|error| {
        let errors = error.details().get("errors").cloned();
        let details = errors.into_iter().map(|errors| ("errors".to_owned(), errors)).collect();
        Rejection { message: error.message().to_owned(), details }
    })
}

/// The rules' no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Told to the caller as it stands: it must not tell what the caller may not see.
    pub message: String,
    /// Further members of the answer, under the same condition.
    pub details: Map<String, Value>,
}

impl Rejection {
    /// A no with its reason.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), details: Map::new() }
    }
}

/// What an accepted action does.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// The state afterwards.
    pub state: Value,
    /// What the event carries as its payload; `None`: what was sent. Members `hidden` and `private.<playerId>` of it
    /// are kept from others just as in a state.
    pub payload: Option<Value>,
}

impl From<Value> for Applied {
    fn from(state: Value) -> Self {
        Self { state, payload: None }
    }
}

/// The other documents, as rules may read them while they decide an action.
pub trait Documents {
    /// The state of `collection/id` as far as whoever acts may see it; `None`: there is no such document for them.
    fn state(&self, collection: &str, id: &str) -> Option<Value>;
}

/// No other documents: for rules that are tested without a server.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDocuments;

impl Documents for NoDocuments {
    fn state(&self, _collection: &str, _id: &str) -> Option<Value> {
        None
    }
}

/// The rules of a collection. Pure: the same arguments give the same answer, and nothing but the returned value
/// changes. A panic inside is caught, answered as an internal error, and changes nothing.
///
/// A state is always a JSON object. Its member `hidden` is for the host alone, `private.<playerId>` for that player
/// and the host; everything else is for all.
///
/// ```
/// use rejoin::{Action, Actor, NoDocuments, Rejection, Rules, Timestamp, UserId, read_as};
/// use serde_json::{Value, json};
///
/// struct Score;
///
/// impl Rules for Score {
///     fn apply(&self, state: &Value, action: &Action<'_>, _: &Actor) -> Result<Value, Rejection> {
///         let points: u64 = match action.kind {
///             "score" => read_as(&action.payload["points"], "points")?,
///             other => return Err(Rejection::new(format!("a score cannot {other}"))),
///         };
///         Ok(json!({ "points": state["points"].as_u64().unwrap_or(0) + points }))
///     }
/// }
///
/// let (ann, payload) = (Actor { id: UserId::new("ann").unwrap(), host: true }, json!({ "points": 2.0 }));
/// let action = Action { kind: "score", payload: &payload, at: Timestamp::from_millis(0), seed: [0; 32] };
/// let applied = Score.decide(&json!({ "points": 40 }), &action, &ann, &NoDocuments).unwrap();
/// assert_eq!(applied.state, json!({ "points": 42 }));
/// assert!(Score.edit(&json!({}), &json!({}), &Actor { host: false, ..ann }).is_err());
/// ```
pub trait Rules: Send + Sync + 'static {
    /// The state that a new document starts with, made from what its creator sent. The default takes it as it is.
    fn create(&self, state: Value, actor: &Actor) -> Result<Value, Rejection> {
        let _ = actor;
        Ok(state)
    }

    /// A state that a document can be created with. The server's front page shows it; the default shows none.
    fn example(&self) -> Option<Value> {
        None
    }

    /// The state after `action`.
    fn apply(&self, state: &Value, action: &Action<'_>, actor: &Actor) -> Result<Value, Rejection>;

    /// The same for rules that look at other documents, or that say what the event tells: this is what the server
    /// calls. The default asks [`apply`](Self::apply).
    fn decide(
        &self,
        state: &Value,
        action: &Action<'_>,
        actor: &Actor,
        documents: &dyn Documents,
    ) -> Result<Applied, Rejection> {
        let _ = documents;
        self.apply(state, action, actor).map(Applied::from)
    }

    /// Whether `actor` may turn `before` into `after` directly, by PUT, PATCH or rollback, past [`apply`](Self::apply).
    /// The default allows it to the host alone.
    fn edit(&self, before: &Value, after: &Value, actor: &Actor) -> Result<(), Rejection> {
        let _ = (before, after);
        host_only(actor)
    }

    /// How the fields of states are merged when a device brings edits that it made while it was away. The default has
    /// no wishes.
    fn merge_rules(&self) -> MergeRules {
        MergeRules::default()
    }

    /// The state that a merge comes to: `merged` was made of `before` and the edits of `actor`. Asked again with its
    /// own answer it gives the same. The default takes it as an [edit](Self::edit).
    fn accept_merge(&self, before: &Value, merged: Value, actor: &Actor) -> Result<Value, Rejection> {
        self.edit(before, &merged, actor)?;
        Ok(merged)
    }

    /// Whom the change from `before` to `after` concerns, and what they are told of it; `before` is null when the
    /// document was not there. Called for each change that is not a deletion, whatever made it. The default tells
    /// nobody.
    fn notices(&self, before: &Value, after: &Value) -> Vec<Notice> {
        let _ = (before, after);
        Vec::new()
    }

    /// Whether `actor` may delete the document. The default allows it to the host alone.
    fn delete(&self, state: &Value, actor: &Actor) -> Result<(), Rejection> {
        let _ = state;
        host_only(actor)
    }
}

fn host_only(actor: &Actor) -> Result<(), Rejection> {
    if actor.host { Ok(()) } else { Err(Rejection::new("only the host may change this directly; send an action")) }
}
