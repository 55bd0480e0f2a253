//! Counts, means and quantiles of prediction records, by version.

use std::collections::BTreeMap;

use contracts::drift::{Quantiles, VersionSummary};
use domain::prediction::StandIn;
use domain::{PredictionRecord, VersionId};

/// Sums the records up, by version, in order of the versions. Requests that no version answered, and
/// those that an earlier answer or a safe default did, say nothing of a version.
pub(crate) fn by_version(records: &[PredictionRecord]) -> Vec<VersionSummary> {
    let mut tallies: BTreeMap<VersionId, Tally> = BTreeMap::new();
    for record in records.iter().filter(|record| was_answered(record)) {
        tallies.entry(record.version).or_default().add(record);
    }
    tallies.into_iter().map(|(version, tally)| tally.sum_up(version)).collect()
}

fn was_answered(record: &PredictionRecord) -> bool {
    let by_version =
        record.degraded.as_ref().is_none_or(|degraded| degraded.by == StandIn::Version);
    record.error.is_none() && by_version
}

#[derive(Default)]
struct Tally {
    rows: u64,
    confidence: Mean,
    value: Mean,
    labels: BTreeMap<String, u64>,
    latencies_us: Vec<u64>,
}

impl Tally {
    fn add(&mut self, record: &PredictionRecord) {
        self.rows += u64::from(record.rows);
        self.confidence.add(record.confidence);
        self.value.add(record.value);
        if let Some(label) = &record.label {
            *self.labels.entry(label.clone()).or_default() += 1;
        }
        self.latencies_us.push(record.latency_us);
    }

    fn sum_up(mut self, version: VersionId) -> VersionSummary {
        self.latencies_us.sort_unstable();
        let quantile = |percent| nearest_rank(&self.latencies_us, percent) as f64 / 1000.0;
        VersionSummary {
            version,
            predictions: self.latencies_us.len() as u64,
            rows: self.rows,
            mean_confidence: self.confidence.mean(),
            mean_value: self.value.mean(),
            latency_ms: Quantiles { p50: quantile(50), p95: quantile(95), p99: quantile(99) },
            labels: self.labels,
        }
    }
}

/// A mean that grows value by value, so that no sum overflows.
#[derive(Default)]
struct Mean {
    count: u64,
    mean: f64,
}

impl Mean {
    fn add(&mut self, value: Option<f64>) {
        if let Some(value) = value {
            self.count += 1;
            let count = self.count as f64;
            // Not `mean + (value - mean) / count`: that difference can overflow.
            self.mean += value / count - self.mean / count;
        }
    }

    fn mean(&self) -> Option<f64> {
        (self.count > 0).then_some(self.mean)
    }
}

/// The smallest of the sorted values that at least this percentage of them do not exceed; 0 of none.
fn nearest_rank(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_by_nearest_rank() {
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!([50, 95, 99].map(|p| nearest_rank(&hundred, p)), [50, 95, 99]);
        assert_eq!([50, 95, 99].map(|p| nearest_rank(&[15, 20, 35, 40, 50], p)), [35, 50, 50]);
        assert_eq!([50, 95, 99].map(|p| nearest_rank(&[7], p)), [7, 7, 7]);
        assert_eq!(nearest_rank(&[], 50), 0);
    }

    #[test]
    fn a_mean_passes_over_what_is_absent_and_does_not_overflow() {
        let mean = |values: &[Option<f64>]| {
            let mut mean = Mean::default();
            values.iter().for_each(|value| mean.add(*value));
            mean.mean()
        };
        assert_eq!(mean(&[]), None);
        assert_eq!(mean(&[None]), None);
        assert_eq!(mean(&[Some(1.0), None, Some(2.0)]), Some(1.5));
        assert_eq!(mean(&[Some(f64::MAX), Some(f64::MAX)]), Some(f64::MAX));
        assert_eq!(mean(&[Some(f64::MAX), Some(f64::MIN)]), Some(0.0));
    }
}
