//! Whether the counts themselves, and not a slope alone, look like a leak: it reaches new heights, gives nothing back and
//! goes on.

use crate::growth::Point;
use crate::growth::account::{self, Account, Change};
use crate::growth::shape::Shape;
use crate::growth::slope::Growth;
use crate::growth::verdict::{ALPHA_SEARCHED, Evidence};
use crate::growth::warmup::block_medians;

/// Which share of the run must be left behind a change to see heights in.
const HEIGHTS: f64 = 0.2;
/// Shares of the second half of a run since which a leak must go on.
const STOPPED: [f64; 2] = [0.5, 0.75];

impl Evidence {
    /// A leak's later heights lie above its earlier ones by what it leaks between them; half of that is asked.
    pub(super) fn reaches_new_heights(&self, growth: &Growth) -> bool {
        // Behind a change that comes late there is too little to see heights in.
        let over = self.taken_out.as_ref().map(Account::over);
        let split = over.filter(|over| *over < 1.0 - HEIGHTS).unwrap_or(0.5);
        let blocks = block_medians(&self.without_bumps(&self.points));
        let (Some(first), Some(last)) = (self.points.first(), self.points.last()) else { return false };
        let split_s = first.elapsed_s + split * (last.elapsed_s - first.elapsed_s);
        let highest = |later: bool| {
            let side = blocks.iter().filter(|block| (block.elapsed_s >= split_s) == later);
            side.map(|block| block.count).fold(f64::NEG_INFINITY, f64::max)
        };
        let leaked = growth.per_min * (last.elapsed_s - split_s) / 60.0;
        highest(true) - highest(false) >= leaked / 2.0 && highest(true) > self.cut_height
    }

    /// Whether it has stopped: since one of [`STOPPED`] it surely grows by less than half of that, or than the limit, as
    /// what has filled does. The second half alone says so: what came before it is no leak's pace. Where the growth is that
    /// behind a change, no moment before it is asked.
    pub(super) fn has_stopped(&self, growth: &Growth, limit: f64) -> bool {
        let is_edged = |change: &Change| change.shape.edges().is_some();
        let smooth = self.taken_out.as_ref().map(|changes| changes.taken_from(&self.points, is_edged));
        let points = smooth.as_ref().unwrap_or(&self.points);
        let (Some(first), Some(last)) = (points.first(), points.last()) else { return false };
        let half_s = (first.elapsed_s + last.elapsed_s) / 2.0;
        let half = points.get(points.partition_point(|point| point.elapsed_s < half_s)..).unwrap_or_default();
        let over = self.taken_out.as_ref().map_or(0.0, Account::over);
        let slow = (growth.per_min / 2.0).max(limit);
        let behind = STOPPED.into_iter().filter(|at| (1.0 + at) / 2.0 >= over);
        let mut paces = behind.filter_map(|at| account::pace_since(half, at, self.quantum));
        paces.any(|pace| pace.high(ALPHA_SEARCHED) < slow)
    }

    /// What an outage piled up and gave back is no height that was reached.
    fn without_bumps(&self, points: &[Point]) -> Vec<Point> {
        let is_bump = |change: &Change| matches!(change.shape, Shape::Bump { .. });
        self.taken_out.as_ref().map_or_else(|| points.to_vec(), |changes| changes.taken_from(points, is_bump))
    }

    /// The most that was given back: by how much the count fell from any height so far, but for an outage's end.
    pub(super) fn given_back(&self) -> f64 {
        let (mut highest, mut most) = (f64::NEG_INFINITY, 0.0_f64);
        for block in block_medians(&self.without_bumps(&self.points)) {
            highest = highest.max(block.count);
            most = most.max(highest - block.count);
        }
        let changes = self.taken_out.iter().flat_map(|all| &all.changes);
        // One that comes last is too short for a block.
        let steps = changes.filter(|change| matches!(change.shape, Shape::Step { .. }));
        steps.map(|step| -step.size.per_min).fold(most, f64::max)
    }

    /// How far the end lies above the beginning.
    pub(super) fn rise(&self) -> f64 {
        let blocks = block_medians(&self.seen);
        let first = blocks.first().map_or(0.0, |block| block.count);
        blocks.last().map_or(0.0, |block| block.count - first)
    }
}
