use super::*;
use proptest::prelude::*;

/// Noise of deviation one, the same each time.
fn noise(seed: u64, count: usize) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut draw = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    // The sum of twelve even draws is normal enough.
    (0..count).map(|_| (0..12).map(|_| draw()).sum::<f64>() - 6.0).collect()
}

fn row(values: impl IntoIterator<Item = f64>) -> Vec<Night> {
    values.into_iter().map(|value| Night { value, error: 0.0 }).collect()
}

/// Noise with a level that changes by so much at such nights.
fn stepped(seed: u64, steps: &[(usize, f64)]) -> Vec<Night> {
    let level = |index: usize| steps.iter().filter(|(at, _)| index >= *at).map(|(_, by)| by).sum::<f64>();
    row(noise(seed, 100).into_iter().enumerate().map(|(index, value)| value + level(index)))
}

fn found(nights: &[Night]) -> Found {
    changes(nights, &|_| 2.0)
}

#[test]
fn a_step_is_suspected_at_once_and_confirmed_by_the_next_run() {
    for seed in 1..31 {
        let nights = stepped(seed, &[(40, 8.0)]);
        let at_first = found(&nights[..41]);
        let last = at_first.changes.last().expect("it is suspected");
        assert_eq!((last.at, last.confirmed_at), (40, None), "seed {seed}");
        let change = found(&nights[..42]).changes.pop().unwrap();
        assert_eq!((change.at, change.confirmed_at), (40, Some(41)), "seed {seed}");
        assert!((change.after - change.before - 8.0).abs() < 3.0, "{change:?}");
    }
}

#[test]
fn one_night_that_stands_apart_is_no_change_and_hides_none() {
    let right = (1..51).filter(|seed| {
        let mut nights = stepped(*seed, &[(60, 8.0)]);
        nights[3].value += 40.0;
        nights[30].value += 40.0;
        let found = found(&nights);
        let at: Vec<usize> = found.changes.iter().map(|change| change.at).collect();
        found.apart.contains(&30) && at == [60]
    });
    // One in a hundred rows changes by chance.
    assert!(right.count() >= 48);
}

#[test]
fn what_comes_and_goes_after_three_nights_is_two_changes() {
    let right = (1..51).filter(|seed| {
        let found = found(&stepped(*seed, &[(40, 10.0), (43, -10.0)]));
        found.changes.iter().map(|change| change.at).eq([40, 43])
    });
    assert!(right.count() >= 48);
}

#[test]
fn a_drift_is_found_though_no_night_stands_apart() {
    for seed in 0..20 {
        let nights =
            row(noise(seed, 100).into_iter().zip(0..).map(|(value, night)| value + 0.1 * f64::from(night)));
        let found = found(&nights);
        let first = found.changes.first().expect("it is found");
        assert!(first.after > first.before && first.confirmed_at.unwrap() < 60, "seed {seed}: {found:?}");
    }
}

#[test]
fn what_does_not_matter_is_no_change() {
    let nights = stepped(1, &[(40, 8.0)]);
    assert_eq!(changes(&nights, &|_| 20.0).changes, []);
}

#[test]
fn a_row_that_never_moves_takes_the_runs_word_for_its_error() {
    let night = |value| Night { value, error: 1.0 };
    let mut nights = vec![night(0.0); 20];
    nights.extend([night(3.0), night(3.0)]);
    assert_eq!(found(&nights).changes, [], "three errors of one night are no change");
    nights.extend([night(9.0), night(9.0)]);
    let at: Vec<usize> = found(&nights).changes.iter().map(|change| change.at).collect();
    assert_eq!(at, [22]);
}

proptest! {
    /// What is confirmed stays, whatever comes after it.
    #[test]
    fn a_later_night_takes_nothing_back(
        values in proptest::collection::vec(-20.0_f64..20.0, 0..60), cut in 0_usize..60
    ) {
        let nights = row(values);
        let confirmed = |nights: &[Night]| -> Vec<(usize, Option<usize>)> {
            let all = found(nights).changes.into_iter();
            all.filter(|change| change.confirmed_at.is_some()).map(|change| (change.at, change.confirmed_at)).collect()
        };
        let (early, late) = (confirmed(&nights[..cut.min(nights.len())]), confirmed(&nights));
        prop_assert!(late.starts_with(&early), "{early:?} {late:?}");
    }

    /// A row turned upside down, or in another unit, changes at the same nights.
    #[test]
    fn the_unit_does_not_matter(values in proptest::collection::vec(-20.0_f64..20.0, 0..60), scale in 0.01_f64..100.0) {
        let nights = row(values.iter().copied());
        let scaled = row(values.iter().map(|value| -value * scale));
        let at = |found: Found| -> Vec<usize> { found.changes.iter().map(|change| change.at).collect() };
        prop_assert_eq!(at(changes(&nights, &|_| 2.0)), at(changes(&scaled, &|_| 2.0 * scale)));
    }
}
