//! A line of a json-file log, as a disk may give it back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shipper::source::hybrid::json_line::decode;

fuzz_target!(|line: &[u8]| {
    let mut text = Vec::new();
    if decode(line, &mut text).is_ok() {
        assert!(text.len() <= line.len(), "an escape is never shorter than what it stands for");
    }
});
