//! What tailscaled answers, as far as it is read here. Pure.
//!
//! Its own encoder leaves out most members that are zero, and writes `null` for lists that are not there yet; so every
//! member may be missing or null. One of the wrong type is an error: what cannot be understood lets nobody in.

use std::collections::HashMap;
use std::net::IpAddr;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// `status?peers=false`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TailscaleStatus {
    /// Whether tailnet traffic goes through an interface of the kernel. False: tailscaled makes connections of its own,
    /// from this machine's loopback address, for those that come from the tailnet.
    #[serde(rename = "TUN")]
    pub tun: Option<bool>,
    /// `Running` when all is well.
    #[serde(deserialize_with = "null_is_default")]
    pub backend_state: String,
    #[serde(rename = "TailscaleIPs", deserialize_with = "null_is_default")]
    pub tailscale_ips: Vec<IpAddr>,
    #[serde(rename = "Self", deserialize_with = "null_is_default")]
    pub own: OwnNode,
    /// The tailnet that it is in.
    #[serde(deserialize_with = "null_is_default")]
    pub current_tailnet: CurrentTailnet,
}

/// The node that tailscaled is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct OwnNode {
    /// Its name with domain, and a dot at the end.
    #[serde(rename = "DNSName", deserialize_with = "null_is_default")]
    pub dns_name: String,
    /// Whose it is; of a tagged node a user that stands for all of those.
    #[serde(rename = "UserID", deserialize_with = "null_is_default")]
    pub user_id: i64,
    #[serde(deserialize_with = "null_is_default")]
    pub tags: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CurrentTailnet {
    /// The domain of its nodes' names.
    #[serde(rename = "MagicDNSSuffix", deserialize_with = "null_is_default")]
    pub magic_dns_suffix: String,
}

/// `whois`: who has an address, or is behind a connection.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct WhoIs {
    #[serde(deserialize_with = "null_is_default")]
    pub node: Node,
    #[serde(deserialize_with = "null_is_default")]
    pub user_profile: UserProfile,
    /// What the tailnet's policy grants it here: values by the capability's name.
    #[serde(deserialize_with = "null_is_default")]
    pub cap_map: HashMap<String, Option<Vec<Value>>>,
}

/// A machine of the tailnet, or one that is shared with it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Node {
    #[serde(rename = "StableID", deserialize_with = "null_is_default")]
    pub stable_id: String,
    /// With domain, and a dot at the end.
    #[serde(deserialize_with = "null_is_default")]
    pub name: String,
    /// Who shares it into this tailnet; 0: nobody.
    #[serde(deserialize_with = "null_is_default")]
    pub sharer: i64,
    /// A tagged node is its tags', and nobody's in person.
    #[serde(deserialize_with = "null_is_default")]
    pub tags: Vec<String>,
    /// What it tells of itself.
    #[serde(deserialize_with = "null_is_default")]
    pub hostinfo: HostInfo,
    /// Whether its key has expired.
    #[serde(deserialize_with = "null_is_default")]
    pub expired: bool,
}

/// See [`Node::hostinfo`].
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HostInfo {
    /// Whether it is only known because a node of this tailnet is shared with its user.
    #[serde(deserialize_with = "null_is_default")]
    pub sharee_node: bool,
}

/// A person, as the tailnet knows them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct UserProfile {
    #[serde(rename = "ID", deserialize_with = "null_is_default")]
    pub id: i64,
    /// For display: it can be changed, and given to somebody else.
    #[serde(deserialize_with = "null_is_default")]
    pub login_name: String,
}

/// `null` is what a missing member is.
fn null_is_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}
