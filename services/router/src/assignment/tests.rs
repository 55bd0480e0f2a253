use proptest::prelude::*;

use super::*;

fn version(number: u32) -> VersionId {
    VersionId::new(number).unwrap()
}

fn arms(shares: &[(u32, u32)]) -> Vec<Arm> {
    let arm = |(number, share_ppm): &(u32, u32)| Arm {
        version: version(*number),
        share_ppm: *share_ppm,
        weight: f64::from(*share_ppm),
    };
    shares.iter().map(arm).collect()
}

fn covers_all(segments: &[Segment]) -> bool {
    segments.first().is_some_and(|first| first.start == 0)
        && segments.last().is_some_and(|last| last.end == BUCKETS)
        && segments.windows(2).all(|pair| pair[0].end == pair[1].start)
}

/// Buckets whose arm differs.
fn moves(old: &[Segment], new: &[Segment]) -> u32 {
    let mut moved = 0;
    let mut edges: Vec<u32> = old.iter().chain(new).map(|segment| segment.start).collect();
    edges.push(BUCKETS);
    edges.sort_unstable();
    for pair in edges.windows(2) {
        let (was, is) = (version_at(old, pair[0]).unwrap(), version_at(new, pair[0]).unwrap());
        if was != is {
            moved += pair[1] - pair[0];
        }
    }
    moved
}

#[test]
fn buckets_of_growthbook_are_spread_over_all_of_ours() {
    let mut seen: Vec<u32> =
        (0..60_000).map(|n| growthbook_v2_bucket("seed", &n.to_string())).collect();
    assert!(seen.iter().all(|bucket| *bucket < BUCKETS && bucket % 100 == 0));
    seen.sort_unstable();
    seen.dedup();
    // Of 10,000 buckets, 60,000 units leave e^-6 empty.
    assert!(seen.len() > 9_900, "{}", seen.len());
}

#[test]
fn weights_become_shares_that_sum_to_all() {
    assert_eq!(shares(&[90.0, 10.0]), Some(vec![900_000, 100_000]));
    assert_eq!(shares(&[1.0, 1.0, 1.0]), Some(vec![333_334, 333_333, 333_333]));
    assert_eq!(shares(&[0.0, 1.0]), Some(vec![0, BUCKETS]));
    for bad in [&[][..], &[0.0], &[-1.0, 2.0], &[f64::NAN], &[f64::INFINITY], &[1e308, 1e308]] {
        assert_eq!(shares(bad), None, "{bad:?}");
    }
}

#[test]
fn a_split_of_100_000_units_is_as_configured() {
    let segments = reassign(&[], &arms(&[(1, 900_000), (2, 100_000)]));
    let second = version(2);
    let got = (0..100_000)
        .filter(|unit| version_at(&segments, bucket("salt", &unit.to_string())) == Some(second))
        .count();
    // Chi-square with one degree of freedom, p = 0.001.
    let difference = got as f64 - 10_000.0;
    assert!(
        difference * difference / 10_000.0 + difference * difference / 90_000.0 < 10.83,
        "{got}"
    );
}

proptest! {
    #[test]
    fn any_change_of_weights_covers_all_and_moves_half_the_difference(
        changes in prop::collection::vec(prop::collection::vec(0.0..100.0f64, 4), 1..6),
    ) {
        let mut segments = reassign(&[], &arms(&[(1, BUCKETS)]));
        let mut last = vec![BUCKETS, 0, 0, 0];
        for weights in changes {
            let Some(now) = shares(&weights) else { continue };
            let numbered: Vec<_> = (1..).zip(now.iter().copied()).collect();
            let next = reassign(&segments, &arms(&numbered));
            prop_assert!(covers_all(&next));
            let difference: u32 = last.iter().zip(&now).map(|(a, b)| a.abs_diff(*b)).sum();
            prop_assert_eq!(moves(&segments, &next), difference / 2);
            (segments, last) = (next, now);
        }
    }
}
