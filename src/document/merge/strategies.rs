//! How a collection wants its fields merged.

use std::borrow::Cow;

use crate::document::patch;

/// How a place that both sides changed is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// The device's value.
    Local,
    /// The server's value.
    Server,
    /// The later time.
    Timestamp,
    /// The most recent value that is not null.
    Status,
    /// The sum of both changes.
    Counter,
    /// All elements of both sides, also those that one removed.
    Union,
    /// A person decides.
    Manual,
}

impl Strategy {
    /// The strategy that a configuration names.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "local" => Self::Local,
            "server" => Self::Server,
            "timestamp" => Self::Timestamp,
            "status" => Self::Status,
            "counter" => Self::Counter,
            "union" => Self::Union,
            "manual" => Self::Manual,
            _ => return None,
        })
    }
}

/// A JSON Pointer in which `*` stands for any member or element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PathPattern(Vec<String>);

impl PathPattern {
    /// Reads a pattern. `None`: it does not begin with `/`.
    pub(crate) fn new(text: &str) -> Option<Self> {
        text.starts_with('/').then(|| Self(patch::tokens(text).into_iter().map(Cow::into_owned).collect()))
    }

    /// Whether it matches something below `path`.
    fn is_below(&self, path: &[Cow<'_, str>]) -> bool {
        self.0.len() > path.len() && self.0.iter().zip(path).all(|(own, token)| own == "*" || own == token)
    }

    fn matches(&self, path: &[Cow<'_, str>]) -> bool {
        self.0.len() == path.len() && self.0.iter().zip(path).all(|(own, token)| own == "*" || own == token)
    }
}

/// How a collection wants its fields merged.
///
/// ```
/// use rejoin::{MergeRules, Strategy};
///
/// let rules = MergeRules::default()
///     .with_strategy("/score", Strategy::Counter)
///     .with_strategy("/players/*/seenAt", Strategy::Timestamp)
///     .with_id_member("/players", "playerId")
///     .with_unit(&["turn", "round"]);
/// # let _ = rules;
/// ```
#[derive(Clone, Debug, Default)]
pub struct MergeRules {
    /// The first that matches a path counts.
    pub(crate) strategies: Vec<(PathPattern, Strategy)>,
    /// Which member names the elements of an array, beside `id`, `_id` and `key`.
    pub(crate) id_members: Vec<(PathPattern, String)>,
    /// Members of the state that hold together: when both sides changed some of a unit, the server's hold.
    pub(crate) units: Vec<Vec<String>>,
}

impl MergeRules {
    /// The same with a strategy for the paths of a pattern, after those that are there.
    #[must_use]
    pub fn with_strategy(mut self, pattern: &str, strategy: Strategy) -> Self {
        self.strategies.extend(PathPattern::new(pattern).map(|pattern| (pattern, strategy)));
        self
    }

    /// The same with a member that names the elements of the arrays at a pattern.
    #[must_use]
    pub fn with_id_member(mut self, pattern: &str, member: &str) -> Self {
        self.id_members.extend(PathPattern::new(pattern).map(|pattern| (pattern, member.to_owned())));
        self
    }

    /// The same with members of the state that hold together.
    #[must_use]
    pub fn with_unit(mut self, members: &[&str]) -> Self {
        self.units.push(members.iter().map(|member| (*member).to_owned()).collect());
        self
    }

    /// Both, of which these come first.
    #[must_use]
    pub(crate) fn before(mut self, mut others: Self) -> Self {
        self.strategies.append(&mut others.strategies);
        self.id_members.append(&mut others.id_members);
        self.units.append(&mut others.units);
        self
    }

    pub(super) fn strategy(&self, path: &str) -> Option<Strategy> {
        if self.strategies.is_empty() {
            return None;
        }
        let path = patch::tokens(path);
        self.strategies.iter().find(|(pattern, _)| pattern.matches(&path)).map(|(_, strategy)| *strategy)
    }

    /// Whether changes of something below `path` add up.
    pub(super) fn counts_below(&self, path: &str) -> bool {
        let counters = || self.strategies.iter().filter(|(_, strategy)| *strategy == Strategy::Counter);
        let path = if self.strategies.is_empty() { Vec::new() } else { patch::tokens(path) };
        counters().any(|(pattern, _)| pattern.is_below(&path))
    }

    pub(super) fn id_member(&self, path: &str) -> Option<&str> {
        if self.id_members.is_empty() {
            return None;
        }
        let path = patch::tokens(path);
        self.id_members.iter().find(|(pattern, _)| pattern.matches(&path)).map(|(_, member)| member.as_str())
    }
}
