//! The file `rejoin.toml`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::ArgMatches;

use super::suggestions::hint;
use super::{CONFIG_VARIABLE, ConfigError, Inputs, flags};
use crate::base::options::{OptionSpec, Shape};

/// The values of a configuration file, checked against the options' names and shapes.
#[derive(Default)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) values: BTreeMap<&'static str, Vec<String>>,
    pub(super) client_flags: flags::ClientFlags,
    /// What is wrong in it, by key; the values of the rest are above.
    pub(super) faults: Vec<ConfigError>,
}

pub(super) fn find_file(matches: &ArgMatches, inputs: &Inputs<'_>, specs: &[OptionSpec]) -> Result<File, ConfigError> {
    // An empty one names no file, as everywhere: `--config "$FILE"` of a script that may leave it out.
    let flag = matches.get_one::<String>("config").filter(|name| !name.is_empty()).map(PathBuf::from);
    let named = flag.or_else(|| (inputs.variable)(CONFIG_VARIABLE).filter(|name| !name.is_empty()).map(PathBuf::from));
    let path = named.as_deref().unwrap_or(inputs.file);
    match std::fs::read_to_string(path) {
        Ok(text) => read_file(&path.display().to_string(), &text, specs),
        Err(e) if named.is_none() && e.kind() == std::io::ErrorKind::NotFound => Ok(File::default()),
        Err(e) => Err(ConfigError::new(format!("{}: cannot be read: {e}", path.display()))),
    }
}

fn read_file(name: &str, text: &str, specs: &[OptionSpec]) -> Result<File, ConfigError> {
    let table: toml::Table = text.parse().map_err(|e: toml::de::Error| {
        let before = e.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        // The library names its own type of integers here.
        let too_large = e.message().contains("invalid type: integer");
        let message = if too_large { "the number is too large" } else { e.message() };
        ConfigError::new(format!("{name}: line {line}: {}", message.replace('\n', " ")))
    })?;
    let mut file = File { name: name.to_owned(), ..File::default() };
    for (key, value) in flatten(table) {
        if let Err(why) = file.read_entry(&key, value, specs) {
            file.faults.push(ConfigError::new(format!("{name}: {why}")));
        }
    }
    Ok(file)
}

impl File {
    /// Error: in words, without the name of the file.
    fn read_entry(&mut self, key: &str, value: toml::Value, specs: &[OptionSpec]) -> Result<(), String> {
        if let Some(spec) = specs.iter().find(|spec| spec.name == key) {
            let texts = texts(spec.shape, value).map_err(|why| format!("{key}: {why}"))?;
            self.values.insert(spec.name, texts);
            return Ok(());
        }
        if !key.starts_with(flags::TABLE) {
            let unknown = if value.is_table() { unknown_section(key) } else { unknown_option(key, specs) };
            return Err(unknown.to_string());
        }
        let (flag, value) = flags::of_file(key, &value, specs)?;
        self.client_flags.insert(flag, (value, format!("{}: {key}", self.name)));
        Ok(())
    }
}

/// The keys of the file, those of the table `flags` with its name and a dot before.
fn flatten(table: toml::Table) -> Vec<(String, toml::Value)> {
    let mut flat = Vec::with_capacity(table.len());
    for (key, value) in table {
        match value {
            toml::Value::Table(inner) if key == flags::SECTION => {
                flat.extend(inner.into_iter().map(|(name, value)| (format!("{key}.{name}"), value)));
            }
            value => flat.push((key, value)),
        }
    }
    flat
}

fn unknown_section(key: &str) -> ConfigError {
    let hint = match hint("", key, std::iter::once(flags::SECTION)) {
        none if none.is_empty() => "; options stand at the top of the file, before all sections".to_owned(),
        hint => hint,
    };
    ConfigError::new(format!("there is no section '{}'{hint}", key.escape_debug()))
}

pub(super) fn unknown_option(key: &str, specs: &[OptionSpec]) -> ConfigError {
    let hint = hint("", key, specs.iter().map(|spec| spec.name));
    ConfigError::new(format!("there is no option '{}'{hint}", key.escape_debug()))
}

/// The texts of a value, as a flag would carry them.
fn texts(shape: Shape, value: toml::Value) -> Result<Vec<String>, &'static str> {
    match (shape, value) {
        (Shape::Number | Shape::Decimal, toml::Value::Integer(number)) => Ok(vec![number.to_string()]),
        (Shape::Decimal, toml::Value::Float(number)) => Ok(vec![number.to_string()]),
        (Shape::Number, toml::Value::Float(number)) if number.fract() == 0.0 => Ok(vec![format!("{number:.0}")]),
        (Shape::Boolean, toml::Value::Boolean(value)) => Ok(vec![value.to_string()]),
        (Shape::Text | Shape::List, toml::Value::String(text)) => Ok(vec![text]),
        (Shape::List, toml::Value::Table(members)) => {
            let member = |(name, value)| match value {
                toml::Value::String(text) => Ok(format!("{name}={text}")),
                _ => Err("must hold strings"),
            };
            members.into_iter().map(member).collect()
        }
        (Shape::List, toml::Value::Array(items)) => {
            let item = |item| if let toml::Value::String(text) = item { Ok(text) } else { Err("must hold strings") };
            items.into_iter().map(item).collect()
        }
        (Shape::Number, _) => Err("must be a whole number"),
        (Shape::Boolean, _) => Err("must be true or false"),
        (Shape::Decimal, _) => Err("must be a number"),
        (Shape::Text, _) => Err("must be a string"),
        (Shape::List, _) => Err("must be a list of strings"),
    }
}
