//! Reads golden files.

use std::path::PathBuf;

use serde_json::Value;

/// One case of a file.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) input: Value,
    pub(crate) expected: Value,
    pub(crate) tolerance: Value,
}

/// All cases of a file in the folder that `GOLDEN_DIR` names, or in the committed one.
pub(crate) fn cases(file: &str) -> Vec<Case> {
    let committed = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden"));
    let folder = std::env::var_os("GOLDEN_DIR").map_or(committed, PathBuf::from);
    let path = folder.join(file).with_extension("json");
    let text = std::fs::read_to_string(&path);
    let text = text.unwrap_or_else(|error| panic!("`{}`: {error}", path.display()));
    let file: Value = serde_json::from_str(&text).unwrap();
    let cases: Vec<Case> = file["cases"].as_array().unwrap().iter().map(Case::read).collect();
    assert!(!cases.is_empty(), "`{}` has no cases", path.display());
    cases
}

impl Case {
    fn read(case: &Value) -> Self {
        Self {
            name: case["name"].as_str().unwrap().to_owned(),
            input: case["input"].clone(),
            expected: case["expected"].clone(),
            tolerance: case["tolerance"].clone(),
        }
    }

    /// A part of the tolerance, 0 if the case does not state it.
    pub(crate) fn allowed(&self, part: &str) -> f64 {
        self.tolerance[part].as_f64().unwrap_or(0.0)
    }

    /// That a number is the expected one, within the case's `abs` and `rel`; `null` is `None`.
    pub(crate) fn check(&self, what: &str, got: Option<f64>, expected: &Value) {
        self.check_within(what, got, expected, self.allowed("abs"), self.allowed("rel"));
    }

    pub(crate) fn check_within(
        &self,
        what: &str,
        got: Option<f64>,
        expected: &Value,
        abs: f64,
        rel: f64,
    ) {
        let name = &self.name;
        if expected.is_null() {
            assert_eq!(got, None, "{name}: {what} is undefined");
            return;
        }
        let expected = expected.as_f64().unwrap_or_else(|| panic!("{name}: {what}: {expected}"));
        let got = got.unwrap_or_else(|| panic!("{name}: {what} should be {expected}"));
        let off = (got - expected).abs();
        assert!(
            off <= abs + rel * expected.abs(),
            "{name}: {what} is {got}, expected {expected}, off by {off:e}"
        );
    }
}

pub(crate) fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

pub(crate) fn counts(value: &Value) -> Vec<u64> {
    value.as_array().unwrap().iter().map(|number| number.as_u64().unwrap()).collect()
}
