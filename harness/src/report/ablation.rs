//! What each setting contributes: where all targets are of one design and differ in their settings alone, a row for each
//! with its growths and with what it did beside growing.

use std::collections::BTreeSet;

use serde::Serialize;

use super::figures;
use super::view::{self, Mark, targets};
use crate::result::{Figure, FigureResult, Resource, ResourceResult, RunResult, TargetResult};

/// What the table rests on.
pub(super) const NOTE: &str = "All targets are of one design and differ in their settings alone. Growth is that under load; \
     the other figures are from a target's start to the end of the load, the queue as it is then. A sign \
     says whether a figure is on the side of its bar on which it must be.";

/// The table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Table {
    pub(super) columns: Vec<&'static str>,
    pub(super) rows: Vec<Row>,
}

/// One target's row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) place: usize,
    pub(super) cells: Vec<Option<Cell>>,
}

/// One figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Cell {
    pub(super) value: String,
    /// Whether it is as it must be, if it must be anything.
    pub(super) mark: Option<Mark>,
    /// What that is.
    pub(super) note: String,
}

/// The table; `None` where the targets differ in more than their settings, or there are no two.
pub(super) fn table(result: &RunResult) -> Option<Table> {
    let targets = targets(result);
    let designs: BTreeSet<&str> = targets.iter().map(|(_, _, target)| target.design.as_str()).collect();
    let figures: Vec<Figure> = Figure::ALL
        .into_iter()
        .filter(|figure| targets.iter().any(|(_, _, target)| target.figures.contains_key(figure)))
        .collect();
    if targets.len() < 2 || designs.len() > 1 || figures.is_empty() {
        return None;
    }
    let has =
        |resource: &Resource| targets.iter().any(|(_, _, target)| target.resources.contains_key(resource));
    let resources: Vec<Resource> =
        [Resource::Tasks, Resource::Fds].into_iter().filter(|resource| has(resource)).collect();
    let row = |(place, name, target): (usize, &str, &TargetResult)| {
        let growths = resources.iter().map(|resource| target.resources.get(resource).map(growth));
        let others = figures.iter().map(|figure| target.figures.get(figure).and_then(cell));
        Row { name: name.to_owned(), place, cells: growths.chain(others).collect() }
    };
    Some(Table {
        columns: resources.iter().map(title).chain(figures.iter().map(|figure| figure.title())).collect(),
        rows: targets.iter().copied().map(row).collect(),
    })
}

fn title(resource: &Resource) -> &'static str {
    match resource {
        Resource::Tasks => "Tasks/min",
        Resource::Threads => "Threads/min",
        Resource::Fds => "FDs/min",
    }
}

fn growth(found: &ResourceResult) -> Cell {
    let judged = &found.judgement;
    Cell {
        value: judged.growth_per_min.map_or(view::NOTHING.to_owned(), figures::per_1000),
        mark: Some(view::verdict(judged.verdict)),
        note: String::new(),
    }
}

fn cell(found: &FigureResult) -> Option<Cell> {
    let mark = found.holds().map(|holds| {
        if holds {
            Mark { sign: "✓", word: "as it must be", class: "good" }
        } else {
            Mark { sign: "✗", word: "not as it must be", class: "bad" }
        }
    });
    let value = found.value.map_or("not sampled".to_owned(), figures::level);
    (found.value.is_some() || mark.is_some()).then(|| Cell {
        value,
        mark,
        note: found.bar.map_or_else(String::new, crate::result::Bar::words),
    })
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::run;
    use super::*;
    use crate::result::Bar;

    fn ablated() -> RunResult {
        let mut run = run(["all", "none", "alone"]);
        for (place, target) in (0_u32..).zip(run.verdict.targets.values_mut()) {
            target.design = "archived".to_owned();
            let value = Some(f64::from(place) * 40.0);
            target.figures.insert(Figure::Queue, FigureResult { value, bar: None });
            let bar = Some(Bar::Below(50.0));
            target.figures.insert(Figure::DockerRequests, FigureResult { value, bar });
        }
        run
    }

    #[test]
    fn targets_of_one_design_have_a_row_each_in_the_scenarios_order() {
        let table = table(&ablated()).unwrap();
        assert_eq!(table.columns, ["Tasks/min", "FDs/min", "Retry queue", "Requests to Docker/min"]);
        let names: Vec<&str> = table.rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names, ["all", "none", "alone"]);
        let signs = table.rows.iter().map(|row| row.cells[3].as_ref().unwrap().mark.unwrap().sign);
        // By name: all, alone, none.
        assert_eq!(signs.collect::<Vec<_>>(), ["✓", "✗", "✓"]);
        assert_eq!(table.rows[0].cells[2].as_ref().unwrap().mark, None);
    }

    #[test]
    fn other_runs_have_no_such_table() {
        assert_eq!(table(&run(["pool", "hybrid", "archived"])), None, "three designs");
        let mut alike = run(["a", "b", "c"]);
        alike.verdict.targets.values_mut().for_each(|target| target.design = "pool".to_owned());
        assert_eq!(table(&alike), None, "nothing but growth was sampled");
    }

    #[test]
    fn every_report_has_it() {
        let run = ablated();
        let page = super::super::html::render(&run).unwrap();
        let summary = super::super::markdown::render(&run, super::super::markdown::Pictures::Left);
        for report in [page, summary, super::super::terminal::render(&run)] {
            assert!(report.contains("What each setting contributes"), "{report}");
            assert!(report.replace("&#x2f;", "/").contains("Docker/min"), "{report}");
        }
    }
}
