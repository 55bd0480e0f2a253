use domain::rollout::Ramp;
use domain::route::{Segment, Shadow, Slice, Trial};
use domain::targeting::Rule;
use domain::{PlanId, PlanKind};
use time::macros::datetime;

use super::*;

const NOW: OffsetDateTime = datetime!(2026-01-01 12:00 UTC);

fn version(number: u32) -> VersionId {
    VersionId::new(number).unwrap()
}

fn arms(shares: &[(u32, u32)]) -> Vec<Arm> {
    let arm = |(number, share): &(u32, u32)| Arm {
        version: version(*number),
        share_ppm: share * 10_000,
        weight: f64::from(*share),
    };
    shares.iter().map(arm).collect()
}

fn route(shares: &[(u32, u32)], generation: u64, hours_ago: i64) -> Route {
    let arms = arms(shares);
    let segments = reassign(&[], &arms);
    let at = NOW - Duration::hours(hours_ago);
    let first =
        Route::first("iris".parse().unwrap(), arms, segments, "c2FsdA".to_owned(), "anna", at);
    Route { generation, ..first }
}

fn blocked(number: u32) -> Blocked {
    let (reason, by) = ("wrong labels".to_owned(), "anna".to_owned());
    Blocked { version: version(number), reason, by, at: NOW - Duration::hours(1) }
}

struct Case {
    route: Route,
    past: Past,
    versions: BTreeMap<VersionId, bool>,
}

impl Case {
    /// Version 1 had everything for an hour, then version 2 for another, then what `route` says.
    fn new(route: Route) -> Self {
        let earlier = [self::route(&[(2, 100)], 2, 2), self::route(&[(1, 100)], 1, 3)];
        let mut past = Past::of(&earlier);
        past.add(&route);
        let versions = (1..=4).map(|number| (version(number), true)).collect();
        Self { route, past, versions }
    }

    fn choices(&self) -> Choices<'_> {
        let Self { route, past, versions } = self;
        Choices { route, past, versions, now: NOW, long_enough: Duration::minutes(10) }
    }

    /// What is left, and what gets everything.
    fn aim(&self, to: Option<u32>) -> Result<(Vec<u32>, u32, bool), ApiError> {
        let to = to.map(version);
        let leaving = self.choices().leaving(to);
        let found = self.choices().target(to, &leaving)?;
        let leaving = leaving.iter().map(|one| one.number()).collect();
        Ok((leaving, found.version.number(), found.stable))
    }

    fn refused(&self, to: Option<u32>, words: &[&str]) {
        let error = self.aim(to).unwrap_err();
        assert_eq!(error.code, ErrorCode::Conflict);
        for word in words {
            assert!(error.message.contains(word), "`{word}` is not in `{}`", error.message);
        }
    }
}

#[test]
fn one_that_has_everything_is_left_for_the_last_stable_one() {
    assert_eq!(Case::new(route(&[(3, 100)], 3, 1)).aim(None).unwrap(), (vec![3], 2, true));
    let zero = route(&[(3, 100), (2, 0)], 3, 1);
    assert_eq!(Case::new(zero).aim(None).unwrap(), (vec![3], 2, true));
}

#[test]
fn of_a_mix_all_but_the_stable_one_are_left() {
    let canary = Case::new(route(&[(2, 90), (3, 10)], 3, 1));
    assert_eq!(canary.aim(None).unwrap(), (vec![3], 2, true));
    let fresh = Case::new(route(&[(3, 50), (4, 50)], 3, 1));
    assert_eq!(fresh.aim(None).unwrap(), (vec![3, 4], 2, true));
    let mut by_rule = route(&[(2, 100)], 3, 1);
    by_rule.rules = vec![rule("testers", &[(4, 100)])];
    assert_eq!(Case::new(by_rule).aim(None).unwrap(), (vec![4], 2, true));
    let mut tried = route(&[(2, 100)], 3, 1);
    tried.trials = vec![trial(&[(2, 50), (3, 50)])];
    assert_eq!(Case::new(tried).aim(None).unwrap(), (vec![3], 2, true));
}

#[test]
fn blocked_and_unloaded_versions_are_passed_over() {
    let mut case = Case::new(route(&[(3, 100)], 3, 1));
    case.route.blocked = vec![blocked(2)];
    assert_eq!(case.aim(None).unwrap(), (vec![3], 1, true));
    case.route.blocked.clear();
    case.versions.insert(version(2), false);
    assert_eq!(case.aim(None).unwrap(), (vec![3], 1, true));
}

#[test]
fn with_nowhere_to_go_each_version_is_named_with_the_reason() {
    let mut case = Case::new(route(&[(3, 100)], 3, 1));
    case.route.blocked = vec![blocked(2)];
    case.versions.insert(version(1), false);
    let words = ["`iris`", "`1` (unloaded)", "`2` (blocked: wrong labels)", "`3` (to be left)"];
    case.refused(None, &words);
    case.refused(None, &["`4` (never had all requests)", "name one with `to`"]);
}

#[test]
fn a_named_version_has_to_be_there_and_neither_blocked_nor_unloaded() {
    let mut case = Case::new(route(&[(3, 100)], 3, 1));
    assert_eq!(case.aim(Some(1)).unwrap(), (vec![3], 1, true));
    assert_eq!(case.aim(Some(4)).unwrap(), (vec![3], 4, false), "it never had everything");
    assert_eq!(case.aim(Some(3)).unwrap(), (vec![], 3, true), "it has everything already");
    assert_eq!(case.aim(Some(9)).unwrap_err().code, ErrorCode::NotFound);
    case.route.blocked = vec![blocked(1)];
    case.refused(
        Some(1),
        &["`1`", "wrong labels", "`anna`", "DELETE /api/v1/models/iris/blocks/1"],
    );
    case.versions.insert(version(2), false);
    case.refused(Some(2), &["`2`", "POST /v2/repository/models/iris/load"]);
}

fn rule(name: &str, shares: &[(u32, u32)]) -> Rule {
    let arms = arms(shares);
    let segments = reassign(&[], &arms);
    Rule { name: name.to_owned(), when: Vec::new(), arms, segments }
}

fn trial(shares: &[(u32, u32)]) -> Trial {
    let arms = arms(shares);
    let segments = reassign(&[], &arms);
    let slice = Slice { layer: "main".to_owned(), salt: "bA".to_owned(), start: 0, end: BUCKETS };
    Trial {
        unit: Default::default(),
        experiment: PlanId::new(PlanKind::Experiment),
        slice,
        when: Vec::new(),
        salt: "cw".to_owned(),
        hash: domain::route::HashKind::default(),
        strict: false,
        arms,
        segments,
        epoch: 1,
        bandit: false,
    }
}

fn sign(reason: &str, at: OffsetDateTime) -> Signature<'_> {
    Signature { by: "anna", reason, at }
}

#[test]
fn the_route_after_it_has_one_arm_and_nothing_of_what_was_left() {
    let mut before = route(&[(2, 80), (3, 20)], 7, 1);
    before.rules = vec![rule("testers", &[(4, 100)]), rule("staff", &[(2, 100)])];
    before.trials = vec![trial(&[(2, 50), (1, 50)])];
    before.shadows = [3, 2].map(|number| Shadow { version: version(number), share: 1.0 }).to_vec();
    before.fallback.versions = vec![version(3), version(2)];
    before.fallback.last_good = true;
    before.standby = arms(&[(4, 100)]);
    before.rollout = Some(Ramp {
        id: PlanId::new(PlanKind::Rollout),
        step: 0,
        since: NOW,
        canary: version(3),
        baseline: version(2),
        guardrails: Vec::new(),
        warm_up_requests: 0,
        warm_up_s: 0,
    });
    before.blocked = vec![blocked(1)];
    let after = rolled_back(&before, version(2), &[version(3)], sign("errors", NOW));
    assert_eq!(answering(&after), [version(2)]);
    assert_eq!(after.whole(), Some(version(2)));
    assert_eq!(after.segments, [Segment { start: 0, end: BUCKETS, version: version(2) }]);
    let names: Vec<_> = after.rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(names, ["staff"], "the rule that names none that is blocked");
    assert!(after.trials.is_empty() && after.standby.is_empty() && after.rollout.is_none());
    assert_eq!(after.shadows.iter().map(|one| one.version.number()).collect::<Vec<_>>(), [2]);
    assert_eq!(after.fallback.versions, [version(2)]);
    assert!(after.fallback.last_good);
    assert_eq!((after.generation, after.cause), (8, Cause::Rollback));
    assert_eq!((after.reason.as_str(), after.updated_by.as_str()), ("errors", "anna"));
    let blocks: Vec<_> =
        after.blocked.iter().map(|one| (one.version.number(), one.reason.as_str())).collect();
    assert_eq!(blocks, [(1, "wrong labels"), (3, "errors"), (4, "errors")]);
}

#[test]
fn a_clock_behind_does_not_turn_the_history_round() {
    let before = route(&[(2, 100)], 7, 1);
    let after = rolled_back(&before, version(1), &[version(2)], sign("", NOW - Duration::hours(2)));
    assert_eq!(after.updated_at, before.updated_at);
    assert_eq!(after.blocked[0].reason, "rolled back");
    assert_eq!(after.reason, "");
}

#[test]
fn a_second_rollback_goes_on_from_the_first_and_never_back() {
    let mut case = Case::new(route(&[(3, 100)], 3, 1));
    let mut seen = vec![3];
    for _ in 0..2 {
        let (leaving, to, _) = case.aim(None).unwrap();
        assert!(!seen.contains(&to), "{seen:?} {to}");
        seen.push(to);
        let leaving: Vec<_> = leaving.into_iter().map(version).collect();
        case.route = rolled_back(&case.route, version(to), &leaving, sign("", NOW));
        case.past.add(&case.route);
    }
    assert_eq!(seen, [3, 2, 1]);
    case.refused(None, &["`2` (blocked"]);
}

#[test]
fn of_two_at_once_the_second_finds_it_done() {
    let before = route(&[(3, 100)], 3, 1);
    let after = rolled_back(&before, version(2), &[version(3)], sign("", NOW));
    assert!(!is_done(&before, None, &[version(3)]));
    assert!(is_done(&after, None, &[version(3)]));
    assert!(is_done(&after, Some(version(2)), &[version(3)]));
    assert!(!is_done(&after, Some(version(1)), &[version(3)]));
    assert!(!is_done(&after, None, &[version(2)]), "it is the one to be left");
    let second = Duration::seconds(1);
    assert!(is_since(&after, None, Some(NOW)) && is_since(&after, None, Some(NOW - second)));
    assert!(!is_since(&after, None, Some(NOW + second)) && !is_since(&after, None, None));
    assert!(!is_since(&after, Some(version(1)), Some(NOW)));
    let put = Route { cause: Cause::Put, ..after };
    assert!(!is_since(&put, None, Some(NOW - second)));
    assert!(!is_done(&put, None, &[version(3)]));
}
