//! The answer of a V2 request, as JSON or as JSON with bytes behind it.

use bytes::Bytes;
use contracts::ApiError;
use contracts::inference::PredictTask;
use domain::manifest::{Datatype, OutputRole};
use domain::{ModelName, PredictionId, VersionId};
use models::rules::Sieve;
use models::{Tensor, Values};
use serde::Serialize;

use super::super::{judge, v2_binary, v2_data};
use super::{Wish, Wishes};
use crate::InferenceError;
use crate::residency::Held;

#[derive(Serialize)]
struct Answer<'a> {
    model_name: &'a ModelName,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_version: Option<VersionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    parameters: About<'a>,
    outputs: Vec<Output<'a>>,
}

/// Ours: what feedback needs, and what a client should know.
#[derive(Serialize)]
struct About<'a> {
    prediction_id: PredictionId,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    degraded: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    flagged: Vec<&'a str>,
}

#[derive(Serialize)]
struct Output<'a> {
    name: &'a str,
    shape: &'a [usize],
    datatype: Datatype,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Binary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<v2_data::Data<'a>>,
}

#[derive(Serialize)]
struct Binary {
    binary_data_size: usize,
}

/// The body, and the length of its JSON if bytes stand behind it.
pub(in super::super) fn encode(
    held: &Held,
    task: &PredictTask,
    wishes: &Wishes,
    outputs: &[Tensor],
    sieve: Option<&mut Sieve<'_>>,
) -> Result<(Bytes, Option<u64>), InferenceError> {
    let mut shown: Vec<(Tensor, bool)> = Vec::new();
    if wishes.outputs.is_empty() {
        shown.extend(outputs.iter().map(|tensor| (tensor.clone(), wishes.binary)));
    }
    for wish in &wishes.outputs {
        let Some(tensor) = outputs.iter().find(|tensor| tensor.name == wish.name) else {
            continue;
        };
        shown.push((classified(held, wish, tensor)?, wish.binary.unwrap_or(wishes.binary)));
    }
    let mut flagged = Vec::new();
    if let Some(sieve) = sieve {
        for (tensor, _) in &mut shown {
            let Values::Bytes(list) = &mut tensor.values else { continue };
            for text in list {
                if let Some(masked) = sieve.text(text) {
                    *text = masked;
                }
            }
        }
        judge(task, Some(sieve))?;
        flagged = sieve.flagged();
    }
    let mut tail = Vec::new();
    let mut listed = Vec::with_capacity(shown.len());
    for (tensor, binary) in &shown {
        let (parameters, data) = if *binary {
            let before = tail.len();
            v2_binary::write(&tensor.values, &mut tail);
            (Some(Binary { binary_data_size: tail.len() - before }), None)
        } else {
            (None, Some(v2_data::Data(&tensor.values)))
        };
        listed.push(Output {
            name: &tensor.name,
            shape: &tensor.shape,
            datatype: tensor.values.datatype(),
            parameters,
            data,
        });
    }
    let binary = shown.iter().any(|(_, binary)| *binary);
    let answer = Answer {
        model_name: &task.target.model,
        model_version: task.show_version.then_some(task.target.version),
        id: wishes.id.as_deref(),
        parameters: About {
            prediction_id: task.prediction_id,
            truncated: wishes.truncated,
            degraded: task.degraded,
            flagged,
        },
        outputs: listed,
    };
    let mut body = serde_json::to_vec(&answer).map_err(|error| {
        tracing::error!(%error, "an answer could not be written");
        ApiError::internal()
    })?;
    let header_length = binary.then_some(body.len() as u64);
    body.extend_from_slice(&tail);
    Ok((Bytes::from(body), header_length))
}

/// The classification extension: the best `k` of each row as `<score>:<index>[:<label>]`.
fn classified(held: &Held, wish: &Wish, tensor: &Tensor) -> Result<Tensor, ApiError> {
    let Some(count) = wish.classification else { return Ok(tensor.clone()) };
    let scores: Vec<f64> = match &tensor.values {
        Values::Fp16(list) => list.iter().map(|value| value.to_f64()).collect(),
        Values::Fp32(list) => list.iter().map(|value| f64::from(*value)).collect(),
        Values::Fp64(list) => list.clone(),
        _ => {
            return Err(ApiError::at(
                "#/outputs",
                format!("`classification` needs scores, `{}` has none", tensor.name),
            ));
        }
    };
    let width = tensor.width().max(1);
    let named = held.manifest.outputs.iter().any(|output| {
        output.name == tensor.name
            && matches!(output.role, OutputRole::Probabilities | OutputRole::Logits)
    });
    let labels = if named && held.keys.len() == width { held.keys.as_slice() } else { &[] };
    let best = count.min(width);
    let mut list = Vec::with_capacity(tensor.rows() * best);
    for row in scores.chunks(width) {
        let mut order: Vec<(usize, f64)> = row.iter().copied().enumerate().collect();
        // A stable sort keeps the first of equals first.
        order.sort_by(|one, two| two.1.total_cmp(&one.1));
        for (index, score) in order.into_iter().take(best) {
            list.push(match labels.get(index) {
                Some(label) => format!("{score:.6}:{index}:{label}"),
                None => format!("{score:.6}:{index}"),
            });
        }
    }
    let rows = list.len() / best.max(1);
    Tensor::new(&tensor.name, vec![rows, best], Values::Bytes(list))
        .map_err(|error| InferenceError::Model(error).into())
}
