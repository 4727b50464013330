//! Which rule applies to a request.
//!
//! Rules come in this order, and the first that matches applies:
//!
//! 1. the higher `priority`;
//! 2. the more specific pattern: compared segment by segment from the left, a literal before `*`, and `*` or the end of
//!    the pattern before `**`; where patterns do not differ in that, a rule for one method before a rule for any;
//! 3. the older rule.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashMap;

use super::Limit;
use crate::base::clock::Timestamp;

pub(crate) const PATTERN_LENGTH_MAX: usize = 200;
/// Most segments of a pattern: more than any path of ours has.
pub(crate) const PATTERN_SEGMENTS_MAX: usize = 16;

/// A method that a rule can be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// `GET`, and `HEAD`, which is a GET without its body.
    Get,
    /// `POST`.
    Post,
    /// `PUT`.
    Put,
    /// `PATCH`.
    Patch,
    /// `DELETE`.
    Delete,
}

impl Verb {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Get, Self::Post, Self::Put, Self::Patch, Self::Delete];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// Reads the method of a rule. Error: the rule that it breaks.
    pub fn parse(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|verb| verb.as_str() == text);
        found.ok_or_else(|| "must be GET (which means HEAD too), POST, PUT, PATCH or DELETE, or left out".to_owned())
    }

    /// The method of a request; `None`: one that only rules for any method match.
    pub fn of_request(method: &str) -> Option<Self> {
        if method == "HEAD" { Some(Self::Get) } else { Self::parse(method).ok() }
    }
}

/// A piece of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(Box<str>),
    /// `*`: one segment, whatever it is.
    Any,
    /// `**`: the rest, also if there is none.
    Rest,
}

/// Which paths a rule is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: Box<str>,
    segments: Vec<Segment>,
}

impl Pattern {
    /// Reads one. Error: the rule that it breaks.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > PATTERN_LENGTH_MAX {
            return Err(format!("has at most {PATTERN_LENGTH_MAX} characters"));
        }
        let Some(inner) = text.strip_prefix('/') else { return Err("must begin with '/'".to_owned()) };
        let mut segments = Vec::new();
        for segment in inner.split('/').filter(|_| !inner.is_empty()) {
            if segments.last() == Some(&Segment::Rest) {
                return Err("has something after '**', which stands for the rest of the path".to_owned());
            }
            segments.push(match segment {
                "**" => Segment::Rest,
                "*" => Segment::Any,
                literal => Segment::Literal(check_literal(literal)?.into()),
            });
        }
        if segments.len() > PATTERN_SEGMENTS_MAX {
            return Err(format!("has at most {PATTERN_SEGMENTS_MAX} segments"));
        }
        Ok(Self { text: text.into(), segments })
    }

    /// The text that it was read from.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What the order of patterns goes by: less is more specific. Of two that match the same path, the first difference
    /// is never one of two literals.
    fn specificity(&self) -> Vec<u8> {
        const END: u8 = 2;
        let of = |segment: &Segment| match segment {
            Segment::Literal(_) => 0,
            Segment::Any => 1,
            Segment::Rest => 3,
        };
        self.segments.iter().map(of).chain([END]).collect()
    }
}

fn check_literal(segment: &str) -> Result<&str, String> {
    if segment.is_empty() {
        return Err("has an empty segment".to_owned());
    }
    if segment.contains('*') {
        return Err("has '*' within a segment; it stands for a whole one".to_owned());
    }
    if segment.contains(['{', '}']) {
        return Err("has braces; '*' stands for one segment".to_owned());
    }
    let plain = segment.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'%' | b'\\' | b'"'));
    if plain { Ok(segment) } else { Err("has characters that no path of this server has".to_owned()) }
}

/// A limit for some requests of everybody; each has a bucket of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Names it in paths.
    pub id: Box<str>,
    /// Names it to people; unique.
    pub name: Box<str>,
    /// Which paths it is for.
    pub pattern: Pattern,
    /// Which method; `None`: any.
    pub method: Option<Verb>,
    /// Higher comes first.
    pub priority: i32,
    /// The limit.
    pub limit: Limit,
    /// LimitCounts the rules in the order in which they were made.
    pub number: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Rule {
    /// The order of rules: see the head of this file.
    pub fn precedence(&self, other: &Self) -> Ordering {
        let specificity = |rule: &Self| (rule.pattern.specificity(), rule.method.is_none());
        let by_priority = other.priority.cmp(&self.priority);
        by_priority.then_with(|| specificity(self).cmp(&specificity(other))).then(self.number.cmp(&other.number))
    }
}

/// Rules in their order, and the way to the first that matches, whose cost hardly grows with their number.
#[derive(Debug, Default)]
pub(crate) struct RuleSet {
    rules: Vec<Rule>,
    /// The first is the root.
    nodes: Vec<PatternNode>,
}

/// A place in the tree of all patterns.
#[derive(Debug, Default)]
struct PatternNode {
    literals: HashMap<Box<str>, usize>,
    any: Option<usize>,
    /// The rules that end here, and those whose `**` begins here, as places in the order.
    ends: Vec<usize>,
    rests: Vec<usize>,
}

impl RuleSet {
    /// Puts rules in order.
    pub(crate) fn new(mut rules: Vec<Rule>) -> Self {
        rules.sort_by(Rule::precedence);
        let mut nodes = vec![PatternNode::default()];
        for (place, rule) in rules.iter().enumerate() {
            enter(&mut nodes, place, &rule.pattern);
        }
        Self { rules, nodes }
    }

    /// All of them, the first of which that matches applies.
    pub(crate) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The place of the rule that applies to a request. `path` is as it was sent, without the query.
    pub(crate) fn find(&self, verb: Option<Verb>, path: &str) -> Option<usize> {
        if self.rules.is_empty() {
            return None;
        }
        let path = path.strip_prefix('/')?;
        let mut best = usize::MAX;
        self.find_best(0, (!path.is_empty()).then_some(path), verb, &mut best);
        Some(best).filter(|best| *best != usize::MAX)
    }

    /// Looks at all patterns that go through `node` and match `rest`; `None` is the end of the path. As deep as the
    /// longest pattern.
    fn find_best(&self, node: usize, rest: Option<&str>, verb: Option<Verb>, best: &mut usize) {
        let Some(node) = self.nodes.get(node) else { return };
        self.update_best(&node.rests, verb, best);
        let Some(rest) = rest else { return self.update_best(&node.ends, verb, best) };
        let (segment, rest) = rest.split_once('/').map_or((rest, None), |(segment, rest)| (segment, Some(rest)));
        if let Some(next) = node.literals.get(&*decoded(segment)) {
            self.find_best(*next, rest, verb, best);
        }
        if let Some(next) = node.any.filter(|_| !segment.is_empty()) {
            self.find_best(next, rest, verb, best);
        }
    }

    fn update_best(&self, places: &[usize], verb: Option<Verb>, best: &mut usize) {
        let fits = |place: &&usize| self.rules.get(**place).is_some_and(|r| r.method.is_none() || r.method == verb);
        if let Some(place) = places.iter().find(fits) {
            *best = (*best).min(*place);
        }
    }
}

fn enter(nodes: &mut Vec<PatternNode>, place: usize, pattern: &Pattern) {
    let mut at = 0;
    for segment in &pattern.segments {
        let fresh = nodes.len();
        let Some(node) = nodes.get_mut(at) else { return };
        at = match segment {
            Segment::Literal(text) => *node.literals.entry(text.clone()).or_insert(fresh),
            Segment::Any => *node.any.get_or_insert(fresh),
            Segment::Rest => return node.rests.push(place),
        };
        if at == fresh {
            nodes.push(PatternNode::default());
        }
    }
    if let Some(node) = nodes.get_mut(at) {
        node.ends.push(place);
    }
}

/// A segment of a path without its percent-encoding: the routes undo it too, so a rule must not be evaded by it. What
/// is not encoded as it should be stays as it is.
fn decoded(segment: &str) -> Cow<'_, str> {
    if !segment.contains('%') {
        return segment.into();
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
        match byte {
            b'%' => match (digit(), digit()) {
                (Some(high), Some(low)) => bytes.push(u8::try_from(high * 16 + low).unwrap_or(b'%')),
                _ => return segment.into(),
            },
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).map_or(segment.into(), Into::into)
}
