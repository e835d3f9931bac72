//! The judge is judged: healthy series are not called leaks, and leaks do not pass.

#[path = "../../examples/growth_tables/families.rs"]
mod families;

use families::{Leak, NOISES, Noise, leaks, shares};

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
