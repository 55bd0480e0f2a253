//! Whom a rule means: conditions made ready once, when a route is put in force, and tried on each
//! request.
//!
//! A condition on what is not there does not hold, whatever it compares with, but for `exists:
//! false`; with `not` it then holds. Headers, units, roles and names are texts: compared with a
//! number they count as one if they read as one. A context's values are of the kind they are given
//! in: `"3"` is not 3.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use domain::Role;
use domain::targeting::{Audience, Condition, Context, Range};
use serde_json::Value;

/// A request, as conditions see it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Who<'a> {
    pub(crate) unit: Option<&'a str>,
    pub(crate) role: Role,
    /// The caller's name.
    pub(crate) caller: &'a str,
    pub(crate) context: &'a Context,
}

/// Conditions of which all have to hold.
#[derive(Debug, Default)]
pub(crate) struct Tests(Vec<Test>);

/// What a condition looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Field {
    Unit,
    Role,
    Caller,
    Context(String),
    /// By its lower-case name.
    Header(String),
}

/// One condition.
#[derive(Debug)]
struct Test {
    kind: Kind,
    not: bool,
}

#[derive(Debug)]
enum Kind {
    Compared(Field, Comparison),
    Member(Arc<Members>),
    /// A condition that makes no sense, which no route that was checked has.
    Never,
}

#[derive(Debug)]
enum Comparison {
    OneOf(Values),
    Range { min: f64, max: f64 },
    Prefix(String),
    Exists(bool),
}

/// Values to compare with, by kind.
#[derive(Debug, Default)]
struct Values {
    texts: HashSet<String>,
    /// Few, or the engineer would use a range.
    numbers: Vec<f64>,
    truths: Vec<bool>,
}

/// Who belongs to an audience.
#[derive(Debug, Default)]
pub(crate) struct Members {
    units: HashSet<String>,
    tests: Tests,
}

/// What is found in a field.
enum Seen<'a> {
    /// A text that may mean a number.
    Loose(&'a str),
    Text(&'a str),
    Number(f64),
    Truth(bool),
}

impl Field {
    /// `unit`, `role`, `caller`, `context.<key>` or `header.<name>`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "unit" => Some(Self::Unit),
            "role" => Some(Self::Role),
            "caller" => Some(Self::Caller),
            _ => match text.split_once('.')? {
                (_, "") => None,
                ("context", key) => Some(Self::Context(key.to_owned())),
                ("header", name) => Some(Self::Header(name.to_ascii_lowercase())),
                _ => None,
            },
        }
    }

    fn of<'a>(&self, who: &Who<'a>) -> Option<Seen<'a>> {
        match self {
            Self::Unit => who.unit.map(Seen::Loose),
            Self::Role => Some(Seen::Text(who.role.as_str())),
            Self::Caller => Some(Seen::Text(who.caller)),
            Self::Header(name) => who.context.headers.get(name).map(|text| Seen::Loose(text)),
            Self::Context(key) => match who.context.fields.get(key)? {
                Value::String(text) => Some(Seen::Text(text)),
                Value::Bool(truth) => Some(Seen::Truth(*truth)),
                Value::Number(number) => number.as_f64().map(Seen::Number),
                _ => None,
            },
        }
    }
}

impl Seen<'_> {
    fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Loose(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
            Self::Text(_) | Self::Truth(_) => None,
        }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Loose(text) => Some(text),
            Self::Number(_) | Self::Truth(_) => None,
        }
    }
}

impl Tests {
    pub(crate) fn new(when: &[Condition], audiences: &BTreeMap<String, Arc<Members>>) -> Self {
        Self(when.iter().map(|condition| Test::new(condition, audiences)).collect())
    }

    /// Whether all of them hold.
    pub(crate) fn hold(&self, who: &Who<'_>) -> bool {
        self.0.iter().all(|test| test.holds(who))
    }

    /// The place of the first that does not hold.
    pub(crate) fn first_that_fails(&self, who: &Who<'_>) -> Option<usize> {
        self.0.iter().position(|test| !test.holds(who))
    }
}

impl Members {
    /// The audiences of a route, by name.
    pub(crate) fn all(audiences: &BTreeMap<String, Audience>) -> BTreeMap<String, Arc<Self>> {
        let none = BTreeMap::new();
        let ready = |(name, audience): (&String, &Audience)| {
            let units = audience.units.iter().cloned().collect();
            let members = Self { units, tests: Tests::new(&audience.when, &none) };
            (name.clone(), Arc::new(members))
        };
        audiences.iter().map(ready).collect()
    }

    fn has(&self, who: &Who<'_>) -> bool {
        who.unit.is_some_and(|unit| self.units.contains(unit))
            || (!self.tests.0.is_empty() && self.tests.hold(who))
    }
}

impl Test {
    fn new(condition: &Condition, audiences: &BTreeMap<String, Arc<Members>>) -> Self {
        let members = condition.audience.as_ref().and_then(|name| audiences.get(name));
        let kind = match (members, Field::parse(&condition.field), comparison(condition)) {
            (Some(members), ..) => Kind::Member(Arc::clone(members)),
            (None, Some(field), Some(comparison)) => Kind::Compared(field, comparison),
            _ => Kind::Never,
        };
        Self { kind, not: condition.not }
    }

    fn holds(&self, who: &Who<'_>) -> bool {
        let holds = match &self.kind {
            Kind::Never => return false,
            Kind::Member(members) => members.has(who),
            Kind::Compared(field, comparison) => match (field.of(who), comparison) {
                (found, Comparison::Exists(wanted)) => found.is_some() == *wanted,
                (None, _) => false,
                (Some(seen), Comparison::OneOf(values)) => values.have(&seen),
                (Some(seen), Comparison::Range { min, max }) => {
                    seen.number().is_some_and(|number| *min <= number && number < *max)
                }
                (Some(seen), Comparison::Prefix(prefix)) => {
                    seen.text().is_some_and(|text| text.starts_with(prefix.as_str()))
                }
            },
        };
        holds != self.not
    }
}

fn comparison(condition: &Condition) -> Option<Comparison> {
    if let Some(value) = &condition.equals {
        return Some(Comparison::OneOf(Values::new(std::slice::from_ref(value))));
    }
    if let Some(values) = &condition.one_of {
        return Some(Comparison::OneOf(Values::new(values)));
    }
    if let Some(range) = condition.range {
        let (min, max) = (range.min, range.max);
        let min = min.unwrap_or(f64::NEG_INFINITY);
        return Some(Comparison::Range { min, max: max.unwrap_or(f64::INFINITY) });
    }
    if let Some(prefix) = &condition.prefix {
        return Some(Comparison::Prefix(prefix.clone()));
    }
    condition.exists.map(Comparison::Exists)
}

impl Values {
    fn new(values: &[Value]) -> Self {
        let mut all = Self::default();
        for value in values {
            match value {
                Value::String(text) => drop(all.texts.insert(text.clone())),
                Value::Bool(truth) => all.truths.push(*truth),
                Value::Number(number) => all.numbers.extend(number.as_f64()),
                _ => {}
            }
        }
        all
    }

    fn have(&self, seen: &Seen<'_>) -> bool {
        match seen {
            Seen::Text(text) => self.texts.contains(*text),
            Seen::Truth(truth) => self.truths.contains(truth),
            Seen::Number(number) => self.numbers.contains(number),
            Seen::Loose(text) => {
                self.texts.contains(*text)
                    || (!self.numbers.is_empty()
                        && seen.number().is_some_and(|number| self.numbers.contains(&number)))
            }
        }
    }
}

/// A condition in words, after "asks that", for who asks why.
pub(crate) fn in_words(condition: &Condition) -> String {
    let Condition { field, .. } = condition;
    let words = match condition {
        Condition { audience: Some(name), .. } => format!("it is in the audience `{name}`"),
        Condition { equals: Some(value), .. } => format!("`{field}` is {value}"),
        Condition { one_of: Some(values), .. } => {
            format!("`{field}` is one of {} values", values.len())
        }
        Condition { range: Some(Range { min, max }), .. } => match (min, max) {
            (Some(min), Some(max)) => format!("`{field}` is {min} or more and below {max}"),
            (Some(min), None) => format!("`{field}` is {min} or more"),
            (None, Some(max)) => format!("`{field}` is below {max}"),
            (None, None) => format!("`{field}` is a number"),
        },
        Condition { prefix: Some(prefix), .. } => format!("`{field}` begins with `{prefix}`"),
        Condition { exists: Some(false), .. } => format!("`{field}` is not there"),
        _ => format!("`{field}` is there"),
    };
    if condition.not { format!("not: {words}") } else { words }
}

#[cfg(test)]
mod tests;
