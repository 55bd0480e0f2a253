//! A model as it is uploaded and stored: its files and its manifest.
//!
//! The manifest is read from the graph first; what the author says is laid over it, top-level
//! field by field; then both are checked against each other.

mod check;
mod files;
mod infer;
mod labels;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use domain::Manifest;
use domain::manifest::Format;
use serde_json::Value;
use serde_path_to_error::Segment;

use crate::graph::{self, Graph};
use crate::linfa::{self, LinfaModel};
use crate::onnx::OnnxPredictor;
use crate::preprocess::text::Tokenizer;
use crate::{ModelError, Predictor};

/// Where the recipes for other formats are.
pub const RECIPES: &str = "docs/bring-your-model.md";

/// Values that are longer are not repeated in an error.
const VALUE_CHARS: usize = 80;

/// A model's files with the manifest that describes them.
#[derive(Debug, Clone)]
pub struct Package {
    /// What is known of the model.
    pub manifest: Manifest,
    /// Its files by name.
    pub files: BTreeMap<String, Bytes>,
}

impl Package {
    /// Puts a package together from files. `name` is the model's name unless the author gives
    /// another; `author` is any part of a manifest, its fields take the place of the inferred ones.
    ///
    /// # Errors
    /// [`ModelError::File`] for a file that is not allowed or damaged, [`ModelError::Manifest`] for
    /// a field that contradicts the graph, another field, or the schema.
    pub fn assemble(
        name: &str,
        author: Option<Value>,
        files: BTreeMap<String, Bytes>,
    ) -> Result<Self, ModelError> {
        files::check_names(&files)?;
        let author = match author {
            None | Some(Value::Null) => serde_json::Map::new(),
            Some(Value::Object(fields)) => fields,
            Some(_) => return Err(ModelError::manifest("", "must be a JSON object")),
        };
        let (inferred, graph) = match (files.get(graph::FILE), files.get(linfa::FILE)) {
            (Some(bytes), None) => {
                let graph = Graph::read(bytes)?;
                (infer::from_graph(name, &graph, &files, &author)?, Some(graph))
            }
            (None, Some(bytes)) => {
                (infer::from_linfa(name, &LinfaModel::from_json(bytes)?, &files)?, None)
            }
            (Some(_), Some(_)) => {
                return Err(ModelError::file(linfa::FILE, "must not lie beside `model.onnx`"));
            }
            (None, None) => {
                return Err(ModelError::file(
                    graph::FILE,
                    format!("is missing; see `{RECIPES}` for how to make it"),
                ));
            }
        };
        let named_twice = author.contains_key("labels") && files.contains_key(files::LABELS);
        let from_file = named_twice.then(|| inferred.manifest.labels.clone());
        let manifest = overlay(inferred, author)?;
        if from_file.is_some_and(|labels| labels != manifest.labels) {
            return Err(ModelError::manifest(
                "labels",
                "differ from those of `labels.json`: leave one of the two out",
            ));
        }
        check::manifest(&manifest, &files, graph.as_ref())?;
        Ok(Self { manifest, files })
    }

    /// Loads the model, ready to run. `sessions` is how many calls may run at once, `run_limit` the
    /// longest one may take (both ONNX).
    ///
    /// # Errors
    /// [`ModelError::Library`], [`ModelError::Operator`] or [`ModelError::Load`] if it does not
    /// load.
    pub fn predictor(
        &self,
        sessions: usize,
        run_limit: Duration,
    ) -> Result<Box<dyn Predictor>, ModelError> {
        let file = model_file(self.manifest.format);
        let bytes = self.files.get(file).ok_or_else(|| ModelError::file(file, "is missing"))?;
        Ok(match self.manifest.format {
            Format::Onnx => {
                Box::new(OnnxPredictor::load(&self.manifest, bytes, sessions, run_limit)?)
            }
            Format::Linfa => Box::new(LinfaModel::from_json(bytes)?),
        })
    }

    /// The tokenizer, if the model has one.
    ///
    /// # Errors
    /// [`ModelError::File`] if its file is damaged.
    pub fn tokenizer(&self) -> Result<Option<Tokenizer>, ModelError> {
        let Some(text) = &self.manifest.text else { return Ok(None) };
        let Some(file) = &text.tokenizer else { return Ok(None) };
        let bytes = self.files.get(file).ok_or_else(|| ModelError::file(file, "is missing"))?;
        Tokenizer::load(file, bytes, text).map(Some)
    }
}

/// The name of the file that holds a model of this format.
pub fn model_file(format: Format) -> &'static str {
    match format {
        Format::Onnx => graph::FILE,
        Format::Linfa => linfa::FILE,
    }
}

/// An inferred manifest; each assumption knows the field that would settle it.
struct Inferred {
    manifest: Manifest,
    assumptions: Vec<(&'static str, String)>,
}

fn overlay(
    inferred: Inferred,
    author: serde_json::Map<String, Value>,
) -> Result<Manifest, ModelError> {
    let Inferred { mut manifest, assumptions } = inferred;
    manifest.assumptions = assumptions
        .into_iter()
        .filter(|(field, _)| !author.contains_key(*field))
        .map(|(_, text)| text)
        .collect();
    let (batchable, operators) = (manifest.batchable, manifest.operators.clone());
    let assumptions = manifest.assumptions.clone();
    let unfit =
        |error: serde_json::Error| ModelError::manifest("", format!("does not fit: {error}"));
    let mut fields = match serde_json::to_value(manifest).map_err(unfit)? {
        Value::Object(fields) => fields,
        _ => serde_json::Map::new(),
    };
    fields.extend(author);
    let mut manifest = read(&Value::Object(fields))?;
    // Facts of the graph, not opinions. An author may forbid batching, never force it.
    manifest.batchable = manifest.batchable && batchable;
    manifest.operators = operators;
    manifest.assumptions = assumptions;
    Ok(manifest)
}

/// # Errors
/// [`ModelError::Manifest`] with the place and the value that is no part of a manifest.
fn read(fields: &Value) -> Result<Manifest, ModelError> {
    serde_path_to_error::deserialize(fields).map_err(|error| {
        let mut pointer = String::new();
        for segment in error.path() {
            match segment {
                Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
                Segment::Map { key } | Segment::Enum { variant: key } => {
                    pointer.push_str(&format!("/{key}"));
                }
                Segment::Unknown => {}
            }
        }
        let value = fields.pointer(&pointer).map_or_else(String::new, Value::to_string);
        let got = if value.is_empty() || value.len() > VALUE_CHARS {
            String::new()
        } else {
            format!(", got `{value}`")
        };
        let field = pointer.trim_start_matches('/');
        ModelError::manifest(field, format!("does not fit: {}{got}", error.inner()))
    })
}

#[cfg(test)]
mod tests;
