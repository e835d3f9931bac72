//! What a server, or whoever sits in between, answers to a push.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shipper::loki::answer::judge;

fuzz_target!(|input: (u16, &str)| {
    let (status, body) = input;
    judge(status, None, body);
});
