//! Where a row of nights changes its level, found as the nights come in: pure.
//!
//! A night stands apart when it lies outside the interval in which the nights of the present level predict it; it is
//! then *suspected*, and the next run decides: if that lies apart on the same side, the change is *confirmed* and dated to
//! the first of the two, and a new level begins. If not, that one night stood apart alone, and counts for no level. A
//! change too small for that, and a drift, is found by splitting the present level in two where the halves differ most,
//! which takes more nights. `docs/history.md` argues this against what else there is, with figures.

use crate::growth::slope::critical_value;

mod split;

/// Chance that a night of an unchanged row is suspected, on each side.
const ALPHA_SUSPECT: f64 = 0.001;
/// Chance that the next one confirms it by chance.
const ALPHA_CONFIRM: f64 = 0.003;
/// How far from the level the second night lies at least, of how far the first does.
const AGREE: f64 = 0.5;
/// Nights of one level that predict the next one; older ones may be of another season.
const WINDOW: usize = 30;
/// With fewer degrees of freedom the prediction is so wide that it finds nothing, or rests on too few to be believed.
const DEGREES_MIN: f64 = 4.0;
/// A night further from the middle than so many robust deviations counts for no spread: before there are enough nights
/// to predict, one that stands apart can't be told yet, and would hide what follows.
const FAR: f64 = 6.0;
/// A normal deviation's multiple of the median absolute one.
const NORMAL: f64 = 1.4826;

/// A night's figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Night {
    /// Its value.
    pub value: f64,
    /// Its standard error from within the run; zero where a run knows none.
    pub error: f64,
}

/// A change of the level.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// The first night of the new level, as a place in the row.
    pub at: usize,
    /// The night with which it was suspected.
    pub suspected_at: usize,
    /// The night that confirmed it; `None` while it is the last one.
    pub confirmed_at: Option<usize>,
    /// The level before.
    pub before: f64,
    /// The level since, up to the next change.
    pub after: f64,
}

/// What is found in a row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Its changes, in order; only the last may be unconfirmed.
    pub changes: Vec<Change>,
    /// Nights that stood apart alone.
    pub apart: Vec<usize>,
}

/// Finds the changes of a row. `matters` is the smallest change that matters, beside a level.
#[must_use]
pub fn changes(nights: &[Night], matters: &dyn Fn(f64) -> f64) -> Found {
    let mut walk = Walk {
        nights,
        matters,
        level: Vec::new(),
        earlier: Spread::default(),
        suspect: None,
        late: None,
        found: Found::default(),
    };
    (0..nights.len()).for_each(|index| walk.take(index));
    walk.end()
}

/// A sum of squares with its degrees of freedom.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Spread {
    squares: f64,
    degrees: f64,
}

impl Spread {
    fn and(self, other: Self) -> Self {
        Self { squares: self.squares + other.squares, degrees: self.degrees + other.degrees }
    }

    fn variance(self) -> f64 {
        if self.degrees > 0.0 { self.squares / self.degrees } else { 0.0 }
    }
}

/// A night that stands apart, or a split that is seen, and on which side.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Suspect {
    at: usize,
    upward: bool,
}

/// A level as far as it is known: its mean, its spread, and what the runs know of their own errors.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Level {
    mean: f64,
    spread: Spread,
    /// The mean of the squared errors.
    within: f64,
    nights: f64,
}

struct Walk<'a> {
    nights: &'a [Night],
    matters: &'a dyn Fn(f64) -> f64,
    /// The nights of the present level.
    level: Vec<usize>,
    /// The spread of the levels before: what varies from night to night does not depend on where they stand.
    earlier: Spread,
    suspect: Option<Suspect>,
    late: Option<Suspect>,
    found: Found,
}

impl Walk<'_> {
    fn night(&self, index: usize) -> Night {
        self.nights.get(index).copied().unwrap_or(Night { value: 0.0, error: 0.0 })
    }

    fn take(&mut self, index: usize) {
        if let Some(suspect) = self.suspect.take() {
            if self.stands_apart(index, ALPHA_CONFIRM) == Some(suspect.upward)
                && self.agree(suspect.at, index)
            {
                self.begin(suspect, index, vec![suspect.at, index]);
                return;
            }
            self.found.apart.push(suspect.at);
        }
        if let Some(upward) = self.stands_apart(index, ALPHA_SUSPECT) {
            self.suspect = Some(Suspect { at: index, upward });
            return;
        }
        self.level.push(index);
        self.look_back(index);
    }

    /// On which side of what the present level predicts.
    fn stands_apart(&self, index: usize, alpha: f64) -> Option<bool> {
        let level = level(self.nights, self.level.iter().rev().take(WINDOW).copied())?;
        let spread = level.spread.and(self.earlier);
        if spread.degrees < DEGREES_MIN {
            return None;
        }
        let night = self.night(index);
        let between = spread.variance() * (1.0 + 1.0 / level.nights);
        let within = night.error.powi(2) + level.within / level.nights;
        let by = night.value - level.mean;
        let width = critical_value(spread.degrees, alpha) * between.max(within).sqrt();
        let apart = by.abs() > width && by.abs() >= (self.matters)(level.mean);
        apart.then_some(by > 0.0)
    }

    /// Whether the second night lies nearer to the first than to the level: one that lies far off, and one after it that
    /// is merely unusual, are no new level.
    fn agree(&self, first: usize, second: usize) -> bool {
        let mean =
            level(self.nights, self.level.iter().rev().take(WINDOW).copied()).map_or(0.0, |level| level.mean);
        let [first, second] = [first, second].map(|index| (self.night(index).value - mean).abs());
        second >= first * AGREE
    }

    /// Whether the present level is two.
    fn look_back(&mut self, index: usize) {
        let seen = split::best(self.nights, &self.level, self.earlier, self.matters);
        let before = self.late.take();
        let Some(split) = seen else { return };
        let Some(at) = self.level.get(split.at).copied() else { return };
        let suspect = Suspect { at, upward: split.upward };
        if before.is_some_and(|before| before.upward == split.upward) {
            let since = self.level.split_off(split.at);
            self.begin(suspect, index, since);
        } else {
            self.late = Some(suspect);
        }
    }

    /// Begins a new level.
    fn begin(&mut self, suspect: Suspect, confirmed_at: usize, since: Vec<usize>) {
        let before = level(self.nights, self.level.iter().copied());
        self.earlier = before.map_or(self.earlier, |before| self.earlier.and(before.spread));
        let suspected_at =
            if suspect.at + 1 == confirmed_at { suspect.at } else { confirmed_at.saturating_sub(1) };
        self.settle();
        self.found.changes.push(Change {
            at: suspect.at,
            suspected_at,
            confirmed_at: Some(confirmed_at),
            before: before.map_or(0.0, |before| before.mean),
            after: 0.0,
        });
        self.level = since;
        self.late = None;
    }

    /// Notes the level that the last change led to: it is known when it ends.
    fn settle(&mut self) {
        let mean = level(self.nights, self.level.iter().copied()).map(|level| level.mean);
        if let (Some(change), Some(mean)) = (self.found.changes.last_mut(), mean) {
            change.after = mean;
        }
    }

    fn end(mut self) -> Found {
        self.settle();
        let before = level(self.nights, self.level.iter().copied()).map_or(0.0, |level| level.mean);
        let last = self.nights.len().saturating_sub(1);
        if let Some(suspect) = self.suspect.or(self.late) {
            let since = self.level.iter().copied().filter(|index| *index >= suspect.at).chain([last]);
            let after = level(self.nights, since).map_or(0.0, |level| level.mean);
            let before = level(self.nights, self.level.iter().copied().filter(|index| *index < suspect.at))
                .map_or(before, |level| level.mean);
            let change = Change { at: suspect.at, suspected_at: last, confirmed_at: None, before, after };
            self.found.changes.push(change);
        }
        self.found
    }
}

/// What some nights know of their level. `None` of none.
fn level(nights: &[Night], places: impl Iterator<Item = usize>) -> Option<Level> {
    let all: Vec<Night> = places.filter_map(|place| nights.get(place).copied()).collect();
    let near = near(&all);
    let count = near.len() as f64;
    let mean = near.iter().map(|night| night.value).sum::<f64>() / count;
    let squares = near.iter().map(|night| (night.value - mean).powi(2)).sum();
    let within = near.iter().map(|night| night.error.powi(2)).sum::<f64>() / count;
    let spread = Spread { squares, degrees: count - 1.0 };
    (count > 0.0).then_some(Level { mean, spread, within, nights: count })
}

/// Without those that lie far from the middle.
fn near(nights: &[Night]) -> Vec<Night> {
    let Some(middle) = median(nights.iter().map(|night| night.value)) else { return Vec::new() };
    let Some(usual) = median(nights.iter().map(|night| (night.value - middle).abs())) else {
        return Vec::new();
    };
    let known = median(nights.iter().map(|night| night.error)).unwrap_or(0.0);
    let reach = FAR * (NORMAL * usual).max(known);
    let is_near = |night: &&Night| nights.len() < 4 || reach <= 0.0 || (night.value - middle).abs() <= reach;
    nights.iter().filter(is_near).copied().collect()
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get(sorted.len().checked_sub(1)? / 2)?;
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests;
