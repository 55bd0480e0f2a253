//! What comparisons come to.

use contracts::router::{Disagreement, Paired, ShadowReport};
use domain::VersionId;
use domain::shadow::ShadowRecord;
use serde_json::{Value, json};

use crate::statistics::difference::{self, Plan};
use crate::statistics::moments::Moments;

/// Level of the confidence sequences.
const ALPHA: f64 = 0.05;
/// Comparisons at which they are tightest.
const PLANNED: f64 = 5000.0;

/// A report over comparisons of one shadow version, newest first. `worst` disagreements are listed
/// at most; values agree within `tolerance`, as a share.
pub(crate) fn compare(
    version: VersionId,
    records: &[ShadowRecord],
    tolerance: f64,
    worst: usize,
    dropped: u64,
) -> ShadowReport {
    let (mut agreed, mut failed) = (0, 0);
    let (mut agreement, mut differences, mut times) =
        (Moments::default(), Moments::default(), Moments::default());
    let mut disagreements = Vec::new();
    for record in records {
        failed += u64::from(record.error.is_some());
        if let Some(difference) = record.difference() {
            differences.push(difference);
        }
        if let Some(shadow) = &record.shadow {
            times.push((shadow.compute_us as f64 - record.live.compute_us as f64) / 1000.0);
        }
        let Some(distance) = record.distance(tolerance) else { continue };
        let agrees = distance == 0.0;
        agreement.push(f64::from(u8::from(agrees)));
        agreed += u64::from(agrees);
        if !agrees {
            disagreements.push((distance, record));
        }
    }
    disagreements.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    let share = sequence(&agreement);
    ShadowReport {
        version,
        compared: agreement.count,
        agreed,
        agreement: (agreement.count > 0).then_some(agreement.mean),
        agreement_lower: share.map(|share| share.lower.max(0.0)),
        agreement_upper: share.map(|share| share.upper.min(1.0)),
        difference: sequence(&differences),
        compute_ms: sequence(&times),
        failed,
        dropped,
        worst: disagreements.iter().take(worst).map(|(far, one)| listed(*far, one)).collect(),
        since: records.last().map(|record| record.at),
    }
}

/// The mean of one sample with its always-valid confidence sequence (`statistics::difference`).
fn sequence(sample: &Moments) -> Option<Paired> {
    let plan = Plan::new(ALPHA, PLANNED)?;
    let found = difference::one_sample(sample, &plan)?;
    Some(Paired { mean: found.difference, lower: found.lower, upper: found.upper })
}

fn listed(distance: f64, record: &ShadowRecord) -> Disagreement {
    let said = |label: Option<&String>, value: Option<f64>| match (label, value) {
        (Some(label), _) => json!(label),
        (None, Some(value)) => json!(value),
        (None, None) => Value::Null,
    };
    let shadow = record.shadow.as_ref();
    Disagreement {
        prediction_id: record.prediction_id,
        input: record.input.as_ref().and_then(|input| serde_json::from_str(input.get()).ok()),
        live_version: record.live_version,
        live: said(record.live.label.as_ref(), record.live.value),
        shadow: said(
            shadow.and_then(|said| said.label.as_ref()),
            shadow.and_then(|said| said.value),
        ),
        distance,
    }
}

#[cfg(test)]
mod tests {
    use domain::PredictionId;
    use domain::shadow::Said;
    use time::OffsetDateTime;

    use super::*;

    fn record(live: &str, shadow: Option<(&str, f64)>) -> ShadowRecord {
        let said = |label: &str, confidence, compute_us| Said {
            label: Some(label.to_owned()),
            confidence: Some(confidence),
            value: None,
            compute_us,
        };
        ShadowRecord {
            prediction_id: PredictionId::new(),
            at: OffsetDateTime::UNIX_EPOCH,
            model: "iris".parse().unwrap(),
            live_version: "1".parse().unwrap(),
            shadow_version: "2".parse().unwrap(),
            live: said(live, 0.75, 1000),
            error: shadow.is_none().then(|| "internal".to_owned()),
            shadow: shadow.map(|(label, confidence)| said(label, confidence, 3000)),
            input: None,
        }
    }

    #[test]
    fn a_seeded_disagreement_is_counted_with_its_interval_and_listed_worst_first() {
        let mut records = Vec::new();
        for number in 0..5000 {
            let shadow = match number % 50 {
                0 => ("b", 0.5 + f64::from(number % 100) / 250.0),
                _ => ("a", 0.5),
            };
            records.push(record("a", Some(shadow)));
        }
        records.push(record("a", None));
        let report = compare("2".parse().unwrap(), &records, 0.0, 3, 7);
        assert_eq!((report.compared, report.agreed, report.failed), (5000, 4900, 1));
        assert!((report.agreement.unwrap() - 0.98).abs() < 1e-9 && report.dropped == 7);
        let (lower, upper) = (report.agreement_lower.unwrap(), report.agreement_upper.unwrap());
        assert!((0.97..0.98).contains(&lower) && (0.98..0.99).contains(&upper), "{report:?}");
        assert!(
            (report.compute_ms.map(|paired| paired.mean).is_none()),
            "nothing varies: no interval"
        );
        assert_eq!(report.worst.len(), 3);
        assert!(report.worst.is_sorted_by(|one, other| one.distance >= other.distance));
        assert_eq!(report.worst[0].shadow, json!("b"));
    }

    #[test]
    fn nothing_compared_says_nothing() {
        let report = compare("2".parse().unwrap(), &[], 0.0, 3, 0);
        assert_eq!((report.agreement, report.difference, report.since), (None, None, None));
    }
}
