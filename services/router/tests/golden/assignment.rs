use std::collections::BTreeSet;

use domain::VersionId;
use domain::route::{Arm, BUCKETS};
use router::assignment::{bucket, growthbook_v2_bucket, reassign, version_at};

use crate::case::cases;

#[test]
fn buckets_are_those_of_sha_256() {
    for case in cases("assignment_hash") {
        let (salt, unit) = (&case.input["salt"], &case.input["unit"]);
        let got = bucket(salt.as_str().unwrap(), unit.as_str().unwrap());
        assert_eq!(Some(u64::from(got)), case.expected["bucket"].as_u64(), "{}", case.name);
    }
}

#[test]
fn buckets_are_those_of_growthbook() {
    for case in cases("assignment_hash_growthbook") {
        let (seed, value) = (&case.input["seed"], &case.input["value"]);
        let got = growthbook_v2_bucket(seed.as_str().unwrap(), value.as_str().unwrap());
        let share = f64::from(got) / f64::from(BUCKETS);
        case.check("v2", Some(share), &case.expected["v2"]);
    }
}

#[test]
fn no_more_buckets_move_than_must() {
    for case in cases("minimal_reassignment") {
        let mut names: Vec<String> = Vec::new();
        let mut arms = |key: &str| -> Vec<Arm> {
            let pairs = case.input[key].as_array().unwrap();
            let arm = |pair: &serde_json::Value| {
                let name = pair[0].as_str().unwrap();
                let share_ppm = u32::try_from(pair[1].as_u64().unwrap()).unwrap();
                if !names.iter().any(|known| known == name) {
                    names.push(name.to_owned());
                }
                let version = version(&names, name);
                Arm { version, share_ppm, weight: f64::from(share_ppm) }
            };
            pairs.iter().map(arm).collect()
        };
        let old = reassign(&[], &arms("old"));
        let new = reassign(&old, &arms("new"));
        // Every bucket, one by one: slow and beyond doubt.
        let mut moved = 0;
        let mut losers = BTreeSet::new();
        for bucket in 0..BUCKETS {
            let was = version_at(&old, bucket).unwrap();
            if was != version_at(&new, bucket).unwrap() {
                moved += 1;
                losers.insert(was);
            }
        }
        assert_eq!(Some(moved), case.expected["moved_buckets"].as_u64(), "{}", case.name);
        for keeper in case.expected["arms_that_lose_no_bucket"].as_array().unwrap() {
            let keeper = version(&names, keeper.as_str().unwrap());
            assert!(!losers.contains(&keeper), "{}: {keeper} loses buckets", case.name);
        }
    }
}

fn version(names: &[String], name: &str) -> VersionId {
    let index = names.iter().position(|known| known == name).unwrap();
    VersionId::new(u32::try_from(index).unwrap() + 1).unwrap()
}
