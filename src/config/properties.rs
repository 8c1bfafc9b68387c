//! `[kafka.properties]`: what librdkafka is told, by names that it knows and we do not list.

use std::collections::BTreeMap;
use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{RawConfig, Wrong, value};
use crate::transport::kafka::settings::{Hidden, Value, refusal};

/// What the name of such a key begins with.
pub const PREFIX: &str = "kafka.properties.";

const TAKES: &str = "takes a string, a number, true/false, { file = \"PATH\" } or { env = \"NAME\" }";

/// The environment; debugging output does not show it.
#[derive(Clone, Default)]
pub struct Variables(BTreeMap<String, String>);

impl Variables {
    pub fn insert(&mut self, name: String, value: String) {
        self.0.insert(name, value);
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub fn overlay(&mut self, over: Variables) {
        self.0.extend(over.0);
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// The property that the variable `LWT_` + `name` sets: `KAFKA_PROPERTIES_SASL_PASSWORD` is `sasl.password`.
pub fn of_variable(name: &str) -> Option<String> {
    Some(name.strip_prefix("KAFKA_PROPERTIES_")?.to_lowercase().replace('_', "."))
}

/// A value that is not to be shown.
pub fn secret(value: String) -> Value {
    Value::Secret(Hidden(value))
}

/// What a command line says: a value, or where to find it as in a file.
///
/// # Errors
/// A table that says something else.
pub fn typed(text: &str) -> Result<Value, String> {
    if !text.starts_with('{') {
        return Ok(Value::Plain(Hidden(text.into())));
    }
    // Its own words would show the text.
    let value = DeValue::parse(text).map_err(|_| TAKES.to_string())?;
    of_toml(value.get_ref()).ok_or_else(|| TAKES.to_string())
}

fn of_toml(content: &DeValue<'_>) -> Option<Value> {
    let DeValue::Table(table) = content else {
        return value::as_typed(content).map(|text| Value::Plain(Hidden(text)));
    };
    let (name, place) = table.iter().next().filter(|_| table.len() == 1)?;
    match (name.get_ref().as_ref(), place.get_ref()) {
        ("file", DeValue::String(path)) => Some(Value::File(path.as_ref().into())),
        ("env", DeValue::String(name)) => Some(Value::Variable(name.to_string())),
        _ => None,
    }
}

/// Whether it may say where to find a value; else its keys are parts of a longer name:
/// `security.protocol = "SSL"` without quotes is a table of tables.
fn is_place(table: &DeTable<'_>) -> bool {
    table.keys().any(|key| matches!(key.get_ref().as_ref(), "file" | "env"))
}

/// The properties that `content` says, each with its place in the text and, if it has one, its value.
fn flatten(
    name: &str,
    content: &Spanned<DeValue<'_>>,
    at: usize,
    out: &mut Vec<(String, usize, Option<Value>)>,
) {
    match content.get_ref() {
        DeValue::Table(table) if name.is_empty() || !is_place(table) => {
            for (key, content) in table {
                let dot = if name.is_empty() { "" } else { "." };
                flatten(&format!("{name}{dot}{}", key.get_ref()), content, key.span().start, out);
            }
        }
        content => out.push((name.to_string(), at, of_toml(content))),
    }
}

impl RawConfig {
    /// Sets one property, or says what is wrong with it.
    pub(super) fn set_property(
        &mut self,
        name: &str,
        value: Result<Value, String>,
        place: &str,
    ) -> Result<(), Wrong> {
        let wrong = |what| Wrong { place: place.to_string(), what: format!("{PREFIX}{name}: {what}") };
        let value = value.map_err(wrong)?;
        let known = match &value {
            Value::Plain(Hidden(text)) => Some(text.as_str()),
            // Whatever is wrong with these is said when they are used: it might show them.
            Value::Secret(_) | Value::File(_) | Value::Variable(_) => None,
        };
        if let Some(what) = refusal(name, known) {
            return Err(wrong(what));
        }
        self.properties.insert(name.to_string(), (value, place.to_string()));
        Ok(())
    }

    /// Sets what `[kafka.properties]` says; gives what is wrong with it.
    pub(super) fn set_properties(
        &mut self,
        content: &Spanned<DeValue<'_>>,
        at: impl Fn(usize) -> String,
    ) -> Vec<Wrong> {
        let start = content.span().start;
        if content.get_ref().as_table().is_none() {
            return vec![Wrong { place: at(start), what: "kafka.properties is a table".into() }];
        }
        let mut said = vec![];
        flatten("", content, start, &mut said);
        let set = |(name, start, value): (String, usize, Option<Value>)| {
            self.set_property(&name, value.ok_or_else(|| TAKES.to_string()), &at(start)).err()
        };
        said.into_iter().filter_map(set).collect()
    }

    /// The properties, with what the environment has for them.
    pub(super) fn resolved(&self) -> BTreeMap<String, Value> {
        let resolve = |value: &Value| match value {
            Value::Variable(name) => {
                self.variables.get(name).map_or_else(|| value.clone(), |v| secret(v.into()))
            }
            value => value.clone(),
        };
        self.properties.iter().map(|(name, (value, _))| (name.clone(), resolve(value))).collect()
    }
}
