//! What simpler methods make of the same series of an hour: the figures behind the choice.

use std::f64::consts::PI;

use flatline::growth::Point;
use flatline::growth::verdict::judge;
use flatline::result::Verdict;
use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::families::{LIMIT, settings};
use crate::long::{self, Healthy, Leak};

/// A slope per minute with its standard error and that error's degrees of freedom.
type Slope = (f64, f64, f64);

/// How a slope's error is found.
#[derive(Clone, Copy, PartialEq)]
enum Error {
    /// It is not: the estimate decides.
    None,
    /// The textbook's, as if each sample were news.
    Independent,
    /// Newey and West, with their usual few lags.
    NeweyWest,
    /// Equal-weighted cosines.
    Cosines,
}

/// A method, as its users would write it down in an evening.
#[derive(Clone, Copy)]
enum Method {
    /// Last count less first, over the time.
    Ends,
    /// Least squares, the first tenth left out.
    Line(Error),
    /// The same with cosines, and each quarter as well, at a quarter of the chance of error.
    Quarters,
    /// The one that is in use.
    Ours,
}

const METHODS: [(&str, Method); 7] = [
    ("last less first", Method::Ends),
    ("least squares, the estimate alone", Method::Line(Error::None)),
    ("least squares, textbook error", Method::Line(Error::Independent)),
    ("least squares, Newey-West", Method::Line(Error::NeweyWest)),
    ("least squares, cosines (EWC)", Method::Line(Error::Cosines)),
    ("the same and each quarter", Method::Quarters),
    ("flatline", Method::Ours),
];

impl Method {
    fn verdict(self, points: &[Point]) -> Verdict {
        let kept = &points[points.len() / 10..];
        match self {
            Self::Ends => {
                let (first, last) = (points[0], points[points.len() - 1]);
                let per_min = 60.0 * (last.count - first.count) / (last.elapsed_s - first.elapsed_s);
                against_limit((per_min, 0.0, 1.0), 0.05)
            }
            Self::Line(error) => against_limit(slope(kept, error), 0.05),
            Self::Quarters => {
                let whole = against_limit(slope(kept, Error::Cosines), 0.05);
                let quarters = kept.chunks(kept.len().div_ceil(4));
                let late = quarters.map(|part| against_limit(slope(part, Error::Cosines), 0.05 / 4.0));
                if late.into_iter().any(|verdict| verdict == Verdict::Fail) { Verdict::Fail } else { whole }
            }
            Self::Ours => judge(points, &settings()).judgement.verdict,
        }
    }
}

fn against_limit((per_min, error, degrees): Slope, alpha: f64) -> Verdict {
    let t = StudentsT::new(0.0, 1.0, degrees).map_or(f64::INFINITY, |t| t.inverse_cdf(1.0 - alpha));
    if per_min - t * error >= LIMIT {
        Verdict::Fail
    } else if per_min + t * error < LIMIT {
        Verdict::Pass
    } else {
        Verdict::Inconclusive
    }
}

fn slope(points: &[Point], error: Error) -> Slope {
    let n = points.len() as f64;
    let mean = |of: fn(&Point) -> f64| points.iter().map(of).sum::<f64>() / n;
    let (middle_s, middle) = (mean(|point| point.elapsed_s), mean(|point| point.count));
    let minutes: Vec<f64> = points.iter().map(|point| (point.elapsed_s - middle_s) / 60.0).collect();
    let own: f64 = minutes.iter().map(|x| x * x).sum();
    let per_min = minutes.iter().zip(points).map(|(x, point)| x * (point.count - middle)).sum::<f64>() / own;
    let residuals = minutes.iter().zip(points).map(|(x, point)| point.count - middle - per_min * x);
    let scores: Vec<f64> = minutes.iter().zip(residuals.clone()).map(|(x, residual)| x * residual).collect();
    let (sum_variance, degrees) = match error {
        Error::None => (0.0, 1.0),
        Error::Independent => {
            let variance = residuals.map(|residual| residual * residual).sum::<f64>() / (n - 2.0);
            (variance * own, n - 2.0)
        }
        Error::NeweyWest => (newey_west(&scores), n - 2.0),
        Error::Cosines => cosines(&scores),
    };
    (per_min, (sum_variance / (own * own)).sqrt(), degrees)
}

/// Newey and West (Econometrica 55(3), 1987), with 4 (n / 100)^(2/9) lags.
fn newey_west(scores: &[f64]) -> f64 {
    let lags = (4.0 * (scores.len() as f64 / 100.0).powf(2.0 / 9.0)).floor();
    let product = |lag: usize| scores.iter().zip(&scores[lag..]).map(|(a, b)| a * b).sum::<f64>();
    let lagged = (1_usize..).map(|lag| (lag, lag as f64)).take_while(|(_, far)| *far <= lags);
    let lagged = lagged.map(|(lag, far)| 2.0 * (1.0 - far / (lags + 1.0)) * product(lag));
    (product(0) + lagged.sum::<f64>()).max(0.0)
}

/// Lazarus, Lewis, Stock and Watson (JBES 36(4), 2018), with 0.4 n^(2/3) cosines.
fn cosines(scores: &[f64]) -> (f64, f64) {
    let n = scores.len() as f64;
    let cosines = (0.4 * n.powf(2.0 / 3.0)).round();
    let projected = (1_u32..).map(f64::from).take_while(|order| *order <= cosines).map(|order| {
        let step = PI * order / n;
        let along = scores.iter().enumerate().map(|(i, score)| score * (step * (i as f64 + 0.5)).cos());
        2.0 / n * along.sum::<f64>().powi(2)
    });
    (n * projected.sum::<f64>() / cosines, cosines)
}

/// Prints what each method makes of `runs` healthy series of each family, and of a tenth as many of each leak.
pub(crate) fn print(runs: u32) {
    println!("| method | healthy: fail | undecided | leaks: pass | undecided | families with a false fail |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for (name, method) in METHODS {
        let share = |healthy: Healthy, leak: Leak, runs: u32, of: Verdict| {
            let judged =
                (0..runs).map(|seed| method.verdict(&long::series(u64::from(seed), 60.0, healthy, leak)));
            judged.filter(|verdict| *verdict == of).count() as f64 / f64::from(runs)
        };
        let percent = |shares: &[f64]| 100.0 * shares.iter().sum::<f64>() / shares.len() as f64;
        let healthy = |of| long::HEALTHY.map(|healthy| share(healthy, Leak::None, runs, of));
        let leaks = |of| {
            let all =
                long::HEALTHY.into_iter().flat_map(|healthy| long::leaks().map(move |leak| (healthy, leak)));
            all.map(|(healthy, leak)| share(healthy, leak, runs.div_ceil(10), of)).collect::<Vec<_>>()
        };
        let failed = healthy(Verdict::Fail);
        println!(
            "| {name} | {:.2} % | {:.1} % | {:.2} % | {:.1} % | {} |",
            percent(&failed),
            percent(&healthy(Verdict::Inconclusive)),
            percent(&leaks(Verdict::Pass)),
            percent(&leaks(Verdict::Inconclusive)),
            failed.iter().filter(|share| **share > 0.0).count(),
        );
    }
}
