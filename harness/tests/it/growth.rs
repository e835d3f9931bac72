//! The judge is judged: healthy series are not called leaks, and leaks do not pass.

#[path = "../../examples/growth_tables/families.rs"]
mod families;

use families::{Leak, NOISES, Noise, leaks, series, settings, shares};
use flatline::growth::Point;
use flatline::growth::verdict::{Explained, Settings, judge};
use flatline::result::Verdict;

/// In each of these a run of three minutes can tell what leaks from what does not.
const MAIN: [Noise; 3] = [Noise::Flat, Noise::Churn, Noise::Spikes];

#[test]
fn healthy_containers_that_churn_pass_in_three_minutes() {
    for noise in MAIN {
        let found = shares(200, 180, noise, Leak::None);
        // In 1,000 runs 0 to 4 are inconclusive, by kind of noise.
        assert!(found.pass >= 198 && found.fail == 0, "{noise:?} {found:?}");
    }
}

#[test]
fn leaks_of_10_and_43_a_minute_fail_in_three_minutes() {
    for noise in MAIN {
        let fast = shares(50, 180, noise, Leak::Steady(43.0));
        assert!(fast.fail == 50, "{noise:?} {fast:?}");
        let slow = shares(100, 180, noise, Leak::Steady(10.0));
        assert!(slow.fail >= 97 && slow.pass == 0, "{noise:?} {slow:?}");
    }
}

#[test]
fn no_healthy_family_is_called_a_leak() {
    for noise in NOISES {
        for seconds in [180, 600] {
            let found = shares(12, seconds, noise, Leak::None);
            assert!(found.fail == 0 && found.invalid == 0, "{noise:?} {found:?}");
        }
    }
}

#[test]
fn no_leak_of_five_times_the_limit_passes_in_ten_minutes_under_any_noise() {
    for noise in NOISES {
        for leak in leaks().filter(|leak| !matches!(leak.per_min(), Some(pace) if pace < 10.0)) {
            let found = shares(2, 600, noise, leak);
            assert!(found.pass == 0 && found.invalid == 0, "{noise:?} {leak:?} {found:?}");
        }
    }
}

#[test]
fn no_leak_of_one_and_a_half_times_the_limit_passes_where_churn_is_the_noise() {
    for noise in MAIN {
        for leak in [Leak::Steady(3.0), Leak::Stairs(3.0)] {
            let found = shares(15, 600, noise, leak);
            assert!(found.pass == 0, "{noise:?} {leak:?} {found:?}");
        }
    }
}

#[test]
fn a_fail_is_decided_early_without_a_bound_and_no_sample_after_that_changes_it() {
    let assumed = Settings { explained: Explained::Assumed, ..settings() };
    let mut early = 0;
    for noise in NOISES {
        for leak in [Leak::Steady(10.0), Leak::Steady(43.0), Leak::Chance(10.0), Leak::Late(43.0), Leak::None]
        {
            for seed in 0..2 {
                let points = series(seed, 400, noise, leak);
                let whole = judge(&points, &assumed).judgement;
                let known = judge(&points, &settings()).judgement;
                assert_eq!(
                    (whole.verdict, &whole.reason),
                    (known.verdict, &known.reason),
                    "{noise:?} {leak:?}"
                );
                if whole.verdict != Verdict::Fail {
                    continue;
                }
                let decided_s = whole.decided_at_s.expect("a fail has a moment");
                let seen: Vec<Point> =
                    points.iter().copied().take_while(|point| point.elapsed_s <= decided_s).collect();
                let cut = judge(&seen, &assumed).judgement;
                assert_eq!(
                    (cut.verdict, cut.decided_at_s),
                    (Verdict::Fail, Some(decided_s)),
                    "{noise:?} {leak:?}"
                );
                early += u32::from(seen.len() < points.len());
            }
        }
    }
    assert!(early > 50, "{early}");
}

#[test]
fn leaks_of_43_and_10_a_minute_are_called_within_three_and_five_minutes_by_default() {
    let assumed = Settings { explained: Explained::Assumed, ..settings() };
    for noise in MAIN {
        for (leak, within_s) in [(Leak::Steady(43.0), 180.0), (Leak::Steady(10.0), 300.0)] {
            for seed in 0..10 {
                let judged = judge(&series(seed, 1200, noise, leak), &assumed).judgement;
                let decided_s = judged.decided_at_s.expect("a fail has a moment") - 30.0;
                assert!(decided_s - judged.warmup_s <= within_s, "{noise:?} {leak:?} {judged:?}");
            }
        }
    }
}
