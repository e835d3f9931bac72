//! How a target's process fared, what it was held to, and which of that it used up, in words.

use super::figures;
use crate::result::{RunIn, RunResult, TargetResult};

/// Letters of an image's id that tell it from others, as Docker shows it.
const ID_LENGTH: usize = 12;

/// What it ran in, where that is not a process of the machine.
pub(super) fn ran_in(result: &RunResult, name: &str) -> Option<String> {
    let terms = result.manifest.terms.get(name)?;
    if terms.run_in == RunIn::Process {
        return None;
    }
    let image = result.manifest.images.get(name).map_or_else(String::new, |id| {
        let id = id.strip_prefix("sha256:").unwrap_or(id);
        format!(", image {}", id.chars().take(ID_LENGTH).collect::<String>())
    });
    Some(format!("in a container{image}"))
}

/// What it may use, where that is less than all of the machine.
pub(super) fn allowed(result: &RunResult, name: &str) -> Option<String> {
    let resources = &result.manifest.terms.get(name)?.resources;
    let fds = resources.fds.map(|fds| format!("{} FDs", figures::count(fds)));
    let memory = resources.memory.map(|memory| format!("{} of memory", figures::bytes(memory.as_u64())));
    let cpus = resources.cpus.as_ref().map(|cpus| format!("processors {cpus}"));
    let all: Vec<String> = [fds, memory, cpus].into_iter().flatten().collect();
    (!all.is_empty()).then(|| all.join(", "))
}

/// A sentence for each limit that it reached.
pub(super) fn exhausted(target: &TargetResult) -> Vec<String> {
    target.exhausted.iter().map(|exhausted| exhausted.sentence.clone()).collect()
}

/// How its process fared.
pub(super) fn stability(target: &TargetResult) -> String {
    let crashes = match target.stability.crashes {
        0 => "no crash".to_owned(),
        1 => "1 crash".to_owned(),
        many => format!("{many} crashes"),
    };
    let restarts = match target.stability.restarts {
        0 => String::new(),
        many => {
            format!(", started again {} {}", figures::count(many), if many == 1 { "time" } else { "times" })
        }
    };
    let ended = &target.stability.ended;
    if ended.is_empty() { format!("{crashes}{restarts}") } else { format!("{crashes}{restarts}; {ended}") }
}
