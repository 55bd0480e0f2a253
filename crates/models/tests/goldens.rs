//! Every committed model against what its original framework answered.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test may panic in its own words"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use models::preprocess::tabular::{self, Cell};
use models::preprocess::{image, text};
use models::{Outcome, Package, Prediction, Predictor, Tensor, Values, library, outcome};
use proptest::prelude::*;
use serde_json::Value;

const RUN_LIMIT: Duration = Duration::from_secs(60);
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../");

fn folder(path: &str) -> PathBuf {
    Path::new(ROOT).join(path)
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The package in a folder, as somebody would upload it, and its predictor.
fn load(folder: &Path) -> (Package, Box<dyn Predictor>) {
    library::start(Some(&self::folder("target/onnxruntime/libonnxruntime.so")), &[]).unwrap();
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            let name = entry.file_name().into_string().unwrap();
            files.insert(name, Bytes::from(fs::read(entry.path()).unwrap()));
        }
    }
    let author = files.get("manifest.json").map(|bytes| serde_json::from_slice(bytes).unwrap());
    let package = Package::assemble("golden", author, files).unwrap();
    let predictor = package.predictor(1, RUN_LIMIT).unwrap();
    (package, predictor)
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn rows(golden: &Value) -> Vec<Vec<Cell>> {
    let input = &golden["inputs"]["input"];
    let width = input["shape"][1].as_u64().unwrap() as usize;
    let cells: Vec<_> = numbers(&input["data"]).into_iter().map(Cell::Number).collect();
    cells.chunks(width).map(<[Cell]>::to_vec).collect()
}

fn assert_near(got: &[f32], want: &[f64], tolerance: f64, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (got, want) in got.iter().zip(want) {
        assert!((f64::from(*got) - want).abs() <= tolerance, "{what}: got {got}, want {want}");
    }
}

fn probabilities(outcomes: &[Outcome]) -> Vec<f32> {
    outcomes.iter().flat_map(|row| row.probabilities.clone().unwrap()).collect()
}

#[test]
fn tabular_classifiers_agree_with_their_frameworks() {
    for name in [
        "iris-logreg",
        "iris-logreg-zipmap",
        "iris-rf100",
        "digits-mlp",
        "flights-hgb",
        "flights-xgb",
        "flights-lgbm",
    ] {
        let folder = folder("tests/models").join(name);
        let (package, predictor) = load(&folder);
        let golden = read(&folder.join("golden.json"));
        assert!(package.manifest.batchable, "{name}");
        let inputs = tabular::tensors(&package.manifest, &rows(&golden)).unwrap();
        let outputs = predictor.run(inputs).unwrap();
        let outcomes = outcome::outcomes(&package.manifest, &outputs).unwrap();
        let tolerance = golden["tolerance"]["probabilities_abs"].as_f64().unwrap();
        let want = numbers(&golden["outputs"]["probabilities"]["data"]);
        assert_near(&probabilities(&outcomes), &want, tolerance, name);
        for (row, want) in
            outcomes.iter().zip(golden["outputs"]["label"]["data"].as_array().unwrap())
        {
            match want {
                Value::String(label) => assert_eq!(row.label.as_deref(), Some(label.as_str())),
                class => {
                    let class = class.as_u64().unwrap() as usize;
                    assert_eq!(row.prediction, Prediction::Class(class), "{name}");
                    assert_eq!(row.label.as_ref(), package.manifest.labels.get(class), "{name}");
                }
            }
        }
    }
}

#[test]
fn a_regression_agrees_with_its_framework() {
    let folder = folder("tests/models/diabetes-gbr");
    let (package, predictor) = load(&folder);
    let golden = read(&folder.join("golden.json"));
    let inputs = tabular::tensors(&package.manifest, &rows(&golden)).unwrap();
    let outputs = predictor.run(inputs).unwrap();
    let outcomes = outcome::outcomes(&package.manifest, &outputs).unwrap();
    for (row, want) in outcomes.iter().zip(numbers(&golden["outputs"]["value"]["data"])) {
        let Prediction::Value(got) = row.prediction else { panic!("{row:?}") };
        assert!((got - want).abs() < golden["tolerance"]["value_abs"].as_f64().unwrap());
    }
}

#[test]
fn texts_as_strings_agree_with_their_framework() {
    let folder = folder("services/all-in-one/demo/sentiment");
    let (package, predictor) = load(&folder);
    let golden = read(&folder.join("golden.json"));
    let texts: Vec<_> = golden["inputs"]["text"]["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|text| text.as_str().unwrap())
        .collect();
    let input = package.manifest.text.as_ref().unwrap();
    let given = text::strings(&package.manifest, input, &texts).unwrap();
    let outputs = predictor.run(given.tensors).unwrap();
    let outcomes = outcome::outcomes(&package.manifest, &outputs).unwrap();
    let want = numbers(&golden["outputs"]["probabilities"]["data"]);
    assert_near(&probabilities(&outcomes), &want, 0.001, "sentiment");
    for (row, want) in outcomes.iter().zip(golden["outputs"]["label"]["data"].as_array().unwrap()) {
        assert_eq!(row.label.as_deref(), want.as_str());
    }
}

#[test]
fn pictures_agree_with_their_framework() {
    let folder = folder("services/all-in-one/demo/imagenet");
    let (package, predictor) = load(&folder);
    let golden = read(&folder.join("golden.json"));
    let input = package.manifest.image.as_ref().unwrap();
    for sample in golden["samples"].as_array().unwrap() {
        let best = &sample["top5_int8_onnxruntime"][0];
        for (file, tolerance) in [("exact_pixels", 0.06), ("image", 0.1)] {
            let path = folder.join(sample[file].as_str().unwrap());
            let bytes = fs::read(&path).unwrap();
            let tensor = image::tensor(input, &package.manifest.inputs[0], &bytes).unwrap();
            let outputs = predictor.run(vec![tensor]).unwrap();
            let row = outcome::outcomes(&package.manifest, &outputs).unwrap().remove(0);
            let class = best["index"].as_u64().unwrap() as usize;
            assert_eq!(row.prediction, Prediction::Class(class), "{}", path.display());
            assert_eq!(row.label.as_deref(), best["label"].as_str());
            let want = best["probability"].as_f64().unwrap();
            assert_near(&[row.confidence.unwrap()], &[want], tolerance, file);
        }
    }
}

#[test]
fn iris_of_the_demo_agrees_too() {
    let folder = folder("services/all-in-one/demo/iris");
    let (package, predictor) = load(&folder);
    let golden = read(&folder.join("golden.json"));
    assert_eq!(package.manifest.features[0].name, "sepal_length_cm");
    assert_eq!(package.manifest.assumptions, Vec::<String>::new());
    let inputs = tabular::tensors(&package.manifest, &rows(&golden)).unwrap();
    let outcomes = outcome::outcomes(&package.manifest, &predictor.run(inputs).unwrap()).unwrap();
    let want = numbers(&golden["outputs"]["probabilities"]["data"]);
    assert_near(&probabilities(&outcomes), &want, 1e-4, "iris");
}

#[test]
fn a_tensor_that_does_not_fit_is_refused_by_name() {
    let (_, predictor) = load(&folder("tests/models/iris-logreg"));
    let run = |name: &str, shape: Vec<usize>, values: Values| {
        predictor.run(vec![Tensor::new(name, shape, values).unwrap()]).unwrap_err().to_string()
    };
    assert_eq!(
        run("input", vec![1, 3], Values::Fp32(vec![0.0; 3])),
        "input `input` must be of shape [-1, 4] (-1: any size), got [1, 3]"
    );
    assert_eq!(
        run("input", vec![1, 4], Values::Int64(vec![0; 4])),
        "input `input` must be of datatype `FP32`, got `INT64`"
    );
    assert_eq!(run("x", vec![1, 4], Values::Fp32(vec![0.0; 4])), "input `input` is missing");
}

#[test]
fn an_unknown_operator_is_named() {
    let (package, _) = load(&folder("tests/models/iris-logreg"));
    let mut bytes = package.files["model.onnx"].to_vec();
    // The node's name comes first, its operator second.
    let at = bytes.windows(6).rposition(|window| window == b"Scaler").unwrap();
    bytes[at..at + 6].copy_from_slice(b"Zcaler");
    let files = [("model.onnx".to_owned(), Bytes::from(bytes))].into();
    let error =
        Package::assemble("bad", None, files).unwrap().predictor(1, RUN_LIMIT).err().unwrap();
    assert!(error.to_string().starts_with("operator `Zcaler`"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A row's answer does not depend on its neighbours, and answers come in the order of rows.
    #[test]
    fn a_batch_answers_as_its_rows_alone(
        rows in prop::collection::vec(prop::collection::vec(0.0_f32..10.0, 4), 1..20),
    ) {
        for name in ["iris-rf100", "iris-logreg"] {
            let (package, predictor) = load(&folder("tests/models").join(name));
            let ask = |rows: &[Vec<f32>]| {
                let cells = |row: &Vec<f32>| {
                    row.iter().map(|value| Cell::Number(f64::from(*value))).collect()
                };
                let rows: Vec<Vec<Cell>> = rows.iter().map(cells).collect();
                let inputs = tabular::tensors(&package.manifest, &rows).unwrap();
                let outputs = predictor.run(inputs).unwrap();
                outcome::outcomes(&package.manifest, &outputs).unwrap()
            };
            let together = ask(&rows);
            prop_assert_eq!(together.len(), rows.len());
            for (row, batched) in rows.iter().zip(&together) {
                let alone = ask(std::slice::from_ref(row)).remove(0);
                let pairs = alone.probabilities.unwrap();
                for (one, other) in pairs.iter().zip(batched.probabilities.as_ref().unwrap()) {
                    prop_assert!((one - other).abs() < 1e-5);
                }
            }
        }
    }
}
