//! All tests of the shipper from outside, in one binary: each further one would be linked again.
#![cfg(test)]

mod hybrid;
