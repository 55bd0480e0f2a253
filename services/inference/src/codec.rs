//! Payloads into tensors, tensors into answers.

mod answer;
mod input;
mod json;
mod natural;
mod table;
mod v2;
mod v2_binary;
mod v2_data;

use std::ops::Deref;

use bytes::Bytes;
use contracts::inference::{Answered, PredictTask, Protocol, WITHHELD};
use contracts::{ApiError, ErrorCode, Framed};
use models::Tensor;
use models::outcome::{self, Outcome, Prediction};
use models::rules::{Compiled, Sieve};
use runtime::telemetry::{label, metrics};

use crate::InferenceError;
use crate::executor::Ran;
use crate::residency::Held;

/// A request as tensors, with what its answer must know of it.
pub(crate) struct Decoded {
    /// The model's inputs.
    pub(crate) inputs: Vec<Tensor>,
    /// Rows in them.
    pub(crate) rows: usize,
    form: Form,
}

/// How the answer is to be written.
enum Form {
    /// One envelope, or a list.
    Natural { list: bool, truncated: Vec<bool> },
    /// As the V2 protocol has it.
    V2(v2::Wishes),
}

/// What bounds a request and shapes an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Rows in one request.
    pub(crate) max_rows: usize,
    /// Probabilities shown for models of many classes.
    pub(crate) top: usize,
}

/// Reads a payload.
///
/// # Errors
/// `bad_request` for what is malformed, `unprocessable` with pointers for values that break a rule,
/// `too_large` for too many rows.
pub(crate) fn decode(
    held: &Held,
    rules: Option<&Compiled>,
    task: &PredictTask,
    body: &Bytes,
    bounds: Bounds,
) -> Result<Decoded, ApiError> {
    let held = &Asked { held, rules };
    match &task.protocol {
        Protocol::Natural => natural::decode(held, &task.content_type, body, bounds),
        Protocol::V2 { header_length } => v2::decode(held, *header_length, body, bounds),
    }
}

/// Writes an answer.
///
/// # Errors
/// [`InferenceError::Model`] if the outputs are no answer.
pub(crate) fn encode(
    held: &Held,
    rules: Option<&Compiled>,
    task: &PredictTask,
    form: &Remainder,
    ran: Ran,
    bounds: Bounds,
) -> Result<Framed<Answered>, InferenceError> {
    let rules = rules.filter(|rules| rules.reads_answers());
    let mut sieve = rules.map(Sieve::new);
    let rows = u32::try_from(form.rows).unwrap_or(u32::MAX);
    let outcomes = outcome::outcomes(&held.manifest, &ran.outputs);
    let (outcomes, body, content_type, header_length) = match &form.form {
        Form::Natural { list, truncated } => {
            let outcomes = outcomes?;
            let view = answer::View { held, task, top: bounds.top };
            let body = answer::write(&view, &outcomes, *list, truncated, sieve.as_mut())?;
            (outcomes, body, "application/json", None)
        }
        Form::V2(wishes) => {
            let (body, header_length) =
                v2::encode(held, task, wishes, &ran.outputs, sieve.as_mut())?;
            let kind = if header_length.is_some() {
                "application/octet-stream"
            } else {
                "application/json"
            };
            // Raw tensors need not be an answer that the natural forms could tell.
            (outcomes.unwrap_or_default(), body, kind, header_length)
        }
    };
    let first = outcomes.first();
    let meta = Answered {
        content_type: content_type.to_owned(),
        header_length,
        rows,
        // The log keeps no more than the answer tells.
        label: first.and_then(|row| row.label.as_ref()).map(|label| match rules {
            Some(rules) => rules.redacted(label),
            None => label.clone(),
        }),
        confidence: first.and_then(|row| row.confidence).map(f64::from),
        value: first.and_then(value),
        compute_us: ran.compute_us,
        output_rule: sieve.as_ref().is_some_and(|sieve| sieve.found().next().is_some()),
        cache: None,
    };
    Ok(Framed { meta, body })
}

/// Counts what was found in an answer, and withholds it if a rule says so.
fn judge(task: &PredictTask, sieve: Option<&Sieve<'_>>) -> Result<(), ApiError> {
    let Some(sieve) = sieve else { return Ok(()) };
    for (rule, action) in sieve.found() {
        let labels = [
            label("model", task.target.model.to_string()),
            label("rule", rule.to_owned()),
            label("action", action.as_str()),
        ];
        metrics().output_filter.add(1, &labels);
    }
    match sieve.blocked() {
        None => Ok(()),
        Some(rule) => Err(ApiError::new(
            ErrorCode::Unprocessable,
            format!("{WITHHELD} `{rule}` of the model's policy"),
        )),
    }
}

/// A version, with the rules that a request to it has to keep.
struct Asked<'a> {
    held: &'a Held,
    rules: Option<&'a Compiled>,
}

impl Deref for Asked<'_> {
    type Target = Held;

    fn deref(&self) -> &Held {
        self.held
    }
}

/// What is left of a request once its tensors went to the model.
pub(crate) struct Remainder {
    rows: usize,
    form: Form,
}

impl Decoded {
    /// The tensors with their number of rows, and the rest.
    pub(crate) fn split(self) -> (Vec<Tensor>, usize, Remainder) {
        (self.inputs, self.rows, Remainder { rows: self.rows, form: self.form })
    }
}

fn value(row: &Outcome) -> Option<f64> {
    match row.prediction {
        Prediction::Value(value) => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
