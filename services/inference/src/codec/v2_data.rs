//! Values of a V2 tensor in JSON: flat or nested, of any datatype.

use std::fmt;

use domain::manifest::Datatype;
use half::f16;
use models::Values;
use models::onnx::datatype_name;
use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde_json::value::RawValue;

/// Reads the values; the text says what is wrong.
pub(super) fn read(datatype: Datatype, data: &RawValue) -> Result<Values, String> {
    Ok(match datatype {
        Datatype::Bool => Values::Bool(flat(data, boolean)?),
        Datatype::Uint8 => Values::Uint8(flat(data, |value| whole(value, Datatype::Uint8))?),
        Datatype::Uint16 => Values::Uint16(flat(data, |value| whole(value, Datatype::Uint16))?),
        Datatype::Uint32 => Values::Uint32(flat(data, |value| whole(value, Datatype::Uint32))?),
        Datatype::Uint64 => Values::Uint64(flat(data, |value| whole(value, Datatype::Uint64))?),
        Datatype::Int8 => Values::Int8(flat(data, |value| whole(value, Datatype::Int8))?),
        Datatype::Int16 => Values::Int16(flat(data, |value| whole(value, Datatype::Int16))?),
        Datatype::Int32 => Values::Int32(flat(data, |value| whole(value, Datatype::Int32))?),
        Datatype::Int64 => Values::Int64(flat(data, |value| whole(value, Datatype::Int64))?),
        Datatype::Fp16 => Values::Fp16(flat(data, half)?),
        Datatype::Fp32 => Values::Fp32(flat(data, single)?),
        Datatype::Fp64 => Values::Fp64(flat(data, double)?),
        Datatype::Bytes => Values::Bytes(flat(data, text)?),
    })
}

/// One JSON value that is no list.
enum Scalar<'a> {
    Null,
    Boolean(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(&'a str),
}

impl fmt::Display for Scalar<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Boolean(value) => value.fmt(f),
            Self::Signed(value) => value.fmt(f),
            Self::Unsigned(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Text(text) => {
                let short: String = text.chars().take(40).collect();
                write!(f, "\"{short}\"")
            }
        }
    }
}

fn not_a(datatype: Datatype, value: &Scalar<'_>) -> String {
    format!("must hold values of `{}`, got `{value}`", datatype_name(datatype))
}

fn boolean(value: Scalar<'_>) -> Result<bool, String> {
    match value {
        Scalar::Boolean(value) => Ok(value),
        Scalar::Unsigned(0) => Ok(false),
        Scalar::Unsigned(1) => Ok(true),
        other => Err(not_a(Datatype::Bool, &other)),
    }
}

fn whole<T: TryFrom<i64> + TryFrom<u64>>(
    value: Scalar<'_>,
    datatype: Datatype,
) -> Result<T, String> {
    let fits = match &value {
        Scalar::Signed(value) => T::try_from(*value).ok(),
        Scalar::Unsigned(value) => T::try_from(*value).ok(),
        // 3.0 is a whole number, too; JSON writers differ. Within 2^53 a float holds it exactly.
        Scalar::Float(value) if value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0 => {
            #[expect(clippy::cast_possible_truncation, reason = "within 2^53, without a fraction")]
            let whole = *value as i64;
            T::try_from(whole).ok()
        }
        _ => None,
    };
    fits.ok_or_else(|| not_a(datatype, &value))
}

fn double(value: Scalar<'_>) -> Result<f64, String> {
    number(value, Datatype::Fp64)
}

/// A number on its way to an element of `datatype`.
fn number(value: Scalar<'_>, datatype: Datatype) -> Result<f64, String> {
    match value {
        // What MLServer's clients send for NaN; the manifest decides whether it may be missing.
        Scalar::Null => Ok(f64::NAN),
        Scalar::Signed(value) => Ok(value as f64),
        Scalar::Unsigned(value) => Ok(value as f64),
        Scalar::Float(value) => Ok(value),
        other => Err(not_a(datatype, &other)),
    }
}

fn single(value: Scalar<'_>) -> Result<f32, String> {
    let wide = number(value, Datatype::Fp32)?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "digits are lost; range is looked at below"
    )]
    let narrow = wide as f32;
    if wide.is_finite() && !narrow.is_finite() {
        return Err(not_a(Datatype::Fp32, &Scalar::Float(wide)));
    }
    Ok(narrow)
}

fn half(value: Scalar<'_>) -> Result<f16, String> {
    let wide = number(value, Datatype::Fp16)?;
    let narrow = f16::from_f64(wide);
    if wide.is_finite() && !narrow.is_finite() {
        return Err(not_a(Datatype::Fp16, &Scalar::Float(wide)));
    }
    Ok(narrow)
}

fn text(value: Scalar<'_>) -> Result<String, String> {
    match value {
        Scalar::Text(text) => Ok(text.to_owned()),
        other => Err(not_a(Datatype::Bytes, &other)),
    }
}

fn flat<T>(
    data: &RawValue,
    read: impl Fn(Scalar<'_>) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let mut out = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_str(data.get());
    if !data.get().starts_with('[') {
        return Err("must be a list, flat or nested".to_owned());
    }
    Flat { out: &mut out, read: &read }
        .deserialize(&mut deserializer)
        .map_err(|error| error.to_string())?;
    Ok(out)
}

/// Collects the values of a list, whatever its nesting.
struct Flat<'o, T, F> {
    out: &'o mut Vec<T>,
    read: &'o F,
}

impl<T, F: Fn(Scalar<'_>) -> Result<T, String>> Flat<'_, T, F> {
    fn push<E: Error>(self, value: Scalar<'_>) -> Result<(), E> {
        self.out.push((self.read)(value).map_err(E::custom)?);
        Ok(())
    }
}

impl<'de, T, F: Fn(Scalar<'_>) -> Result<T, String>> DeserializeSeed<'de> for Flat<'_, T, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T, F: Fn(Scalar<'_>) -> Result<T, String>> Visitor<'de> for Flat<'_, T, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value or a list of values")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.push(Scalar::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.push(Scalar::Boolean(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.push(Scalar::Signed(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.push(Scalar::Unsigned(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.push(Scalar::Float(value))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.push(Scalar::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Flat { out: &mut *self.out, read: self.read })?.is_some() {}
        Ok(())
    }
}

/// Values as a flat JSON list. NaN and infinity, which JSON lacks, become `null`.
pub(super) struct Data<'a>(pub(super) &'a Values);

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Values::Bool(list) => serializer.collect_seq(list),
            Values::Uint8(list) => serializer.collect_seq(list),
            Values::Uint16(list) => serializer.collect_seq(list),
            Values::Uint32(list) => serializer.collect_seq(list),
            Values::Uint64(list) => serializer.collect_seq(list),
            Values::Int8(list) => serializer.collect_seq(list),
            Values::Int16(list) => serializer.collect_seq(list),
            Values::Int32(list) => serializer.collect_seq(list),
            Values::Int64(list) => serializer.collect_seq(list),
            Values::Fp16(list) => serializer.collect_seq(list.iter().map(|value| value.to_f32())),
            Values::Fp32(list) => serializer.collect_seq(list),
            Values::Fp64(list) => serializer.collect_seq(list),
            Values::Bytes(list) => serializer.collect_seq(list),
        }
    }
}
