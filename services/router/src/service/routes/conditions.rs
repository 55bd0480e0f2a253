//! Conditions of rules, audiences and experiments, checked before they are put in force.

use std::collections::BTreeMap;

use contracts::Faults;
use domain::Role;
use domain::targeting::{Audience, Condition, Range, is_routing_header};
use serde_json::Value;

use crate::settings::RouteSettings;
use crate::targeting::Field;

/// What conditions are checked against.
pub(in crate::service) struct Conditions<'a> {
    pub(in crate::service) limits: &'a RouteSettings,
    /// The route's; `None` where none may be named.
    pub(in crate::service) audiences: Option<&'a BTreeMap<String, Audience>>,
}

impl Conditions<'_> {
    /// Adds what is wrong with these conditions, which are at `pointer`.
    pub(in crate::service) fn check(&self, when: &[Condition], pointer: &str, faults: &mut Faults) {
        let most = self.limits.max_conditions;
        if when.len() > most {
            let detail = format!(
                "must hold at most {most} conditions (`router.routes.max_conditions`), got {}",
                when.len()
            );
            return faults.add(pointer, detail);
        }
        for (index, condition) in when.iter().enumerate() {
            self.check_one(condition, &format!("{pointer}/{index}"), faults);
        }
    }

    fn check_one(&self, condition: &Condition, pointer: &str, faults: &mut Faults) {
        let comparisons = [
            condition.equals.is_some(),
            condition.one_of.is_some(),
            condition.range.is_some(),
            condition.prefix.is_some(),
            condition.exists.is_some(),
            condition.audience.is_some(),
        ];
        let given = comparisons.into_iter().filter(|given| *given).count();
        if given != 1 {
            let detail = format!(
                "must hold one of `equals`, `in`, `range`, `prefix`, `exists` and `audience`, got {given} of them"
            );
            faults.add(pointer, detail);
        }
        match &condition.audience {
            Some(name) => self.check_audience(name, &condition.field, pointer, faults),
            None => check_field(&condition.field, pointer, faults),
        }
        if let Some(value) = &condition.equals {
            self.check_value(value, &condition.field, &format!("{pointer}/equals"), faults);
        }
        if let Some(values) = &condition.one_of {
            self.check_values(values, &condition.field, &format!("{pointer}/in"), faults);
        }
        if let Some(range) = condition.range {
            check_range(range, &format!("{pointer}/range"), faults);
        }
        if let Some(prefix) = &condition.prefix {
            self.check_text(prefix, &format!("{pointer}/prefix"), faults);
        }
    }

    fn check_audience(&self, name: &str, field: &str, pointer: &str, faults: &mut Faults) {
        let place = format!("{pointer}/audience");
        match self.audiences {
            None => faults.add(place, "cannot be asked for here: give its conditions instead"),
            Some(known) if !known.contains_key(name) => {
                let known: Vec<_> = known.keys().map(|name| format!("`{name}`")).collect();
                let known =
                    if known.is_empty() { "it has none".to_owned() } else { known.join(", ") };
                let name = name.escape_debug();
                faults.add(
                    place,
                    format!("must be an audience of this route ({known}), got `{name}`"),
                );
            }
            Some(_) => {}
        }
        if !field.is_empty() {
            faults.add(format!("{pointer}/field"), "cannot stand beside `audience`: leave it out");
        }
    }

    fn check_values(&self, values: &[Value], field: &str, pointer: &str, faults: &mut Faults) {
        let most = self.limits.max_values;
        if values.is_empty() || values.len() > most {
            let detail = format!(
                "must hold 1 to {most} values (`router.routes.max_values`), got {}: for many units, use an audience",
                values.len()
            );
            return faults.add(pointer, detail);
        }
        for (index, value) in values.iter().enumerate() {
            self.check_value(value, field, &format!("{pointer}/{index}"), faults);
        }
    }

    fn check_value(&self, value: &Value, field: &str, pointer: &str, faults: &mut Faults) {
        match value {
            Value::String(text) if field == "role" && Role::parse(text).is_none() => {
                let text = text.escape_debug();
                let detail =
                    format!("must be `admin`, `engineer`, `analyst` or `client`, got `{text}`");
                faults.add(pointer, detail);
            }
            Value::String(text) => self.check_text(text, pointer, faults),
            Value::Number(_) | Value::Bool(_) => {}
            Value::Null | Value::Array(_) | Value::Object(_) => {
                faults.add(pointer, "must be a text, a number, `true` or `false`");
            }
        }
    }

    fn check_text(&self, text: &str, pointer: &str, faults: &mut Faults) {
        let most = self.limits.max_text_bytes;
        if text.is_empty() || text.len() > most {
            let detail = format!(
                "must have 1 to {most} bytes (`router.routes.max_text_bytes`), got {}",
                text.len()
            );
            faults.add(pointer, detail);
        }
    }
}

fn check_field(field: &str, pointer: &str, faults: &mut Faults) {
    let place = format!("{pointer}/field");
    let shown = field.chars().take(100).collect::<String>();
    let shown = shown.escape_debug();
    match Field::parse(field) {
        None => {
            let detail = format!(
                "must be `unit`, `role`, `caller`, `context.<key>` or `header.<name>`, got `{shown}`"
            );
            faults.add(place, detail);
        }
        Some(Field::Header(name)) if !is_routing_header(&name) => {
            let detail = format!(
                "`{shown}` is never looked at: a rule may ask for `user-agent`, `accept-language` and `x-...` that carry no secret and are not made by proxies"
            );
            faults.add(place, detail);
        }
        Some(_) => {}
    }
}

fn check_range(range: Range, pointer: &str, faults: &mut Faults) {
    let Range { min, max } = range;
    if min.is_none() && max.is_none() {
        return faults.add(pointer, "must hold `min`, `max` or both");
    }
    if let (Some(min), Some(max)) = (min, max)
        && min >= max
    {
        let detail =
            format!("holds no number: `min` is {min:e} and `max`, which is not in it, {max:e}");
        faults.add(pointer, detail);
    }
}

/// Adds what is wrong with the name of a rule or an audience.
pub(super) fn check_name(name: &str, pointer: &str, faults: &mut Faults) {
    let fits = (1..=64).contains(&name.len())
        && name.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-'));
    if !fits {
        let shown: String = name.chars().take(100).collect();
        let detail = format!(
            "must have a name of 1 to 64 characters of `A-Z a-z 0-9 . _ -`, got `{}`",
            shown.escape_debug()
        );
        faults.add(pointer, detail);
    }
}
