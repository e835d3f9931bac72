use super::*;
use crate::trend::simulated::{self, Noise, Plan, Planted, Score, alarms, history, score};
use proptest::prelude::*;

fn question() -> Question {
    Question {
        matters: Matters::default(),
        every: Some(Duration::from_secs(86_400)),
        until: "2026-04-11T12:00:00Z".parse().unwrap(),
    }
}

fn step(night: usize, target: &'static str, measure: Measure, deviations: f64) -> Planted {
    Planted { night, target, measure, deviations, drifts: false }
}

/// A leak that comes, one that comes and goes, a dearer line, memory that creeps; nights are missing, and the machine
/// changes.
fn troubled(noise: Noise) -> Plan {
    Plan {
        nights: 100,
        noise,
        planted: vec![
            step(20, "pool", Measure::FdsGrowth, 10.0),
            step(35, "hybrid", Measure::TasksGrowth, 10.0),
            step(48, "hybrid", Measure::TasksGrowth, -10.0),
            step(85, "pool", Measure::CpuPerMillionLines, 8.0),
            Planted { night: 25, target: "hybrid", measure: Measure::RssMax, deviations: 0.4, drifts: true },
        ],
        missing: true,
        new_machine: Some(60),
    }
}

fn read(nights: &[Digest]) -> Trend {
    trend(nights, &[], Vec::new(), &question())
}

#[test]
fn planted_changes_are_found_within_two_nights_and_hardly_anything_else() {
    let mut whole = Score::default();
    let mut kinds = [Score::default(); 5];
    for noise in Noise::ALL {
        for seed in 0..3 {
            let plan = troubled(noise);
            let nights = history(seed, &plan);
            let alarms = alarms(&read(&nights).scenarios[0]);
            whole = whole.and(score(&plan, &nights, &alarms));
            for (planted, of) in plan.planted.iter().zip(&mut kinds) {
                *of = of.and(score(&Plan { planted: vec![*planted], ..plan.clone() }, &nights, &alarms));
            }
        }
    }
    // Twelve histories of four steps each; the drift takes its time.
    assert!(whole.in_two_nights >= 46, "{whole:?}");
    assert!(whole.missed <= 1, "{whole:?}");
    assert!(whole.false_alarms <= 12, "at most one in a hundred nights: {whole:?}");
    let [comes, another, goes, dearer, drifts] = kinds;
    for (kind, of) in [("comes", comes), ("another", another), ("goes", goes), ("dearer", dearer)] {
        assert!(of.in_two_nights >= 11, "{kind}: {of:?}");
    }
    assert_eq!(drifts.missed, 0, "{drifts:?}");
}

#[test]
fn another_machine_is_no_change_of_the_program() {
    let plan = Plan { planted: Vec::new(), missing: false, ..troubled(Noise::Normal) };
    let found = read(&history(3, &plan));
    let scenario = &found.scenarios[0];
    assert_eq!(
        scenario.nights[60].new_ground,
        ["machine: Example CPU, 2 cores, 8 GiB → Slower CPU, 2 cores, 8 GiB"]
    );
    let grounds = |measure: Measure| {
        let of = scenario.series.iter().filter(|series| series.measure == measure && series.target == "pool");
        of.map(|series| series.ground.clone()).collect::<Vec<_>>()
    };
    let machine = |name: &str| Some(format!("{name}, 2 cores, 8 GiB"));
    assert_eq!(grounds(Measure::CpuPerMillionLines), [machine("Example CPU"), machine("Slower CPU")]);
    assert_eq!(grounds(Measure::FdsGrowth), [None], "growth is the program's");
    assert_eq!(alarms(scenario), []);
}

#[test]
fn a_change_names_the_commits_that_may_have_brought_it() {
    let plan = Plan {
        nights: 30,
        noise: Noise::Normal,
        planted: vec![step(20, "pool", Measure::FdsGrowth, 12.0)],
        missing: false,
        new_machine: None,
    };
    let nights = history(1, &plan);
    let found = read(&nights[..21]);
    assert_eq!(found.direction, Direction::Open, "{:?}", found.sentences);
    let found = read(&nights);
    assert_eq!(found.direction, Direction::Worse);
    let (before, first) = (nights[19].revision.clone().unwrap(), nights[20].revision.clone().unwrap());
    assert!(found.sentences[0].contains(&format!("commits {before}..{first}")), "{:?}", found.sentences);
    assert!(
        found.sentences[0]
            .starts_with("nightly, pool: Growth of file descriptors is worse since 2026-01-21T")
    );
}

#[test]
fn what_went_or_is_known_raises_no_alarm() {
    let plan =
        |planted| Plan { nights: 40, noise: Noise::Normal, planted, missing: false, new_machine: None };
    let come = step(20, "pool", Measure::FdsGrowth, 12.0);
    let went = history(1, &plan(vec![come, step(30, "pool", Measure::FdsGrowth, -12.0)]));
    let until = |question: Question| Question { until: went[39].started_at, ..question };
    let found = trend(&went, &[], Vec::new(), &until(question()));
    assert_eq!(found.direction, Direction::Same, "{:?}", found.sentences);
    let change = |found: &Trend| {
        let series = found.scenarios[0].series.iter().find(|one| !one.changes.is_empty()).unwrap();
        series.changes[0].clone()
    };
    assert_eq!(change(&found).state, State::Gone);
    let stands = history(1, &plan(vec![come]));
    let ack = Ack {
        schema: SCHEMA,
        run_id: change(&found).run_id,
        target: Some("pool".to_owned()),
        measure: None,
        because: "a cache that is meant".to_owned(),
        at: Timestamp::UNIX_EPOCH,
    };
    let found = trend(&stands, std::slice::from_ref(&ack), Vec::new(), &until(question()));
    assert_eq!((found.direction, change(&found).state), (Direction::Same, State::Acknowledged));
    assert_eq!(change(&found).because.as_deref(), Some("a cache that is meant"));
    let other = Ack { measure: Some(Measure::RssMax), ..ack };
    assert_eq!(trend(&stands, &[other], Vec::new(), &until(question())).direction, Direction::Worse);
}

#[test]
fn nights_that_did_not_run_are_gaps() {
    let plan =
        Plan { nights: 20, noise: Noise::Normal, planted: Vec::new(), missing: false, new_machine: None };
    let mut nights = history(1, &plan);
    nights.drain(5..8);
    let mut question = question();
    question.until = nights[16].started_at.saturating_add(jiff::SignedDuration::from_hours(30)).unwrap();
    let found = trend(&nights, &[], Vec::new(), &question);
    let gap = found.scenarios[0].gaps[0];
    assert_eq!((found.scenarios[0].gaps.len(), gap.nights, gap.is_open), (1, 3, false));
    assert_eq!(found.direction, Direction::Same, "a gap that is over raises no alarm");
    question.until = nights[16].started_at.saturating_add(jiff::SignedDuration::from_hours(60)).unwrap();
    let found = trend(&nights, &[], Vec::new(), &question);
    assert_eq!(found.direction, Direction::Open);
    assert!(
        found.sentences[0].contains("have not run since 2026-01-20T")
            || found.sentences[0].contains("has not run since 2026-01-20T"),
        "{:?}",
        found.sentences
    );
    question.every = None;
    assert_eq!(trend(&nights, &[], Vec::new(), &question).scenarios[0].gaps, []);
}

#[test]
fn a_history_without_a_night_is_not_green() {
    let found = read(&[]);
    assert_eq!(found.direction, Direction::Open);
    assert_eq!(found.sentences, ["the history has no night that can be read"]);
}

#[test]
fn a_night_whose_clock_was_wrong_hides_no_night_that_did_not_run() {
    let plan =
        Plan { nights: 20, noise: Noise::Normal, planted: Vec::new(), missing: false, new_machine: None };
    let mut nights = history(1, &plan);
    nights[4].started_at = "9999-12-30T00:00:00Z".parse().unwrap();
    let found = read(&nights);
    assert_eq!((found.direction, found.scenarios[0].nights.len()), (Direction::Open, 19));
    let overdue = "nightly: 80 nights have not run since 2026-01-20T";
    assert!(found.sentences[0].starts_with(overdue), "{:?}", found.sentences);
    assert_eq!(
        found.sentences[1],
        "left out: run night-004 of 9999-12-30T00:00:00Z, which begins after 2026-04-11T12:00:00Z, up to when nights are read"
    );
}

#[test]
fn a_night_that_was_cut_short_is_listed_and_not_followed() {
    let plan =
        Plan { nights: 10, noise: Noise::Normal, planted: Vec::new(), missing: false, new_machine: None };
    let mut nights = history(1, &plan);
    nights[4].ended = "interrupted".to_owned();
    let scenario = read(&nights).scenarios.remove(0);
    assert_eq!(scenario.nights.len(), 10);
    assert!(scenario.series.iter().all(|series| series.points.len() == 9));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// In whichever order lines stand in the file, the history is the same.
    #[test]
    fn the_order_of_the_lines_does_not_matter(seed in 0_u64..50, turn in 1_usize..29) {
        let plan = Plan { nights: 30, ..troubled(Noise::Normal) };
        let nights = history(seed, &plan);
        let mut turned = nights.clone();
        turned.rotate_left(turn % nights.len());
        prop_assert_eq!(read(&nights), read(&turned));
    }
}

#[test]
fn the_simulation_has_what_it_says() {
    let plan = troubled(Noise::Normal);
    let nights = history(7, &plan);
    assert!(nights.len() < 100 && nights.len() > 85, "{}", nights.len());
    assert_eq!(nights, history(7, &plan), "the same seed gives the same history");
    assert!(simulated::TARGETS.iter().all(|name| nights[0].targets.contains_key(*name)));
}
