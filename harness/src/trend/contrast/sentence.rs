//! What rows come to, and that in one sentence: pure.

use std::collections::BTreeMap;

use crate::result::contrast::{Direction, TargetContrast};

/// Of more than so many rows a sentence names no more.
const NAMED_MAX: usize = 3;

/// What several directions come to: what is worse outweighs what is better, which outweighs what can't be told.
pub(super) fn worst(directions: impl Iterator<Item = Direction> + Clone) -> Direction {
    let order = [Direction::Worse, Direction::Better, Direction::Open];
    let any = |direction: &Direction| directions.clone().any(|one| one == *direction);
    order.into_iter().find(any).unwrap_or(Direction::Same)
}

/// Of all targets that weigh.
pub(super) fn whole(targets: &BTreeMap<String, TargetContrast>) -> (Direction, String) {
    let weighed: Vec<(&String, &TargetContrast)> =
        targets.iter().filter(|(_, target)| target.weighed).collect();
    if weighed.is_empty() {
        return (Direction::Open, "no target that must stay flat is on both sides".to_owned());
    }
    let direction = worst(weighed.iter().map(|(_, target)| target.direction));
    let named = |direction: Direction| named(&weighed, direction);
    let sentence = match direction {
        Direction::Same => "no measure of any target differs by what matters".to_owned(),
        Direction::Worse | Direction::Better | Direction::Open => named(direction),
    };
    let mut besides = Vec::new();
    if direction == Direction::Worse && !named(Direction::Better).is_empty() {
        besides.push(format!("better: {}", named(Direction::Better)));
    }
    if matches!(direction, Direction::Worse | Direction::Better) && !named(Direction::Open).is_empty() {
        besides.push(format!("not told: {}", named(Direction::Open)));
    }
    (direction, std::iter::once(sentence).chain(besides).collect::<Vec<_>>().join("; "))
}

/// Which rows go this way: `growth of tasks (pool, hybrid), memory at most (pool)`.
fn named(weighed: &[(&String, &TargetContrast)], direction: Direction) -> String {
    let mut by_measure: BTreeMap<_, Vec<&str>> = BTreeMap::new();
    for (name, target) in weighed {
        for (measure, _) in target.rows.iter().filter(|(_, row)| row.direction == direction) {
            by_measure.entry(*measure).or_default().push(name);
        }
    }
    let all = by_measure.len();
    let mut said: Vec<String> = by_measure
        .into_iter()
        .take(NAMED_MAX)
        .map(|(measure, names)| format!("{} ({})", lowered(measure.title()), names.join(", ")))
        .collect();
    if all > NAMED_MAX {
        said.push(format!("and {} more", all - NAMED_MAX));
    }
    said.join(", ")
}

/// As it stands within a sentence; an abbreviation stays what it is.
fn lowered(title: &str) -> String {
    let mut letters = title.chars();
    let first = letters.next();
    let rest = letters.as_str();
    match first {
        Some(first) if rest.starts_with(char::is_lowercase) => {
            first.to_lowercase().chain(rest.chars()).collect()
        }
        _ => title.to_owned(),
    }
}
