//! Models with golden answers: a folder each, with `model.onnx`, `card.json` and `golden.json`.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::client::Upload;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// A model's folder.
#[derive(Debug, Clone)]
pub struct ModelFolder {
    /// The folder's name.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Facts about the model.
    pub card: Value,
    /// What its original framework answered.
    pub golden: Value,
}

/// The folders that hold models: the one that `MODELS_DIR` names, or those of the repository.
pub fn places() -> Vec<PathBuf> {
    match std::env::var_os("MODELS_DIR") {
        Some(folder) => vec![PathBuf::from(folder)],
        None => ["tests/models", "services/all-in-one/demo"]
            .map(|folder| Path::new(ROOT).join(folder).canonicalize().unwrap())
            .to_vec(),
    }
}

/// All models of [`places`], by name.
pub fn all() -> Vec<ModelFolder> {
    let mut found = Vec::new();
    for place in places() {
        let entries = fs::read_dir(&place);
        let entries = entries.unwrap_or_else(|error| panic!("`{}`: {error}", place.display()));
        for entry in entries {
            let path = entry.unwrap().path();
            if path.join("model.onnx").is_file() && path.join("golden.json").is_file() {
                found.push(ModelFolder::read(path));
            }
        }
    }
    assert!(!found.is_empty(), "no model with `model.onnx` and `golden.json` in {:?}", places());
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}

/// A committed model of `tests/models`.
pub fn committed(name: &str) -> ModelFolder {
    ModelFolder::read(Path::new(ROOT).join("tests/models").join(name))
}

/// A file of `tests/models`.
pub fn bytes(path: &str) -> Bytes {
    Bytes::from(fs::read(Path::new(ROOT).join("tests/models").join(path)).unwrap())
}

/// A model of the demo.
pub fn demo(name: &str) -> ModelFolder {
    ModelFolder::read(Path::new(ROOT).join("services/all-in-one/demo").join(name))
}

impl ModelFolder {
    fn read(path: PathBuf) -> Self {
        let json = |name: &str| {
            let bytes = fs::read(path.join(name));
            let bytes =
                bytes.unwrap_or_else(|error| panic!("`{}/{name}`: {error}", path.display()));
            serde_json::from_slice(&bytes).unwrap()
        };
        Self {
            name: path.file_name().unwrap().to_str().unwrap().to_owned(),
            card: json("card.json"),
            golden: json("golden.json"),
            path,
        }
    }

    /// A file of the folder.
    pub fn file(&self, name: &str) -> Bytes {
        let path = self.find(name);
        Bytes::from(fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    }

    /// A variant of a model may use the pictures in the other's folder.
    fn find(&self, name: &str) -> PathBuf {
        let own = self.path.join(name);
        if own.exists() {
            return own;
        }
        let beside = fs::read_dir(self.path.parent().unwrap()).unwrap();
        let mut others = beside.map(|entry| entry.unwrap().path().join(name));
        others.find(|path| path.exists()).unwrap_or(own)
    }

    /// What somebody would upload: the model, what belongs to it, and a manifest from the card.
    pub fn upload(&self) -> Upload {
        let names = ["model.onnx", "labels.json", "tokenizer.json"];
        let there = names.into_iter().filter(|name| self.path.join(name).is_file());
        let files = there.map(|name| (name.to_owned(), self.file(name))).collect();
        Upload { manifest: Some(self.manifest()), files }
    }

    /// The bare graph and nothing else.
    pub fn bare(&self) -> Upload {
        Upload { manifest: None, files: vec![("model.onnx".to_owned(), self.file("model.onnx"))] }
    }

    /// Names of the input features.
    pub fn features(&self) -> Vec<String> {
        let features = self.card["features"].as_array().cloned().unwrap_or_default();
        features.iter().map(|feature| feature["name"].as_str().unwrap().to_owned()).collect()
    }

    /// The manifest in the repository if there is one; else the card's facts as an author would
    /// write them.
    pub fn manifest(&self) -> Value {
        if let Ok(bytes) = fs::read(self.path.join("manifest.json")) {
            return serde_json::from_slice(&bytes).unwrap();
        }
        manifest_of(&self.card)
    }
}

fn manifest_of(card: &Value) -> Value {
    let mut manifest = Map::new();
    let mut set = |key: &str, value: Value| {
        if !value.is_null() {
            manifest.insert(key.to_owned(), value);
        }
    };
    set("name", card["name"].clone());
    set("version", json!("1.0.0"));
    set("description", card["description"].clone());
    set("framework", card["framework"].clone());
    set("converter", card["converter"].clone());
    set("licence", card["licence"].clone());
    set("source", card["source"].clone());
    set("metrics", card["metrics"].clone());
    set("modality", card["modality"].clone());
    // One graph may answer two tasks; the first is what our own form tells.
    let task = card["task"].as_str().and_then(|tasks| tasks.split('+').next());
    set("task", json!(task));
    let estimator = &card["estimator"];
    let rows = &card["training_rows"];
    set("parameters", without_null(json!({"estimator": estimator, "training_rows": rows})));
    if let Some(features) = card["features"].as_array() {
        set("features", features.iter().map(feature).collect());
    }
    if let Some(preprocessing) = card["preprocessing"].as_object() {
        set("image", image(preprocessing, &card["inputs"][0]["shape"]));
    }
    if let Some(tokenizer) = card["tokenizer"].as_object() {
        let (file, most) = (&tokenizer["file"], &tokenizer["max_length"]);
        set("text", json!({"tokenizer": file, "max_length": most}));
    }
    Value::Object(manifest)
}

fn feature(feature: &Value) -> Value {
    let (min, max) = (&feature["train_min"], &feature["train_max"]);
    let range = json!({"min": min, "max": max, "mean": feature["train_mean"]});
    let training = if min.is_null() { Value::Null } else { without_null(range) };
    without_null(json!({"name": feature["name"], "training": training}))
}

fn image(preprocessing: &Map<String, Value>, shape: &Value) -> Value {
    let says = |key: &str, word: &str| {
        preprocessing[key].as_str().is_some_and(|text| text.to_lowercase().contains(word))
    };
    let filters = ["nearest", "bicubic", "lanczos"];
    let filter = filters.into_iter().find(|filter| says("resize", filter)).unwrap_or("bilinear");
    let nchw = says("layout", "nchw");
    let (height, width) = if nchw { (&shape[2], &shape[3]) } else { (&shape[1], &shape[2]) };
    json!({
        "width": width,
        "height": height,
        "color": if says("decode", "rgb") { "rgb" } else { "bgr" },
        "resize": if says("resize", "shorter side") { "shorter_side" } else { "stretch" },
        "filter": if filter == "lanczos" { "lanczos3" } else { filter },
        "scale": 1.0,
        "mean": preprocessing["mean"],
        "std": preprocessing["std"],
        "layout": if nchw { "nchw" } else { "nhwc" },
    })
}

fn without_null(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            Value::Object(fields.into_iter().filter(|(_, value)| !value.is_null()).collect())
        }
        other => other,
    }
}
