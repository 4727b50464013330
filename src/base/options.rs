//! What a configurable value is: one definition gives its flag, variable, key in the file, default, bounds, help and
//! the typed field that holds it. Knows neither the command line nor the file; `config` reads those.
//!
//! [`option_set!`](option_set) turns definitions into a struct; [`FeatureOptions`] holds the structs of features
//! whose types only they know.

use std::any::Any;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What a value looks like in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A whole number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A number with or without a fraction.
    Decimal,
    /// A string.
    Text,
    /// A list of strings; as a flag: repeated; as a variable: with commas between.
    List,
}

/// What is known of an option without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OptionSpec {
    /// The key of the file and, with `--` before, the flag. A dot stands for a table of the file.
    pub name: &'static str,
    /// What the help calls the value, such as `SECONDS`.
    pub value_name: &'static str,
    /// One sentence without its full stop.
    pub help: String,
    /// What its values look like.
    pub shape: Shape,
    /// The default as texts; none when the option is unset by default.
    pub default: Vec<String>,
    /// The bounds of a number, such as `1 to 300`, when it has any worth telling.
    pub range: Option<String>,
}

impl OptionSpec {
    /// The environment variable.
    pub(crate) fn variable(&self) -> String {
        let name = self.name.replace("flags.", "ff-");
        format!("REJOIN_{}", name.to_ascii_uppercase().replace('-', "_"))
    }
}

type Parse<T> = Box<dyn Fn(&[String]) -> Result<T, String>>;
type Format<T> = Box<dyn Fn(&T) -> Vec<String>>;
type SetField<S> = Box<dyn Fn(&mut S, &[String]) -> Result<(), String>>;
type CheckOption<T> = Box<dyn Fn(&T) -> Result<(), String>>;

/// How text becomes a value of type `T`, a value text, and which values are accepted.
pub(crate) struct ValueType<T> {
    shape: Shape,
    parse: Parse<T>,
    format: Format<T>,
    check: CheckOption<T>,
    range: Option<String>,
}

impl<T: 'static> ValueType<T> {
    /// A kind that accepts every value that `parse` gives.
    pub(crate) fn new(
        shape: Shape,
        parse: impl Fn(&[String]) -> Result<T, String> + 'static,
        format: impl Fn(&T) -> Vec<String> + 'static,
    ) -> Self {
        Self { shape, parse: Box::new(parse), format: Box::new(format), check: Box::new(|_| Ok(())), range: None }
    }

    /// Adds a check of the value, wherever it comes from. Error: the end of a sentence that begins with the name.
    pub(crate) fn checked(self, check: impl Fn(&T) -> Result<(), String> + 'static) -> Self {
        Self { check: Box::new(check), ..self }
    }

    /// Adds the bounds of a number for the help; [`checked`](Self::checked) holds the value to them.
    pub(crate) fn ranged(self, least: impl fmt::Display, most: impl fmt::Display) -> Self {
        Self { range: Some(format!("{least} to {most}")), ..self }
    }

    /// The same for a value that may be left unset.
    pub(crate) fn optional(self) -> ValueType<Option<T>> {
        let Self { shape, parse, format, check, range } = self;
        ValueType {
            shape,
            parse: Box::new(move |values| parse(values).map(Some)),
            format: Box::new(move |value| value.as_ref().map_or_else(Vec::new, &format)),
            check: Box::new(move |value| value.as_ref().map_or(Ok(()), &check)),
            range,
        }
    }
}

/// Whole numbers that options are made of.
pub(crate) trait Whole: Copy + FromStr + ToString + 'static {
    fn to_u64(self) -> u64;
}

impl Whole for u32 {
    fn to_u64(self) -> u64 {
        self.into()
    }
}

impl Whole for u64 {
    fn to_u64(self) -> u64 {
        self
    }
}

impl Whole for usize {
    fn to_u64(self) -> u64 {
        u64::try_from(self).unwrap_or(u64::MAX)
    }
}

/// A whole number from `least` to `most`.
pub(crate) fn whole<T: Whole>(least: u64, most: u64) -> ValueType<T> {
    let parse = move |values: &[String]| parse_whole(values, least, most);
    let kind = ValueType::new(Shape::Number, parse, |value: &T| vec![value.to_string()]);
    within(kind, least, most).checked(move |value| check_range(value.to_u64(), least, most))
}

/// The length of so many days.
pub(crate) fn days(count: u32) -> Duration {
    Duration::from_secs(u64::from(count) * 24 * 3600)
}

/// A duration of whole seconds.
pub(crate) fn seconds(least: u64, most: u64) -> ValueType<Duration> {
    let parse = move |values: &[String]| parse_whole(values, least, most).map(Duration::from_secs);
    let kind = ValueType::new(Shape::Number, parse, |value: &Duration| vec![value.as_secs().to_string()]);
    within(kind, least, most).checked(move |value| {
        if value.subsec_nanos() != 0 {
            return Err(format!("{value:?} is not a whole number of seconds"));
        }
        check_range(value.as_secs(), least, most)
    })
}

/// A duration of whole milliseconds.
pub(crate) fn milliseconds(least: u64, most: u64) -> ValueType<Duration> {
    let parse = move |values: &[String]| parse_whole(values, least, most).map(Duration::from_millis);
    let kind = ValueType::new(Shape::Number, parse, |value: &Duration| vec![value.as_millis().to_string()]);
    within(kind, least, most).checked(move |value| {
        if !value.subsec_nanos().is_multiple_of(1_000_000) {
            return Err(format!("{value:?} is not a whole number of milliseconds"));
        }
        check_range(u64::try_from(value.as_millis()).unwrap_or(u64::MAX), least, most)
    })
}

/// Tells the bounds of a number that has an upper one.
fn within<T: 'static>(kind: ValueType<T>, least: u64, most: u64) -> ValueType<T> {
    if most == u64::MAX { kind } else { kind.ranged(least, most) }
}

/// `true` or `false`.
pub(crate) fn boolean() -> ValueType<bool> {
    let parse = |values: &[String]| {
        let text = one(values)?;
        text.parse().map_err(|_| format!("'{text}' is neither true nor false"))
    };
    ValueType::new(Shape::Boolean, parse, |value: &bool| vec![value.to_string()])
}

/// One of the names that `T` has.
pub(crate) fn named<T: FromStr<Err = String> + Copy + 'static>(name: fn(T) -> &'static str) -> ValueType<T> {
    ValueType::new(Shape::Text, |values| one(values)?.parse(), move |value: &T| vec![name(*value).to_owned()])
}

/// The only one of the values.
pub(crate) fn one(values: &[String]) -> Result<&str, String> {
    match values {
        [value] => Ok(value),
        _ => Err("takes one value".to_owned()),
    }
}

fn parse_whole<T: FromStr>(values: &[String], least: u64, most: u64) -> Result<T, String> {
    let text = one(values)?;
    text.parse().map_err(|_| {
        let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
        let is_whole = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
        let why = match (is_whole, sign) {
            (false, _) => "not a whole number",
            (true, 1) => "too large",
            (true, _) => "too small",
        };
        format!("'{text}' is {why}; it must be {}", range(least, most))
    })
}

fn range(least: u64, most: u64) -> String {
    if most == u64::MAX { format!("at least {least}") } else { format!("{least} to {most}") }
}

/// Whether `value` is from `least` to `most`. Error: the end of a sentence that begins with the option's name.
pub(crate) fn check_range(value: u64, least: u64, most: u64) -> Result<(), String> {
    if value < least {
        return Err(format!("{value} is too small; it must be {}", range(least, most)));
    }
    if value > most {
        return Err(format!("{value} is too large; it must be {}", range(least, most)));
    }
    Ok(())
}

/// An option that is a field of `S`.
pub(crate) struct OptionRow<S> {
    pub(crate) spec: OptionSpec,
    set: SetField<S>,
    get: Format<S>,
    check: CheckOption<S>,
}

/// Where a value is in its set.
pub(crate) struct Field<S, T> {
    pub(crate) get: fn(&S) -> &T,
    pub(crate) get_mut: fn(&mut S) -> &mut T,
}

impl<S: OptionSet> OptionRow<S> {
    /// `help` is the field's documentation, a line each. What [`option_set!`](option_set) calls.
    pub(crate) fn new<T: 'static>(
        name: &'static str,
        value_name: &'static str,
        help: &[&str],
        kind: ValueType<T>,
        field: Field<S, T>,
    ) -> Self {
        let ValueType { shape, parse, format, check, range } = kind;
        let Field { get, get_mut } = field;
        let help: Vec<&str> = help.iter().map(|line| line.trim()).collect();
        let default = format(get(&S::default()));
        Self {
            spec: OptionSpec { name, value_name, help: help.join(" "), shape, default, range },
            set: Box::new(move |set, values| {
                *get_mut(set) = parse(values)?;
                Ok(())
            }),
            get: Box::new(move |set| format(get(set))),
            check: Box::new(move |set| check(get(set))),
        }
    }
}

/// Why the value of an option is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OptionError {
    pub name: &'static str,
    /// The end of a sentence that begins with the name.
    pub why: String,
}

/// A struct whose fields are options, made by [`option_set!`](option_set).
pub(crate) trait OptionSet: Any + Clone + Default + PartialEq + fmt::Debug + Send + Sync {
    /// The options, in the order in which the help shows them.
    fn rows() -> Vec<OptionRow<Self>>;

    /// Checks values against each other, after each by itself.
    fn check_relations(&self) -> Result<(), OptionError>;
}

/// An [`OptionSet`] whose type is not known.
pub(crate) trait AnyOptionSet: Any + fmt::Debug + Send + Sync {
    fn specs(&self) -> Vec<OptionSpec>;
    /// Sets an option; none: the set has no option of this name. Only the text is checked, the value by
    /// [`check`](Self::check).
    fn set(&mut self, name: &str, values: &[String]) -> Option<Result<(), String>>;
    /// The values of all options, in the order of [`specs`](Self::specs).
    fn texts(&self) -> Vec<Vec<String>>;
    fn check(&self) -> Result<(), OptionError>;
    /// Checks one value by itself; none: the set has no option of this name.
    fn check_option(&self, name: &str) -> Option<Result<(), String>>;
    fn clone_boxed(&self) -> Box<dyn AnyOptionSet>;
    fn is_equal(&self, other: &dyn AnyOptionSet) -> bool;
}

impl<S: OptionSet> AnyOptionSet for S {
    fn specs(&self) -> Vec<OptionSpec> {
        S::rows().into_iter().map(|row| row.spec).collect()
    }

    fn set(&mut self, name: &str, values: &[String]) -> Option<Result<(), String>> {
        S::rows().into_iter().find(|row| row.spec.name == name).map(|row| (row.set)(self, values))
    }

    fn texts(&self) -> Vec<Vec<String>> {
        S::rows().iter().map(|row| (row.get)(self)).collect()
    }

    fn check(&self) -> Result<(), OptionError> {
        for row in S::rows() {
            (row.check)(self).map_err(|why| OptionError { name: row.spec.name, why })?;
        }
        self.check_relations()
    }

    fn check_option(&self, name: &str) -> Option<Result<(), String>> {
        S::rows().into_iter().find(|row| row.spec.name == name).map(|row| (row.check)(self))
    }

    fn clone_boxed(&self) -> Box<dyn AnyOptionSet> {
        Box::new(self.clone())
    }

    fn is_equal(&self, other: &dyn AnyOptionSet) -> bool {
        (other as &dyn Any).downcast_ref::<S>().is_some_and(|other| other == self)
    }
}

/// The options of features, each set known by its type alone. [`Config::set`](crate::Config::set) reaches them by name.
#[derive(Debug, Default)]
pub struct FeatureOptions(Vec<Box<dyn AnyOptionSet>>);

impl FeatureOptions {
    /// Adds a set, or replaces the one of the same type.
    pub(crate) fn insert(&mut self, set: Box<dyn AnyOptionSet>) {
        match self.0.iter_mut().find(|other| (***other).type_id() == (*set).type_id()) {
            Some(other) => *other = set,
            None => self.0.push(set),
        }
    }

    /// The set of this type; its defaults when there is none.
    pub(crate) fn get<S: OptionSet>(&self) -> S {
        let sets = self.0.iter().map(|set| &**set as &dyn Any);
        sets.filter_map(|set| set.downcast_ref::<S>()).next().cloned().unwrap_or_default()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &dyn AnyOptionSet> {
        self.0.iter().map(|set| &**set)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Box<dyn AnyOptionSet>> {
        self.0.iter_mut()
    }
}

impl FromIterator<Box<dyn AnyOptionSet>> for FeatureOptions {
    fn from_iter<I: IntoIterator<Item = Box<dyn AnyOptionSet>>>(sets: I) -> Self {
        let mut all = Self::default();
        sets.into_iter().for_each(|set| all.insert(set));
        all
    }
}

impl Clone for FeatureOptions {
    fn clone(&self) -> Self {
        Self(self.0.iter().map(|set| set.clone_boxed()).collect())
    }
}

impl PartialEq for FeatureOptions {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(|(one, two)| one.is_equal(&**two))
    }
}

impl Eq for FeatureOptions {}

/// Defines options: a struct with a field each, its defaults and its [`OptionSet`]. The documentation of a field is the
/// option's help; before the field stand the option's name and what the help calls the value, after it its default and
/// its kind. Fields that are no options follow under `other`.
macro_rules! option_set {
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $set:ident {
            $(
                $(#[doc = $help:literal])+
                $name:literal $value_name:literal $field:ident: $type:ty = $default:expr, $kind:expr;
            )+
        }
        $(other {
            $(
                $(#[$other_attribute:meta])*
                $other_visibility:vis $other:ident: $other_type:ty = $other_default:expr;
            )+
        })?
        $(check $check:path;)?
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        $visibility struct $set {
            $( $(#[doc = $help])+ pub $field: $type, )+
            $($( $(#[$other_attribute])* $other_visibility $other: $other_type, )+)?
        }

        impl Default for $set {
            fn default() -> Self {
                Self { $( $field: $default, )+ $($( $other: $other_default, )+)? }
            }
        }

        impl $crate::base::options::OptionSet for $set {
            fn rows() -> Vec<$crate::base::options::OptionRow<Self>> {
                use $crate::base::options::{Field, OptionRow};
                vec![$(
                    OptionRow::new(
                        $name,
                        $value_name,
                        &[$($help),+],
                        $kind,
                        Field { get: |set: &Self| &set.$field, get_mut: |set: &mut Self| &mut set.$field },
                    ),
                )+]
            }

            fn check_relations(&self) -> Result<(), $crate::base::options::OptionError> {
                $( $check(self)?; )?
                Ok(())
            }
        }
    };
}

pub(crate) use option_set;
