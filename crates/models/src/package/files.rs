//! Which files a package may hold. Formats that run code when loaded are turned away by name and
//! by their first bytes, with the recipe that converts them.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;

use super::RECIPES;
use crate::ModelError;
use crate::graph;
use crate::linfa;

/// The labels' file.
pub(super) const LABELS: &str = "labels.json";

/// Files beside the model that are kept but not read.
const PAPERS: [&str; 3] = ["md", "txt", "rst"];

pub(super) fn check_names(files: &BTreeMap<String, Bytes>) -> Result<(), ModelError> {
    for (name, bytes) in files {
        let plain = !name.is_empty()
            && name.len() <= 128
            && !name.starts_with('.')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
        if !plain {
            let shown: String = name.chars().take(128).collect();
            return Err(ModelError::file(
                &shown,
                "must have a plain name: letters, digits and `._-`, no folders, no leading dot",
            ));
        }
        if let Some(format) = foreign(name, bytes) {
            return Err(ModelError::file(
                name,
                format!(
                    "is {format}, which the engine never loads: convert it to `model.onnx`, see \
                     `{RECIPES}`"
                ),
            ));
        }
        if !known(name) {
            return Err(ModelError::file(
                name,
                "is not a file of a package: these are `model.onnx` or `model.linfa.json`, \
                 `labels.json`, a tokenizer (`*.json`), a licence, a README, texts",
            ));
        }
    }
    Ok(())
}

fn known(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let extension = Path::new(&lower).extension().and_then(|text| text.to_str());
    name == graph::FILE
        || name == linfa::FILE
        || extension == Some("json")
        || extension.is_some_and(|extension| PAPERS.contains(&extension))
        || ["licence", "license", "readme", "notice"].iter().any(|start| lower.starts_with(start))
}

/// The format of a file that is not for this engine, by its name or its first bytes.
fn foreign(name: &str, bytes: &[u8]) -> Option<&'static str> {
    const PICKLE: &str = "a pickle (it runs code when loaded)";
    const TORCH: &str = "a PyTorch file (a pickle in a zip, which runs code when loaded)";
    const KERAS: &str = "a Keras file";
    let lower = name.to_ascii_lowercase();
    match Path::new(&lower).extension().and_then(|text| text.to_str()) {
        Some("pkl" | "pickle" | "joblib" | "dill") => return Some(PICKLE),
        Some("pt" | "pth" | "ckpt" | "bin" | "mar") => return Some(TORCH),
        Some("h5" | "hdf5" | "keras") => return Some(KERAS),
        Some("safetensors") => return Some("safetensors (weights without a graph)"),
        Some("pb" | "tflite") => return Some("a TensorFlow file"),
        Some("py" | "pyc" | "so" | "dll" | "sh") => return Some("code"),
        _ => {}
    }
    match bytes {
        [0x80, 2..=5, ..] => Some(PICKLE),
        [b'P', b'K', 3, 4, ..] => Some("a zip file (PyTorch and Keras files are such)"),
        [0x89, b'H', b'D', b'F', ..] => Some(KERAS),
        [0x1f, 0x8b, ..] | [b'x', 0x01 | 0x9c | 0xda, ..] => {
            Some("a compressed file (joblib files are such)")
        }
        [0x7f, b'E', b'L', b'F', ..] | [b'#', b'!', ..] => Some("code"),
        _ => None,
    }
}
