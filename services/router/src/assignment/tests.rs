use std::collections::BTreeSet;
use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// Expected numbers: the folder that `GOLDEN_DIR` names, or the committed copy.
fn golden(name: &str) -> Vec<Value> {
    let committed = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden"));
    let folder = std::env::var_os("GOLDEN_DIR").map_or(committed, PathBuf::from);
    let text = std::fs::read_to_string(folder.join(name)).unwrap();
    let file: Value = serde_json::from_str(&text).unwrap();
    file["cases"].as_array().unwrap().clone()
}

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

/// Buckets whose arm differs, and the arms that lost some.
fn moves(old: &[Segment], new: &[Segment]) -> (u32, BTreeSet<VersionId>) {
    let mut moved = 0;
    let mut losers = BTreeSet::new();
    let mut edges: Vec<u32> = old.iter().chain(new).map(|segment| segment.start).collect();
    edges.push(BUCKETS);
    edges.sort_unstable();
    for pair in edges.windows(2) {
        let (was, is) = (version_at(old, pair[0]).unwrap(), version_at(new, pair[0]).unwrap());
        if pair[0] < pair[1] && was != is {
            moved += pair[1] - pair[0];
            losers.insert(was);
        }
    }
    (moved, losers)
}

#[test]
fn buckets_are_the_golden_ones() {
    let cases = golden("assignment_hash.json");
    assert!(!cases.is_empty());
    for case in cases {
        let input = &case["input"];
        let got = bucket(input["salt"].as_str().unwrap(), input["unit"].as_str().unwrap());
        assert_eq!(
            u64::from(got),
            case["expected"]["bucket"].as_u64().unwrap(),
            "{}",
            case["name"]
        );
    }
}

#[test]
fn weights_change_with_the_golden_number_of_moves() {
    for case in golden("minimal_reassignment.json") {
        let mut names: Vec<String> = Vec::new();
        let mut read = |key: &str| {
            let arms = case["input"][key].as_array().unwrap().iter();
            arms.map(|arm| {
                let name = arm[0].as_str().unwrap().to_owned();
                let number = names.iter().position(|known| *known == name).unwrap_or_else(|| {
                    names.push(name);
                    names.len() - 1
                });
                let number = u32::try_from(number).unwrap() + 1;
                (number, u32::try_from(arm[1].as_u64().unwrap()).unwrap())
            })
            .collect::<Vec<_>>()
        };
        let (old, new) = (arms(&read("old")), arms(&read("new")));
        let old = reassign(&[], &old);
        let new = reassign(&old, &new);
        assert!(covers_all(&old) && covers_all(&new));
        let (moved, losers) = moves(&old, &new);
        assert_eq!(u64::from(moved), case["expected"]["moved_buckets"].as_u64().unwrap());
        for keeper in case["expected"]["arms_that_lose_no_bucket"].as_array().unwrap() {
            let index = names.iter().position(|name| keeper == name).unwrap();
            assert!(
                !losers.contains(&version(u32::try_from(index).unwrap() + 1)),
                "{}",
                case["name"]
            );
        }
    }
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
            prop_assert_eq!(moves(&segments, &next).0, difference / 2);
            (segments, last) = (next, now);
        }
    }
}
