//! A kept answer, made the answer of another request: with its own id, and said to be kept.

use std::fmt;

use bytes::Bytes;
use contracts::inference::{Answered, Protocol};
use contracts::{Framed, Wire as _};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::key::Keyed;

/// An object's fields as they came: in order, values untouched, a name given twice still seen.
#[derive(Debug)]
pub(super) struct Fields<'a>(pub(super) Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'a> Fields<'a> {
    fn set(&mut self, name: &str, value: &'a RawValue) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }
}

/// The answer to this request, from what was kept of the answer to another one. `None` if what was
/// kept is no answer.
pub(super) fn open(kept: Bytes, keyed: &Keyed) -> Option<Framed<Answered>> {
    let Framed { mut meta, body } = Framed::<Answered>::from_wire(kept).ok()?;
    meta.compute_us = 0;
    let id = to_raw_value(&keyed.task.prediction_id).ok()?;
    let yes = to_raw_value(&true).ok()?;
    let mut fields: Fields<'_> = serde_json::from_slice(&body).ok()?;
    let written = match keyed.task.protocol {
        Protocol::Natural => {
            fields.get("prediction_id")?;
            fields.set("prediction_id", &id);
            fields.set("cached", &yes);
            if keyed.task.degraded {
                fields.set("degraded", &yes);
            }
            serde_json::to_vec(&fields)
        }
        Protocol::V2 { .. } => {
            let mut parameters: Fields<'_> =
                serde_json::from_str(fields.get("parameters")?.get()).ok()?;
            parameters.get("prediction_id")?;
            parameters.set("prediction_id", &id);
            parameters.set("cached", &yes);
            if keyed.task.degraded {
                parameters.set("degraded", &yes);
            }
            let parameters = to_raw_value(&parameters).ok()?;
            let echo = keyed.echo.clone().map(RawValue::from_string).transpose().ok()?;
            fields.set("parameters", &parameters);
            match &echo {
                Some(echo) => fields.set("id", echo),
                None => fields.0.retain(|(name, _)| name != "id"),
            }
            serde_json::to_vec(&fields)
        }
    };
    Some(Framed { meta, body: Bytes::from(written.ok()?) })
}
