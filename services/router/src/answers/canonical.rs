//! JSON in one form: what means the same is the same, and what might not is not.
//!
//! Objects lose their order, texts their escapes, numbers their notation. A number stays the exact
//! decimal that it is, and one with a point or an exponent stays apart from one without: models may
//! take `3` where they refuse `3.0`. What is refused anyway, such as a name given twice, has no
//! form: it must not find the answer of what is not.

use serde_json::value::RawValue;

use super::stored::Fields;

/// Objects and lists within each other at most: each level is read once more.
const MOST_LEVELS: usize = 16;

/// A body in one form.
#[derive(Debug, PartialEq)]
pub(super) struct Canonical {
    pub(super) bytes: Vec<u8>,
    /// What the answer repeats, as JSON.
    pub(super) echo: Option<String>,
}

/// A request in a natural form: who asks, and where, is not what is asked.
pub(super) fn natural(body: &[u8]) -> Option<Canonical> {
    let mut fields: Fields<'_> = serde_json::from_slice(body).ok()?;
    fields.0.retain(|(name, _)| !matches!(name.as_str(), "unit" | "context"));
    let mut bytes = Vec::with_capacity(body.len());
    object(fields, 1, &mut bytes)?;
    Some(Canonical { bytes, echo: None })
}

/// A request of the V2 protocol: its `id` is only repeated.
pub(super) fn v2(body: &[u8]) -> Option<Canonical> {
    let mut fields: Fields<'_> = serde_json::from_slice(body).ok()?;
    let mut bytes = Vec::with_capacity(body.len());
    let mut echo = None;
    if let Some(at) = fields.0.iter().position(|(name, _)| name == "id") {
        let (_, id) = fields.0.swap_remove(at);
        match id.get() {
            "null" => {}
            text if text.starts_with('"') => echo = Some(text.to_owned()),
            _ => return None,
        }
    }
    // A second one makes the request a bad one.
    if fields.0.iter().any(|(name, _)| name == "id") {
        return None;
    }
    object(fields, 1, &mut bytes)?;
    Some(Canonical { bytes, echo })
}

fn value(raw: &RawValue, level: usize, out: &mut Vec<u8>) -> Option<()> {
    let text = raw.get();
    match text.as_bytes().first()? {
        b'{' if level < MOST_LEVELS => object(serde_json::from_str(text).ok()?, level + 1, out),
        b'[' if level < MOST_LEVELS => {
            let list: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            out.push(b'[');
            for one in list {
                value(one, level + 1, out)?;
                out.push(b',');
            }
            out.push(b']');
            Some(())
        }
        b'{' | b'[' => None,
        b'"' => string(&serde_json::from_str::<String>(text).ok()?, out),
        b'-' | b'0'..=b'9' => number(text, out),
        _ => {
            out.extend_from_slice(text.as_bytes());
            Some(())
        }
    }
}

fn object(mut fields: Fields<'_>, level: usize, out: &mut Vec<u8>) -> Option<()> {
    fields.0.sort_by(|one, other| one.0.cmp(&other.0));
    out.push(b'{');
    let mut last = None;
    for (name, raw) in &fields.0 {
        if last == Some(name) {
            return None;
        }
        string(name, out)?;
        out.push(b':');
        value(raw, level, out)?;
        out.push(b',');
        last = Some(name);
    }
    out.push(b'}');
    Some(())
}

fn string(text: &str, out: &mut Vec<u8>) -> Option<()> {
    serde_json::to_writer(out, text).ok()
}

/// A number as its digits and a power of ten, exact to the last digit.
fn number(text: &str, out: &mut Vec<u8>) -> Option<()> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_whole = mantissa.len() == text.len() && whole.len() == text.len();
    let (sign, whole) = match whole.strip_prefix('-') {
        Some(whole) => ("-", whole),
        None => ("", whole),
    };
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    let kept = digits.trim_end_matches('0');
    let dropped = i64::try_from(digits.len() - kept.len()).ok()?;
    let exponent = exponent.checked_sub(i64::try_from(fraction.len()).ok()?)?;
    let exponent = if kept.is_empty() { 0 } else { exponent.checked_add(dropped)? };
    let kind = if is_whole { "i" } else { "f" };
    out.extend_from_slice(format!("{kind}{sign}{kept}e{exponent}").as_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn form(body: &str) -> Option<String> {
        natural(body.as_bytes()).map(|form| String::from_utf8(form.bytes).unwrap())
    }

    #[test]
    fn what_means_the_same_is_the_same() {
        for [one, other] in [
            [r#"{"a":1,"b":[true,null]}"#, "{ \"b\" : [ true ,null ],\n\"a\": 1 }"],
            [r#"{"a":"\u0041\/"}"#, r#"{"a":"A/"}"#],
            [r#"{"\u0061":{"y":1,"x":2}}"#, r#"{"a":{"x":2,"y":1}}"#],
            [r#"{"a":1.50}"#, r#"{"a":15e-1}"#],
            [r#"{"a":1E2}"#, r#"{"a":100.0}"#],
            [r#"{"a":0.0}"#, r#"{"a":0e7}"#],
            [r#"{"a":1,"unit":"eve"}"#, r#"{"a":1,"unit":"adam","context":{"x":[1]}}"#],
        ] {
            assert!(form(one).is_some(), "{one}");
            assert_eq!(form(one), form(other), "{one} {other}");
        }
    }

    #[test]
    fn what_may_differ_does() {
        let all = [
            r#"{"a":1}"#,
            r#"{"a":1.0}"#,
            r#"{"a":"1"}"#,
            r#"{"a":[1]}"#,
            r#"{"a":-1}"#,
            r#"{"a":10}"#,
            r#"{"a":0.0}"#,
            r#"{"a":-0.0}"#,
            r#"{"a":0}"#,
            r#"{"a":null}"#,
            r#"{"a":9007199254740992}"#,
            r#"{"a":9007199254740993}"#,
            r#"{"a":18446744073709551616}"#,
            r#"{"a":18446744073709551617}"#,
            r#"{"a":0.1}"#,
            r#"{"a":0.10000000000000000555}"#,
            r#"{"a":[1,2]}"#,
            r#"{"a":[12]}"#,
            r#"{"a":{"unit":1}}"#,
            r#"{"a":{"unit":2}}"#,
            r#"{"a":"é"}"#,
            r#"{"a":"e\u0301"}"#,
        ];
        for (index, one) in all.iter().enumerate() {
            for other in all.iter().skip(index + 1) {
                assert_ne!(form(one), form(other), "{one} {other}");
            }
        }
    }

    #[test]
    fn what_is_refused_anyway_has_no_form() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(40), "]".repeat(40));
        for bad in ["", "{", "[]", "1", r#"{"a":1,"a":1}"#, r#"{"a":{"b":1,"\u0062":2}}"#, &deep] {
            assert_eq!(form(bad), None, "{bad}");
        }
        assert_eq!(v2(br#"{"id":1}"#), None);
        assert_eq!(v2(br#"{"id":"a","id":"b"}"#), None);
    }

    #[test]
    fn the_id_of_v2_is_apart() {
        let (one, other) = (v2(br#"{"id":"a","inputs":[]}"#), v2(br#"{"inputs":[]}"#));
        let (one, other) = (one.unwrap(), other.unwrap());
        assert_eq!(one.bytes, other.bytes);
        assert_eq!((one.echo.as_deref(), other.echo), (Some("\"a\""), None));
    }

    proptest! {
        #[test]
        fn numbers_are_one_only_if_they_are(one: f64, other: f64, whole: i64, next: i64) {
            let of = |text: String| form(&format!("{{\"a\":{text}}}"));
            let equal = one.to_bits() == other.to_bits();
            let [a, b] = [one, other].map(|number| of(format!("{number:?}")));
            prop_assert_eq!(a == b, equal);
            prop_assert_eq!(of(format!("{one:?}")), of(format!("{one:e}")));
            prop_assert_eq!(of(whole.to_string()) == of(next.to_string()), whole == next);
        }
    }
}
