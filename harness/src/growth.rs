//! Whether a count grows, how fast, and how sure that is: pure functions from samples to a judgement.
//!
//! The way through, in order: `quality` refuses samples that can't be trusted, [`warmup`] cuts the
//! start, `saw` takes out what piles up between releases, [`slope`] estimates the growth with an interval
//! that is right for autocorrelated counts, `shape` looks for the bounded changes (a step, a queue that
//! filled) that a leak must outlast and `account` fits them, `bursts` for growth that comes a few times and much at once, and [`verdict`] decides, for each of a process's [`lives`]. [`drain`], [`project`] and [`difference`] say what follows from it.
//! `docs/growth.md` argues the method and gives its figures.

pub mod slope;
pub mod thinned;
mod quality;
mod saw;
mod shape;
mod search;
mod first;
mod account;
mod bursts;
pub(crate) mod words;
pub mod warmup;
pub mod drain;
pub mod project;
pub mod difference;
pub mod follow;
pub mod verdict;
pub mod foretell;
pub mod lives;

pub(crate) use quality::SAMPLES_MIN;

/// One sample of one count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Seconds on a monotonic clock; the origin does not matter.
    pub elapsed_s: f64,
    /// The count.
    pub count: f64,
}

/// The middle value; of an even number of values, the mean of the two in the middle.
fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get(sorted.len().checked_sub(1)? / 2)?;
    Some(f64::midpoint(lower, upper))
}
