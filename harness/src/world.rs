//! What the shippers read: containers of one run, the lines that they write, their churn.

pub mod memory_group;
pub mod small_disk;
pub mod container;
pub mod engine;
pub mod tempo;
pub mod generate;
pub mod replay;
pub mod image;
pub mod own_engine;
pub mod line;
pub mod happened;
pub mod load;
pub mod script;
pub mod truth;
