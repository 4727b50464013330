//! Who of the tailnet is let in, as whom, and who administers. Pure.
//!
//! A person is their user id, which stays when the login is changed or given to somebody else. A tagged node belongs to
//! nobody in person: it is its tag, and let in only when the tag is on the list. `whois` knows nodes of other tailnets
//! too, when they are shared; they are not let in unless the configuration says so.

use std::fmt;

use super::node_info::{NodeInfo, without_trailing_dot};
use super::wire::WhoIs;
use crate::base::ids::UserId;

/// The role, among the values of the capability, that makes an administrator.
const ADMIN_ROLE: &str = "admin";
/// Most characters of a name for display.
const DISPLAY_MAX: usize = 200;

/// What the configuration says of who gets in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Who administers besides the node's owner: user ids, and tags as their user ids ([`tag_user`]).
    pub administrators: Vec<UserId>,
    /// The tags whose nodes are let in, as user ids. Those of `administrators` are, too.
    pub tags: Vec<UserId>,
    /// Whether nodes of other tailnets are let in that are shared with this one.
    pub shared_nodes: bool,
    /// The app capability of which a value `{"role": "admin"}` makes an administrator.
    pub capability: Option<String>,
}

/// What the tailnet says of somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TailnetIdentity {
    /// Stable, unlike the login: the user id, or `tag-<name>`.
    pub user: UserId,
    pub login: String,
    /// The machine that they come from.
    pub node: String,
    /// Whether they run this server.
    pub administrator: bool,
    /// Why they are let in, and are an administrator or not; in words.
    pub why: String,
}

impl TailnetIdentity {
    /// Whether this is still who `other` was: the same user with the same rights. What is only displayed may differ.
    pub fn has_same_rights(&self, other: &Self) -> bool {
        (&self.user, self.administrator) == (&other.user, other.administrator)
    }
}

/// Why somebody whom tailscaled knows is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyRefusal {
    /// The key of their node has expired.
    Expired,
    /// Their node is shared with this tailnet, or they are of another one.
    Shared,
    /// Their node has tags, and none of them is let in.
    Tagged(Vec<String>),
    /// tailscaled does not say who they are.
    Nameless,
}

impl fmt::Display for PolicyRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired => f.write_str("the key of your node has expired; sign in to the tailnet again"),
            Self::Shared => f.write_str(
                "your node is of another tailnet and only shared with this one; such nodes are let in when \
                 allow-shared-nodes is set",
            ),
            Self::Tagged(tags) => write!(
                f,
                "your node is tagged ({}), and nodes with these tags are not let in; allowed-tag names those that are",
                tags.join(", ")
            ),
            Self::Nameless => f.write_str("tailscaled does not say whose node this is"),
        }
    }
}

/// The user id that stands for all nodes with a tag; the tag is given with or without its `tag:`. `None` when that is
/// no tag.
pub(crate) fn tag_user(tag: &str) -> Option<UserId> {
    let name = tag.strip_prefix("tag:").unwrap_or(tag);
    let good = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    UserId::new(&format!("tag-{name}")).ok().filter(|_| good && name.starts_with(|c: char| c.is_ascii_alphabetic()))
}

impl Policy {
    /// Says who somebody is, of whom tailscaled told `found`. Error: why they are not let in.
    pub fn authorize(&self, home: &NodeInfo, found: &WhoIs) -> Result<TailnetIdentity, PolicyRefusal> {
        let node = &found.node;
        if node.expired {
            return Err(PolicyRefusal::Expired);
        }
        let shared = is_shared(home, found);
        if shared && !self.shared_nodes {
            return Err(PolicyRefusal::Shared);
        }
        let (user, login) = self.identify(found)?;
        let grant = self.administration(home, found, &user);
        let whose = if node.tags.is_empty() { format!("user {user}") } else { login.clone() };
        let from = if shared { "shared with this tailnet" } else { "of this tailnet" };
        let role = grant.as_deref().unwrap_or("no administrator");
        let why = format!("{whose}, on a node {from}; {role}");
        Ok(TailnetIdentity { user, login, node: node_name(found), administrator: grant.is_some(), why })
    }

    /// User id and login: the person's, or the tag's. Of several tags that are let in it is the one that is named first
    /// in the configuration, those of administrators before others.
    fn identify(&self, found: &WhoIs) -> Result<(UserId, String), PolicyRefusal> {
        let tags = &found.node.tags;
        if !tags.is_empty() {
            let known: Vec<UserId> = tags.iter().filter_map(|tag| tag_user(tag)).collect();
            let user = self.administrators.iter().chain(&self.tags).find(|user| known.contains(user));
            let user = user.ok_or_else(|| PolicyRefusal::Tagged(tags.iter().map(|tag| display(tag)).collect()))?;
            let login = tags.iter().find(|tag| tag_user(tag).as_ref() == Some(user));
            return Ok((user.clone(), login.map(|tag| display(tag)).unwrap_or_default()));
        }
        let profile = &found.user_profile;
        let id = Some(profile.id).filter(|id| *id > 0).and_then(|id| UserId::new(&id.to_string()).ok());
        Ok((id.ok_or(PolicyRefusal::Nameless)?, display(&profile.login_name)))
    }

    /// Why somebody is an administrator, if they are.
    fn administration(&self, home: &NodeInfo, found: &WhoIs, user: &UserId) -> Option<String> {
        if found.node.tags.is_empty() && home.owner == Some(found.user_profile.id) {
            return Some("administrator, as the owner of the server's node".to_owned());
        }
        if self.administrators.contains(user) {
            return Some("administrator, by the server's configuration".to_owned());
        }
        let capability = self.capability.as_ref()?;
        let values = found.cap_map.get(capability)?.as_ref()?;
        let admin = values.iter().any(|value| value.get("role").and_then(|role| role.as_str()) == Some(ADMIN_ROLE));
        admin.then(|| format!("administrator, by the tailnet's grant of {capability}"))
    }
}

/// Whether a node is not of this tailnet. A name tells by its domain; where neither has one, nothing tells.
fn is_shared(home: &NodeInfo, found: &WhoIs) -> bool {
    let name = without_trailing_dot(&found.node.name);
    let domain = name.split_once('.').map_or("", |(_, domain)| domain);
    found.node.sharer != 0 || found.node.hostinfo.sharee_node || domain != home.domain
}

fn node_name(found: &WhoIs) -> String {
    let name = without_trailing_dot(&found.node.name);
    let first = name.split('.').next().unwrap_or_default();
    display(if first.is_empty() { &found.node.stable_id } else { first })
}

/// Text for display, of a length and without characters that could do anything but be displayed.
fn display(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(DISPLAY_MAX).collect()
}
