//! What a target may use of the machine, where that is less than all of it.

use std::collections::BTreeSet;

use bytesize::ByteSize;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::units;

/// Below these no program starts.
const LEAST_FDS: u64 = 8;
const LEAST_MEMORY: u64 = 1 << 20;
/// As many as a set of processors holds (`CPU_SETSIZE`).
const CPUS_MAX: usize = 1024;

/// Limits that the kernel holds a target to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Allowance {
    /// Open file descriptors (`RLIMIT_NOFILE`).
    #[serde(default, deserialize_with = "fds", skip_serializing_if = "Option::is_none")]
    pub fds: Option<u64>,
    /// Memory of the process and all that it starts, bytes or with a unit (`256MiB`): beyond it the kernel kills.
    #[schemars(schema_with = "units::byte_size_schema")]
    #[serde(
        default,
        deserialize_with = "memory",
        serialize_with = "bytes",
        skip_serializing_if = "Option::is_none"
    )]
    pub memory: Option<ByteSize>,
    /// Processors that it may run on, as in `0`, `0-3` or `0,2-3`.
    #[serde(default, deserialize_with = "cpus", skip_serializing_if = "Option::is_none")]
    pub cpus: Option<String>,
}

impl Allowance {
    /// Whether nothing is limited.
    #[must_use]
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    /// What the other one says, and this one where that says nothing.
    #[must_use]
    pub fn overridden_by(self, other: Self) -> Self {
        Self {
            fds: other.fds.or(self.fds),
            memory: other.memory.or(self.memory),
            cpus: other.cpus.or(self.cpus),
        }
    }
}

fn fds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let wrong =
        || de::Error::custom(format!("fds: how many may be open, a whole number of {LEAST_FDS} or more"));
    let fds = u64::deserialize(deserializer).map_err(|_| wrong())?;
    if fds >= LEAST_FDS { Ok(Some(fds)) } else { Err(wrong()) }
}

fn memory<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ByteSize>, D::Error> {
    let wrong = || de::Error::custom("memory: bytes with a unit such as 256MiB, 1MiB or more");
    let memory = ByteSize::deserialize(deserializer).map_err(|_| wrong())?;
    if memory.as_u64() >= LEAST_MEMORY { Ok(Some(memory)) } else { Err(wrong()) }
}

/// To the byte, which the text for people is not.
#[expect(clippy::ref_option, reason = "serde hands over a reference to the field")]
fn bytes<S: Serializer>(memory: &Option<ByteSize>, serializer: S) -> Result<S::Ok, S::Error> {
    memory.map(|memory| memory.as_u64()).serialize(serializer)
}

fn cpus<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let wrong =
        || de::Error::custom("cpus: numbers of processors as a text, such as \"0\", \"0-3\" or \"0,2-3\"");
    let text = String::deserialize(deserializer).map_err(|_| wrong())?;
    if cpu_list(&text).is_some() { Ok(Some(text)) } else { Err(wrong()) }
}

/// The processors that a list names (cpuset(7), "List format"); `None` for a text that is no such list.
#[must_use]
pub fn cpu_list(text: &str) -> Option<BTreeSet<usize>> {
    let mut cpus = BTreeSet::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.trim().parse::<usize>().ok();
        let (first, last) = (number(first)?, number(last)?);
        if first > last || last >= CPUS_MAX {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_processors_is_read_as_the_kernel_writes_it() {
        let list = |text| cpu_list(text).map(|cpus| cpus.into_iter().collect::<Vec<_>>());
        assert_eq!(list("0"), Some(vec![0]));
        assert_eq!(list("0,2-4, 3"), Some(vec![0, 2, 3, 4]));
        for wrong in ["", "-", "1-", "3-1", "a", "0,", "0-1024", "-1"] {
            assert_eq!(list(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn what_can_not_be_held_to_is_refused_in_words() {
        let read = |text: &str| serde_saphyr::from_str::<Allowance>(text);
        let allowed = read("{ fds: 64, memory: 64MiB, cpus: \"0-1\" }").unwrap();
        assert_eq!(allowed.memory, Some(ByteSize::mib(64)));
        let again = serde_saphyr::to_string(&allowed).unwrap();
        assert_eq!(read(&again).unwrap(), allowed, "{again}");
        for (wrong, words) in [
            ("{ fds: 0 }", "fds: how many"),
            ("{ fds: many }", "fds: how many"),
            ("{ memory: 5 }", "memory: bytes"),
            ("{ memory: lots }", "memory: bytes"),
            ("{ cpus: all }", "cpus: numbers"),
            ("{ cpu: \"0\" }", "cpu"),
        ] {
            let error = read(wrong).unwrap_err().to_string();
            assert!(error.contains(words), "{wrong}: {error}");
        }
    }

    #[test]
    fn the_scenario_overrides_one_limit_and_leaves_the_others() {
        let file = Allowance { fds: Some(64), cpus: Some("0".into()), ..Allowance::default() };
        let entry = Allowance { fds: Some(128), ..Allowance::default() };
        let both = file.overridden_by(entry);
        assert_eq!((both.fds, both.cpus.as_deref(), both.memory), (Some(128), Some("0"), None));
        assert!(Allowance::default().is_all() && !both.is_all());
    }
}
