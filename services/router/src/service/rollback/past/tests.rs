use domain::route::{Arm, BUCKETS, Segment};
use time::macros::datetime;

use super::*;

const START: OffsetDateTime = datetime!(2026-01-01 00:00 UTC);
const TEN_MINUTES: Duration = Duration::minutes(10);

fn version(number: u32) -> VersionId {
    VersionId::new(number).unwrap()
}

/// Routes put at these minutes: all to one version, or half to each of two. Newest first.
fn routes(changes: &[(i64, &[u32])]) -> Vec<Route> {
    let route = |(index, (minute, versions)): (usize, &(i64, &[u32]))| {
        let share = BUCKETS / u32::try_from(versions.len()).unwrap();
        let arm = |number: &u32| Arm { version: version(*number), share_ppm: share, weight: 1.0 };
        let arms: Vec<_> = versions.iter().map(arm).collect();
        let segments = vec![Segment { start: 0, end: BUCKETS, version: version(versions[0]) }];
        let at = START + Duration::minutes(*minute);
        let first =
            Route::first("iris".parse().unwrap(), arms, segments, "c2FsdA".to_owned(), "anna", at);
        Route { generation: index as u64 + 1, ..first }
    };
    let mut routes: Vec<_> = changes.iter().enumerate().map(route).collect();
    routes.reverse();
    routes
}

/// What is found at a minute, of what is not among `without`.
fn found(changes: &[(i64, &[u32])], now: i64, without: &[u32]) -> Option<(u32, bool)> {
    let wanted = |one: VersionId| !without.contains(&one.number());
    let past = Past::of(&routes(changes));
    let found = past.look_back(START + Duration::minutes(now), TEN_MINUTES, wanted);
    found.map(|found| (found.version.number(), found.stable))
}

#[test]
fn a_model_without_a_past_has_nowhere_to_go() {
    assert_eq!(found(&[], 0, &[]), None);
    assert_eq!(found(&[(0, &[1])], 60, &[1]), None);
    assert_eq!(found(&[(0, &[1, 2])], 60, &[]), None, "nobody had everything");
}

#[test]
fn stable_is_who_had_everything_for_long_enough() {
    let changes: &[(i64, &[u32])] = &[(0, &[1]), (10, &[2]), (19, &[3])];
    assert_eq!(found(changes, 30, &[3]), Some((1, true)), "2 had it for nine minutes");
    let changes: &[(i64, &[u32])] = &[(0, &[1]), (10, &[2]), (20, &[3])];
    assert_eq!(found(changes, 30, &[3]), Some((2, true)), "ten minutes are enough");
    assert_eq!(found(changes, 30, &[]), Some((3, true)), "the present one may be it");
    assert_eq!(found(changes, 29, &[]), Some((2, true)), "but not before its time");
    assert_eq!(found(changes, 30, &[2, 3]), Some((1, true)));
}

#[test]
fn time_in_which_several_share_does_not_count() {
    let changes: &[(i64, &[u32])] = &[(0, &[1]), (10, &[2]), (15, &[2, 3]), (60, &[2]), (65, &[3])];
    assert_eq!(found(changes, 70, &[3]), Some((1, true)), "2 had five minutes, twice");
    let canary: &[(i64, &[u32])] = &[(0, &[1]), (10, &[1, 2])];
    assert_eq!(found(canary, 11, &[]), Some((1, true)), "a canary: the old one");
}

#[test]
fn changes_that_leave_everything_with_a_version_do_not_break_its_time() {
    let changes: &[(i64, &[u32])] = &[(0, &[1]), (6, &[1]), (12, &[2])];
    assert_eq!(found(changes, 13, &[2]), Some((1, true)));
}

#[test]
fn without_a_stable_one_it_is_the_last_that_had_everything() {
    let changes: &[(i64, &[u32])] = &[(0, &[1]), (2, &[2]), (4, &[3]), (6, &[4])];
    assert_eq!(found(changes, 7, &[4]), Some((3, false)));
    assert_eq!(found(changes, 7, &[4, 3]), Some((2, false)));
    assert_eq!(found(changes, 7, &[1, 2, 3, 4]), None);
}

#[test]
fn a_past_that_grew_is_the_same_as_one_that_was_read() {
    let routes = routes(&[(0, &[1]), (10, &[1, 2]), (12, &[2]), (13, &[2]), (30, &[1])]);
    let mut grown = Past::default();
    for route in routes.iter().rev() {
        grown.add(route);
        grown.add(route);
    }
    assert_eq!(grown, Past::of(&routes));
    assert_eq!((grown.generation(), grown.stays.len()), (5, 4));
    let text = serde_json::to_string(&grown).unwrap();
    assert_eq!(serde_json::from_str::<Past>(&text).unwrap(), grown);
}

#[test]
fn a_clock_that_went_back_makes_nothing_stable() {
    let changes: &[(i64, &[u32])] = &[(30, &[1]), (0, &[2])];
    assert_eq!(found(changes, 5, &[2]), Some((1, false)));
}
