//! A checkpoint, as a disk may give it back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shipper::delivery::checkpoint::parse;

fuzz_target!(|text: &[u8]| {
    if let Ok(checkpoint) = parse(text) {
        assert!(checkpoint.containers.len() <= text.len() / 64, "each container has its id in there");
    }
});
