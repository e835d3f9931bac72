//! A run that ended before its time, since nothing to come could change what is said of it.

use serde::{Deserialize, Serialize};

/// A verdict that nothing later could change, and the moment of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoppedEarly {
    /// When it was called: the sample with which it was, seconds since the run's start.
    pub at_s: f64,
    /// Why, in words.
    pub because: String,
}
