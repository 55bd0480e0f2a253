//! The report: what an experiment says at one moment, valid however often one looks.

use std::collections::BTreeMap;

use contracts::router::{
    Advice, ArmMean, Comparison, GuardrailState, MetricReport, MetricRole, Recommendation, Report,
};
use domain::VersionId;
use domain::experiment::{Allocation, Better, Experiment, Look, Metric};
use time::OffsetDateTime;

use crate::statistics::correction::{bonferroni, holm};
use crate::statistics::difference::{Difference, Plan, one_sample, relative};
use crate::statistics::verdict::{self, Evidence, Guardrail, LostWhen, State};

use super::advice::{Said, recommend};
use super::comparison::{Compared, Method, cells, compare, eta, over_strata, strata};
use super::fold::Sample;
use super::split::sample_ratio;
use super::summary::{arms, look, notes, power};

/// The name of the sample ratio among the least p-values.
const SAMPLE_RATIO: &str = "sample_ratio";

/// What one look gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Analysis {
    /// The report.
    pub report: Report,
    /// The least p-values of all looks, this one too: to be kept with the experiment.
    pub least_p: BTreeMap<String, f64>,
    /// For the chart; `None` while no version can be compared.
    pub look: Option<Look>,
}

/// One metric of the design with its role.
struct Planned<'a> {
    place: usize,
    metric: &'a Metric,
    role: MetricRole,
    margin: f64,
    plan: Option<Plan>,
    method: Method,
}

/// Analyses the sample of an experiment at a moment.
pub fn analyse(experiment: &Experiment, sample: &Sample, at: OffsetDateTime) -> Analysis {
    let strata = strata(&sample.epochs);
    let treatments: Vec<usize> =
        (0..sample.arms.len()).filter(|arm| *arm != sample.control).collect();
    let planned = planned(experiment, treatments.len(), &strata);
    let mut least_p = experiment.least_p.clone();
    let mut metrics = Vec::new();
    let mut compared: Vec<Vec<Compared>> = Vec::new();
    for one in &planned {
        let all: Vec<Compared> =
            treatments.iter().map(|arm| one.compare(sample, &strata, *arm)).collect();
        metrics.push(one.report(sample, &strata, &treatments, &all, &mut least_p));
        compared.push(all);
    }
    correct(&mut metrics);
    let known_ratio = least_p.get(SAMPLE_RATIO).copied();
    let sample_ratio = sample_ratio(sample, &strata, known_ratio);
    if sample_ratio.p_value < 1.0 {
        least_p.insert(SAMPLE_RATIO.to_owned(), sample_ratio.p_value);
    }
    let primary = compared.first().map(Vec::as_slice).unwrap_or_default();
    let elapsed_s = elapsed_s(experiment, at);
    let recommendation = if sample.units.is_empty() {
        let reason = "No unit was assigned yet.".to_owned();
        Recommendation { action: Advice::KeepGoing, version: None, reason }
    } else {
        let mismatch = sample_ratio.mismatch;
        advice(experiment, sample, &treatments, &metrics, primary, elapsed_s, mismatch)
    };
    let look = look(sample, &treatments, primary, at);
    let report = Report {
        experiment: experiment.id.clone(),
        name: experiment.name.clone(),
        model: experiment.model.clone(),
        hypothesis: experiment.hypothesis.clone(),
        state: experiment.state,
        verdict: experiment.verdict.clone(),
        started_at: experiment.started_at,
        ended_at: experiment.ended_at,
        epochs: experiment.epochs.clone(),
        at,
        arms: arms(experiment, sample),
        power: power(experiment, sample, &treatments, primary, elapsed_s),
        notes: notes(experiment, sample, primary, &strata),
        looks: experiment.looks.iter().cloned().chain(look.clone()).collect(),
        metrics,
        sample_ratio,
        recommendation,
    };
    Analysis { report, least_p, look }
}

fn planned<'a>(
    experiment: &'a Experiment,
    treatments: usize,
    strata: &[usize],
) -> Vec<Planned<'a>> {
    let design = &experiment.design;
    let units = design.planned_units as f64;
    let is_bandit = matches!(design.allocation, Allocation::Bandit { .. });
    // A bandit that has not changed anything yet is an experiment like any other.
    let by_chances = is_bandit && strata.iter().any(|stratum| *stratum > 0);
    // Of many guardrails any one may stop the experiment.
    let strict = bonferroni(design.alpha, design.guardrails.len() * treatments);
    let plan = |role: MetricRole| {
        let alpha = if role == MetricRole::Guardrail { strict } else { design.alpha };
        Plan::new(alpha, units)
    };
    let method = |role: MetricRole| {
        let alpha = if role == MetricRole::Guardrail { strict } else { design.alpha };
        match eta(alpha, units, design.minimum_effect) {
            Some(eta) if by_chances => Method::DesignBased(eta),
            _ if design.cuped && role != MetricRole::Guardrail => Method::Cuped,
            _ => Method::Stratified,
        }
    };
    let primary = std::iter::once((&design.primary, MetricRole::Primary, 0.0));
    let secondary = design.secondary.iter().map(|metric| (metric, MetricRole::Secondary, 0.0));
    let guardrails = design.guardrails.iter();
    let guardrails = guardrails.map(|one| (&one.metric, MetricRole::Guardrail, one.margin));
    let all = primary.chain(secondary).chain(guardrails).enumerate();
    all.map(|(place, (metric, role, margin))| Planned {
        place,
        metric,
        role,
        margin,
        plan: plan(role),
        method: method(role),
    })
    .collect()
}

impl Planned<'_> {
    fn compare(&self, sample: &Sample, strata: &[usize], arm: usize) -> Compared {
        let Some(plan) = &self.plan else {
            let cells = cells(sample, strata, self.place);
            return Compared {
                difference: None,
                control: over_strata(&cells, sample.control),
                treatment: over_strata(&cells, arm),
                variance_saved: None,
            };
        };
        compare(sample, strata, self.place, arm, plan, self.method)
    }

    fn report(
        &self,
        sample: &Sample,
        strata: &[usize],
        treatments: &[usize],
        compared: &[Compared],
        least_p: &mut BTreeMap<String, f64>,
    ) -> MetricReport {
        let cells = cells(sample, strata, self.place);
        let mean = |(arm, version): (usize, &VersionId)| {
            let moments = over_strata(&cells, arm);
            let interval = self.plan.as_ref().and_then(|plan| one_sample(&moments, plan));
            ArmMean {
                version: *version,
                units: moments.count,
                mean: (moments.count > 0).then_some(moments.mean),
                lower: interval.map(|interval| interval.lower),
                upper: interval.map(|interval| interval.upper),
            }
        };
        let arms = sample.arms.iter().enumerate().map(mean).collect();
        let mut comparisons = Vec::new();
        for (arm, compared) in treatments.iter().zip(compared) {
            let Some(version) = sample.arms.get(*arm) else { continue };
            let key = format!("{}/{version}", self.metric.name);
            let now = compared.difference.map(|difference| difference.p_value);
            let p_value = match (now, least_p.get(&key)) {
                (Some(now), Some(least)) => Some(now.min(*least)),
                (now, least) => now.or(least.copied()),
            };
            if let Some(p_value) = p_value {
                least_p.insert(key, p_value);
            }
            comparisons.push(self.comparison(*version, compared, p_value));
        }
        let unit = self.metric.unit().map(str::to_owned);
        MetricReport { name: self.metric.name.clone(), role: self.role, unit, arms, comparisons }
    }

    fn comparison(
        &self,
        version: VersionId,
        compared: &Compared,
        p_value: Option<f64>,
    ) -> Comparison {
        let difference = compared.difference;
        let is_guardrail = self.role == MetricRole::Guardrail;
        let bounds = |difference: Difference| {
            if is_guardrail {
                (difference.one_sided_lower, difference.one_sided_upper)
            } else {
                (difference.lower, difference.upper)
            }
        };
        let bounds = difference.map(bounds);
        let lift = self.plan.as_ref().and_then(|plan| {
            relative(&compared.control, &compared.treatment, plan).map(|lift| lift.difference)
        });
        Comparison {
            version,
            difference: difference.map(|one| one.difference),
            standard_error: difference.map(|one| one.standard_error),
            lower: bounds.map(|(lower, _)| lower),
            upper: bounds.map(|(_, upper)| upper),
            lift,
            p_value,
            p_corrected: None,
            guardrail: is_guardrail.then(|| self.state(compared)),
            variance_saved: compared.variance_saved,
        }
    }

    fn state(&self, compared: &Compared) -> GuardrailState {
        let better = way(self.metric.better);
        let difference = compared.difference.as_ref();
        match verdict::guardrail(difference, better, self.margin, LostWhen::BeyondMargin) {
            State::NotYet if self.never_happened(compared) => GuardrailState::Passed,
            State::Passed => GuardrailState::Passed,
            State::Lost => GuardrailState::Lost,
            State::NotYet => GuardrailState::NotYet,
        }
    }
}

impl Planned<'_> {
    /// Whether a bad event never happened in so many units that its rate, and so the harm, is within
    /// the margin. A healthy engine never fails, so nothing varies and there is no difference to speak of.
    ///
    /// Against a rate p the likelihood ratio of never is (1 - p)^-n, which passes 1/alpha with a chance of
    /// alpha at most, however often one looks: the rate is below 1 - alpha^(1/n).
    fn never_happened(&self, compared: &Compared) -> bool {
        let Some(plan) = &self.plan else { return false };
        let units = compared.treatment.count as f64;
        let is_bad = self.metric.of.is_yes_or_no() && self.metric.better == Better::Lower;
        let never = compared.treatment.count > 0 && compared.treatment.mean == 0.0;
        is_bad && never && 1.0 - plan.alpha.powf(1.0 / units) < self.margin
    }
}

/// Holm over versions and success metrics, Bonferroni over versions and guardrails.
fn correct(metrics: &mut [MetricReport]) {
    let p_values = |metrics: &[MetricReport], rails: bool| -> Vec<f64> {
        let wanted = metrics.iter().filter(|one| (one.role == MetricRole::Guardrail) == rails);
        let comparisons = wanted.flat_map(|one| &one.comparisons);
        comparisons.map(|one| one.p_value.unwrap_or(f64::NAN)).collect()
    };
    let rails = p_values(metrics, true);
    let mut of_rails = rails.iter().map(|p| (p * rails.len() as f64).min(1.0));
    let mut of_success = holm(&p_values(metrics, false)).into_iter();
    for metric in metrics {
        let is_rail = metric.role == MetricRole::Guardrail;
        for comparison in &mut metric.comparisons {
            let corrected = if is_rail { of_rails.next() } else { of_success.next() };
            comparison.p_corrected = comparison.p_value.and(corrected);
        }
    }
}

fn advice(
    experiment: &Experiment,
    sample: &Sample,
    treatments: &[usize],
    metrics: &[MetricReport],
    primary: &[Compared],
    elapsed_s: f64,
    is_split_wrong: bool,
) -> Recommendation {
    let design = &experiment.design;
    let mut units = vec![0u64; sample.arms.len()];
    for unit in &sample.units {
        if let Some(units) = units.get_mut(unit.arm) {
            *units += 1;
        }
    }
    let has_units = units.iter().all(|units| *units >= design.minimum_units);
    let mut all = Vec::new();
    for (place, (arm, compared)) in treatments.iter().zip(primary).enumerate() {
        let Some(version) = sample.arms.get(*arm) else { continue };
        let mut margins = design.guardrails.iter().map(|one| one.margin);
        let rails = metrics.iter().filter(|metric| metric.role == MetricRole::Guardrail);
        let rails: Vec<Guardrail<'_>> = rails
            .filter_map(|metric| {
                let margin = margins.next().unwrap_or_default();
                let state = match metric.comparisons.get(place)?.guardrail? {
                    GuardrailState::Passed => State::Passed,
                    GuardrailState::Lost => State::Lost,
                    GuardrailState::NotYet => State::NotYet,
                };
                // Without a margin, to pass would be to be better: not to be lost is enough.
                Some(Guardrail { name: &metric.name, state, must_pass: margin > 0.0 })
            })
            .collect();
        let of_version = metrics.first().and_then(|metric| metric.comparisons.get(place));
        let better = way(design.primary.better);
        let verdict = verdict::decide(&Evidence {
            metric: &design.primary.name,
            primary: compared.difference,
            better,
            alpha: design.alpha,
            corrected_p: of_version.and_then(|one| one.p_corrected),
            least_effect: Some(design.minimum_effect),
            guardrails: &rails,
            is_split_wrong,
            has_units,
            has_cycle: elapsed_s >= design.minimum_runtime_s as f64,
            is_over: elapsed_s >= design.maximum_runtime_s as f64,
        });
        let difference = compared.difference.map_or(0.0, |one| one.difference);
        let benefit = match design.primary.better {
            Better::Higher => difference,
            Better::Lower => -difference,
        };
        all.push(Said { version: *version, benefit, verdict });
    }
    recommend(&all)
}

/// How long it ran, seconds.
fn elapsed_s(experiment: &Experiment, at: OffsetDateTime) -> f64 {
    let Some(from) = experiment.started_at else { return 0.0 };
    let until = experiment.ended_at.map_or(at, |ended| ended.min(at));
    (until - from).as_seconds_f64().max(0.0)
}

fn way(better: Better) -> verdict::Better {
    match better {
        Better::Higher => verdict::Better::Higher,
        Better::Lower => verdict::Better::Lower,
    }
}
