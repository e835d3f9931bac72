//! What a history comes to, and that in sentences: pure.

use jiff::Timestamp;

use crate::result::Digest;
use crate::result::contrast::Direction;
use crate::result::trend::{ChangeSeen, ScenarioTrend, Series, State};

/// Of a history without one: who knows of no night knows of no good one.
const NO_NIGHT: &str = "the history has no night that can be read";

/// Digits of a revision that tell it from others.
const REVISION: usize = 12;

/// Of all scenarios.
pub(super) fn whole(scenarios: &[ScenarioTrend]) -> (Direction, Vec<String>) {
    let in_state = |wanted: State| {
        let all = scenarios
            .iter()
            .flat_map(|scenario| scenario.series.iter().map(move |series| (scenario, series)));
        let changes = all.flat_map(|(scenario, series)| {
            series.changes.iter().map(move |change| (scenario, series, change))
        });
        changes.filter(move |(_, _, change)| change.state == wanted && change.direction == Direction::Worse)
    };
    let standing: Vec<String> = in_state(State::Stands).map(said).collect();
    let suspected: Vec<String> = in_state(State::Suspected).map(said).collect();
    let overdue: Vec<String> = scenarios.iter().filter_map(overdue).collect();
    if scenarios.is_empty() {
        return (Direction::Open, vec![NO_NIGHT.to_owned()]);
    }
    let direction = if !standing.is_empty() {
        Direction::Worse
    } else if !suspected.is_empty() || !overdue.is_empty() {
        Direction::Open
    } else {
        Direction::Same
    };
    (direction, standing.into_iter().chain(suspected).chain(overdue).collect())
}

/// Nights that begin after the end of what is read.
pub(super) fn ahead(nights: &[&Digest], until: Timestamp) -> Option<String> {
    let first = nights.iter().min_by_key(|night| night.started_at)?;
    let Digest { run_id, started_at, .. } = first;
    let others = match nights.len() - 1 {
        0 => String::new(),
        others => format!(" (and {others} more)"),
    };
    Some(format!(
        "left out: run {run_id} of {started_at}{others}, which begins after {until}, up to when nights are read"
    ))
}

fn said((scenario, series, change): (&ScenarioTrend, &Series, &ChangeSeen)) -> String {
    let measure = series.measure.title();
    let what =
        format!("{}, {}: {measure} is worse since {}", scenario.scenario, series.target, change.started_at);
    let sure = match change.state {
        State::Suspected => " (suspected: the next run decides)",
        State::Stands | State::Gone | State::Acknowledged => "",
    };
    let commits = commits(change).map_or_else(String::new, |range| format!(", commits {range}"));
    let with = if change.with.is_empty() {
        String::new()
    } else {
        format!("; with it came {}", change.with.join(", "))
    };
    format!("{what}{sure}{commits}{with}")
}

/// The commits that may have brought a change, as `git log` takes them.
#[must_use]
pub fn commits(change: &ChangeSeen) -> Option<String> {
    let short = |revision: &String| revision.chars().take(REVISION).collect::<String>();
    let (after, up_to) = (change.after_revision.as_ref()?, change.up_to_revision.as_ref()?);
    Some(if after == up_to {
        format!("none: {} on both nights", short(up_to))
    } else {
        format!("{}..{}", short(after), short(up_to))
    })
}

fn overdue(scenario: &ScenarioTrend) -> Option<String> {
    let gap = scenario.gaps.iter().find(|gap| gap.is_open)?;
    let nights =
        if gap.nights == 1 { "one night has".to_owned() } else { format!("{} nights have", gap.nights) };
    Some(format!("{}: {nights} not run since {}", scenario.scenario, gap.from))
}
