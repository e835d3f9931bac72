//! Which event a leak is said to follow, on simulated runs: how often the right one, and how often another.

use flatline::growth::follow::follow;
use flatline::result::EventKind;
use flatline::simulated::events::{Cause, Pace, Passing, run};

/// Leaks with an event.
const DRIVEN: [(EventKind, f64); 8] = [
    (EventKind::Starts, 1.0),
    (EventKind::Starts, 1.5),
    (EventKind::Restarts, 1.0),
    (EventKind::Created, 1.0),
    (EventKind::Rotations, 1.0),
    (EventKind::Connections, 1.0),
    (EventKind::RejectedPushes, 1.0),
    (EventKind::RepeatedPushes, 0.2),
];

/// Leaks with none.
const FREE: [Cause; 8] = [
    Cause::Clock(5.0),
    Cause::Clock(10.0),
    Cause::Clock(15.0),
    Cause::Clock(30.0),
    Cause::Clock(60.0),
    Cause::Chance(10.0),
    Cause::Chance(40.0),
    Cause::Chance(120.0),
];

/// What was named in how many runs.
#[derive(Default)]
struct Named {
    right: u32,
    among: u32,
    none: u32,
    wrong: u32,
}

/// Prints for each cause how often its event is named alone, among others, not at all, and another one in its place.
pub(crate) fn print(runs: u32) {
    let driven = DRIVEN.map(|(event, units)| Cause::Event(event, units));
    for (seconds, pace) in [(170, Pace::Drawn), (600, Pace::Drawn), (170, Pace::Even)] {
        let (mut with, mut without) = (Named::default(), Named::default());
        for passing in [Passing::Nothing, Passing::Churn, Passing::Held] {
            for cause in driven.into_iter().chain(FREE) {
                let named = named(runs, seconds, pace, (cause, passing));
                let Named { right, among, none, wrong } = named;
                println!(
                    "{seconds:>4} s  {pace:?} {passing:?} {cause:?}: right {right} among others {among} none {none} wrong {wrong} of {runs}"
                );
                let sum = if matches!(cause, Cause::Event(..)) { &mut with } else { &mut without };
                sum.right += right;
                sum.among += among;
                sum.none += none;
                sum.wrong += wrong;
            }
        }
        for (what, Named { right, among, none, wrong }) in [("with an event", with), ("with none", without)] {
            let all = f64::from(right + among + none + wrong) / 100.0;
            println!(
                "{seconds:>4} s  {pace:?}, leaks {what}: right {:.1} %, among others {:.1} %, none {:.1} %, wrong {:.2} %",
                f64::from(right) / all,
                f64::from(among) / all,
                f64::from(none) / all,
                f64::from(wrong) / all,
            );
        }
    }
}

fn named(runs: u32, seconds: u32, pace: Pace, (cause, passing): (Cause, Passing)) -> Named {
    let mut named = Named::default();
    for seed in 0..u64::from(runs) {
        let seen = run(seed, seconds, pace, (cause, passing));
        let found = follow(&seen.points, &seen.events);
        let follows: Vec<EventKind> = EventKind::ALL
            .into_iter()
            .zip(found)
            .filter(|(_, found)| found.is_some_and(|found| found.follows))
            .map(|(event, _)| event)
            .collect();
        let truth = if let Cause::Event(event, _) = cause { Some(event) } else { None };
        let place = match (truth, follows.as_slice()) {
            (_, []) => &mut named.none,
            (Some(truth), [one]) if *one == truth => &mut named.right,
            (Some(truth), several) if several.contains(&truth) => &mut named.among,
            _ => &mut named.wrong,
        };
        *place += 1;
    }
    named
}
