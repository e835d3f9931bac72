//! The search for the highest rate: pure. It doubles as long as a rate is held; between the last that was held and the
//! first that was not it goes on by halves, of the logarithm, as often as is asked for.

/// A search under way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Climb {
    /// The rate to try, lines a second.
    try_next: f64,
    held: Option<f64>,
    failed: Option<f64>,
    most: f64,
    left: u32,
}

impl Climb {
    /// From a rate to another, with so many steps between the last that was held and the first that was not.
    #[must_use]
    pub(super) fn new(from: f64, to: f64, refine: u32) -> Self {
        Self { try_next: from, held: None, failed: None, most: to, left: refine }
    }

    /// The rate to try; `None` where it is over.
    #[must_use]
    pub(super) fn next(&self) -> Option<f64> {
        let is_over = match (self.held, self.failed) {
            // What is held at most is all that was asked for.
            (Some(held), None) => held >= self.most,
            (_, Some(_)) => self.left == 0,
            (None, None) => false,
        };
        (!is_over).then_some(self.try_next)
    }

    /// What became of it. Who does not even hold the first rate is tried at lower ones.
    pub(super) fn tried(&mut self, is_held: bool) {
        let tried = self.try_next;
        if self.failed.is_some() {
            self.left = self.left.saturating_sub(1);
        }
        if is_held {
            self.held = Some(tried);
        } else {
            self.failed = Some(tried);
        }
        self.try_next = match (self.held, self.failed) {
            (Some(held), Some(failed)) => (held * failed).sqrt(),
            (Some(held), None) => (held * 2.0).min(self.most),
            (None, _) => tried / 2.0,
        };
    }

    /// No higher rate can be tried than the last one that was: it is as high as can be told.
    pub(super) fn is_the_end(&mut self) {
        self.left = 0;
        self.failed = Some(self.try_next);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The highest that was held, and how many rates were tried.
    fn found(from: f64, to: f64, refine: u32, bears: f64) -> (f64, u32) {
        let (mut climb, mut best, mut tries) = (Climb::new(from, to, refine), 0.0, 0);
        while let Some(rate) = climb.next() {
            tries += 1;
            if rate <= bears {
                best = f64::max(best, rate);
            }
            climb.tried(rate <= bears);
        }
        (best, tries)
    }

    #[test]
    fn it_doubles_and_then_halves_the_distance() {
        let (best, tries) = found(1000.0, 64_000.0, 3, 10_000.0);
        assert!((9_000.0..=10_000.0).contains(&best), "{best}");
        assert_eq!(tries, 5 + 3);
    }

    #[test]
    fn who_bears_everything_ends_at_the_most_and_who_bears_little_is_tried_lower() {
        assert_eq!(found(1000.0, 5_000.0, 3, 1e9), (5_000.0, 4));
        let (best, _) = found(1000.0, 5_000.0, 3, 300.0);
        assert!((125.0..=300.0).contains(&best), "{best}");
    }

    proptest! {
        #[test]
        fn it_always_ends_and_never_says_more_than_is_borne(
            from in 1.0_f64..1e5, times in 1.0_f64..100.0, refine in 0u32..6, bears in 0.0_f64..1e7,
        ) {
            let (best, tries) = found(from, from * times, refine, bears);
            prop_assert!(best <= bears);
            prop_assert!(tries <= 10 + refine);
        }
    }
}
