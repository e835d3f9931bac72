//! Histories made up by chance, with changes planted in them: on them the method is judged, by tests and by the table of
//! `docs/history.md`. Pure.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::result::contrast::Direction;
use crate::result::trend::{ScenarioTrend, State};
use crate::result::{
    Digest, Error, Expect, Ground, Machine, Measure, Measured, Outcome, SCHEMA, TargetDigest,
};
use crate::units::Factor;

/// Targets of each night.
pub const TARGETS: [&str; 2] = ["hybrid", "pool"];

/// How nights of an unchanged program differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noise {
    /// Each by itself, normally.
    Normal,
    /// Each is a third of the night before: a machine's neighbours stay for some days.
    Wandering,
    /// Heavy tails: Student's t with three degrees of freedom.
    Heavy,
    /// Normally, and in one night of thirty a figure lies far off.
    Outliers,
}

impl Noise {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Normal, Self::Wandering, Self::Heavy, Self::Outliers];
}

/// A change that is planted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Planted {
    /// From this night on.
    pub night: usize,
    /// Whose.
    pub target: &'static str,
    /// Of what.
    pub measure: Measure,
    /// By so many of its deviations from night to night; for the worse where it is above zero.
    pub deviations: f64,
    /// Whether it adds so much each night, and not once.
    pub drifts: bool,
}

/// What a history is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Nights on the calendar.
    pub nights: usize,
    /// How they differ.
    pub noise: Noise,
    /// What changes.
    pub planted: Vec<Planted>,
    /// Whether some did not run: one in twenty-five, and three in a row.
    pub missing: bool,
    /// From this night on another machine runs them, on which all costs half as much again.
    pub new_machine: Option<usize>,
}

/// A measure's level without a change, its deviation from night to night, and what a run knows of its own error.
const LEVELS: [(Measure, f64, f64, Option<f64>); 8] = [
    (Measure::TasksGrowth, 0.0, 0.02, Some(0.015)),
    (Measure::ThreadsGrowth, 0.0, 0.0, Some(0.003)),
    (Measure::FdsGrowth, 0.0, 0.03, Some(0.03)),
    (Measure::CpuPerMillionLines, 12.0, 0.5, Some(0.15)),
    (Measure::RssMax, 2.0e7, 6.0e5, None),
    (Measure::LatencyP50, 0.5, 0.01, None),
    (Measure::LatencyP99, 1.0, 0.06, None),
    (Measure::LinesPerSecond, 1_000.0, 3.0, Some(2.0)),
];

/// How much dearer all is on the other machine.
const DEARER: f64 = 1.5;
/// Night after night.
const DAY: SignedDuration = SignedDuration::from_hours(24);
/// A January night.
const FIRST_S: i64 = 1_767_232_800;

/// A history. The same seed gives the same one.
#[must_use]
pub fn history(seed: u64, plan: &Plan) -> Vec<Digest> {
    let mut chance = Chance { rng: StdRng::seed_from_u64(seed), noise: plan.noise, before: BTreeMap::new() };
    let row = chance.below(plan.nights.max(4)).max(3);
    let nights = (0..plan.nights).filter_map(|night| {
        let digest = digest(&mut chance, plan, night);
        // The first is there, and so are the first two of each change: what does not run finds nothing.
        let needed = night == 0
            || plan.planted.iter().any(|planted| (planted.night..planted.night + 2).contains(&night));
        let is_missing = chance.once_in(25) || (row..row + 3).contains(&night);
        (!plan.missing || needed || !is_missing).then_some(digest)
    });
    nights.collect()
}

struct Chance {
    rng: StdRng,
    noise: Noise,
    /// What each figure's noise was on the night before.
    before: BTreeMap<(usize, Measure), f64>,
}

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.rng.random_range(0..end)
    }

    fn once_in(&mut self, nights: u32) -> bool {
        self.rng.random_ratio(1, nights)
    }

    /// Box and Muller's transform.
    fn normal(&mut self) -> f64 {
        let (radius, angle): (f64, f64) = (self.rng.random(), self.rng.random());
        (-2.0 * (1.0 - radius).ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }

    /// Noise of deviation one, heavy tails and what lies far off left out.
    fn noise(&mut self, of: (usize, Measure)) -> f64 {
        const SHARE: f64 = 1.0 / 3.0;
        let (drawn, is_far) = (self.normal(), self.once_in(30));
        let noise = match self.noise {
            Noise::Normal => drawn,
            Noise::Wandering => {
                let before = self.before.get(&of).copied().unwrap_or(drawn);
                SHARE * before + (1.0 - SHARE * SHARE).sqrt() * drawn
            }
            Noise::Heavy => {
                let squares: f64 = (0..3).map(|_| self.normal().powi(2)).sum();
                drawn / squares.sqrt()
            }
            Noise::Outliers if is_far => drawn + 15.0 * self.normal(),
            Noise::Outliers => drawn,
        };
        self.before.insert(of, noise);
        noise
    }
}

fn digest(chance: &mut Chance, plan: &Plan, night: usize) -> Digest {
    let other = plan.new_machine.is_some_and(|from| night >= from);
    let late = SignedDuration::from_mins(i64::try_from(chance.below(50)).unwrap_or(0));
    let days = DAY.saturating_mul(i32::try_from(night).unwrap_or(i32::MAX));
    let started_at =
        Timestamp::from_second(FIRST_S).unwrap_or_default().saturating_add(days).unwrap_or_default();
    let targets = TARGETS.iter().enumerate().map(|(place, name)| {
        let figures = LEVELS.iter().map(|(measure, level, deviation, error)| {
            let dearer = if other && measure.is_of_the_machine() { DEARER } else { 1.0 };
            let noise = chance.noise((place, *measure));
            let by = planted(plan, night, name, *measure);
            let by = if measure.more_is_better() { -by } else { by };
            let value = (level + deviation * (noise + by)) * dearer;
            let error = error.map(|standard| Error { standard: standard * dearer, degrees: 15.0 });
            (*measure, Measured { value, error })
        });
        let target = TargetDigest {
            design: (*name).to_owned(),
            expect: Expect::Flat,
            met: true,
            verdicts: BTreeMap::new(),
            figures: figures.collect(),
            lines_sent: Some(1_000_000),
        };
        ((*name).to_owned(), target)
    });
    Digest {
        schema: SCHEMA,
        run_id: format!("night-{night:03}"),
        started_at: started_at.saturating_add(late).unwrap_or_default(),
        ended: "finished".to_owned(),
        outcome: Outcome::Met,
        reason: "simulated".to_owned(),
        revision: Some(format!(
            "{:012x}",
            (night as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a) & 0xffff_ffff_ffff
        )),
        targets: targets.collect(),
        ground: ground(other),
    }
}

fn ground(other: bool) -> Ground {
    Ground {
        scenario: "nightly".to_owned(),
        settings: BTreeMap::from([("phases.load".to_owned(), "2h".to_owned())]),
        compression: Factor::ONE,
        engine: "docker 24.0.7 (API 1.43)".to_owned(),
        kernel: "6.1.0-18-amd64".to_owned(),
        machine: Machine {
            cpu: if other { "Slower CPU" } else { "Example CPU" }.to_owned(),
            cores: 2,
            memory_bytes: 8 << 30,
        },
    }
}

fn planted(plan: &Plan, night: usize, target: &str, measure: Measure) -> f64 {
    let of = plan
        .planted
        .iter()
        .filter(|one| one.target == target && one.measure == measure && night >= one.night);
    let by = of.map(|one| {
        let nights = if one.drifts { (night - one.night + 1) as f64 } else { 1.0 };
        one.deviations * nights
    });
    by.sum()
}

/// How well a history was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Score {
    /// Planted steps confirmed with the second night of the new level.
    pub in_two_nights: u32,
    /// Planted changes that were found later.
    pub later: u32,
    /// Planted changes that were not found.
    pub missed: u32,
    /// Confirmed changes that nobody planted.
    pub false_alarms: u32,
    /// Nights that were suspected and not confirmed.
    pub suspected: u32,
}

impl Score {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            in_two_nights: self.in_two_nights + other.in_two_nights,
            later: self.later + other.later,
            missed: self.missed + other.missed,
            false_alarms: self.false_alarms + other.false_alarms,
            suspected: self.suspected + other.suspected,
        }
    }
}

/// A change that a method has confirmed, as places among the nights that ran.
#[derive(Clone, Debug, PartialEq)]
pub struct Alarm {
    /// Whose.
    pub target: String,
    /// Of what.
    pub measure: Measure,
    /// The first night of the new level.
    pub night: usize,
    /// The night that confirmed it.
    pub confirmed: usize,
    /// Whether it is for the worse.
    pub is_worse: bool,
}

/// The confirmed changes of a scenario.
#[must_use]
pub fn alarms(scenario: &ScenarioTrend) -> Vec<Alarm> {
    let place = |run_id: &String| scenario.nights.iter().position(|night| night.run_id == *run_id);
    let all =
        scenario.series.iter().flat_map(|series| series.changes.iter().map(move |change| (series, change)));
    let confirmed = all.filter(|(_, change)| change.state != State::Suspected);
    let alarms = confirmed.filter_map(|(series, change)| {
        Some(Alarm {
            target: series.target.clone(),
            measure: series.measure,
            night: change.night,
            confirmed: place(change.confirmed_by.as_ref()?)?,
            is_worse: change.direction == Direction::Worse,
        })
    });
    alarms.collect()
}

/// Holds alarms against what was planted. A step may be dated to a night before or after; a drift to any night of it, and
/// it is seen as several steps.
#[must_use]
pub fn score(plan: &Plan, ran: &[Digest], alarms: &[Alarm]) -> Score {
    // Nights that did not run have no place: the first that ran from a planted night on stands for it.
    let name = |night: usize| format!("night-{night:03}");
    let place =
        |night: usize| ran.iter().position(|digest| digest.run_id >= name(night)).unwrap_or(ran.len());
    let mut score = Score::default();
    let mut explained = vec![false; alarms.len()];
    for planted in &plan.planted {
        let from = place(planted.night);
        let is_of = |alarm: &Alarm| {
            let near = if planted.drifts { alarm.night + 3 >= from } else { alarm.night.abs_diff(from) <= 2 };
            let same = alarm.target == planted.target && alarm.measure == planted.measure;
            same && near && alarm.is_worse == (planted.deviations > 0.0)
        };
        let mut first: Option<&Alarm> = None;
        for (alarm, explained) in alarms.iter().zip(&mut explained) {
            if is_of(alarm) {
                *explained = true;
                first = first.or(Some(alarm));
            }
        }
        match first {
            Some(alarm) if alarm.confirmed <= from + 1 => score.in_two_nights += 1,
            Some(_) => score.later += 1,
            None => score.missed += 1,
        }
    }
    score.false_alarms =
        u32::try_from(explained.iter().filter(|explained| !**explained).count()).unwrap_or(u32::MAX);
    score
}
