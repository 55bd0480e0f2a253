//! The Open Inference Protocol V2: named tensors in, named tensors out.

mod answer;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use contracts::pointer::step;
use contracts::{ApiError, ErrorCode, Faults};
use domain::manifest::{Datatype, Modality, TensorSpec};
use models::onnx::spec_fits;
use models::preprocess::tabular;
use models::preprocess::text::IDS;
use models::rules::Compiled;
use models::{ModelError, Tensor, Values};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Asked, Bounds, Decoded, Form, input, natural, v2_binary, v2_data};
pub(super) use answer::encode;

/// The input that a tokenized model takes beside those of its graph.
const TEXT: &str = "text";

/// What the client wants back.
pub(super) struct Wishes {
    /// Echoed.
    id: Option<String>,
    /// Outputs with how each is wanted; empty for all.
    outputs: Vec<Wish>,
    /// Whether outputs come as bytes unless said otherwise.
    binary: bool,
    /// Whether a text was cut off.
    truncated: bool,
}

struct Wish {
    name: String,
    binary: Option<bool>,
    classification: Option<usize>,
}

type Parameters = BTreeMap<String, Value>;

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    parameters: Option<Parameters>,
    #[serde(borrow)]
    inputs: Vec<Input<'a>>,
    #[serde(default)]
    outputs: Option<Vec<Output>>,
}

#[derive(Deserialize)]
struct Input<'a> {
    name: String,
    shape: Vec<i64>,
    datatype: Datatype,
    #[serde(default)]
    parameters: Option<Parameters>,
    #[serde(default, borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Output {
    name: String,
    #[serde(default)]
    parameters: Option<Parameters>,
}

pub(super) fn decode(
    held: &Asked<'_>,
    header_length: Option<u64>,
    body: &Bytes,
    bounds: Bounds,
) -> Result<Decoded, ApiError> {
    let (json, binary) = match header_length {
        None => (body.as_ref(), None),
        Some(0) => return raw(held, body, bounds),
        Some(length) => {
            let at = usize::try_from(length).unwrap_or(usize::MAX);
            let Some((json, rest)) = body.split_at_checked(at) else {
                return Err(bad(format!(
                    "`Inference-Header-Content-Length` is {length}, the whole body is {}",
                    body.len()
                )));
            };
            (json, Some(rest))
        }
    };
    let request: Request<'_> = serde_json::from_slice(json).map_err(|error| {
        bad(format!("the request is not one of the Open Inference Protocol V2: {error}"))
    })?;
    let wishes = wishes(held, &request)?;
    let tensors = tensors(&request.inputs, binary)?;
    finish(held, tensors, wishes, bounds)
}

fn bad(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::BadRequest, message)
}

fn wishes(held: &Asked<'_>, request: &Request<'_>) -> Result<Wishes, ApiError> {
    let flag = |parameters: &Option<Parameters>, name: &str| {
        parameters.as_ref().and_then(|all| all.get(name)).and_then(Value::as_bool)
    };
    let mut faults = Faults::default();
    let mut outputs = Vec::new();
    for (index, output) in request.outputs.iter().flatten().enumerate() {
        let pointer = step("#/outputs", &index.to_string());
        if held.manifest.outputs.iter().all(|known| known.name != output.name) {
            let names: Vec<_> =
                held.manifest.outputs.iter().map(|known| format!("`{}`", known.name)).collect();
            let detail = format!("asks for `{}`, the model has {}", output.name, names.join(", "));
            faults.add(step(&pointer, "name"), detail);
        }
        let classes = output.parameters.as_ref().and_then(|all| all.get("classification"));
        let classification = match classes.map(Value::as_u64) {
            None => None,
            Some(Some(count)) if count > 0 => Some(usize::try_from(count).unwrap_or(usize::MAX)),
            Some(_) => {
                let pointer = step(&step(&pointer, "parameters"), "classification");
                faults.add(pointer, "must be a whole number from 1");
                None
            }
        };
        let binary = flag(&output.parameters, "binary_data");
        outputs.push(Wish { name: output.name.clone(), binary, classification });
    }
    faults.check()?;
    let binary = flag(&request.parameters, "binary_data_output").unwrap_or(false);
    Ok(Wishes { id: request.id.clone(), outputs, binary, truncated: false })
}

fn tensors(inputs: &[Input<'_>], binary: Option<&[u8]>) -> Result<Vec<Tensor>, ApiError> {
    let mut rest = binary.unwrap_or_default();
    let mut tensors = Vec::with_capacity(inputs.len());
    for (index, input) in inputs.iter().enumerate() {
        let pointer = step("#/inputs", &index.to_string());
        let at = |field: &str, detail: String| ApiError::at(step(&pointer, field), detail);
        let shape: Vec<usize> = input
            .shape
            .iter()
            .map(|size| usize::try_from(*size))
            .collect::<Result<_, _>>()
            .map_err(|_negative| at("shape", "must hold sizes of 0 or more".to_owned()))?;
        let size = input.parameters.as_ref().and_then(|all| all.get("binary_data_size"));
        let values = match (size, input.data) {
            (Some(_), Some(_)) => {
                return Err(at("data", "cannot stand beside `binary_data_size`".to_owned()));
            }
            (None, None) => {
                return Err(at(
                    "data",
                    "is missing: give values, or `binary_data_size`".to_owned(),
                ));
            }
            (None, Some(data)) => {
                v2_data::read(input.datatype, data).map_err(|detail| at("data", detail))?
            }
            (Some(size), None) => {
                if binary.is_none() {
                    return Err(bad(
                        "`binary_data_size` needs the header `Inference-Header-Content-Length`",
                    ));
                }
                let size = size.as_u64().and_then(|size| usize::try_from(size).ok());
                let Some((mine, after)) = size.and_then(|size| rest.split_at_checked(size)) else {
                    return Err(bad(format!(
                        "`binary_data_size` of input `{}` is not a size within the body's {} bytes \
                         left",
                        input.name,
                        rest.len()
                    )));
                };
                rest = after;
                v2_binary::read(input.datatype, mine).map_err(|detail| at("data", detail))?
            }
        };
        let count = values.len();
        let tensor = Tensor::new(&input.name, shape, values).map_err(|_other_count| {
            at("shape", format!("is {:?}, but {count} values came", input.shape))
        })?;
        tensors.push(tensor);
    }
    if !rest.is_empty() {
        return Err(bad(format!("the body has {} bytes that belong to no input", rest.len())));
    }
    Ok(tensors)
}

/// A body that is nothing but the single input's bytes.
fn raw(held: &Asked<'_>, body: &[u8], bounds: Bounds) -> Result<Decoded, ApiError> {
    let [spec] = held.manifest.inputs.as_slice() else {
        return Err(bad(
            "a raw request (`Inference-Header-Content-Length: 0`) needs a model of one input",
        ));
    };
    let values = v2_binary::read(spec.datatype, body).map_err(bad)?;
    let shape = shape_for(spec, values.len()).ok_or_else(|| {
        bad(format!(
            "{} values do not fit input `{}` of shape {:?}, of which one size may be open",
            values.len(),
            spec.name,
            spec.shape
        ))
    })?;
    let tensor = Tensor::new(&spec.name, shape, values).map_err(input::api)?;
    let wishes = Wishes { id: None, outputs: Vec::new(), binary: true, truncated: false };
    finish(held, vec![tensor], wishes, bounds)
}

/// The graph's shape with its one open size filled in.
fn shape_for(spec: &TensorSpec, count: usize) -> Option<Vec<usize>> {
    let known: usize = spec
        .shape
        .iter()
        .filter_map(|size| usize::try_from(*size).ok())
        .try_fold(1_usize, usize::checked_mul)?;
    let open = spec.shape.iter().filter(|size| **size < 0).count();
    let missing = match open {
        0 if known == count => 1,
        1 if known > 0 && count.is_multiple_of(known) => count / known,
        _ => return None,
    };
    Some(spec.shape.iter().map(|size| usize::try_from(*size).unwrap_or(missing)).collect())
}

/// Checks the tensors against the graph and the manifest.
fn finish(
    held: &Asked<'_>,
    tensors: Vec<Tensor>,
    mut wishes: Wishes,
    bounds: Bounds,
) -> Result<Decoded, ApiError> {
    let mut given = tensors;
    if let Some((texts, rows)) = texts(held, &given)? {
        natural::bounded(held, rows, bounds, "#/inputs/0")?;
        let made = input::tokens(held, &texts).map_err(input::api)?;
        wishes.truncated = made.truncated.contains(&true);
        let form = Form::V2(wishes);
        return Ok(Decoded { inputs: made.tensors, rows, form });
    }
    check_graph(held, &given)?;
    let rows = given.first().map_or(0, Tensor::rows);
    natural::bounded(held, rows, bounds, "#/inputs/0/shape")?;
    if held.model.batchable
        && let Some(index) = given.iter().position(|tensor| tensor.rows() != rows)
    {
        let pointer = step(&step("#/inputs", &index.to_string()), "shape");
        return Err(ApiError::at(pointer, format!("must be of {rows} rows, as the first input")));
    }
    check_rules(held, &given)?;
    // The model's order, so that requests of one model stack.
    let order =
        |tensor: &Tensor| held.manifest.inputs.iter().position(|spec| spec.name == tensor.name);
    given.sort_by_key(order);
    Ok(Decoded { inputs: given, rows, form: Form::V2(wishes) })
}

/// The texts of a request to a tokenized model that sends them as such.
fn texts(held: &Asked<'_>, given: &[Tensor]) -> Result<Option<(Vec<String>, usize)>, ApiError> {
    let ([tensor], true) = (given, held.tokenizer.is_some()) else { return Ok(None) };
    let Values::Bytes(list) = &tensor.values else { return Ok(None) };
    if tensor.name != TEXT {
        return Ok(None);
    }
    if !matches!(tensor.shape.as_slice(), [_] | [_, 1]) {
        return Err(ApiError::at("#/inputs/0/shape", "must be [n] or [n, 1]: one text per row"));
    }
    check_texts(held, "#/inputs/0/data", list)?;
    Ok(Some((list.clone(), list.len())))
}

fn check_texts(held: &Asked<'_>, pointer: &str, list: &[String]) -> Result<(), ApiError> {
    let mut faults = Faults::default();
    for (index, text) in list.iter().enumerate() {
        if let Some(fault) = input::text_fault(held, text) {
            faults.add(step(pointer, &index.to_string()), fault);
        }
    }
    faults.check()
}

fn check_graph(held: &Asked<'_>, given: &[Tensor]) -> Result<(), ApiError> {
    let specs = &held.manifest.inputs;
    let mut faults = Faults::default();
    let mut seen = BTreeSet::new();
    for (index, tensor) in given.iter().enumerate() {
        let pointer = step("#/inputs", &index.to_string());
        if !seen.insert(tensor.name.as_str()) {
            faults.add(pointer, format!("`{}` is given twice", tensor.name));
            continue;
        }
        match specs.iter().find(|spec| spec.name == tensor.name) {
            None => {
                let names: Vec<_> = specs.iter().map(|spec| format!("`{}`", spec.name)).collect();
                let detail = format!(
                    "is named `{}`, the model's inputs are {}",
                    tensor.name,
                    names.join(", ")
                );
                faults.add(pointer, detail);
            }
            Some(spec) => {
                if let Err(ModelError::Input { reason, .. }) = spec_fits(spec, tensor) {
                    faults.add(pointer, format!("(`{}`) {reason}", spec.name));
                }
            }
        }
    }
    for spec in specs.iter().filter(|spec| !seen.contains(spec.name.as_str())) {
        faults.add("#/inputs".to_owned(), format!("lacks `{}`", spec.name));
    }
    faults.check()
}

/// The manifest's rules hold whatever the protocol.
fn check_rules(held: &Asked<'_>, given: &[Tensor]) -> Result<(), ApiError> {
    let place = |name: &str| {
        given.iter().position(|tensor| tensor.name == name).unwrap_or_default().to_string()
    };
    let data = |name: &str| step(&step("#/inputs", &place(name)), "data");
    match held.manifest.modality {
        Modality::Tabular => {
            let mut faults = Faults::default();
            for fault in tabular::faults(&held.manifest, given, Faults::MOST) {
                faults.add(step(&data(&fault.input), &fault.index.to_string()), fault.reason);
            }
            for tensor in given {
                let (Values::Bytes(list), Some(rules)) = (&tensor.values, held.rules) else {
                    continue;
                };
                for (index, text) in list.iter().enumerate() {
                    if let Some(fault) = rules.text_fault(text) {
                        faults.add(step(&data(&tensor.name), &index.to_string()), fault);
                    }
                }
            }
            faults.check()
        }
        Modality::Text => {
            let most = held.manifest.text.as_ref().map_or(usize::MAX, |text| text.max_length);
            let unread =
                |tensor: &&Tensor| tensor.name == IDS && !matches!(tensor.values, Values::Bytes(_));
            if held.rules.is_some_and(Compiled::reads_texts) && given.iter().any(|one| unread(&one))
            {
                let pointer = step(&step("#/inputs", &place(IDS)), "data");
                let detail = "must be sent as texts: the model's policy has rules for them";
                return Err(ApiError::at(pointer, detail));
            }
            for tensor in given {
                if let Values::Bytes(list) = &tensor.values {
                    check_texts(held, &data(&tensor.name), list)?;
                } else if tensor.name == IDS && tensor.width() > most {
                    let pointer = step(&step("#/inputs", &place(IDS)), "shape");
                    let detail = format!("must be of at most {most} tokens per row");
                    return Err(ApiError::at(pointer, detail));
                }
            }
            Ok(())
        }
        Modality::Image => match given.iter().find(|tensor| tensor.values.has_non_finite()) {
            Some(tensor) => Err(ApiError::at(data(&tensor.name), "must hold finite numbers only")),
            None => Ok(()),
        },
    }
}
