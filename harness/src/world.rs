//! What the shippers read: containers and the lines that they write.

pub mod line;
