use domain::manifest::{Modality, Task};
use serde_json::json;

use super::*;

fn manifest(features: serde_json::Value, inputs: serde_json::Value) -> Manifest {
    serde_json::from_value(json!({
        "name": "m", "task": Task::Regression, "modality": Modality::Tabular, "format": "onnx",
        "features": features, "inputs": inputs, "outputs": [],
    }))
    .unwrap()
}

fn feature(fields: serde_json::Value) -> Feature {
    serde_json::from_value(fields).unwrap()
}

#[test]
fn one_matrix_takes_all_features_in_order() {
    let manifest = manifest(
        json!([{"name": "a"}, {"name": "b", "type": "boolean"},
               {"name": "c", "type": "category", "categories": ["x", "y"]},
               {"name": "d", "optional": true}]),
        json!([{"name": "input", "datatype": "FP32", "shape": [-1, 4]}]),
    );
    let row = vec![Cell::Number(1.5), Cell::Boolean(true), Cell::Text("y".into()), Cell::Missing];
    let tensors = tensors(&manifest, &[row]).unwrap();
    let Values::Fp32(values) = &tensors[0].values else { panic!() };
    assert_eq!(values[..3], [1.5, 1.0, 1.0]);
    assert!(values[3].is_nan());
    assert_eq!(tensors[0].shape, [1, 4]);
}

#[test]
fn several_inputs_take_a_column_each() {
    let manifest = manifest(
        json!([{"name": "city", "type": "string"}, {"name": "age", "type": "integer"},
               {"name": "kind", "type": "category", "categories": ["u", "v"]}]),
        json!([{"name": "age", "datatype": "INT64", "shape": [-1, 1]},
               {"name": "city", "datatype": "BYTES", "shape": [-1, 1]},
               {"name": "kind", "datatype": "BYTES", "shape": [-1]}]),
    );
    let rows = [
        vec![Cell::Text("Ulm".into()), Cell::Integer(7), Cell::Text("v".into())],
        vec![Cell::Text("Bonn".into()), Cell::Number(8.0), Cell::Text("u".into())],
    ];
    let tensors = tensors(&manifest, &rows).unwrap();
    assert_eq!(tensors[0].values, Values::Int64(vec![7, 8]));
    assert_eq!(tensors[1].values, Values::Bytes(vec!["Ulm".into(), "Bonn".into()]));
    assert_eq!(tensors[1].shape, [2, 1]);
    assert_eq!(tensors[2].values, Values::Bytes(vec!["v".into(), "u".into()]));
    assert_eq!(tensors[2].shape, [2]);
}

#[test]
fn a_value_that_breaks_a_rule_is_told_with_what_would_be_right() {
    let number = feature(json!({"name": "n", "min": 0, "max": 10}));
    let category = feature(json!({"name": "c", "type": "category", "categories": ["x", "y"]}));
    let integer = feature(json!({"name": "i", "type": "integer"}));
    for (feature, cell, text) in [
        (&number, Cell::Text("abc".into()), "must be a number, got `\"abc\"`"),
        (&number, Cell::Missing, "is missing: `n` must be a number"),
        (&number, Cell::Number(f64::NAN), "must be a finite number, got `NaN`"),
        (&number, Cell::Number(-1.0), "must be at least 0, got -1"),
        (&number, Cell::Number(10.5), "must be at most 10, got 10.5"),
        (&number, Cell::Boolean(true), "must be a number, got `true`"),
        (&category, Cell::Text("z".into()), "must be one of `x`, `y`, got `\"z\"`"),
        (&integer, Cell::Number(1.5), "must be a whole number, got `1.5`"),
    ] {
        assert_eq!(check(feature, &cell).unwrap_err(), text);
    }
    let open = feature(json!({"name": "n"}));
    let error = check(&open, &Cell::Number(1e300)).unwrap_err();
    assert_eq!(error, "must fit a 32-bit float, got `1e300`");
    assert!(check(&integer, &Cell::Number(3.0)).is_ok());
}

#[test]
fn a_training_range_refuses_nothing() {
    let feature = feature(json!({"name": "n", "training": {"min": 0, "max": 1}}));
    assert!(check(&feature, &Cell::Number(99.0)).is_ok());
}

#[test]
fn a_row_of_another_length_is_refused() {
    let manifest = manifest(
        json!([{"name": "a"}, {"name": "b"}]),
        json!([{"name": "input", "datatype": "FP32", "shape": [-1, 2]}]),
    );
    let error = tensors(&manifest, &[vec![Cell::Number(1.0)]]).unwrap_err();
    assert_eq!(error.to_string(), "input `features` must be 2 per row, got 1");
}

#[test]
fn tensors_made_by_callers_keep_to_the_same_rules() {
    let manifest = manifest(
        json!([{"name": "a", "min": 0}, {"name": "b", "optional": true},
               {"name": "c", "type": "category", "categories": ["x", "y"]},
               {"name": "d", "type": "boolean"}]),
        json!([{"name": "input", "datatype": "FP32", "shape": [-1, 4]}]),
    );
    let nan = f32::NAN;
    let values = vec![1.0, nan, 1.0, 0.0, nan, 1.0, 2.0, 0.5, -1.0, f32::INFINITY, 0.0, 1.0];
    let tensor = Tensor::new("input", vec![3, 4], Values::Fp32(values)).unwrap();
    let found: Vec<_> = faults(&manifest, std::slice::from_ref(&tensor), 9)
        .into_iter()
        .map(|fault| (fault.index, fault.reason))
        .collect();
    let places: Vec<_> = found.iter().map(|(index, _)| *index).collect();
    assert_eq!(places, [4, 6, 7, 8, 9]);
    assert_eq!(found[3].1, "(feature `a`) must be at least 0, got -1");
    assert_eq!(faults(&manifest, &[tensor], 2).len(), 2);
}
