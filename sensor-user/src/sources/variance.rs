//! Mean and variance, exact where the data are counts.

use std::collections::VecDeque;

/// Mean and sample variance of the last values of a series.
///
/// Computed from the values themselves, in two passes, each time it is asked: windows are short, and a
/// running sum over a sliding window gathers rounding errors for ever.
#[derive(Clone, Debug)]
pub struct Window {
    values: VecDeque<f64>,
    capacity: usize,
}

impl Window {
    /// A window of `capacity` values, empty.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { values: VecDeque::new(), capacity: capacity.max(1) }
    }

    /// Adds the latest value; the oldest falls out of a full window.
    pub fn push(&mut self, value: f64) {
        if self.values.len() == self.capacity {
            self.values.pop_front();
        }
        self.values.push_back(value);
    }

    /// Arithmetic mean; none without a value.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        let n = self.values.len();
        (n > 0).then(|| self.values.iter().sum::<f64>() / n as f64)
    }

    /// Sample variance (divided by n - 1); none for fewer than two values.
    #[must_use]
    pub fn sample_variance(&self) -> Option<f64> {
        let n = self.values.len();
        if n < 2 {
            return None;
        }
        let mean = self.mean()?;
        let squares: f64 = self.values.iter().map(|value| (value - mean).powi(2)).sum();
        Some(squares / (n - 1) as f64)
    }
}

/// Population variance of counts that grow one by one: number, sum and sum of squares as integers, so exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deviation {
    counts: u64,
    sum: u128,
    squares: u128,
}

impl Deviation {
    /// One of the counts grows from `before` to `before + by`. A count is one of the set once it is above 0.
    pub fn grow(&mut self, before: u64, by: u64) {
        if by == 0 {
            return;
        }
        let (before, after) = (u128::from(before), u128::from(before) + u128::from(by));
        self.counts += u64::from(before == 0);
        self.sum += after - before;
        self.squares += after * after - before * before;
    }

    /// Variance (divided by n) of the counts above 0; none without one.
    ///
    /// `(n Σx² - (Σx)²) / n²` in integers: no cancellation.
    #[must_use]
    pub fn population_variance(&self) -> Option<f64> {
        let n = u128::from(self.counts);
        let spread = n.checked_mul(self.squares).zip(self.sum.checked_mul(self.sum));
        match spread {
            _ if n == 0 => None,
            Some((left, right)) => Some((left - right) as f64 / (n * n) as f64),
            // Beyond 2^128: counts that no interval reaches; floating point is right to 15 digits there.
            None => {
                let mean = self.sum as f64 / n as f64;
                Some((self.squares as f64 / n as f64 - mean * mean).max(0.0))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn window(values: &[f64], capacity: usize) -> Window {
        let mut window = Window::new(capacity);
        for &value in values {
            window.push(value);
        }
        window
    }

    #[test]
    fn an_empty_window_has_neither_mean_nor_variance() {
        let window = Window::new(3);
        assert_eq!((window.mean(), window.sample_variance()), (None, None));
    }

    #[test]
    fn one_value_has_a_mean_and_no_variance() {
        let window = window(&[5.0], 3);
        assert_eq!((window.mean(), window.sample_variance()), (Some(5.0), None));
    }

    #[test]
    fn the_first_n_integers_have_their_closed_form() {
        let window = window(&(1..=30).map(f64::from).collect::<Vec<_>>(), 30);
        // Mean (n + 1) / 2, sample variance n (n + 1) / 12.
        assert_eq!((window.mean(), window.sample_variance()), (Some(15.5), Some(77.5)));
    }

    #[test]
    fn what_left_the_window_leaves_no_trace() {
        let window = window(&[1e15, 1.0, 2.0, 3.0], 3);
        assert_eq!((window.mean(), window.sample_variance()), (Some(2.0), Some(1.0)));
    }

    /// A million intervals far from zero: what a running sum of squares would have lost long ago.
    #[test]
    fn long_runs_far_from_zero_lose_nothing() {
        let offset = 1e12;
        let mut window = Window::new(30);
        for number in 0..1_000_000_u32 {
            window.push(offset + f64::from(number % 30));
        }
        assert_eq!((window.mean(), window.sample_variance()), (Some(offset + 14.5), Some(77.5)));
        let mut deviation = Deviation::default();
        for number in 0..1_000_000_u64 {
            deviation.grow(0, 1_000_000_000 + number);
        }
        // (n² - 1) / 12 of n consecutive integers, wherever they are.
        let expected = (1e12 - 1.0) / 12.0;
        let variance = deviation.population_variance().expect("there are values");
        assert!((variance - expected).abs() <= 1e-12 * expected, "{variance} is not {expected}");
    }

    proptest! {
        /// Against the definition, of what is left of the series: exact integers below 2^53 have no excuse.
        #[test]
        fn a_window_is_the_mean_and_variance_of_its_last_values(
            offset in 0u32..2_000_000_000,
            values in prop::collection::vec(0u32..100_000, 0..200),
            capacity in 1usize..50,
        ) {
            let values = values.into_iter().map(|value| i128::from(offset) + i128::from(value));
            let values: Vec<i128> = values.collect();
            let mut window = Window::new(capacity);
            for value in &values {
                window.push(*value as f64);
            }
            let last = &values[values.len().saturating_sub(capacity)..];
            let (n, sum) = (last.len() as i128, last.iter().sum::<i128>());
            // In integers: Σ(n·x - Σx)² = n²·Σ(x - mean)².
            let squares: i128 = last.iter().map(|value| (n * value - sum).pow(2)).sum();
            let mean = (n > 0).then(|| sum as f64 / n as f64);
            let variance = (n > 1).then(|| squares as f64 / (n * n * (n - 1)) as f64);
            let close = |a: Option<f64>, b: Option<f64>| match (a, b) {
                (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * b.abs() + 1e-6,
                (a, b) => a == b,
            };
            prop_assert!(close(window.mean(), mean), "{:?} is not {mean:?}", window.mean());
            prop_assert!(close(window.sample_variance(), variance), "{:?} is not {variance:?}", window.sample_variance());
        }

        #[test]
        fn growing_counts_have_the_variance_of_their_final_values(
            steps in prop::collection::vec((0usize..5, 0u64..1_000_000), 0..200)
        ) {
            let mut counts = [0u64; 5];
            let mut deviation = Deviation::default();
            for (which, by) in steps {
                deviation.grow(counts[which], by);
                counts[which] += by;
            }
            let present = counts.iter().filter(|&&count| count > 0);
            let present: Vec<f64> = present.map(|&count| count as f64).collect();
            let n = present.len() as f64;
            let mean = present.iter().sum::<f64>() / n;
            let expected = present.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n;
            match deviation.population_variance() {
                None => prop_assert!(present.is_empty()),
                Some(variance) => prop_assert!((variance - expected).abs() <= expected * 1e-9 + 1e-9),
            }
        }
    }
}
