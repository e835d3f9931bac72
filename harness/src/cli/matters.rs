//! `--matters`: the smallest difference that matters, the same option of `flatline compare` and of `flatline history`.

use clap::Args;

use crate::cli::UsageError;
use crate::result::Sort;
use crate::trend::contrast::Matters;

/// What of a difference matters.
#[derive(Args, Debug)]
pub struct MattersArgs {
    /// The smallest difference that matters, e.g. growth=0.01 or cpu=5% (repeatable)
    #[arg(long, value_name = "SORT=VALUE", value_parser = matters)]
    pub matters: Vec<(Sort, f64)>,
}

impl MattersArgs {
    /// What was set, and of every other sort the default.
    ///
    /// # Errors
    /// [`UsageError`] where a sort is named twice.
    pub(super) fn chosen(&self) -> Result<Matters, UsageError> {
        let mut chosen = Matters::default();
        for (index, (sort, value)) in self.matters.iter().enumerate() {
            if self.matters.iter().take(index).any(|(before, _)| before == sort) {
                return Err(UsageError(format!("--matters names {} twice: which is meant?", sort.key())));
            }
            chosen.set(*sort, *value);
        }
        Ok(chosen)
    }
}

/// Reads what matters of one sort.
fn matters(text: &str) -> Result<(Sort, f64), String> {
    let settable = || Sort::ALL.into_iter().filter(|sort| !sort.is_counted());
    let names = || settable().map(Sort::key).collect::<Vec<_>>().join(", ");
    let (key, value) = text.split_once('=').ok_or("write SORT=VALUE, e.g. growth=0.01 or cpu=5%")?;
    let sort = settable().find(|sort| sort.key() == key).ok_or(format!("{key:?} is none of {}", names()))?;
    let (number, scale) = match (value.strip_suffix('%'), sort) {
        (None, Sort::Growth) => (value, 1.0),
        (Some(_), Sort::Growth) => {
            return Err(
                "growth is about zero, of which a share means nothing: write counts per minute".to_owned()
            );
        }
        (Some(number), _) => (number, 0.01),
        (None, _) => return Err(format!("write {key} in percent, e.g. {key}=10%")),
    };
    let number: f64 = number.trim().parse().map_err(|_| format!("{number:?} is no number"))?;
    let fit = number.is_finite() && number > 0.0;
    if fit {
        Ok((sort, number * scale))
    } else {
        Err("what matters must be above zero, and finite".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_is_read_in_its_unit() {
        assert_eq!(matters("growth=0.01"), Ok((Sort::Growth, 0.01)));
        assert_eq!(matters("cpu=5%"), Ok((Sort::Cpu, 0.05)));
        for (text, says) in [
            ("growth", "SORT=VALUE"),
            ("growth=5%", "counts per minute"),
            ("cpu=5", "in percent"),
            ("cpu=x%", "no number"),
            ("cpu=0%", "above zero"),
            ("cpu=nan%", "finite"),
            ("lost=1", "none of growth, throughput, latency, cpu, memory, duplicates"),
        ] {
            let error = matters(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn a_sort_that_is_named_twice_is_refused() {
        let named = |matters: &[(Sort, f64)]| MattersArgs { matters: matters.to_vec() }.chosen();
        let chosen = named(&[(Sort::Cpu, 0.2), (Sort::Growth, 1.0)]).unwrap();
        assert_eq!((chosen.by_sort()[&Sort::Cpu], chosen.by_sort()[&Sort::Memory]), (0.2, 0.1));
        let said = named(&[(Sort::Cpu, 0.2), (Sort::Growth, 1.0), (Sort::Cpu, 0.2)]).unwrap_err().to_string();
        assert_eq!(said, "--matters names cpu twice: which is meant?");
    }
}
