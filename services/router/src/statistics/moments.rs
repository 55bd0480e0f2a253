//! Count, mean and spread of one metric in one arm, and of two metrics together; both merge.
//!
//! Welford's update and the merge of Chan, Golub and LeVeque (1979): no sum of squares, so nothing is lost when the
//! mean is far from zero.

use serde::{Deserialize, Serialize};

use super::{countable, finite};

/// One metric in one arm, by unit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    /// Values seen.
    pub count: u64,
    /// Their mean; 0 as long as there are none.
    pub mean: f64,
    /// Sum of squared distances to the mean.
    pub m2: f64,
}

impl Moments {
    /// Of a yes-or-no metric: `events` of `count` units had it. From counts, so merged replicas give the same bits as
    /// one. `None` if there are more events than units.
    pub fn of_events(count: u64, events: u64) -> Option<Self> {
        let others = count.checked_sub(events)?;
        if count == 0 {
            return Some(Self::default());
        }
        let (n, events, others) = (count as f64, events as f64, others as f64);
        Some(Self { count, mean: events / n, m2: events * others / n })
    }

    /// Counts a value in. One that is not a number, or beyond 1e100, changes nothing; the answer says whether it counted.
    pub fn push(&mut self, value: f64) -> bool {
        if !countable(value) {
            return false;
        }
        self.count += 1;
        let before = value - self.mean;
        self.mean += before / self.count as f64;
        self.m2 += before * (value - self.mean);
        true
    }

    /// Adds what another replica, or another stretch of time, has seen.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = *other;
            return;
        }
        let (here, there) = (self.count as f64, other.count as f64);
        let all = here + there;
        let apart = other.mean - self.mean;
        self.mean += apart * (there / all);
        self.m2 += other.m2 + apart * apart * (here * there / all);
        self.count += other.count;
    }

    /// Both together.
    #[must_use]
    pub fn merged(mut self, other: &Self) -> Self {
        self.merge(other);
        self
    }

    /// Sum of the values.
    pub fn sum(&self) -> f64 {
        self.mean * self.count as f64
    }

    /// Sample variance (one degree of freedom less than values). `None` below two values, or if it overflows.
    pub fn variance(&self) -> Option<f64> {
        if self.count < 2 {
            return None;
        }
        Some(finite(self.m2)?.max(0.0) / (self.count - 1) as f64)
    }

    /// Standard error of the mean.
    pub fn standard_error(&self) -> Option<f64> {
        Some((self.variance()? / self.count as f64).sqrt())
    }
}

impl FromIterator<f64> for Moments {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut moments = Self::default();
        for value in values {
            moments.push(value);
        }
        moments
    }
}

/// Two metrics of the same units: a covariate and an outcome, or a denominator and a numerator.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Bivariate {
    /// Units seen.
    pub count: u64,
    /// Mean of x.
    pub mean_x: f64,
    /// Mean of y.
    pub mean_y: f64,
    /// Sum of squared distances of x to its mean.
    pub m2_x: f64,
    /// Sum of squared distances of y to its mean.
    pub m2_y: f64,
    /// Sum of the products of both distances.
    pub m_xy: f64,
}

impl Bivariate {
    /// Counts a unit in. A pair with one that [`Moments::push`] would not count changes nothing; the answer says whether
    /// it counted.
    pub fn push(&mut self, x: f64, y: f64) -> bool {
        if !countable(x) || !countable(y) {
            return false;
        }
        self.count += 1;
        let n = self.count as f64;
        let (before_x, before_y) = (x - self.mean_x, y - self.mean_y);
        self.mean_x += before_x / n;
        self.mean_y += before_y / n;
        self.m2_x += before_x * (x - self.mean_x);
        self.m2_y += before_y * (y - self.mean_y);
        self.m_xy += before_x * (y - self.mean_y);
        true
    }

    /// Adds what another replica, or another stretch of time, has seen.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = *other;
            return;
        }
        let (here, there) = (self.count as f64, other.count as f64);
        let all = here + there;
        let (apart_x, apart_y) = (other.mean_x - self.mean_x, other.mean_y - self.mean_y);
        let weight = here * there / all;
        self.mean_x += apart_x * (there / all);
        self.mean_y += apart_y * (there / all);
        self.m2_x += other.m2_x + apart_x * apart_x * weight;
        self.m2_y += other.m2_y + apart_y * apart_y * weight;
        self.m_xy += other.m_xy + apart_x * apart_y * weight;
        self.count += other.count;
    }

    /// x alone.
    pub fn x(&self) -> Moments {
        Moments { count: self.count, mean: self.mean_x, m2: self.m2_x }
    }

    /// y alone.
    pub fn y(&self) -> Moments {
        Moments { count: self.count, mean: self.mean_y, m2: self.m2_y }
    }

    /// Pearson's correlation. `None` if one of the two does not vary.
    pub fn correlation(&self) -> Option<f64> {
        let spread = self.m2_x.sqrt() * self.m2_y.sqrt();
        (spread > 0.0).then(|| self.m_xy / spread).and_then(finite)
    }

    /// Sum of y over sum of x as a mean over units, by the delta method: its variance over the count is
    /// (s_y^2 - 2 r s_xy + r^2 s_x^2) / (mean of x)^2 / n. So a difference of two ratios is a difference of two means.
    /// `None` without units or when the mean of x is 0.
    pub fn ratio(&self) -> Option<Moments> {
        if self.count == 0 || self.mean_x == 0.0 {
            return None;
        }
        let mean = finite(self.mean_y / self.mean_x)?;
        let spread = self.m2_y - 2.0 * mean * self.m_xy + mean * mean * self.m2_x;
        let m2 = finite(spread / (self.mean_x * self.mean_x))?.max(0.0);
        Some(Moments { count: self.count, mean, m2 })
    }
}
