//! A histogram of durations with four buckets per power of two: cheap to fill, good to 25 percent.

/// Buckets from below 256 ns to above 8 s.
pub const BUCKETS: usize = 4 * 26;
const FIRST_POWER: u32 = 8;

/// Counts per bucket.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: [u64; BUCKETS],
    sum_ns: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], sum_ns: 0 }
    }
}

impl Histogram {
    /// Count one duration; a negative one (clocks disagree) goes to the first bucket.
    #[inline(always)]
    pub fn observe(&mut self, duration_ns: i64) {
        let value = duration_ns.max(1) as u64;
        self.sum_ns = self.sum_ns.wrapping_add(value);
        let power = 63 - value.leading_zeros();
        let bucket = if power < FIRST_POWER {
            0
        } else {
            let quarter = (value >> (power - 2)) & 3;
            ((power - FIRST_POWER) as u64 * 4 + quarter + 1).min(BUCKETS as u64 - 1)
        };
        self.counts[bucket as usize] += 1;
    }

    /// Add all that another one counted.
    pub fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self.sum_ns = self.sum_ns.wrapping_add(other.sum_ns);
    }

    /// Counts, smallest durations first.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Sum of all durations, ns.
    pub fn sum_ns(&self) -> u64 {
        self.sum_ns
    }

    /// Upper bound of every bucket, ns; the last one is open.
    pub fn bounds_ns() -> impl Iterator<Item = f64> {
        (0..BUCKETS).map(|bucket| {
            if bucket == BUCKETS - 1 {
                return f64::INFINITY;
            }
            let (power, quarter) = (bucket as u32 / 4 + FIRST_POWER, bucket as u32 % 4);
            f64::from(2f32.powi(power as i32)) * (1.0 + f64::from(quarter) / 4.0)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_lies_below_its_bucket_bound_and_not_below_the_one_before() {
        let bounds: Vec<f64> = Histogram::bounds_ns().collect();
        for value in [-5, 0, 1, 255, 256, 300, 319, 320, 1_000, 123_456, 8_000_000_000, i64::MAX] {
            let mut histogram = Histogram::default();
            histogram.observe(value);
            let bucket = histogram.counts().iter().position(|count| *count == 1).expect("counted");
            assert!((value as f64) < bounds[bucket], "{value}");
            assert!(bucket == 0 || value as f64 >= bounds[bucket - 1], "{value}");
        }
    }
}
