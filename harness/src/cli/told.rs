//! What a command comes to: what was asked for, what a person should know besides, and the exit code.

use crate::cli::exit::{MET, MISSED, UNDECIDED};
use crate::result::contrast::Direction;

/// What a command comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// For standard output.
    pub printed: String,
    /// For standard error, a line each.
    pub said: Vec<String>,
    /// The exit code.
    pub code: u8,
}

/// The exit code of a comparison.
#[must_use]
pub fn code_of_direction(direction: Direction) -> u8 {
    match direction {
        Direction::Better | Direction::Same => MET,
        Direction::Worse => MISSED,
        Direction::Open => UNDECIDED,
    }
}
