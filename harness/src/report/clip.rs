//! What of a line or an area lies within a panel's values.

use super::axis::Scale;
use super::group::Point;

/// The parts of a line that lie within the scale's values.
pub(super) fn clip(points: &[Point], value: &Scale) -> Vec<Vec<Point>> {
    let mut parts: Vec<Vec<Point>> = Vec::new();
    let mut open = false;
    for (from, to) in points.iter().zip(points.iter().skip(1)) {
        let Some((from, end)) = clip_segment(*from, *to, value) else {
            open = false;
            continue;
        };
        match parts.last_mut() {
            Some(part) if open => part.push(end),
            _ => parts.push(vec![from, end]),
        }
        open = value.holds(to.1);
    }
    parts
}

fn clip_segment(from: Point, to: Point, value: &Scale) -> Option<(Point, Point)> {
    if from.1.max(to.1) < value.low || from.1.min(to.1) > value.high {
        return None;
    }
    let inside = |point: Point| {
        let y = point.1.clamp(value.low, value.high);
        let rise = to.1 - from.1;
        let x = if rise.abs() > 0.0 { from.0 + (to.0 - from.0) * (y - from.1) / rise } else { point.0 };
        (x, y)
    };
    Some((inside(from), inside(to)))
}

/// The part of a polygon that lies within the scale's values: Sutherland and Hodgman's way, once for each
/// edge.
pub(super) fn clip_area(points: &[Point], value: &Scale) -> Vec<Point> {
    let above = clip_edge(points, value.low, |y| y >= value.low);
    clip_edge(&above, value.high, |y| y <= value.high)
}

fn clip_edge(points: &[Point], edge: f64, inside: impl Fn(f64) -> bool) -> Vec<Point> {
    let mut out = Vec::new();
    let next = points.iter().cycle().skip(1);
    for (from, to) in points.iter().zip(next) {
        if inside(from.1) {
            out.push(*from);
        }
        if inside(from.1) != inside(to.1) {
            out.push((from.0 + (to.0 - from.0) * (edge - from.1) / (to.1 - from.1), edge));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: Scale = Scale { low: 0.0, high: 10.0, from: 100.0, to: 0.0 };

    #[test]
    fn a_line_that_leaves_and_returns_is_cut_in_two() {
        let points = [(0.0, 5.0), (1.0, 15.0), (2.0, 15.0), (3.0, 5.0)];
        let parts = clip(&points, &VALUE);
        assert_eq!(parts, [vec![(0.0, 5.0), (0.5, 10.0)], vec![(2.5, 10.0), (3.0, 5.0)]]);
    }

    #[test]
    fn a_wedge_is_cut_at_the_edge() {
        let area = clip_area(&[(0.0, 0.0), (2.0, 20.0), (2.0, 4.0)], &VALUE);
        assert_eq!(area, [(0.0, 0.0), (1.0, 10.0), (2.0, 10.0), (2.0, 4.0)]);
    }
}
