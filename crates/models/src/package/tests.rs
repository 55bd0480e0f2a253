use domain::manifest::{Datatype, FeatureKind, Layout, Modality, OutputRole, Task};
use serde_json::json;

use super::*;

const IRIS: &[u8] = include_bytes!("../../../../tests/models/iris-logreg/model.onnx");
const ZIPMAP: &[u8] = include_bytes!("../../../../tests/models/iris-logreg-zipmap/model.onnx");
const DIABETES: &[u8] = include_bytes!("../../../../tests/models/diabetes-gbr/model.onnx");
const IMAGENET: &[u8] = include_bytes!("../../../../services/all-in-one/demo/imagenet/model.onnx");
const SENTIMENT: &[u8] =
    include_bytes!("../../../../services/all-in-one/demo/sentiment/model.onnx");

fn files(list: &[(&str, &[u8])]) -> BTreeMap<String, Bytes> {
    list.iter().map(|(name, bytes)| ((*name).to_owned(), Bytes::copy_from_slice(bytes))).collect()
}

fn bare(bytes: &[u8]) -> Manifest {
    Package::assemble("m", None, files(&[("model.onnx", bytes)])).unwrap().manifest
}

fn refused(author: Value, list: &[(&str, &[u8])]) -> String {
    Package::assemble("m", Some(author), files(list)).unwrap_err().to_string()
}

#[test]
fn a_bare_classifier_is_enough() {
    let manifest = bare(IRIS);
    assert_eq!((manifest.task, manifest.modality), (Task::Classification, Modality::Tabular));
    let names: Vec<_> = manifest.features.iter().map(|feature| feature.name.as_str()).collect();
    assert_eq!(names, ["f0", "f1", "f2", "f3"]);
    assert_eq!(manifest.labels, ["0", "1", "2"]);
    let roles: Vec<_> = manifest.outputs.iter().map(|output| output.role).collect();
    assert_eq!(roles, [OutputRole::Label, OutputRole::Probabilities]);
    assert!(manifest.batchable);
    assert_eq!(manifest.operators.get("ai.onnx.ml.LinearClassifier"), Some(&1));
    assert_eq!(
        manifest.assumptions,
        ["features are named by their position, as the graph does not name them"]
    );
}

#[test]
fn a_zipmap_is_presented_as_a_matrix() {
    let manifest = bare(ZIPMAP);
    assert_eq!(manifest.labels, ["setosa", "versicolor", "virginica"]);
    let output = &manifest.outputs[1];
    assert_eq!((output.datatype, &output.shape[..]), (Datatype::Fp32, &[-1, 3][..]));
    assert_eq!(output.role, OutputRole::Probabilities);
}

#[test]
fn a_bare_regression_is_one() {
    let manifest = bare(DIABETES);
    assert_eq!(manifest.task, Task::Regression);
    assert_eq!(manifest.outputs[0].role, OutputRole::Value);
    assert!(manifest.labels.is_empty());
}

#[test]
fn a_bare_picture_model_says_what_it_assumed() {
    let manifest = bare(IMAGENET);
    assert_eq!((manifest.task, manifest.modality), (Task::Classification, Modality::Image));
    let image = manifest.image.unwrap();
    assert_eq!((image.width, image.height, image.layout), (224, 224, Layout::Nchw));
    assert!(!manifest.batchable);
    assert!(manifest.assumptions.iter().any(|text| text.contains("1/255")));
    assert_eq!(manifest.labels.len(), 1000);
}

#[test]
fn a_bare_text_model_takes_strings() {
    let manifest = bare(SENTIMENT);
    assert_eq!(manifest.modality, Modality::Text);
    assert_eq!(manifest.text.unwrap().tokenizer, None);
    assert_eq!(manifest.labels, ["negative", "neutral", "positive"]);
}

#[test]
fn the_author_has_the_last_word_and_settles_assumptions() {
    let author = json!({
        "name": "iris", "version": "2.1.0", "batchable": false,
        "features": [{"name": "a"}, {"name": "b"}, {"name": "c", "min": 0.0},
                     {"name": "d", "type": "integer"}],
        "operators": {"Forged": 1},
    });
    let labels = br#"{"0": "setosa", "1": "versicolor", "2": "virginica"}"#;
    let package = Package::assemble(
        "m",
        Some(author),
        files(&[("model.onnx", IRIS), ("labels.json", labels)]),
    )
    .unwrap();
    assert_eq!(package.manifest.name, "iris");
    assert_eq!(package.manifest.labels[2], "virginica");
    assert_eq!(package.manifest.features[3].kind, FeatureKind::Integer);
    assert!(!package.manifest.batchable);
    assert!(!package.manifest.operators.contains_key("Forged"));
    assert!(package.manifest.assumptions.is_empty());
}

#[test]
fn what_contradicts_the_graph_is_refused_by_field() {
    let model = [("model.onnx", IRIS)];
    for (author, text) in [
        (
            json!({"features": [{"name": "a"}]}),
            "`features` must be 4, the columns of input `input`",
        ),
        (json!({"labels": ["a", "b"]}), "`labels` must be 3, one per column"),
        (json!({"labels": ["a", "a", "b"]}), "`labels` must not name a class twice"),
        (
            json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]}),
            "`inputs` names",
        ),
        (
            json!({"inputs": [{"name": "input", "datatype": "INT64", "shape": [-1, 4]}]}),
            "`inputs/input` must have the graph's",
        ),
        (
            json!({"outputs": [{"name": "y", "datatype": "INT64", "shape": [-1], "role": "label"}]}),
            "`outputs/y` is not in the graph",
        ),
        (json!({"modality": "image"}), "`image` is missing"),
        (json!({"modality": "text"}), "`text` is missing"),
        (json!({"modality": "text", "text": {"tokenizer": "t.json"}}), "names the file `t.json`"),
        (
            json!({"features": [{"name": "a"}, {"name": "a"}, {"name": "b"}, {"name": "c"}]}),
            "`features/a` is named twice",
        ),
        (
            json!({"features": [{"name": "a", "type": "category"}, {"name": "b"}, {"name": "c"},
                             {"name": "d"}]}),
            "`features/a/categories` must list",
        ),
        (
            json!({"features": [{"name": "a", "type": "string"}, {"name": "b"}, {"name": "c"},
                             {"name": "d"}]}),
            "`features/a/type` does not fit input",
        ),
        (
            json!({"features": [{"name": "a", "min": 2, "max": 1}, {"name": "b"}, {"name": "c"},
                             {"name": "d"}]}),
            "`features/a/min` must not be above",
        ),
        (json!({"feature": []}), "unknown field `feature`"),
        (json!([]), "must be a JSON object"),
    ] {
        let error = refused(author, &model);
        assert!(error.contains(text), "{error}");
    }
}

#[test]
fn files_that_do_not_belong_are_refused_by_name() {
    for (name, bytes, text) in [
        ("model.pkl", &b"x"[..], "`docs/bring-your-model.md`"),
        ("notes.txt", &b"\x80\x04\x95"[..], "a pickle"),
        ("notes.txt", &b"PK\x03\x04"[..], "a zip file"),
        ("weights.pt", &b"x"[..], "PyTorch"),
        ("net.keras", &b"x"[..], "a Keras file"),
        ("w.safetensors", &b"x"[..], "safetensors"),
        ("../model.onnx", &b"x"[..], "plain name"),
        ("a/b.txt", &b"x"[..], "plain name"),
        (".hidden", &b"x"[..], "plain name"),
        ("data.csv", &b"x"[..], "is not a file of a package"),
        ("lables.json", &b"[]"[..], "is read by nothing"),
        ("labels.json", &b"7"[..], "must be a list of names"),
        ("labels.json", &b"{\"1\": \"a\"}"[..], "has no label at position 0"),
        ("model.linfa.json", &b"{}"[..], "must not lie beside"),
    ] {
        let error = refused(Value::Null, &[("model.onnx", IRIS), (name, bytes)]);
        assert!(error.contains(text), "{name}: {error}");
    }
    let error = refused(Value::Null, &[("README.md", b"x")]);
    assert!(error.contains("`model.onnx` is missing"), "{error}");
}

#[test]
fn a_licence_and_a_readme_are_kept() {
    let list =
        [("model.onnx", IRIS), ("LICENSE", b"MIT"), ("README.md", b"# x"), ("card.json", b"{}")];
    assert_eq!(Package::assemble("m", None, files(&list)).unwrap().files.len(), 4);
}

#[test]
fn a_linfa_model_brings_its_own_names() {
    let rows = [vec![0.0], vec![1.0]];
    let trained =
        linfa::fit_logistic(&rows, &[0, 1], vec!["x".into()], vec!["no".into(), "yes".into()])
            .unwrap();
    let bytes = trained.to_json().unwrap();
    let package = Package::assemble("m", None, files(&[("model.linfa.json", &bytes)])).unwrap();
    assert_eq!(package.manifest.features[0].name, "x");
    assert_eq!(package.manifest.labels, ["no", "yes"]);
    let error = refused(json!({"format": "onnx"}), &[("model.linfa.json", &bytes)]);
    assert!(error.contains("`format`"), "{error}");
}
