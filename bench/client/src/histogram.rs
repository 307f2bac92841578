//! Latencies in buckets at most 1.6 % wide, so that a long run needs no more memory than a short one.

use std::time::Duration;

/// Buckets per power of two.
const FINE: usize = 64;

#[derive(Clone)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max_us: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { buckets: vec![0; FINE * 40], count: 0, max_us: 0 }
    }
}

impl Histogram {
    pub fn record(&mut self, latency: Duration) {
        let us = latency.as_micros() as u64;
        let last = self.buckets.len() - 1;
        self.buckets[bucket(us).min(last)] += 1;
        self.count += 1;
        self.max_us = self.max_us.max(us);
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn max_us(&self) -> u64 {
        self.max_us
    }

    /// The least latency in µs that `share` of the requests did not exceed.
    pub fn quantile(&self, share: f64) -> u64 {
        let wanted = (self.count as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted && seen > 0 {
                return upper_bound(index).min(self.max_us);
            }
        }
        self.max_us
    }
}

fn bucket(us: u64) -> usize {
    let us = us as usize;
    if us < FINE {
        return us;
    }
    let power = us.ilog2() as usize - FINE.ilog2() as usize;
    power * FINE + (us >> power)
}

fn upper_bound(index: usize) -> u64 {
    if index < 2 * FINE {
        return index as u64;
    }
    let power = index / FINE - 1;
    (((index - power * FINE + 1) << power) - 1) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_latency_lies_in_its_bucket_and_at_most_one_bucket_from_its_bound() {
        for us in (0..5_000).chain([1 << 20, (1 << 20) + 12_345, u32::MAX as u64]) {
            let bound = upper_bound(bucket(us));
            assert!(bound >= us && bound as f64 <= us as f64 * 1.017 + 1.0, "{us} {bound}");
        }
    }

    #[test]
    fn quantiles_of_a_uniform_run_are_where_they_belong() {
        let mut histogram = Histogram::default();
        (1..=1000).for_each(|us| histogram.record(Duration::from_micros(us)));
        assert!((490..=510).contains(&histogram.quantile(0.5)));
        assert!((985..=1000).contains(&histogram.quantile(0.99)));
    }
}
