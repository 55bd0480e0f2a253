//! Comparing JSON with what a page or an example promises.

use serde_json::Value;

/// Stands for whatever differs from run to run.
const ANYTHING: &str = "…";

/// That `got` is what is wanted, numbers to one part in 100,000; the text "…" stands for any value.
///
/// # Errors
/// Where the two differ first, and how.
pub fn compare(want: &Value, got: &Value) -> Result<(), String> {
    compare_at("#", want, got)
}

fn compare_at(place: &str, want: &Value, got: &Value) -> Result<(), String> {
    match (want, got) {
        (Value::String(text), _) if text == ANYTHING => Ok(()),
        (Value::Object(want), Value::Object(got)) => {
            let (wanted, given): (Vec<_>, Vec<_>) = (want.keys().collect(), got.keys().collect());
            if wanted != given {
                return Err(format!("{place}: members {wanted:?} there, {given:?} here"));
            }
            want.iter().try_for_each(|(key, value)| {
                compare_at(&format!("{place}/{key}"), value, &got[key])
            })
        }
        (Value::Array(want), Value::Array(got)) if want.len() == got.len() => {
            want.iter().zip(got).enumerate().try_for_each(|(index, (want, got))| {
                compare_at(&format!("{place}/{index}"), want, got)
            })
        }
        (Value::Number(want), Value::Number(got)) if near(want, got) => Ok(()),
        (want, got) if want == got => Ok(()),
        (want, got) => Err(format!("{place}: {want} there, {got} here")),
    }
}

/// Models give other last digits on other processors.
fn near(want: &serde_json::Number, got: &serde_json::Number) -> bool {
    let (Some(want), Some(got)) = (want.as_f64(), got.as_f64()) else { return false };
    (want - got).abs() <= 1e-5 * want.abs()
}

#[cfg(test)]
#[test]
fn a_difference_is_told_by_its_place() {
    let want = serde_json::json!({"a": [1, "…"], "b": "x"});
    assert_eq!(compare(&want, &serde_json::json!({"a": [1, {}], "b": "x"})), Ok(()));
    let got = serde_json::json!({"a": [2, 3], "b": "x"});
    assert_eq!(compare(&want, &got), Err("#/a/0: 1 there, 2 here".to_owned()));
}
