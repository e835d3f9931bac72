//! One of several machines among which the targets of a scenario are shared out.

use std::env;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The place of a pod in an Indexed Job of Kubernetes, from 0 on.
const JOB_INDEX: &str = "JOB_COMPLETION_INDEX";

/// The shard `place` of `count`: of the targets in order, every `count`th from that place on. Each shard puts its targets
/// through the whole load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Shard {
    /// From 1 on.
    place: usize,
    count: usize,
}

/// A text that names no shard.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is no shard: {why}; write I/N, such as 2/4, or job/4 in an Indexed Job of Kubernetes")]
pub struct InvalidShard {
    text: String,
    why: String,
}

impl Shard {
    /// Whether what stands at this place, from 0 on, is its part.
    #[must_use]
    pub fn holds(self, index: usize) -> bool {
        index % self.count == self.place - 1
    }

    /// Of how many it is one.
    #[must_use]
    pub fn count(self) -> usize {
        self.count
    }

    /// It and the others, in order.
    pub fn all(self) -> impl Iterator<Item = Self> {
        (1..=self.count).map(move |place| Self { place, ..self })
    }

    fn read(text: &str, job_index: Option<&str>) -> Result<Self, String> {
        let (place, count) = text.split_once('/').ok_or("it has no slash")?;
        let number = |text: &str| text.parse::<usize>().map_err(|_| format!("{text:?} is no number"));
        let count = number(count)?;
        let place = match place {
            "job" => number(job_index.ok_or(format!("{JOB_INDEX} is not set"))?)?.saturating_add(1),
            place => number(place)?,
        };
        if place == 0 || place > count {
            return Err(format!("places go from 1 to {count}"));
        }
        Ok(Self { place, count })
    }
}

impl FromStr for Shard {
    type Err = InvalidShard;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let job_index = env::var(JOB_INDEX).ok();
        Self::read(text, job_index.as_deref()).map_err(|why| InvalidShard { text: text.to_owned(), why })
    }
}

impl TryFrom<String> for Shard {
    type Error = InvalidShard;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::read(&text, None).map_err(|why| InvalidShard { text, why })
    }
}

impl From<Shard> for String {
    fn from(shard: Shard) -> Self {
        shard.to_string()
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.place, self.count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_shard_says_how_one_is_written() {
        for (text, job, why) in [
            ("2", None, "it has no slash"),
            ("0/4", None, "places go from 1 to 4"),
            ("5/4", None, "places go from 1 to 4"),
            ("1/0", None, "places go from 1 to 0"),
            ("x/4", None, "\"x\" is no number"),
            ("1/-4", None, "\"-4\" is no number"),
            ("job/4", None, "JOB_COMPLETION_INDEX is not set"),
            ("job/4", Some("4"), "places go from 1 to 4"),
            ("job/4", Some("two"), "\"two\" is no number"),
        ] {
            assert_eq!(Shard::read(text, job).unwrap_err(), why, "{text}");
        }
        assert_eq!(Shard::read("job/4", Some("0")).unwrap(), "1/4".parse().unwrap());
        let said = "4".parse::<Shard>().unwrap_err().to_string();
        assert!(said.contains("such as 2/4, or job/4"), "{said}");
    }

    #[test]
    fn it_is_kept_as_it_is_written_and_knows_the_others() {
        let shard: Shard = serde_json::from_str("\"2/3\"").unwrap();
        assert_eq!(serde_json::to_string(&shard).unwrap(), "\"2/3\"");
        let all: Vec<String> = shard.all().map(|shard| shard.to_string()).collect();
        assert_eq!((all, shard.count()), (["1/3", "2/3", "3/3"].map(str::to_owned).to_vec(), 3));
        let error = serde_json::from_str::<Shard>("\"4/3\"").unwrap_err().to_string();
        assert!(error.contains("places go from 1 to 3"), "{error}");
    }

    proptest! {
        #[test]
        fn each_target_is_in_one_shard(count in 1_usize..20, targets in 0_usize..50) {
            let shards: Vec<Shard> = (1..=count).map(|place| Shard { place, count }).collect();
            for target in 0..targets {
                prop_assert_eq!(shards.iter().filter(|shard| shard.holds(target)).count(), 1);
            }
        }
    }
}
