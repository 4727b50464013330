//! Who may read, write and delete a document besides its host.

use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use super::visibility::{OWNER, Viewer};
use crate::base::ids::UserId;
use crate::base::limits::ACCESS_USERS_MAX;

/// Who else than the host, who always may.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub enum Grant {
    /// The text `"all"`: everyone who gets in.
    All,
    /// The text `"host"`: nobody else.
    Host,
    /// These users; at most [`ACCESS_USERS_MAX`].
    Users(Vec<UserId>),
}

impl Grant {
    /// Whether it includes `viewer`, who is not the host.
    fn includes(&self, viewer: &Viewer) -> bool {
        match self {
            Self::All => true,
            Self::Host => false,
            Self::Users(users) => viewer.user().is_some_and(|id| users.contains(id)),
        }
    }
}

impl Serialize for Grant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => serializer.serialize_str("all"),
            Self::Host => serializer.serialize_str("host"),
            Self::Users(users) => users.serialize(serializer),
        }
    }
}

impl TryFrom<Value> for Grant {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let forms = || "must be \"all\", \"host\" or a list of user ids".to_owned();
        match value {
            Value::String(text) if text == "all" => Ok(Self::All),
            Value::String(text) if text == "host" => Ok(Self::Host),
            Value::Array(users) if users.len() > ACCESS_USERS_MAX => {
                Err(format!("must not name more than {ACCESS_USERS_MAX} users"))
            }
            Value::Array(users) => serde_json::from_value(Value::Array(users)).map(Self::Users).map_err(|_| forms()),
            _ => Err(forms()),
        }
    }
}

/// Who may do what with a document besides its host. Whoever may not read it cannot do anything else with it either,
/// and does not learn that it is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", try_from = "Map<String, Value>")]
pub struct Access {
    /// Left out: `"all"`.
    pub read: Grant,
    /// Left out: `"all"`.
    pub write: Grant,
    /// Left out: `"host"`. A player does not see all that a deletion takes away.
    pub delete: Grant,
}

impl Default for Access {
    fn default() -> Self {
        Self { read: Grant::All, write: Grant::All, delete: Grant::Host }
    }
}

impl Access {
    /// Whether `viewer`, who is not the host, may read.
    pub(super) fn lets_read(&self, viewer: &Viewer) -> bool {
        self.read.includes(viewer)
    }

    /// Whether `viewer`, who is not the host, may write.
    pub(super) fn lets_write(&self, viewer: &Viewer) -> bool {
        self.lets_read(viewer) && self.write.includes(viewer)
    }

    /// Whether `viewer`, who is not the host, may delete.
    pub(super) fn lets_delete(&self, viewer: &Viewer) -> bool {
        self.lets_read(viewer) && self.delete.includes(viewer)
    }

    /// Takes out of `members` those that are left out or null by default. Error: names the member that does not fit.
    fn take(members: &mut Map<String, Value>) -> Result<Self, String> {
        let mut grant = |name: &str, default: Grant| match members.remove(name).filter(|value| !value.is_null()) {
            None => Ok(default),
            Some(value) => Grant::try_from(value).map_err(|wrong| format!("{name} {wrong}")),
        };
        let Self { read, write, delete } = Self::default();
        Ok(Self { read: grant("read", read)?, write: grant("write", write)?, delete: grant("delete", delete)? })
    }
}

/// By way of an object: a derived struct would also be read from an array, in the order of its members.
impl TryFrom<Map<String, Value>> for Access {
    type Error = String;

    fn try_from(mut members: Map<String, Value>) -> Result<Self, String> {
        let access = Self::take(&mut members)?;
        match members.keys().next() {
            None => Ok(access),
            Some(_) => Err("has a member that is not known here; taken: read, write, delete".to_owned()),
        }
    }
}

/// Who hosts a document, and who may do what with it: as an event records it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", try_from = "Map<String, Value>")]
pub struct HostedAccess {
    /// See [`Meta::host`](super::model::Meta::host).
    #[serde(serialize_with = "write_host")]
    pub host: Option<UserId>,
    #[serde(flatten)]
    pub access: Access,
}

impl TryFrom<Map<String, Value>> for HostedAccess {
    type Error = String;

    fn try_from(mut members: Map<String, Value>) -> Result<Self, String> {
        let host = members.remove("host").ok_or("host is missing")?;
        let host: UserId = serde_json::from_value(host).map_err(|_| "host must be a user id".to_owned())?;
        Ok(Self { host: named_host(host), access: Access::try_from(members)? })
    }
}

/// The host of whom others say `id`.
pub(crate) fn named_host(id: UserId) -> Option<UserId> {
    Viewer::member(id).as_host()
}

/// What others call the host.
pub(crate) fn host_name(host: Option<&UserId>) -> &str {
    host.map_or(OWNER, UserId::as_str)
}

#[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
fn write_host<S: Serializer>(host: &Option<UserId>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(host_name(host.as_ref()))
}
