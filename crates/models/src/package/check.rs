//! Whether a manifest fits its graph, its files and itself.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use domain::Manifest;
use domain::manifest::{Datatype, Feature, FeatureKind, Format, Modality, OutputRole, TensorSpec};

use super::model_file;
use crate::ModelError;
use crate::graph::{Graph, PortKind};
use crate::preprocess::text::Tokenizer;

pub(super) fn manifest(
    manifest: &Manifest,
    files: &BTreeMap<String, Bytes>,
    graph: Option<&Graph>,
) -> Result<(), ModelError> {
    let file = model_file(manifest.format);
    if !files.contains_key(file) {
        return Err(ModelError::manifest("format", format!("asks for the file `{file}`")));
    }
    if let Some(graph) = graph {
        against_graph(manifest, graph)?;
    } else if manifest.format == Format::Onnx {
        return Err(ModelError::manifest("format", "must be `linfa` for `model.linfa.json`"));
    }
    labels(manifest)?;
    match manifest.modality {
        Modality::Tabular => tabular(manifest)?,
        Modality::Image => image(manifest)?,
        Modality::Text => text(manifest, files)?,
    }
    unknown_json(manifest, files)
}

fn against_graph(manifest: &Manifest, graph: &Graph) -> Result<(), ModelError> {
    let names = |given: Vec<&str>| given.into_iter().map(str::to_owned).collect::<BTreeSet<_>>();
    let told = names(manifest.inputs.iter().map(|input| input.name.as_str()).collect());
    let real = names(graph.inputs.iter().map(|port| port.name.as_str()).collect());
    if told != real {
        return Err(ModelError::manifest(
            "inputs",
            format!("names {told:?}, the graph's inputs are {real:?}"),
        ));
    }
    for input in &manifest.inputs {
        let port = graph.inputs.iter().find(|port| port.name == input.name);
        let fits = port.is_some_and(|port| match &port.kind {
            PortKind::Tensor { datatype, shape: Some(shape) } => {
                *datatype == input.datatype && shape_fits(shape, &input.shape)
            }
            _ => false,
        });
        if !fits {
            return Err(ModelError::manifest(
                format!("inputs/{}", input.name),
                "must have the graph's datatype and shape (-1: any size)",
            ));
        }
    }
    for output in &manifest.outputs {
        let Some(port) = graph.outputs.iter().find(|port| port.name == output.name) else {
            let real = names(graph.outputs.iter().map(|port| port.name.as_str()).collect());
            return Err(ModelError::manifest(
                format!("outputs/{}", output.name),
                format!("is not in the graph, whose outputs are {real:?}"),
            ));
        };
        // Shapes are not compared: converters declare wrong ones that run well.
        if let PortKind::Tensor { datatype, .. } = &port.kind
            && *datatype != output.datatype
        {
            return Err(ModelError::manifest(
                format!("outputs/{}", output.name),
                "must have the graph's datatype",
            ));
        }
    }
    Ok(())
}

fn shape_fits(graph: &[i64], told: &[i64]) -> bool {
    graph.len() == told.len()
        && graph.iter().zip(told).all(|(real, told)| *real < 0 || real == told)
}

fn labels(manifest: &Manifest) -> Result<(), ModelError> {
    let unique: BTreeSet<_> = manifest.labels.iter().collect();
    // ImageNet itself names two of its classes alike (`crane`, `maillot`): doubles are allowed for
    // pictures, where they are told apart by their number.
    if unique.len() != manifest.labels.len() && manifest.modality != Modality::Image {
        return Err(ModelError::manifest("labels", "must not name a class twice"));
    }
    let scored = manifest
        .outputs
        .iter()
        .find(|output| matches!(output.role, OutputRole::Probabilities | OutputRole::Logits));
    let Some(output) = scored else { return Ok(()) };
    let columns = match output.shape.as_slice() {
        [_, columns] if *columns > 0 => *columns,
        _ => return Ok(()),
    };
    let count = i64::try_from(manifest.labels.len()).unwrap_or(i64::MAX);
    if count == columns || (columns == 1 && count == 2) {
        return Ok(());
    }
    Err(ModelError::manifest(
        "labels",
        format!("must be {columns}, one per column of output `{}`, got {count}", output.name),
    ))
}

fn tabular(manifest: &Manifest) -> Result<(), ModelError> {
    let mut seen = BTreeSet::new();
    for feature in &manifest.features {
        if !seen.insert(feature.name.as_str()) {
            return Err(bad(feature, "", "is named twice"));
        }
        rules(feature)?;
    }
    match manifest.inputs.as_slice() {
        _ if manifest.features.is_empty() => Ok(()),
        [input] if input.shape.len() == 2 => {
            let width = input.shape.get(1).copied().unwrap_or(-1);
            let count = i64::try_from(manifest.features.len()).unwrap_or(i64::MAX);
            if width >= 0 && width != count {
                return Err(ModelError::manifest(
                    "features",
                    format!("must be {width}, the columns of input `{}`, got {count}", input.name),
                ));
            }
            manifest.features.iter().try_for_each(|feature| carries(feature, input))
        }
        inputs => {
            for feature in &manifest.features {
                let Some(input) = inputs.iter().find(|input| input.name == feature.name) else {
                    return Err(bad(feature, "", "must be named as one of the graph's inputs"));
                };
                carries(feature, input)?;
            }
            if inputs.len() != manifest.features.len() {
                return Err(ModelError::manifest("features", "must be one per input of the graph"));
            }
            Ok(())
        }
    }
}

fn bad(feature: &Feature, field: &str, reason: &str) -> ModelError {
    let field = if field.is_empty() { String::new() } else { format!("/{field}") };
    ModelError::manifest(format!("features/{}{field}", feature.name), reason)
}

fn rules(feature: &Feature) -> Result<(), ModelError> {
    let numeric = matches!(feature.kind, FeatureKind::Number | FeatureKind::Integer);
    if !numeric && (feature.min.is_some() || feature.max.is_some()) {
        return Err(bad(feature, "min", "is for numbers only, as is `max`"));
    }
    if let (Some(min), Some(max)) = (feature.min, feature.max)
        && min > max
    {
        return Err(bad(feature, "min", "must not be above `max`"));
    }
    let unique: BTreeSet<_> = feature.categories.iter().collect();
    match feature.kind {
        FeatureKind::Category if feature.categories.is_empty() => {
            Err(bad(feature, "categories", "must list the values allowed"))
        }
        FeatureKind::Category if unique.len() != feature.categories.len() => {
            Err(bad(feature, "categories", "must not list a value twice"))
        }
        FeatureKind::Category => Ok(()),
        _ if !feature.categories.is_empty() => {
            Err(bad(feature, "categories", "is for features of type `category` only"))
        }
        _ => Ok(()),
    }
}

/// Whether an input of this element type can carry the feature.
fn carries(feature: &Feature, input: &TensorSpec) -> Result<(), ModelError> {
    let float = matches!(input.datatype, Datatype::Fp16 | Datatype::Fp32 | Datatype::Fp64);
    let whole = matches!(input.datatype, Datatype::Int32 | Datatype::Int64);
    let fits = match feature.kind {
        FeatureKind::Number => float,
        FeatureKind::Integer => float || whole,
        FeatureKind::Boolean => float || whole || input.datatype == Datatype::Bool,
        FeatureKind::Category => float || whole || input.datatype == Datatype::Bytes,
        FeatureKind::String => input.datatype == Datatype::Bytes,
    };
    if !fits {
        let reason = format!(
            "does not fit input `{}` of datatype `{}`",
            input.name,
            crate::onnx::datatype_name(input.datatype)
        );
        return Err(bad(feature, "type", &reason));
    }
    if feature.optional && !float {
        return Err(bad(feature, "optional", "needs a float input: only these have NaN"));
    }
    Ok(())
}

fn image(manifest: &Manifest) -> Result<(), ModelError> {
    let Some(image) = &manifest.image else {
        return Err(ModelError::manifest("image", "is missing, but `modality` is `image`"));
    };
    let [input] = manifest.inputs.as_slice() else {
        return Err(ModelError::manifest("inputs", "must be one for pictures"));
    };
    crate::preprocess::image::fits(image, input)
}

fn text(manifest: &Manifest, files: &BTreeMap<String, Bytes>) -> Result<(), ModelError> {
    let Some(text) = &manifest.text else {
        return Err(ModelError::manifest("text", "is missing, but `modality` is `text`"));
    };
    let Some(file) = &text.tokenizer else { return Ok(()) };
    let Some(bytes) = files.get(file) else {
        return Err(ModelError::manifest(
            "text/tokenizer",
            format!("names the file `{file}`, which is not in the package"),
        ));
    };
    let known = crate::preprocess::text::TOKEN_INPUTS;
    if let Some(input) = manifest.inputs.iter().find(|input| !known.contains(&input.name.as_str()))
    {
        return Err(ModelError::manifest(
            format!("inputs/{}", input.name),
            format!("cannot be filled by a tokenizer: it fills {known:?}"),
        ));
    }
    Tokenizer::load(file, bytes, text).map(|_| ())
}

/// JSON files that nothing reads are probably misspelt ones.
fn unknown_json(manifest: &Manifest, files: &BTreeMap<String, Bytes>) -> Result<(), ModelError> {
    let tokenizer = manifest.text.as_ref().and_then(|text| text.tokenizer.as_deref());
    // Cards, goldens and manifests lie beside many models; they are kept, never read.
    let beside = ["labels.json", "card.json", "golden.json", "manifest.json"];
    let read = |name: &str| {
        beside.contains(&name)
            || name == model_file(manifest.format)
            || Some(name) == tokenizer
            || !name.to_ascii_lowercase().ends_with(".json")
    };
    match files.keys().find(|name| !read(name)) {
        Some(name) => Err(ModelError::file(
            name,
            "is read by nothing: misspelt, or not named in `text.tokenizer`?",
        )),
        None => Ok(()),
    }
}
