//! Token buckets in memory.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::limits::{Take, Taken};

/// Parts that are locked apart.
const SHARDS: usize = 64;
/// Buckets in one part at most: 131,072 in all, some 15 MB. More would be a flood of new addresses,
/// and the bucket that is nearest to full makes room.
const MOST: usize = 2048;
/// How often a part that grows drops the buckets that are full again.
const SWEEP: Duration = Duration::from_secs(10);
/// Buckets that are looked at to find one that makes room.
const SAMPLE: usize = 8;

/// All buckets that are not full.
pub(super) struct Buckets {
    began: Instant,
    hasher: RandomState,
    shards: Vec<Mutex<Shard>>,
}

#[derive(Default)]
struct Shard {
    /// When each is full, after [`Buckets::began`].
    full_at: HashMap<String, Duration>,
    swept_at: Duration,
}

impl Buckets {
    pub(super) fn new() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { began: Instant::now(), hasher: RandomState::new(), shards }
    }

    pub(super) fn take(&self, asked: &[Take]) -> Vec<Taken> {
        self.take_at(asked, self.began.elapsed())
    }

    fn take_at(&self, asked: &[Take], now: Duration) -> Vec<Taken> {
        let places: Vec<usize> = asked.iter().map(|take| self.place(&take.key)).collect();
        // Always in the same order, so that no two wait for each other.
        let mut order = places.clone();
        order.sort_unstable();
        order.dedup();
        let mut held: Vec<(usize, MutexGuard<'_, Shard>)> = order
            .into_iter()
            .filter_map(|place| Some((place, self.shards.get(place)?)))
            .map(|(place, shard)| (place, shard.lock().unwrap_or_else(PoisonError::into_inner)))
            .collect();
        let mut debts = Vec::with_capacity(asked.len());
        for (take, place) in asked.iter().zip(&places) {
            let shard = held.iter().find(|(held, _)| held == place);
            let full_at = shard.and_then(|(_, shard)| shard.full_at.get(&take.key)).copied();
            debts.push(full_at.unwrap_or_default().saturating_sub(now));
        }
        let fits = |(take, debt): (&Take, &Duration)| *debt + take.interval <= take.depth();
        let all = asked.iter().zip(&debts).all(fits);
        let mut answers = Vec::with_capacity(asked.len());
        for ((take, place), debt) in asked.iter().zip(&places).zip(debts) {
            let allowed = fits((take, &debt));
            let debt = if all { debt + take.interval } else { debt };
            if all && let Some((_, shard)) = held.iter_mut().find(|(held, _)| held == place) {
                shard.put(&take.key, now + debt, now);
            }
            answers.push(take.taken(allowed, debt));
        }
        answers
    }

    fn place(&self, key: &str) -> usize {
        usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or_default()
    }
}

impl Shard {
    fn put(&mut self, key: &str, full_at: Duration, now: Duration) {
        if let Some(known) = self.full_at.get_mut(key) {
            *known = full_at;
            return;
        }
        if now.saturating_sub(self.swept_at) >= SWEEP {
            self.swept_at = now;
            self.full_at.retain(|_, full_at| *full_at > now);
        }
        if self.full_at.len() >= MOST {
            let nearest = self.full_at.iter().take(SAMPLE).min_by_key(|(_, full_at)| **full_at);
            if let Some(key) = nearest.map(|(key, _)| key.clone()) {
                self.full_at.remove(&key);
            }
        }
        self.full_at.insert(key.to_owned(), full_at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn take(key: &str, interval: Duration, burst: u32) -> Take {
        Take { key: key.to_owned(), interval, burst }
    }

    fn buckets_held(buckets: &Buckets) -> usize {
        buckets.shards.iter().map(|shard| shard.lock().unwrap().full_at.len()).sum()
    }

    #[test]
    fn a_bucket_gives_its_burst_then_one_token_per_interval() {
        let buckets = Buckets::new();
        let asked = [take("a", SECOND, 3)];
        let at = |now: f64| buckets.take_at(&asked, Duration::from_secs_f64(now))[0];
        let first = at(0.0);
        assert_eq!((first.allowed, first.remaining, first.reset_after), (true, 2, SECOND));
        assert!(at(0.0).allowed && at(0.0).allowed);
        let refused = at(0.25);
        assert_eq!((refused.allowed, refused.remaining), (false, 0));
        assert_eq!(refused.retry_after, Duration::from_millis(750));
        assert_eq!(refused.reset_after, Duration::from_millis(2750));
        assert!(at(1.0).allowed);
        assert!(!at(1.999).allowed);
        assert!(at(2.0).allowed);
        // Full again, and no fuller.
        let allowed = (0..10).filter(|_| at(100.0).allowed).count();
        assert_eq!(allowed, 3);
    }

    #[test]
    fn if_one_bucket_refuses_none_is_charged() {
        let buckets = Buckets::new();
        let both = [take("wide", SECOND, 10), take("narrow", SECOND, 1)];
        assert!(buckets.take_at(&both, SECOND).iter().all(|taken| taken.allowed));
        for _ in 0..5 {
            let taken = buckets.take_at(&both, SECOND);
            assert_eq!((taken[0].allowed, taken[0].remaining), (true, 9));
            assert!(!taken[1].allowed);
        }
        assert_eq!(buckets.take_at(&both[..1], SECOND)[0].remaining, 8);
    }

    #[test]
    fn full_buckets_are_dropped_and_their_number_is_bounded() {
        let buckets = Buckets::new();
        for number in 0..1000 {
            buckets.take_at(&[take(&format!("short {number}"), SECOND, 1)], SECOND);
        }
        assert_eq!(buckets_held(&buckets), 1000);
        let later = Duration::from_secs(60);
        for number in 0..(SHARDS * MOST * 2) {
            buckets.take_at(&[take(&format!("{number}"), SECOND * 3600, 1)], later);
        }
        assert_eq!(buckets_held(&buckets), SHARDS * MOST);
    }

    #[test]
    fn a_step_costs_little() {
        let buckets = Buckets::new();
        let asked: Vec<Vec<Take>> = (0..1000)
            .map(|number| vec![take(&format!("client {number}"), Duration::from_micros(1), 100)])
            .collect();
        let began = Instant::now();
        let rounds = 100;
        for _ in 0..rounds {
            for one in &asked {
                buckets.take(one);
            }
        }
        let each = began.elapsed() / (rounds * 1000);
        // Some 200 ns where it is optimised; what is far above is a list that is walked.
        assert!(each < Duration::from_micros(50), "{each:?}");
    }
}
