//! The query of a request's target.

use std::collections::BTreeMap;
use std::fmt;

use axum::extract::FromRequestParts;
use http::request::Parts;
use serde::Deserializer;
use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer, Visitor};
use serde_json::{Value, json};

use crate::base::error::{Error, FieldError, Result, both};
use crate::base::limits::FIELD_ERRORS_MAX;
use crate::document::input::{self, InvalidValue};
use crate::http::error::HttpError;

/// The extractor of a query as a `T`, whose fields are text, numbers, booleans, options and, for what may be repeated,
/// lists of these. `T` should deny unknown fields. Error: `Invalid`, naming the parameter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, HttpError> {
        Ok(Self(parse(parts.uri.query().unwrap_or_default())?))
    }
}

/// Reads `query` (without `?`) as a `T`. Error: `Invalid`, naming each parameter that does not fit.
pub(crate) fn parse<T: DeserializeOwned>(query: &str) -> Result<T> {
    let (mut parameters, mut undecoded) = (Parameters::new(), Vec::new());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let invalid = |field: &str, detail: &str| FieldError { field: field.to_owned(), detail: detail.to_owned() };
        let Some(name) = decode(name) else {
            undecoded.push(invalid("query", "has a name that is not encoded UTF-8"));
            continue;
        };
        let value = decode(value).unwrap_or_else(|| {
            undecoded.push(invalid(&name, "is not percent-encoded UTF-8"));
            // It is wrong, and not missing.
            value.to_owned()
        });
        parameters.entry(name).or_default().push(value);
    }
    undecoded.truncate(FIELD_ERRORS_MAX);
    let decoded = if undecoded.is_empty() { Ok(()) } else { Err(Error::invalid_fields(undecoded)) };
    both(decoded, read(&parameters).map_err(|_| every_error::<T>(parameters))).map(|((), read)| read)
}

type Parameters = BTreeMap<String, Vec<String>>;

fn read<T: DeserializeOwned>(parameters: &Parameters) -> Result<T, InvalidValue> {
    let parameters = parameters.iter().map(|(name, values)| (name.as_str(), ParameterValues(values.clone())));
    serde_path_to_error::deserialize(MapDeserializer::<_, QueryError>::new(parameters))
        .map_err(|error| InvalidValue::new(error.path(), &error.inner().0))
}

/// What does not fit in a query that was not read as a `T`.
fn every_error<T: DeserializeOwned>(parameters: Parameters) -> Error {
    let length =
        parameters.iter().map(|(name, values)| name.len() + values.iter().map(String::len).sum::<usize>()).sum();
    let placeholders = ["0", "a", "true"].map(|value| json!([value]));
    input::collect(json!(parameters), length, "", &placeholders, |tree| read::<T>(&parameters_of(tree)).map(drop))
        .unwrap_or_else(|| Error::internal("a query is read and not read"))
}

/// The parameters that a tree has, whose placeholders are lists also where they take the place of one value of several.
fn parameters_of(tree: &Value) -> Parameters {
    let texts = |value: &Value| match value {
        Value::Array(items) => items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect(),
        Value::String(text) => vec![text.clone()],
        _ => Vec::new(),
    };
    let values = |value: &Value| value.as_array().into_iter().flatten().flat_map(texts).collect::<Vec<_>>();
    let members = tree.as_object().into_iter().flatten();
    members.map(|(name, value)| (name.clone(), values(value))).filter(|(_, values)| !values.is_empty()).collect()
}

/// Undoes percent-encoding, with `+` for a space. `None` when a `%` is not followed by two digits, or when the outcome
/// is not UTF-8.
pub(crate) fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [char::from(rest.next()?).to_digit(16)?, char::from(rest.next()?).to_digit(16)?];
                u8::try_from(digits.into_iter().fold(0, |value, digit| value * 16 + digit)).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

/// What does not fit, in words that a caller is told, or that `input` knows.
#[derive(Debug)]
struct QueryError(String);

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for QueryError {}

impl serde::de::Error for QueryError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// All values that a parameter was given, at least one.
struct ParameterValues(Vec<String>);

impl ParameterValues {
    /// The value of a parameter that is given once.
    fn single(mut self) -> Result<String, QueryError> {
        match (self.0.pop(), self.0.is_empty()) {
            (Some(value), true) => Ok(value),
            _ => Err(QueryError("is given more than once".to_owned())),
        }
    }
}

impl<'de> IntoDeserializer<'de, QueryError> for ParameterValues {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! parsed {
    ($($method:ident $visit:ident $type:ty: $rule:literal,)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, QueryError> {
            let value: $type = self.single()?.parse().map_err(|_| QueryError($rule.to_owned()))?;
            visitor.$visit(value)
        }
    )*};
}

impl<'de> Deserializer<'de> for ParameterValues {
    type Error = QueryError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, QueryError> {
        visitor.visit_string(self.single()?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, QueryError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, QueryError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, QueryError> {
        let values = self.0.into_iter().map(|value| Self(vec![value]));
        SeqDeserializer::new(values).deserialize_seq(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, QueryError> {
        let value = IntoDeserializer::<QueryError>::into_deserializer(self.single()?);
        value.deserialize_enum(name, variants, visitor)
    }

    parsed! {
        deserialize_bool visit_bool bool: "must be true or false",
        deserialize_u8 visit_u8 u8: "must be a small whole number, not negative",
        deserialize_u16 visit_u16 u16: "must be a whole number, not negative",
        deserialize_u32 visit_u32 u32: "must be a whole number, not negative",
        deserialize_u64 visit_u64 u64: "must be a whole number, not negative",
        deserialize_i32 visit_i32 i32: "must be a whole number",
        deserialize_i64 visit_i64 i64: "must be a whole number",
        deserialize_f64 visit_f64 f64: "must be a number",
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i128 u128 f32 char str string bytes byte_buf unit unit_struct tuple tuple_struct map struct identifier
        ignored_any
    }
}

#[cfg(test)]
#[path = "query_tests.rs"]
mod tests;
