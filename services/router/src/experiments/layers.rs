//! Who gets which units of a layer.

use contracts::router::HeldSlice;
use domain::route::BUCKETS;

/// The first free run of `wanted` buckets before the hold-out, given the runs that are held.
pub fn first_free(held: &[HeldSlice], holdout_ppm: u32, wanted: u32) -> Option<(u32, u32)> {
    free(held, holdout_ppm).into_iter().find_map(|(start, end)| {
        (end - start >= wanted && wanted > 0).then_some((start, start + wanted))
    })
}

/// The largest free run before the hold-out, in buckets.
pub fn largest_free(held: &[HeldSlice], holdout_ppm: u32) -> u32 {
    free(held, holdout_ppm).into_iter().map(|(start, end)| end - start).max().unwrap_or_default()
}

fn free(held: &[HeldSlice], holdout_ppm: u32) -> Vec<(u32, u32)> {
    let mut held: Vec<(u32, u32)> = held.iter().map(|one| (one.start, one.end)).collect();
    held.sort_unstable();
    let end = BUCKETS.saturating_sub(holdout_ppm);
    let (mut runs, mut from) = (Vec::new(), 0);
    for (start, after) in held {
        if start.min(end) > from {
            runs.push((from, start.min(end)));
        }
        from = from.max(after);
    }
    if end > from {
        runs.push((from, end));
    }
    runs
}

/// A share as buckets, rounded; one at least.
pub fn buckets(share: f64) -> u32 {
    let exact = (share * f64::from(BUCKETS)).round().clamp(1.0, f64::from(BUCKETS));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to a million")]
    let buckets = exact as u32;
    buckets
}
