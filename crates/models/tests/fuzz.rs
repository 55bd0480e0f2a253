//! Foreign bytes: models, manifests, pictures. Whatever they are, the answer is a model or one of our
//! errors, soon and within bounds. More cases with `PROPTEST_CASES=10000`.

#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test may panic in its own words"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use domain::manifest::{Datatype, ImageInput, TensorSpec};
use models::graph::Graph;
use models::{ModelError, Package, library, preprocess};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use testkit::fuzz::{cases, mutated, peak_memory, within};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../");
/// Far above what a case takes, also on a busy machine; far below what hurts.
const LIMIT: Duration = Duration::from_secs(10);
/// Of the whole test program.
const MOST_MEMORY: u64 = 1536 << 20;

fn sample(path: &str) -> Vec<u8> {
    fs::read(Path::new(ROOT).join(path)).unwrap()
}

fn assemble(author: Option<Value>, graph: Vec<u8>) -> Result<Package, ModelError> {
    let files = BTreeMap::from([("model.onnx".to_owned(), Bytes::from(graph))]);
    within(LIMIT, || Package::assemble("fuzz", author, files))
}

#[test]
fn a_damaged_graph_is_read_or_refused() {
    for (path, count) in [
        ("tests/models/iris-logreg/model.onnx", 400),
        ("tests/models/iris-logreg-zipmap/model.onnx", 400),
        ("tests/models/endless/model.onnx", 400),
        ("tests/models/token-sums/model.onnx", 400),
        ("tests/models/iris-rf100/model.onnx", 60),
    ] {
        let graphs = mutated(sample(path));
        TestRunner::new(cases(count))
            .run(&graphs, |bytes| {
                within(LIMIT, || Graph::read(&bytes)).ok();
                assemble(None, bytes).ok();
                Ok(())
            })
            .unwrap();
    }
    assert!(peak_memory() < MOST_MEMORY, "{} bytes", peak_memory());
}

#[test]
fn a_damaged_graph_is_loaded_or_refused() {
    let library = Path::new(ROOT).join("target/onnxruntime/libonnxruntime.so");
    library::start(Some(&library), &[]).unwrap();
    let graphs = mutated(sample("tests/models/iris-logreg/model.onnx"));
    let loaded = std::cell::Cell::new(0);
    TestRunner::new(cases(200))
        .run(&graphs, |bytes| {
            if let Ok(package) = assemble(None, bytes) {
                let predictor = within(LIMIT, || package.predictor(1, Duration::from_secs(1)));
                loaded.set(loaded.get() + i32::from(predictor.is_ok()));
            }
            Ok(())
        })
        .unwrap();
    assert!(loaded.get() > 0, "changes this small leave some models whole");
    assert!(peak_memory() < MOST_MEMORY, "{} bytes", peak_memory());
}

/// A graph in a graph in a graph: deep enough to end a stack, were it followed.
#[test]
fn a_graph_nested_deeply_is_refused() {
    let field = |number: u8, bytes: &[u8]| {
        let mut out = vec![number << 3 | 2];
        let mut length = bytes.len();
        while length > 0x7f {
            out.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        out.push(length as u8);
        out.extend_from_slice(bytes);
        out
    };
    // GraphProto.node = 1, NodeProto.attribute = 5, AttributeProto.g = 6; ModelProto.graph = 7.
    let mut graph = Vec::new();
    for _ in 0..20_000 {
        graph = field(1, &field(5, &field(6, &graph)));
    }
    assert!(within(LIMIT, || Graph::read(&field(7, &graph))).is_err());
}

fn odd_value() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!(null),
        json!(true),
        json!(-1),
        json!(0),
        json!(1e308),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(0.5),
        json!(""),
        json!("\0"),
        json!("../../etc/passwd"),
        json!("x".repeat(70_000)),
        json!([]),
        json!([[[[]]]]),
        json!({}),
        json!({"": null}),
        json!(vec![0; 5000]),
    ])
}

/// All places of a document.
fn pointers(value: &Value, at: String, all: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                pointers(
                    value,
                    format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")),
                    all,
                );
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                pointers(value, format!("{at}/{index}"), all);
            }
        }
        _ => {}
    }
    all.push(at);
}

#[test]
fn a_strange_manifest_is_taken_or_refused() {
    for folder in ["iris", "sentiment", "imagenet"] {
        let text = sample(&format!("services/all-in-one/demo/{folder}/manifest.json"));
        let graph = match folder {
            // Reading its thirty megabytes each time would test nothing more.
            "imagenet" => sample("tests/models/iris-logreg/model.onnx"),
            _ => sample(&format!("services/all-in-one/demo/{folder}/model.onnx")),
        };
        let manifest: Value = serde_json::from_slice(&text).unwrap();
        let mut places = Vec::new();
        pointers(&manifest, String::new(), &mut places);
        let changes = prop::collection::vec((prop::sample::select(places), odd_value()), 1..4);
        TestRunner::new(cases(250))
            .run(&changes, |changes| {
                let mut changed = manifest.clone();
                for (place, value) in changes {
                    if let Some(old) = changed.pointer_mut(&place) {
                        *old = value;
                    }
                }
                assemble(Some(changed), graph.clone()).ok();
                Ok(())
            })
            .unwrap();
        TestRunner::new(cases(250))
            .run(&mutated(text), |bytes| {
                if let Ok(value) = serde_json::from_slice(&bytes) {
                    assemble(Some(value), graph.clone()).ok();
                }
                Ok(())
            })
            .unwrap();
    }
    assert!(peak_memory() < MOST_MEMORY, "{} bytes", peak_memory());
}

#[test]
fn a_damaged_picture_is_seen_or_refused() {
    let image: ImageInput =
        serde_json::from_value(json!({"width": 32, "height": 32, "max_pixels": 4_000_000}))
            .unwrap();
    let input = TensorSpec {
        name: "image".to_owned(),
        datatype: Datatype::Fp32,
        shape: vec![1, 3, 32, 32],
    };
    let small = ::image::RgbImage::from_fn(40, 30, |x, y| {
        ::image::Rgb([(x * 6) as u8, (y * 8) as u8, (x * y) as u8])
    });
    let written = |format| {
        let mut out = std::io::Cursor::new(Vec::new());
        small.write_to(&mut out, format).unwrap();
        out.into_inner()
    };
    use ::image::ImageFormat::{Jpeg, Png, WebP};
    for sample in [
        written(Jpeg),
        written(Png),
        written(WebP),
        sample("services/all-in-one/demo/imagenet/images/rocket.jpg"),
    ] {
        assert!(preprocess::image::tensor(&image, &input, &sample).is_ok(), "the sample itself");
        TestRunner::new(cases(250))
            .run(&mutated(sample), |bytes| {
                within(LIMIT, || preprocess::image::tensor(&image, &input, &bytes)).ok();
                Ok(())
            })
            .unwrap();
    }
    assert!(peak_memory() < MOST_MEMORY, "{} bytes", peak_memory());
}
