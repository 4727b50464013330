//! Which documents a list has: `where`.

use std::cmp::Ordering;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::QueriedDocument;
use super::path::Path;
use crate::base::limits::{QUERY_DEPTH_MAX, QUERY_TESTS_MAX, WHERE_LENGTH_MAX};
use crate::document::json::{self, check_text_depth};

/// The operators, as they are written.
const OPERATORS: &str = "eq, ne, lt, lte, gt, gte, in, contains, exists";

/// A condition on a document, as it is read from the JSON text of `where`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Filter {
    All(Vec<Filter>),
    Any(Vec<Filter>),
    /// What stands at the path passes the test.
    Value(Path, Test),
}

/// A test of what stands at a path, which may be nothing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Test {
    Equal(Value),
    /// Passed by nothing, too.
    NotEqual(Value),
    /// Of two numbers or two texts. Values of different types are in no order.
    Ordered(Comparison, Value),
    In(Vec<Value>),
    /// A text that has this one in it, or an array with an element equal to it.
    Contains(Value),
    Exists(bool),
}

/// How a value lies to another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl TryFrom<String> for Filter {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.len() > WHERE_LENGTH_MAX {
            return Err(format!("must not be longer than {WHERE_LENGTH_MAX} bytes"));
        }
        check_text_depth(text.as_bytes(), QUERY_DEPTH_MAX)
            .map_err(|_| format!("must not be nested deeper than {QUERY_DEPTH_MAX}"))?;
        let form = "must be a JSON object, such as {\"status\":\"active\",\"hitPoints.current\":{\"lt\":10}}";
        let Ok(Value::Object(members)) = serde_json::from_str(&text) else { return Err(form.to_owned()) };
        let mut tests = 0;
        Self::of_members(members, &mut tests)
    }
}

impl Filter {
    /// Whether it lets a document through.
    pub(crate) fn matches(&self, document: &QueriedDocument<'_>) -> bool {
        match self {
            Self::All(filters) => filters.iter().all(|filter| filter.matches(document)),
            Self::Any(filters) => filters.iter().any(|filter| filter.matches(document)),
            Self::Value(path, test) => test.passes(document.find(path).as_deref()),
        }
    }

    /// The paths that it looks at.
    pub(crate) fn paths(&self) -> Vec<&Path> {
        match self {
            Self::All(filters) | Self::Any(filters) => filters.iter().flat_map(Self::paths).collect(),
            Self::Value(path, _) => vec![path],
        }
    }

    /// All of the members of an object. `tests` counts what is compared.
    fn of_members(members: Map<String, Value>, tests: &mut usize) -> Result<Self, String> {
        let mut all = Vec::with_capacity(members.len());
        for (name, value) in members {
            match name.as_str() {
                "and" => all.push(Self::All(Self::of_list(&name, value, tests)?)),
                "or" => all.push(Self::Any(Self::of_list(&name, value, tests)?)),
                path => {
                    let path: Path = path.parse()?;
                    for test in Test::list(&name, value)? {
                        *tests += 1;
                        all.push(Self::Value(path.clone(), test));
                    }
                }
            }
            if *tests > QUERY_TESTS_MAX {
                return Err(format!("must not compare more than {QUERY_TESTS_MAX} times"));
            }
        }
        Ok(Self::All(all))
    }

    fn of_list(name: &str, value: Value, tests: &mut usize) -> Result<Vec<Self>, String> {
        let form = || format!("has {name:?}, which must be a list of at least one object");
        let Value::Array(items) = value else { return Err(form()) };
        if items.is_empty() {
            return Err(form());
        }
        let read = |item| match item {
            Value::Object(members) => Self::of_members(members, tests),
            _ => Err(form()),
        };
        items.into_iter().map(read).collect()
    }
}

impl Test {
    /// The tests of what stands at `path`: those of an object by operator, else that it is this.
    fn list(path: &str, value: Value) -> Result<Vec<Self>, String> {
        let Value::Object(operators) = value else { return Ok(vec![Self::Equal(value)]) };
        if operators.is_empty() {
            return Err(format!("has no operator for {path:?}; there are {OPERATORS}"));
        }
        operators.into_iter().map(|(operator, operand)| Self::new(path, &operator, operand)).collect()
    }

    fn new(path: &str, operator: &str, operand: Value) -> Result<Self, String> {
        let wants = |what: &str| Err(format!("must have {what} for {operator:?} of {path:?}"));
        let ordered = |comparison| match operand {
            Value::Number(_) | Value::String(_) => Ok(Self::Ordered(comparison, operand.clone())),
            _ => wants("a number or a text"),
        };
        match operator {
            "eq" => Ok(Self::Equal(operand)),
            "ne" => Ok(Self::NotEqual(operand)),
            "lt" => ordered(Comparison::Less),
            "lte" => ordered(Comparison::LessOrEqual),
            "gt" => ordered(Comparison::Greater),
            "gte" => ordered(Comparison::GreaterOrEqual),
            "in" => match operand {
                Value::Array(values) => Ok(Self::In(values)),
                _ => wants("a list"),
            },
            "contains" => Ok(Self::Contains(operand)),
            "exists" => operand.as_bool().map_or_else(|| wants("true or false"), |exists| Ok(Self::Exists(exists))),
            _ => Err(format!("has {operator:?} for {path:?}, which is no operator; there are {OPERATORS}")),
        }
    }

    fn passes(&self, found: Option<&Value>) -> bool {
        let Some(found) = found else { return matches!(self, Self::NotEqual(_) | Self::Exists(false)) };
        match self {
            Self::Equal(operand) => json::equal(found, operand),
            Self::NotEqual(operand) => !json::equal(found, operand),
            Self::Ordered(comparison, operand) => order(found, operand).is_some_and(|order| comparison.holds(order)),
            Self::In(operands) => operands.iter().any(|operand| json::equal(found, operand)),
            Self::Contains(operand) => match (found, operand) {
                (Value::String(text), Value::String(part)) => text.contains(part.as_str()),
                (Value::Array(items), _) => items.iter().any(|item| json::equal(item, operand)),
                _ => false,
            },
            Self::Exists(exists) => *exists,
        }
    }
}

impl Comparison {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}

/// The order of two numbers, by value, or of two texts, by their code points.
fn order(one: &Value, other: &Value) -> Option<Ordering> {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => Some(json::compare_numbers(one, other)),
        // The order of UTF-8 bytes is that of code points.
        (Value::String(one), Value::String(other)) => Some(one.cmp(other)),
        _ => None,
    }
}
