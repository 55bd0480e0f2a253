use serde_json::json;

use super::*;

fn manifest(task: &str, role: &str, labels: &[&str]) -> Manifest {
    serde_json::from_value(json!({
        "name": "m", "task": task, "modality": "tabular", "format": "onnx", "inputs": [],
        "labels": labels,
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, -1], "role": role}],
    }))
    .unwrap()
}

fn ask(manifest: &Manifest, shape: Vec<usize>, values: Values) -> Result<Vec<Outcome>, ModelError> {
    outcomes(manifest, &[Tensor::new("y", shape, values).unwrap()])
}

#[test]
fn the_first_maximum_wins_a_tie() {
    assert_eq!(first_maximum(&[0.5, 0.5]), Some(0));
    assert_eq!(first_maximum(&[0.1, 0.45, 0.45]), Some(1));
    assert_eq!(first_maximum(&[]), None);
}

#[test]
fn logits_go_through_softmax_without_overflow() {
    let manifest = manifest("classification", "logits", &["a", "b"]);
    let rows = ask(&manifest, vec![1, 2], Values::Fp32(vec![1000.0, 1001.0])).unwrap();
    assert_eq!(rows[0].label.as_deref(), Some("b"));
    assert!((rows[0].confidence.unwrap() - 0.731).abs() < 1e-3);
}

#[test]
fn one_column_is_the_chance_of_the_second_class() {
    let manifest = manifest("classification", "probabilities", &["no", "yes"]);
    let rows = ask(&manifest, vec![2, 1], Values::Fp32(vec![0.25, 0.75])).unwrap();
    assert_eq!(rows[0].probabilities, Some(vec![0.75, 0.25]));
    assert_eq!(rows[1].label.as_deref(), Some("yes"));
}

#[test]
fn a_label_alone_is_found_among_the_names() {
    let manifest = manifest("classification", "label", &["7", "9"]);
    let rows = ask(&manifest, vec![3], Values::Int64(vec![9, 0, 5])).unwrap();
    assert_eq!(rows[0].prediction, Prediction::Class(1));
    assert_eq!(rows[1].label.as_deref(), Some("7"));
    assert_eq!(rows[2].prediction, Prediction::Name("5".to_owned()));
    assert_eq!(rows[2].confidence, None);
}

#[test]
fn nan_is_no_answer() {
    let manifest = manifest("regression", "value", &[]);
    let error = ask(&manifest, vec![1, 1], Values::Fp32(vec![f32::NAN])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "output `y` of the model is `NaN` for this input, which is no answer"
    );
}

#[test]
fn an_embedding_is_a_vector_per_row() {
    let manifest = manifest("embedding", "embedding", &[]);
    let rows = ask(&manifest, vec![2, 2], Values::Fp32(vec![1.0, 2.0, 3.0, 4.0])).unwrap();
    assert_eq!(rows[1].prediction, Prediction::Vector(vec![3.0, 4.0]));
}
