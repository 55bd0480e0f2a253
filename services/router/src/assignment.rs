//! Who gets which version: a fixed hash into buckets, and a table of bucket segments that changes
//! as little as it can.
//!
//! The hash never depends on a process, so the same unit gets the same arm on every replica and
//! after a restart.

use domain::VersionId;
use domain::route::{Arm, BUCKETS, Segment};
use sha2::{Digest, Sha256};

/// The bucket of a unit, 0 to [`BUCKETS`] - 1: the first 8 bytes of SHA-256(`salt:unit`) as a
/// big-endian number, modulo [`BUCKETS`]. The bytes are hashed as given, without normalising.
pub fn bucket(salt: &str, unit: &str) -> u32 {
    let digest = Sha256::new().chain_update(salt).chain_update(":").chain_update(unit).finalize();
    let head = digest.iter().take(8).fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    #[expect(clippy::cast_possible_truncation, reason = "a remainder of a million fits")]
    let bucket = (head % u64::from(BUCKETS)) as u32;
    bucket
}

/// The bucket of a unit as GrowthBook's SDKs (hash version 2) have it, so that they agree with us: one of its 10,000
/// buckets, FNV-1a of the decimal FNV-1a of seed and unit without a separator, as the first of our hundred in its place.
/// It cannot tell shares below 0.01 %.
pub fn growthbook_v2_bucket(seed: &str, unit: &str) -> u32 {
    let inner = fnv_1a(seed.encode_utf16().chain(unit.encode_utf16()));
    fnv_1a(inner.to_string().encode_utf16()) % GROWTHBOOK_BUCKETS * (BUCKETS / GROWTHBOOK_BUCKETS)
}

const GROWTHBOOK_BUCKETS: u32 = 10_000;

/// FNV-1a of 32 bits over UTF-16 code units, as JavaScript reads a text.
fn fnv_1a(code_units: impl Iterator<Item = u16>) -> u32 {
    code_units.fold(0x811c_9dc5, |hash, unit| (hash ^ u32::from(unit)).wrapping_mul(0x0100_0193))
}

/// The version that a bucket belongs to. `segments` cover all buckets, so there is always one,
/// unless there are no segments at all.
pub fn version_at(segments: &[Segment], bucket: u32) -> Option<VersionId> {
    let index = segments.partition_point(|segment| segment.end <= bucket);
    segments.get(index).map(|segment| segment.version)
}

/// Weights in any unit as shares in buckets that sum to [`BUCKETS`]: each rounded down, the buckets
/// left over to the largest remainders, ties to the first. `None` if no weight is above zero or one
/// is negative or not finite.
pub fn shares(weights: &[f64]) -> Option<Vec<u32>> {
    let sum: f64 = weights.iter().sum();
    let fits = weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0);
    if !fits || !sum.is_finite() || sum <= 0.0 {
        return None;
    }
    let exact: Vec<f64> = weights.iter().map(|weight| weight / sum * f64::from(BUCKETS)).collect();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to a million")]
    let mut shares: Vec<u32> = exact.iter().map(|share| share.floor() as u32).collect();
    let mut by_remainder: Vec<usize> = (0..weights.len()).collect();
    let remainder = |index: &usize| exact.get(*index).map_or(0.0, |share| share.fract());
    by_remainder.sort_by(|a, b| remainder(b).total_cmp(&remainder(a)));
    let left_over = BUCKETS.saturating_sub(shares.iter().sum());
    for index in by_remainder.into_iter().cycle().take(left_over as usize) {
        if let Some(share) = shares.get_mut(index) {
            *share += 1;
        }
    }
    Some(shares)
}

/// The segments for new shares, made from the old ones with the fewest moves: arms that shrink give
/// up buckets from the end of their last segments, arms that grow take those, nothing else moves.
/// The arms' shares must sum to [`BUCKETS`].
pub fn reassign(old: &[Segment], arms: &[Arm]) -> Vec<Segment> {
    let target = |version: VersionId| {
        arms.iter().filter(|arm| arm.version == version).map(|arm| arm.share_ppm).sum::<u32>()
    };
    let held = |segments: &[Segment], version: VersionId| -> u32 {
        segments.iter().filter(|s| s.version == version).map(|s| s.end - s.start).sum()
    };
    let mut kept: Vec<Segment> = Vec::new();
    let mut free: Vec<(u32, u32)> = Vec::new();
    if old.is_empty() {
        free.push((0, BUCKETS));
    }
    for segment in old {
        // What the arm's earlier segments hold already counts first, so the end is what shrinks.
        let before = held(&kept, segment.version);
        let room = target(segment.version).saturating_sub(before);
        let keep = room.min(segment.end - segment.start);
        let cut = segment.start + keep;
        if keep > 0 {
            kept.push(Segment { end: cut, ..*segment });
        }
        if cut < segment.end {
            free.push((cut, segment.end));
        }
    }
    for arm in arms {
        let mut missing = arm.share_ppm.saturating_sub(held(&kept, arm.version));
        while missing > 0 {
            let Some((start, end)) = free.first_mut() else { break };
            let taken = missing.min(*end - *start);
            kept.push(Segment { start: *start, end: *start + taken, version: arm.version });
            *start += taken;
            missing -= taken;
            if start == end {
                free.remove(0);
            }
        }
    }
    kept.sort_by_key(|segment| segment.start);
    kept.dedup_by(|next, last| {
        let joined = next.version == last.version && next.start == last.end;
        if joined {
            last.end = next.end;
        }
        joined
    });
    kept
}

#[cfg(test)]
mod tests;
