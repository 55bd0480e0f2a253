//! A manifest from the graph alone: what kind of input it takes and what its outputs mean.

mod outputs;

use std::collections::BTreeMap;

use bytes::Bytes;
use domain::Manifest;
use domain::manifest::{
    Color, Data, Datatype, Feature, FeatureKind, Filter, Format, ImageInput, Layout, Modality,
    OutputRole, OutputSpec, Resize, Task, TensorSpec, TextInput, Tool,
};
use serde_json::{Map, Value};

use super::{Inferred, labels};
use crate::graph::{Graph, Port, PortKind};
use crate::linfa::{self, LinfaModel};
use crate::{ModelError, preprocess};

/// The tokenizer's file where the author names none.
const TOKENIZER: &str = "tokenizer.json";
/// Side of a picture where the graph leaves it open.
const USUAL_SIDE: u32 = 224;

pub(super) fn from_graph(
    name: &str,
    graph: &Graph,
    files: &BTreeMap<String, Bytes>,
    author: &Map<String, Value>,
) -> Result<Inferred, ModelError> {
    let mut assumptions = Vec::new();
    let inputs = graph.inputs.iter().map(input).collect::<Result<Vec<_>, _>>()?;
    let labels = match labels::from_file(files)? {
        Some(labels) => labels,
        None => {
            match author.get("labels").and_then(|given| serde_json::from_value(given.clone()).ok())
            {
                Some(labels) => labels,
                None => graph.class_labels.clone(),
            }
        }
    };
    let mut manifest = Manifest {
        inputs,
        labels,
        format: Format::Onnx,
        converter: (!graph.producer.name.is_empty()).then(|| graph.producer.clone()),
        operators: graph.operators.clone(),
        ..empty(name)
    };
    manifest.outputs = outputs::specs(graph, &manifest.labels, &mut assumptions)?;
    manifest.task = outputs::task(&manifest.outputs, &mut assumptions);
    if manifest.labels.is_empty() && manifest.task == Task::Classification {
        let count = manifest
            .outputs
            .iter()
            .find(|output| matches!(output.role, OutputRole::Probabilities | OutputRole::Logits));
        let count = count.and_then(|output| output.shape.last().copied()).unwrap_or(-1);
        manifest.labels = (0..count.max(0)).map(|class| class.to_string()).collect();
        assumptions.push((
            "labels",
            "classes are named by their numbers, as no labels came with the model".to_owned(),
        ));
    }
    give_modality(&mut manifest, files, &mut assumptions);
    let free = manifest.inputs.iter().all(|input| input.shape.first() == Some(&-1));
    manifest.batchable = manifest.modality == Modality::Tabular
        && free
        && !graph.operators.contains_key("DynamicQuantizeLinear");
    Ok(Inferred { manifest, assumptions })
}

pub(super) fn from_linfa(
    name: &str,
    model: &LinfaModel,
    files: &BTreeMap<String, Bytes>,
) -> Result<Inferred, ModelError> {
    let width = i64::try_from(model.features.len()).unwrap_or(-1);
    let classes = i64::try_from(model.labels.len()).unwrap_or(-1);
    let mut outputs = vec![OutputSpec {
        name: linfa::LABEL.to_owned(),
        datatype: Datatype::Int64,
        shape: vec![-1],
        role: OutputRole::Label,
    }];
    if model.gives_probabilities() {
        outputs.push(OutputSpec {
            name: linfa::PROBABILITIES.to_owned(),
            datatype: Datatype::Fp32,
            shape: vec![-1, classes],
            role: OutputRole::Probabilities,
        });
    }
    let manifest = Manifest {
        format: Format::Linfa,
        framework: Some(Tool { name: "linfa".to_owned(), version: String::new() }),
        features: model.features.iter().map(|name| feature(name, FeatureKind::Number)).collect(),
        inputs: vec![TensorSpec {
            name: linfa::INPUT.to_owned(),
            datatype: Datatype::Fp32,
            shape: vec![-1, width],
        }],
        outputs,
        labels: labels::from_file(files)?.unwrap_or_else(|| model.labels.clone()),
        batchable: true,
        parameters: [("algorithm".to_owned(), model.algorithm().into())].into(),
        ..empty(name)
    };
    Ok(Inferred { manifest, assumptions: Vec::new() })
}

fn empty(name: &str) -> Manifest {
    Manifest {
        name: name.to_owned(),
        version: None,
        description: String::new(),
        task: Task::Classification,
        modality: Modality::Tabular,
        format: Format::Onnx,
        framework: None,
        converter: None,
        features: Vec::new(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        labels: Vec::new(),
        image: None,
        text: None,
        batchable: false,
        data: Data::default(),
        parameters: BTreeMap::new(),
        metrics: BTreeMap::new(),
        licence: String::new(),
        source: String::new(),
        intended_use: String::new(),
        limitations: Vec::new(),
        operators: BTreeMap::new(),
        assumptions: Vec::new(),
    }
}

fn feature(name: &str, kind: FeatureKind) -> Feature {
    Feature {
        name: name.to_owned(),
        kind,
        min: None,
        max: None,
        categories: Vec::new(),
        optional: false,
        training: None,
        description: String::new(),
    }
}

fn input(port: &Port) -> Result<TensorSpec, ModelError> {
    let bad = |what: &str| {
        ModelError::file(
            crate::graph::FILE,
            format!("has the input `{}`, a {what}: the engine feeds tensors only", port.name),
        )
    };
    match &port.kind {
        PortKind::Tensor { datatype, shape: Some(shape) } => {
            Ok(TensorSpec { name: port.name.clone(), datatype: *datatype, shape: shape.clone() })
        }
        PortKind::Tensor { shape: None, .. } => Err(bad("tensor without a declared shape")),
        PortKind::Maps => Err(bad("sequence of maps")),
        PortKind::Other(what) => Err(bad(what)),
    }
}

/// Fills `modality` and what belongs to it.
fn give_modality(
    manifest: &mut Manifest,
    files: &BTreeMap<String, Bytes>,
    assumptions: &mut Vec<(&'static str, String)>,
) {
    if let Some(text) = text(manifest, files, assumptions) {
        manifest.modality = Modality::Text;
        manifest.text = Some(text);
        return;
    }
    if let [input] = manifest.inputs.as_slice()
        && let Some(image) = image(input, assumptions)
    {
        manifest.modality = Modality::Image;
        manifest.image = Some(image);
        return;
    }
    manifest.modality = Modality::Tabular;
    manifest.features = features(&manifest.inputs);
    if manifest.features.is_empty() {
        let text = "the inputs fit neither rows nor texts nor pictures: the model answers over the V2 protocol only";
        assumptions.push(("features", text.to_owned()));
    } else if manifest.inputs.len() == 1 {
        let text = "features are named by their position, as the graph does not name them";
        assumptions.push(("features", text.to_owned()));
    }
}

fn features(inputs: &[TensorSpec]) -> Vec<Feature> {
    if let [input] = inputs
        && let [_, width] = input.shape.as_slice()
        && *width >= 2
        && let Some(kind) = kind(input.datatype)
        && *width <= preprocess::tabular::MOST_FEATURES
    {
        return (0..*width).map(|index| feature(&format!("f{index}"), kind)).collect();
    }
    let column = |input: &TensorSpec| match input.shape.as_slice() {
        [_] | [_, 1] => kind(input.datatype).map(|kind| feature(&input.name, kind)),
        _ => None,
    };
    inputs.iter().map(column).collect::<Option<Vec<_>>>().unwrap_or_default()
}

fn kind(datatype: Datatype) -> Option<FeatureKind> {
    match datatype {
        Datatype::Fp32 | Datatype::Fp64 | Datatype::Fp16 => Some(FeatureKind::Number),
        Datatype::Int64 | Datatype::Int32 => Some(FeatureKind::Integer),
        Datatype::Bytes => Some(FeatureKind::String),
        Datatype::Bool => Some(FeatureKind::Boolean),
        _ => None,
    }
}

fn text(
    manifest: &Manifest,
    files: &BTreeMap<String, Bytes>,
    assumptions: &mut Vec<(&'static str, String)>,
) -> Option<TextInput> {
    let default =
        |tokenizer, max_length| TextInput { tokenizer, max_length, pad_id: 0, max_chars: 10_000 };
    if let [input] = manifest.inputs.as_slice()
        && input.datatype == Datatype::Bytes
        && matches!(input.shape.as_slice(), [_] | [_, 1])
    {
        return Some(default(None, 512));
    }
    let tokens = preprocess::text::TOKEN_INPUTS;
    let tokenized = manifest.inputs.iter().any(|input| input.name == preprocess::text::IDS)
        && manifest.inputs.iter().all(|input| {
            tokens.contains(&input.name.as_str()) && input.datatype == Datatype::Int64
        });
    if !tokenized {
        return None;
    }
    let length = manifest.inputs.iter().find_map(|input| input.shape.get(1).copied());
    let length = match length.and_then(|length| usize::try_from(length).ok()) {
        Some(length) => length,
        None => {
            assumptions.push(("text", "at most 512 tokens assumed".to_owned()));
            512
        }
    };
    if !files.contains_key(TOKENIZER) {
        let text =
            "no `tokenizer.json` came with the model: it takes token ids over the V2 protocol only";
        assumptions.push(("text", text.to_owned()));
        return Some(default(None, length));
    }
    assumptions.push(("text", "padding with token 0 assumed".to_owned()));
    Some(default(Some(TOKENIZER.to_owned()), length))
}

fn image(input: &TensorSpec, assumptions: &mut Vec<(&'static str, String)>) -> Option<ImageInput> {
    if !matches!(input.datatype, Datatype::Fp32 | Datatype::Fp16 | Datatype::Uint8) {
        return None;
    }
    let [_, a, b, c] = input.shape.as_slice() else { return None };
    let (layout, channels, height, width) = match (a, c) {
        (1 | 3, _) => (Layout::Nchw, *a, *b, *c),
        (_, 1 | 3) => (Layout::Nhwc, *c, *a, *b),
        _ => return None,
    };
    let mut side = |size: i64| match u32::try_from(size) {
        Ok(size) => size,
        Err(_) => {
            assumptions.push(("image", format!("image side of {USUAL_SIDE} pixels assumed")));
            USUAL_SIDE
        }
    };
    let (height, width) = (side(height), side(width));
    let color = if channels == 1 { Color::Gray } else { Color::Rgb };
    let scale = if input.datatype == Datatype::Uint8 {
        assumptions.push(("image", "pixel values 0..255, RGB, assumed".to_owned()));
        1.0
    } else {
        assumptions
            .push(("image", "image scaling 1/255, without mean and std, RGB, assumed".to_owned()));
        1.0 / 255.0
    };
    assumptions.push((
        "image",
        "resize of the shorter side, bilinear, with centre crop assumed".to_owned(),
    ));
    Some(ImageInput {
        width,
        height,
        color,
        resize: Resize::default(),
        filter: Filter::default(),
        scale,
        mean: Vec::new(),
        std: Vec::new(),
        layout,
        max_pixels: 50_000_000,
    })
}
