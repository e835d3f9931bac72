//! What a target did beside growing, and whether that is as it must be: pure.

use std::collections::BTreeMap;

use super::Case;
use crate::result::{Bar, Figure, FigureResult, Terms};

/// What it did beside growing until the end of the load, in the longest segment of a run that was killed; and all that it is held to.
pub(super) fn all(case: &Case<'_>, target: &str, terms: &Terms) -> BTreeMap<Figure, FigureResult> {
    let (from, end) = case.until_the_load_ends();
    let from_then = || case.samples.moments(target).skip_while(|sample| sample.elapsed_s() < from);
    let samples = || from_then().take_while(|sample| sample.elapsed_s() <= end);
    let figure = |figure: Figure| {
        let result =
            FigureResult { value: figure.value(samples()), bar: terms.figures.get(&figure).copied() };
        (result != FigureResult { value: None, bar: None }).then_some((figure, result))
    };
    Figure::ALL.into_iter().filter_map(figure).collect()
}

/// What its figures change in what is said of a target.
pub(super) fn said(
    (met, reason): (bool, String),
    figures: &BTreeMap<Figure, FigureResult>,
) -> (bool, String) {
    let wrong: Vec<String> = figures
        .iter()
        .filter(|(_, found)| found.holds() == Some(false))
        .map(|(figure, found)| {
            let value = found.value.map_or("not sampled".to_owned(), |value| format!("{value:.1}"));
            let bar = found.bar.map_or_else(String::new, Bar::words);
            format!("{} {value}, and {bar}", figure.key())
        })
        .collect();
    if wrong.is_empty() { (met, reason) } else { (false, format!("{}; {reason}", wrong.join("; "))) }
}
