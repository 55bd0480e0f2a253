//! What is known of a prediction, or of a unit: its feedback, corrections resolved.

use std::collections::{BTreeMap, HashMap};

use domain::feedback::{Feedback, Outcome, Subject, latest};
use time::OffsetDateTime;

/// What is known of one prediction, or of one unit. Of several sources, the one that spoke of the latest moment counts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Truth {
    /// The true class, and when it was so.
    pub label: Option<(String, OffsetDateTime)>,
    /// The true value.
    pub value: Option<(f64, OffsetDateTime)>,
    /// Numbers with names.
    pub metrics: BTreeMap<String, (f64, OffsetDateTime)>,
}

impl Truth {
    /// What feedback says of each subject. The order in which it is given does not matter.
    pub fn by_subject(feedback: &[Feedback]) -> HashMap<Subject, Self> {
        let mut ordered: Vec<Feedback> = feedback.to_vec();
        // As they were received, so that one list is any other of the same feedback.
        ordered.sort_by(|a, b| {
            (a.received_at, a.at(), rank(a)).cmp(&(b.received_at, b.at(), rank(b)))
        });
        let mut said = latest(&ordered);
        said.sort_by_key(|one| (one.at(), one.received_at, one.source.as_str()));
        let mut truths: HashMap<Subject, Self> = HashMap::new();
        for one in said {
            truths.entry(one.subject.clone()).or_default().learn(&one.outcome, one.at());
        }
        truths
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.label.is_none() && self.value.is_none() && self.metrics.is_empty()
    }

    fn learn(&mut self, outcome: &Outcome, at: OffsetDateTime) {
        match outcome {
            Outcome::Label(label) => self.label = Some((label.clone(), at)),
            Outcome::Value(value) => self.value = Some((*value, at)),
            Outcome::Metric { name, value } => {
                self.metrics.insert(name.as_str().to_owned(), (*value, at));
            }
        }
    }
}

/// Tells apart what came at the same moment.
fn rank(one: &Feedback) -> (&str, &str, Option<&str>, u64) {
    let number = one.outcome.number().map_or(0, f64::to_bits);
    (one.source.as_str(), one.outcome.kind(), one.outcome.label(), number)
}
