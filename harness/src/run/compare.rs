//! The targets of one run compared, resource by resource, and said in words: pure.
//!
//! Each comparison is of two slopes with their errors, never of pooled samples. A run of three targets and three
//! resources has nine pairs; the chance of error is shared out among them (Bonferroni), so that two copies of one
//! target are told apart in one of fifty runs or fewer, however many pairs there are.

use std::collections::BTreeMap;

use crate::growth::difference::{Difference, Lead, Relation, difference, reported};
use crate::growth::slope::Growth;
use crate::result::{Basis, Comparison, Pair, Resource, TargetResult, Verdict};

/// Chance of error on each side, for all pairs together: 99 % intervals.
const ALPHA: f64 = 0.005;

/// One target in one resource.
struct Grower<'a> {
    name: &'a str,
    growth: Growth,
    leaks: bool,
}

/// Two targets, and what can be said of them.
struct Compared<'a> {
    first: &'a Grower<'a>,
    second: &'a Grower<'a>,
    difference: Difference,
}

/// Compares every pair of targets in every resource in which both have a growth.
pub(super) fn compare(
    targets: &BTreeMap<String, TargetResult>,
    basis: Basis,
) -> BTreeMap<Resource, Comparison> {
    let growers = Resource::ALL.map(|resource| (resource, growers(targets, resource)));
    let pairs: usize =
        growers.iter().map(|(_, growers)| growers.len() * growers.len().saturating_sub(1) / 2).sum();
    let alpha = ALPHA / pairs.max(1) as f64;
    let compared = growers.iter().filter(|(_, growers)| growers.len() > 1);
    compared
        .map(|(resource, growers)| (*resource, Comparison { basis, ..comparison(growers, alpha) }))
        .collect()
}

fn growers(targets: &BTreeMap<String, TargetResult>, resource: Resource) -> Vec<Grower<'_>> {
    let judged = targets.iter().filter_map(|(name, target)| Some((name, target.resources.get(&resource)?)));
    let growers = judged.filter_map(|(name, found)| {
        let leaks = found.judgement.verdict == Verdict::Fail;
        Some(Grower { name, growth: reported(found)?, leaks })
    });
    growers.collect()
}

fn comparison(growers: &[Grower<'_>], alpha: f64) -> Comparison {
    let seconds = |index: usize| growers.iter().skip(index + 1);
    let all = growers
        .iter()
        .enumerate()
        .flat_map(|(index, first)| seconds(index).map(move |second| (first, second)));
    let compared: Vec<Compared<'_>> = all
        .map(|(first, second)| Compared {
            first,
            second,
            difference: difference(&first.growth, &second.growth, alpha),
        })
        .filter(|pair| pair.difference.ci_low.is_finite() && pair.difference.ci_high.is_finite())
        .collect();
    let sentence = sentence(&compared.iter().collect::<Vec<_>>());
    Comparison {
        sentence: Some(sentence).filter(|sentence| !sentence.is_empty()),
        basis: Basis::SingleRun,
        pairs: compared.iter().map(pair).collect(),
    }
}

fn pair(compared: &Compared<'_>) -> Pair {
    let Difference { growth, ci_low, ci_high, relation } = compared.difference;
    let times_at_least = match relation {
        Relation::FirstFaster(lead) | Relation::SecondFaster(lead) => lead.times,
        Relation::Alike { .. } => None,
    };
    Pair {
        first: compared.first.name.to_owned(),
        second: compared.second.name.to_owned(),
        difference_per_min: growth.per_min,
        ci_low,
        ci_high,
        times_at_least,
        sentence: sentence(&[compared]),
    }
}

impl<'a> Compared<'a> {
    /// Who grows faster than whom, and by how much.
    fn lead(&self) -> Option<(&'a Grower<'a>, &'a Grower<'a>, Lead)> {
        match self.difference.relation {
            Relation::FirstFaster(lead) => Some((self.first, self.second, lead)),
            Relation::SecondFaster(lead) => Some((self.second, self.first, lead)),
            Relation::Alike { .. } => None,
        }
    }

    fn alike(&self) -> Option<f64> {
        match self.difference.relation {
            Relation::Alike { within_per_min } => Some(within_per_min),
            Relation::FirstFaster(_) | Relation::SecondFaster(_) => None,
        }
    }

    fn is_of(&self, one: &str, other: &str) -> bool {
        let names = [self.first.name, self.second.name];
        names == [one, other] || names == [other, one]
    }
}

/// What pairs carry: who grows faster than whom, the fastest first, and who can't be told apart.
fn sentence(pairs: &[&Compared<'_>]) -> String {
    let mut quick: Vec<&Grower<'_>> = pairs.iter().filter_map(|pair| Some(pair.lead()?.0)).collect();
    quick.sort_by(|a, b| b.growth.per_min.total_cmp(&a.growth.per_min).then(a.name.cmp(b.name)));
    quick.dedup_by(|a, b| a.name == b.name);
    let mut parts: Vec<String> = quick.into_iter().flat_map(|quick| faster(quick, pairs)).collect();
    parts.extend(alike(pairs));
    parts.join("; ")
}

/// What one target leads the slower ones by: many times, or so much.
fn faster(quick: &Grower<'_>, pairs: &[&Compared<'_>]) -> Vec<String> {
    let leads = pairs.iter().filter_map(|pair| pair.lead()).filter(|(leader, ..)| leader.name == quick.name);
    let (by_times, by_counts): (Vec<_>, Vec<_>) = leads.partition(|(_, _, lead)| lead.times.is_some());
    let names = |slow: &[(&Grower<'_>, &Grower<'_>, Lead)]| {
        listed(&slow.iter().map(|(_, slow, _)| slow.name).collect::<Vec<_>>())
    };
    let mut said = Vec::new();
    if let Some(times) = by_times.iter().filter_map(|(_, _, lead)| lead.times).reduce(f64::min) {
        let grows = if quick.leaks { "leaks" } else { "grows" };
        let times = two_digits(times, f64::floor);
        said.push(format!("{} {grows} at least {times} times faster than {}", quick.name, names(&by_times)));
    }
    if let Some(counts) = by_counts.iter().map(|(_, _, lead)| lead.per_min).reduce(f64::min) {
        let counts = two_digits(counts, f64::floor);
        let slow = names(&by_counts);
        said.push(format!("{} grows faster than {slow} by at least {counts} per minute", quick.name));
    }
    said
}

/// Groups in which nobody can be told from anybody, and the pairs that no group holds.
fn alike(pairs: &[&Compared<'_>]) -> Vec<String> {
    let pairs: Vec<(&Compared<'_>, f64)> =
        pairs.iter().filter_map(|pair| Some((*pair, pair.alike()?))).collect();
    let joined = |one: &str, other: &str| pairs.iter().any(|(pair, _)| pair.is_of(one, other));
    let mut groups: Vec<Vec<&str>> = Vec::new();
    for (pair, _) in &pairs {
        let (first, second) = (pair.first.name, pair.second.name);
        if groups.iter().any(|group| group.contains(&first) && group.contains(&second)) {
            continue;
        }
        let fits =
            |group: &&mut Vec<&str>| group.contains(&first) && group.iter().all(|name| joined(name, second));
        match groups.iter_mut().find(fits) {
            Some(group) => group.push(second),
            None => groups.push(vec![first, second]),
        }
    }
    let said = groups.iter().map(|group| {
        let inside = pairs
            .iter()
            .filter(|(pair, _)| group.contains(&pair.first.name) && group.contains(&pair.second.name));
        let apart = two_digits(inside.map(|(_, within)| *within).fold(0.0, f64::max), f64::ceil);
        format!("{} can't be told apart (at most {apart} per minute apart)", listed(group))
    });
    said.collect()
}

fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [before @ .., last] => format!("{} and {last}", before.join(", ")),
    }
}

/// Two significant digits, to the side on which the statement stays true.
fn two_digits(value: f64, round: impl Fn(f64) -> f64) -> String {
    if value <= 0.0 {
        return "0".to_owned();
    }
    let places = 1.0 - value.log10().floor();
    let unit = 10_f64.powf(places);
    // A billionth less, so that a value that is such a number already stays it.
    let rounded = round((value * unit * 1e9).round() / 1e9) / unit;
    let decimals = [0.0, 1.0, 2.0, 3.0, 4.0].iter().filter(|least| places > **least).count();
    let text = format!("{rounded:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::growth::Point;
    use crate::growth::verdict::{Explained, Settings, judge};
    use crate::growth::warmup::Warmup;
    use crate::result::{Estimate, Expect, Projection, ResourceResult, Stability};

    /// Three minutes, a sample a second, of a leak under churn: every six seconds a container is replaced, with up
    /// to two more or fewer for up to five of them.
    fn churn(seed: u64, per_min: f64) -> Vec<Point> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut draw = move |sides: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            f64::from(u32::try_from((state >> 33) % sides).unwrap())
        };
        let (mut size, mut lasts) = (0.0, 0.0);
        let mut points = Vec::new();
        for second in (0..180_u32).map(f64::from) {
            if second % 6.0 < 0.5 {
                (size, lasts) = (draw(5) - 2.0, draw(6));
            }
            let off = if second % 6.0 < lasts { size } else { 0.0 };
            points.push(Point { elapsed_s: second, count: 30.0 + off + (second * per_min / 60.0).floor() });
        }
        points
    }

    fn target(series: &[(Resource, Vec<Point>)]) -> TargetResult {
        let settings = Settings {
            limit_per_min: 2.0,
            warmup: Warmup::AtLeast { seconds: 0.0 },
            process_limit: None,
            explained: Explained::Unknown,
        };
        let resources = series.iter().map(|(resource, points)| {
            let judged = judge(points, &settings);
            let estimate = judged.growth.map(|Growth { per_min, error_per_min, degrees }| Estimate {
                per_min,
                error_per_min,
                degrees,
            });
            let projection =
                Projection { after_1h: 0.0, after_24h: 0.0, process_limit: None, exhausted_in_s: None };
            let judgement = judged.judgement;
            (
                *resource,
                ResourceResult {
                    judgement,
                    line: judged.line,
                    estimate,
                    projection,
                    drain: None,
                    kinds: vec![],
                    events: vec![],
                },
            )
        });
        TargetResult {
            design: String::new(),
            expect: Expect::Flat,
            met: true,
            reason: String::new(),
            resources: resources.collect(),
            leaks: None,
            watches: None,
            memory: Vec::new(),
            figures: BTreeMap::new(),
            audit: None,
            latency: None,
            stability: Stability::default(),
            exhausted: Vec::new(),
        }
    }

    /// A run of targets that leak tasks at these paces.
    fn run(seed: u64, paces: &[(&str, f64)]) -> Comparison {
        let targets = (1..).zip(paces).map(|(place, (name, pace))| {
            ((*name).to_owned(), target(&[(Resource::Tasks, churn(seed * 100 + place, *pace))]))
        });
        compare(&targets.collect(), Basis::SingleRun).remove(&Resource::Tasks).unwrap()
    }

    #[test]
    fn a_target_is_not_told_from_itself_under_another_name() {
        let names = ["one", "other"];
        let mut told_apart = 0;
        for seed in 0..60 {
            let targets = (0..).zip(names).map(|(place, name)| {
                let series = Resource::ALL.map(|resource| {
                    let seed = seed * 10 + place * 3 + resource as u64;
                    (resource, churn(seed + 1, 0.0))
                });
                (name.to_owned(), target(&series))
            });
            let comparisons = compare(&targets.collect(), Basis::SingleRun);
            assert_eq!(comparisons.len(), 3);
            let said = comparisons.values().filter_map(|found| found.sentence.as_deref());
            told_apart += u32::from(
                said.into_iter().any(|said| !said.starts_with("one and other can't be told apart")),
            );
        }
        // One or two may be; without sharing the chance of error out among resources it would be twenty.
        assert!(told_apart <= 2, "{told_apart} of 60 runs");
    }

    #[test]
    fn a_clear_leak_is_told_from_two_flat_targets_that_are_alike() {
        for seed in 0..20 {
            let found = run(seed, &[("archived", 43.0), ("hybrid", 0.0), ("pool", 0.0)]);
            let said = found.sentence.unwrap();
            let (leak, rest) = said.split_once("; ").unwrap();
            assert!(rest.starts_with("hybrid and pool can't be told apart (at most "), "{said}");
            assert!(leak.starts_with("archived ") && leak.contains("hybrid and pool"), "{said}");
            assert_eq!((found.basis, found.pairs.len()), (Basis::SingleRun, 3));
            let pair = &found.pairs[0];
            assert!(pair.ci_low > 35.0 && pair.ci_high < 51.0, "{pair:?}");
        }
    }

    fn grower(name: &str, per_min: f64, error_per_min: f64, leaks: bool) -> Grower<'_> {
        Grower { name, growth: Growth { per_min, error_per_min, degrees: 12.0 }, leaks }
    }

    #[test]
    fn the_sentence_joins_what_belongs_together() {
        let growers = [
            grower("archived", 43.0, 0.3, true),
            grower("hybrid", 0.1, 0.3, false),
            grower("pool", 0.2, 0.3, false),
        ];
        assert_eq!(
            comparison(&growers, 0.01).sentence.unwrap(),
            "archived leaks at least 37 times faster than hybrid and pool; \
             hybrid and pool can't be told apart (at most 1.2 per minute apart)"
        );
    }

    #[test]
    fn what_does_not_leak_grows_and_what_is_close_is_said_in_counts() {
        let said = |growers: &[Grower<'_>]| comparison(growers, 0.05).sentence.unwrap();
        let (quick, calm) = (grower("a", 1.5, 0.01, false), grower("b", 0.1, 0.01, false));
        assert_eq!(said(&[quick, calm]), "a grows at least 12 times faster than b");
        let (quick, calm) = (grower("a", 5.0, 0.1, true), grower("b", 4.0, 0.1, true));
        assert_eq!(said(&[calm, quick]), "a grows faster than b by at least 0.75 per minute");
    }

    #[test]
    fn a_pair_between_two_groups_is_not_forgotten() {
        let growers =
            [grower("a", 0.0, 0.1, false), grower("b", 0.2, 0.1, false), grower("c", 0.4, 0.1, false)];
        let said = comparison(&growers, 0.05).sentence.unwrap();
        assert_eq!(
            said,
            "c grows faster than a by at least 0.15 per minute; a and b can't be told apart (at most 0.45 per \
             minute apart); b and c can't be told apart (at most 0.45 per minute apart)"
        );
    }

    #[test]
    fn what_was_not_measured_is_compared_with_nothing() {
        let few = churn(1, 0.0).into_iter().take(5).collect();
        let targets = BTreeMap::from([
            ("a".to_owned(), target(&[(Resource::Fds, few)])),
            ("b".to_owned(), target(&[(Resource::Fds, churn(2, 0.0))])),
        ]);
        assert!(compare(&targets, Basis::SingleRun).is_empty());
    }

    #[test]
    fn an_interval_that_was_widened_for_a_search_stays_so_wide() {
        let mut found = target(&[(Resource::Fds, churn(1, 0.0))]).resources.remove(&Resource::Fds).unwrap();
        let plain = reported(&found).unwrap();
        found.judgement.ci_high = Some(plain.per_min + 3.0 * plain.half_width(0.05));
        let wide = reported(&found).unwrap();
        assert!((wide.error_per_min / plain.error_per_min - 3.0).abs() < 1e-9, "{plain:?} {wide:?}");
    }

    #[test]
    fn figures_are_rounded_to_the_side_on_which_they_stay_true() {
        let down = [35.9, 1_435.0, 0.0319, 0.2, 9.99].map(|value| two_digits(value, f64::floor));
        assert_eq!(down, ["35", "1400", "0.031", "0.2", "9.9"]);
        assert_eq!([1.21, 0.0].map(|value| two_digits(value, f64::ceil)), ["1.3", "0"]);
    }
}
