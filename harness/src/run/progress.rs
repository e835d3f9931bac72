//! What a person at the terminal sees while a run goes on: the phase and how far it is, and each
//! target's growth so far. Where there is no terminal (a CI log), a line for each phase.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How to show progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// Bars on a terminal, lines elsewhere; both on standard error.
    Progress,
    /// Nothing.
    Nothing,
}

/// How far a phase is.
const BAR: &str = "{prefix:>9} [{bar:32}] {msg}";
const NO_BAR: &str = "{prefix:>9} {msg}";

/// The display.
#[derive(Debug)]
pub struct Progress {
    plain: bool,
    bars: MultiProgress,
    phase: ProgressBar,
    targets: Vec<ProgressBar>,
}

impl Progress {
    /// One line for the phase, one for each target.
    #[must_use]
    pub fn new(show: Show, targets: &[String]) -> Self {
        let plain = show == Show::Progress && !std::io::stderr().is_terminal();
        let target = match show {
            Show::Progress => ProgressDrawTarget::stderr_with_hz(4),
            Show::Nothing => ProgressDrawTarget::hidden(),
        };
        let bars = MultiProgress::with_draw_target(target);
        let phase = bars.add(ProgressBar::new(0).with_style(style(BAR)));
        let widest = targets.iter().map(String::len).max().unwrap_or(0).max(9);
        let line = |name: &String| {
            let bar = bars.add(ProgressBar::new_spinner().with_style(style("{prefix} {msg}")));
            bar.set_prefix(format!("{name:>widest$}"));
            bar
        };
        let targets = targets.iter().map(line).collect();
        Self { plain, bars, phase, targets }
    }

    /// A new phase that takes `length`, or a time that nobody knows.
    pub fn phase(&self, name: &str, length: Option<Duration>) {
        self.say(&match length {
            Some(length) => format!("{name}: {} s", length.as_secs()),
            None => format!("{name} …"),
        });
        // What nobody knows the end of has no bar.
        self.phase.set_style(style(if length.is_some() { BAR } else { NO_BAR }));
        self.phase.set_prefix(name.to_owned());
        self.phase.set_length(length.map_or(0, |length| length.as_secs()));
        self.phase.set_position(0);
        self.phase.set_message(String::new());
    }

    /// A new phase of so many trials.
    pub fn trials(&self, name: &str, count: u64) {
        self.say(&format!("{name}: {count} trials"));
        self.phase.set_style(style(BAR));
        self.phase.set_prefix(name.to_owned());
        self.phase.set_length(count);
        self.phase.set_position(0);
        self.phase.set_message(String::new());
    }

    /// How many of its trials are done, and what is under way.
    pub fn trial(&self, done: u64, message: String) {
        self.phase.set_position(done);
        self.phase.set_message(message);
    }

    /// How far the phase is, seconds, and how far the whole run.
    pub fn at(&self, in_phase_s: f64, message: String) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a float cast saturates"
        )]
        self.phase.set_position(in_phase_s as u64);
        self.phase.set_message(message);
    }

    /// What is to be said of the target at `index`.
    pub fn target(&self, index: usize, text: String) {
        if let Some(line) = self.targets.get(index) {
            line.set_message(text);
            line.tick();
        }
    }

    /// A line that stays.
    pub fn say(&self, text: &str) {
        if self.plain {
            note(text);
        }
    }

    /// A line that stays, on a terminal as well.
    pub fn tell(&self, text: &str) {
        if self.plain {
            note(text);
        } else {
            // As with `note`: where it can't be written, the run goes on.
            self.bars.println(format!("flatline: {text}")).unwrap_or_default();
        }
    }

    /// Takes the display away.
    pub fn clear(&self) {
        for line in &self.targets {
            line.finish_and_clear();
        }
        self.phase.finish_and_clear();
        // The terminal may be gone; then there is nothing to clear.
        self.bars.clear().unwrap_or_default();
    }
}

/// Where standard error is closed or its disk is full the run goes on: its record is in the files.
fn note(text: &str) {
    writeln!(std::io::stderr(), "flatline: {text}").unwrap_or_default();
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("━╸─")
}
