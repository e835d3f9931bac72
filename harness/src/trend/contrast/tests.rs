use super::*;
use crate::result::{Error, Ground, Machine, Outcome, TargetDigest};
use crate::units::Factor;
use proptest::prelude::*;

fn measured(value: f64, standard: f64) -> Measured {
    Measured { value, error: Some(Error { standard, degrees: 15.0 }) }
}

fn run(figures: &[(Measure, Measured)]) -> Digest {
    run_of(&[("pool", Expect::Flat, figures)], 1.0)
}

/// A target's name, what it should do, and what was measured of it.
type Made<'a> = (&'a str, Expect, &'a [(Measure, Measured)]);

fn run_of(targets: &[Made<'_>], times: f64) -> Digest {
    let target = |(name, expect, figures): &Made<'_>| {
        let target = TargetDigest {
            design: (*name).to_owned(),
            expect: *expect,
            met: true,
            verdicts: BTreeMap::new(),
            figures: figures.iter().copied().collect(),
            lines_sent: Some(10_000),
        };
        ((*name).to_owned(), target)
    };
    Digest {
        schema: SCHEMA,
        run_id: "r".to_owned(),
        started_at: jiff::Timestamp::UNIX_EPOCH,
        ended: "finished".to_owned(),
        outcome: Outcome::Met,
        reason: String::new(),
        revision: None,
        ground: Ground {
            scenario: "quick".to_owned(),
            settings: BTreeMap::new(),
            compression: Factor::try_from(times).unwrap(),
            engine: "docker".to_owned(),
            kernel: "6.1".to_owned(),
            machine: Machine::default(),
        },
        targets: targets.iter().map(target).collect(),
    }
}

fn set_against(baseline: &[Digest], candidate: &[Digest]) -> Contrast {
    let (baseline, candidate): (Vec<_>, Vec<_>) = (baseline.iter().collect(), candidate.iter().collect());
    contrast(&baseline, &candidate, &Matters::default(), Vec::new())
}

fn direction(measure: Measure, baseline: &[Measured], candidate: &[Measured]) -> Direction {
    let runs = |side: &[Measured]| side.iter().map(|one| run(&[(measure, *one)])).collect::<Vec<_>>();
    set_against(&runs(baseline), &runs(candidate)).targets["pool"].rows[&measure].direction
}

#[test]
fn a_difference_is_called_only_where_it_is_sure_and_matters() {
    let growth =
        |baseline: Measured, candidate: Measured| direction(Measure::FdsGrowth, &[baseline], &[candidate]);
    let flat = measured(0.0, 0.005);
    assert_eq!(growth(flat, measured(0.3, 0.005)), Direction::Worse);
    assert_eq!(growth(measured(0.3, 0.005), flat), Direction::Better);
    assert_eq!(growth(flat, measured(0.04, 0.001)), Direction::Open, "sure, and perhaps it matters");
    assert_eq!(
        growth(measured(0.0, 0.001), measured(0.03, 0.001)),
        Direction::Same,
        "sure, and too little to matter"
    );
    assert_eq!(
        growth(measured(0.0, 0.5), measured(0.8, 0.5)),
        Direction::Open,
        "it matters, and is not sure"
    );
    assert_eq!(growth(flat, measured(0.001, 0.005)), Direction::Same);
}

#[test]
fn fewer_lines_in_a_second_are_worse() {
    let lines = |baseline, candidate| {
        direction(Measure::LinesPerSecond, &[measured(baseline, 1.0)], &[measured(candidate, 1.0)])
    };
    assert_eq!(lines(1000.0, 800.0), Direction::Worse);
    assert_eq!(lines(800.0, 1000.0), Direction::Better);
    assert_eq!(lines(1000.0, 1001.0), Direction::Same);
}

#[test]
fn each_lost_line_counts_and_needs_no_interval() {
    let lost = |baseline: f64, candidate: f64| {
        direction(Measure::Lost, &[Measured::exactly(baseline)], &[Measured::exactly(candidate)])
    };
    assert_eq!(lost(0.0, 1.0), Direction::Worse);
    assert_eq!(lost(0.0, 0.0), Direction::Same);
    assert_eq!(lost(5.0, 0.0), Direction::Better);
    assert_eq!(lost(5.0, 4.0), Direction::Open, "that it loses fewer by chance is not better");
}

#[test]
fn a_peak_of_memory_is_compared_by_how_runs_differ() {
    let mib = |count: f64| Measured::exactly(count * 1_048_576.0);
    let memory = |baseline: &[f64], candidate: &[f64]| {
        let side = |side: &[f64]| side.iter().map(|count| mib(*count)).collect::<Vec<_>>();
        direction(Measure::RssMax, &side(baseline), &side(candidate))
    };
    assert_eq!(memory(&[40.0], &[80.0]), Direction::Open, "one run each shows no spread");
    assert_eq!(memory(&[40.0], &[40.5]), Direction::Same);
    let steady = [40.0, 40.4, 39.8, 40.2, 39.9];
    assert_eq!(memory(&steady, &[80.0]), Direction::Worse);
    assert_eq!(memory(&steady, &[20.0]), Direction::Better);
    let unsteady = [40.0, 80.0, 20.0, 70.0];
    assert_eq!(memory(&unsteady, &[80.0]), Direction::Open);
}

#[test]
fn what_runs_know_of_themselves_is_the_least_error() {
    // Three runs that happen to agree are no proof that the fourth is worse.
    let lucky = [measured(0.0, 0.4), measured(0.001, 0.4), measured(0.0, 0.4)];
    assert_eq!(direction(Measure::TasksGrowth, &lucky, &[measured(0.3, 0.4)]), Direction::Open);
}

#[test]
fn a_control_that_leaks_faster_weighs_nothing() {
    let side = |leak: f64| {
        let (flat, leak) =
            ([(Measure::FdsGrowth, measured(0.0, 0.001))], [(Measure::FdsGrowth, measured(leak, 0.1))]);
        run_of(&[("archived", Expect::Leak, &leak), ("pool", Expect::Flat, &flat)], 1.0)
    };
    let found = set_against(&[side(10.0)], &[side(20.0)]);
    assert_eq!(found.direction, Direction::Same, "{}", found.sentence);
    assert_eq!(
        (found.targets["archived"].direction, found.targets["archived"].weighed),
        (Direction::Worse, false)
    );
    let only = run_of(&[("archived", Expect::Leak, &[])], 1.0);
    assert_eq!(
        set_against(std::slice::from_ref(&only), std::slice::from_ref(&only)).direction,
        Direction::Open
    );
}

#[test]
fn growth_that_matters_is_more_where_time_is_compressed() {
    let side = |growth: f64| {
        run_of(&[("pool", Expect::Flat, &[(Measure::FdsGrowth, measured(growth, 0.005))])], 24.0)
    };
    assert_eq!(set_against(&[side(0.0)], &[side(0.9)]).direction, Direction::Same);
    assert_eq!(set_against(&[side(0.0)], &[side(1.5)]).direction, Direction::Worse);
}

#[test]
fn what_one_side_lacks_is_named_and_not_passed_over() {
    let (with, without) = (run(&[(Measure::FdsGrowth, measured(0.0, 0.001))]), run(&[]));
    let found = set_against(std::slice::from_ref(&with), &[without]);
    let row = &found.targets["pool"].rows[&Measure::FdsGrowth];
    assert_eq!(row.why.as_deref(), Some("not measured in the candidate, or not to be trusted there"));
    assert_eq!(found.direction, Direction::Open);
    let other = run_of(&[("hybrid", Expect::Flat, &[])], 1.0);
    let found = set_against(&[with], &[other]);
    assert_eq!(
        (found.only_in_baseline, found.only_in_candidate),
        (vec!["pool".to_owned()], vec!["hybrid".to_owned()])
    );
}

#[test]
fn the_sentence_names_what_is_worse_and_what_could_not_be_told() {
    let side = |tasks: f64, cpu: f64, fds_error: f64| {
        run(&[
            (Measure::TasksGrowth, measured(tasks, 0.001)),
            (Measure::FdsGrowth, measured(0.0, fds_error)),
            (Measure::CpuPerMillionLines, measured(cpu, 0.001)),
        ])
    };
    let found = set_against(&[side(0.0, 2.0, 9.0)], &[side(1.0, 1.0, 9.0)]);
    assert_eq!(
        found.sentence,
        "growth of tasks (pool); better: CPU for a million lines (pool); not told: growth of file descriptors (pool)"
    );
}

proptest! {
    /// Changing sides turns worse into better and leaves the rest as it is, for absolute measures.
    #[test]
    fn the_other_way_round_it_is_the_other_way_round(
        a in -3.0_f64..3.0, b in -3.0_f64..3.0, errors in (0.001_f64..1.0, 0.001_f64..1.0)
    ) {
        let (one, other) = (measured(a, errors.0), measured(b, errors.1));
        let there = direction(Measure::TasksGrowth, &[one], &[other]);
        let back = direction(Measure::TasksGrowth, &[other], &[one]);
        let turned = match there {
            Direction::Worse => Direction::Better,
            Direction::Better => Direction::Worse,
            Direction::Same => Direction::Same,
            Direction::Open => Direction::Open,
        };
        prop_assert_eq!(back, turned);
    }

    #[test]
    fn nothing_differs_from_itself(
        value in -100.0_f64..100.0, standard in 0.0_f64..10.0, measure in 0_usize..Measure::ALL.len()
    ) {
        let one = measured(value, standard);
        let found = direction(Measure::ALL[measure], &[one], &[one]);
        prop_assert!(!matches!(found, Direction::Worse | Direction::Better), "{found:?}");
    }
}
