//! Taking feedback: read, judged one by one, looked up together, kept together.

use std::collections::HashMap;

use contracts::feedback::{
    FeedbackForm, ItemAnswer, NewFeedback, SubmitAnswer, Submitted, SubmittedMany,
};
use contracts::{ApiError, Call, ErrorCode, Faults, Framed};
use domain::{Feedback, ModelName, Outcome, PredictionId, Role, Subject};
use runtime::telemetry::{label, metrics};
use time::{Duration, OffsetDateTime, UtcOffset};

use super::FeedbackService;
use crate::FeedbackError;
use crate::intake::{self, Given, Item};

/// A body above this is read on another thread.
const LARGE: usize = 16 << 10;

impl FeedbackService {
    pub(super) async fn try_submit(
        &self,
        call: &Call,
        request: Framed<FeedbackForm>,
    ) -> Result<SubmitAnswer, FeedbackError> {
        let source = call.require(&[Role::Client])?.id.clone();
        match self.read(request).await? {
            Given::One(item) => {
                let answer = self.take(call, &source, vec![item]).await?.pop();
                Ok(SubmitAnswer::One(answer.unwrap_or_else(|| Err(ApiError::internal()))?))
            }
            Given::Many(items) => {
                let answers = self.take(call, &source, items).await?;
                Ok(SubmitAnswer::Many(many(answers)?))
            }
        }
    }

    async fn read(&self, request: Framed<FeedbackForm>) -> Result<Given, ApiError> {
        let Framed { meta, body } = request;
        let max_items = self.settings.max_items;
        if body.len() <= LARGE {
            return intake::read(&meta.content_type, &body, max_items);
        }
        let read = move || intake::read(&meta.content_type, &body, max_items);
        let done = tokio::task::spawn_blocking(read).await;
        done.unwrap_or_else(|error| {
            tracing::error!(%error, "feedback could not be read");
            Err(ApiError::internal())
        })
    }

    /// Takes what may be taken; tells of each, in the order given, what became of it.
    async fn take(
        &self,
        call: &Call,
        source: &str,
        items: Vec<Item>,
    ) -> Result<Vec<Result<Submitted, ApiError>>, FeedbackError> {
        let now = self.deps.clock.now();
        let judged: Vec<Result<Feedback, ApiError>> =
            items.into_iter().map(|item| self.judge(source, now, item)).collect();
        let ids = judged.iter().flatten().filter_map(|one| one.subject.prediction_id());
        let known = self.deps.predictions.known(&ids.collect::<Vec<_>>()).await?;
        // What is kept, and beside it what is told.
        let (mut kept, mut told) = (Vec::new(), Vec::with_capacity(judged.len()));
        for one in judged {
            told.push(one.and_then(|feedback| {
                may_speak_of(call, &feedback.subject, &known)?;
                let id = feedback.subject.prediction_id();
                kept.push(feedback);
                Ok(id.map(|id| known.contains_key(&id)))
            }));
        }
        let mut new = self.deps.feedback.add_all(&kept, &known).await?.into_iter();
        let mut answer = |prediction_known| {
            let new = new.next().unwrap_or_default();
            Submitted { prediction_known, new }
        };
        let answers: Vec<_> = told.into_iter().map(|one| one.map(&mut answer)).collect();
        count(&answers);
        Ok(answers)
    }

    /// The feedback that an item makes, if it breaks no rule.
    fn judge(&self, source: &str, now: OffsetDateTime, item: Item) -> Result<Feedback, ApiError> {
        let Item { pointer, read } = item;
        let NewFeedback { prediction_id, model, unit, label, value, metric, at } = read?;
        let mut faults = Faults::default();
        let mut fault = |member: &str, detail: String| {
            let place = if member.is_empty() { String::new() } else { format!("/{member}") };
            faults.add(format!("{pointer}{place}"), detail);
        };
        let subject = match (prediction_id, model, unit) {
            (Some(prediction_id), None, None) => Some(Subject::Prediction { prediction_id }),
            (None, Some(model), Some(unit)) => {
                let longest = self.settings.max_unit_bytes;
                if !(1..=longest).contains(&unit.len()) {
                    fault("unit", format!("must be 1 to {longest} bytes, got {}", unit.len()));
                }
                Some(Subject::Unit { model, unit })
            }
            _ => {
                fault(
                    "",
                    "must have a `prediction_id`, or a `model` and a `unit`, and not both"
                        .to_owned(),
                );
                None
            }
        };
        if let Some(label) = &label {
            let (longest, length) = (self.settings.max_label_chars, label.chars().count());
            if !(1..=longest).contains(&length) {
                fault("label", format!("must be 1 to {longest} characters, got {length}"));
            }
        }
        if let Some(value) = value.filter(|value| !value.is_finite()) {
            fault("value", format!("must be finite, got `{value}`"));
        }
        let outcome = match (label, value, metric) {
            (Some(label), None, None) => Some(Outcome::Label(label)),
            (None, Some(value), None) => Some(Outcome::Value(value)),
            (None, Some(value), Some(name)) => Some(Outcome::Metric { name, value }),
            (None, None, Some(_)) => {
                fault("value", "is missing: a metric has one".to_owned());
                None
            }
            (None, None, None) => {
                fault("", "must have a `label` or a `value`".to_owned());
                None
            }
            (Some(_), _, _) => {
                fault("", "must have a `label` or a `value`, not both".to_owned());
                None
            }
        };
        let ahead = Duration::seconds(self.settings.max_ahead_s.into());
        if let Some(at) = at.filter(|at| *at < OffsetDateTime::UNIX_EPOCH || *at - ahead > now) {
            fault("at", format!("must be after 1970 and not in the future, got `{at}`"));
        }
        faults.check()?;
        let (Some(subject), Some(outcome)) = (subject, outcome) else {
            return Err(ApiError::internal());
        };
        Ok(Feedback {
            subject,
            outcome,
            source: source.to_owned(),
            occurred_at: at.map(|at| at.to_offset(UtcOffset::UTC)),
            received_at: now,
        })
    }
}

/// Refuses a model that the caller may not use. Of a prediction that the log does not know, nobody can
/// tell.
fn may_speak_of(
    call: &Call,
    subject: &Subject,
    known: &HashMap<PredictionId, ModelName>,
) -> Result<(), ApiError> {
    let model = match subject {
        Subject::Prediction { prediction_id } => known.get(prediction_id),
        Subject::Unit { model, .. } => Some(model),
    };
    model.map_or(Ok(()), |model| call.require_model(model))
}

/// The answer to many, if any was taken; otherwise what was wrong with them.
fn many(answers: Vec<Result<Submitted, ApiError>>) -> Result<SubmittedMany, ApiError> {
    let refused = answers.iter().filter(|answer| answer.is_err()).count();
    if refused == answers.len() {
        return Err(all_refused(answers.into_iter().filter_map(Result::err).collect()));
    }
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    Ok(SubmittedMany {
        accepted: number(answers.len() - refused),
        refused: number(refused),
        items: answers
            .into_iter()
            .map(|answer| match answer {
                Ok(submitted) => ItemAnswer::Accepted(submitted),
                Err(error) => ItemAnswer::Refused { error },
            })
            .collect(),
    })
}

fn all_refused(mut errors: Vec<ApiError>) -> ApiError {
    // One that may do none of it is told so.
    if errors.iter().all(|error| error.code == ErrorCode::Forbidden)
        && let Some(error) = errors.pop()
    {
        return error;
    }
    let mut faults: Vec<_> = errors.into_iter().flat_map(|error| error.errors).collect();
    faults.truncate(Faults::MOST);
    ApiError::fields(faults)
}

/// Puts the counters at zero, so that the first refusal is seen as an increase.
pub(crate) fn begin_counters() {
    count(&[]);
}

fn count(answers: &[Result<Submitted, ApiError>]) {
    let (mut matched, mut pending, mut repeated, mut refused) = (0, 0, 0, 0);
    for answer in answers {
        match answer {
            Err(_) => refused += 1,
            Ok(Submitted { new: false, .. }) => repeated += 1,
            Ok(Submitted { prediction_known: Some(false), .. }) => pending += 1,
            Ok(_) => matched += 1,
        }
    }
    let counts =
        [("matched", matched), ("pending", pending), ("repeated", repeated), ("refused", refused)];
    for (outcome, count) in counts {
        metrics().feedback.add(count, &[label("outcome", outcome)]);
    }
}
