//! A segment of dead letters, as a disk may give it back: every byte is in exactly one line, and a letter
//! that is read can be written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shipper::delivery::dead_letters::letter::Letter;
use shipper::delivery::dead_letters::reader::Reader;

fuzz_target!(|segment: &[u8]| {
    let mut reader = Reader::new(segment);
    let mut end = 0;
    while let Some((place, letter)) = reader.read_next().expect("memory can be read") {
        assert_eq!(place.offset, end);
        end += place.bytes;
        if let Ok(letter) = letter {
            drop(letter.restored_labels());
            let line = letter.to_line().expect("what was read can be written");
            let again = Letter::parse(line.trim_end_matches('\n').as_bytes()).expect("and read again");
            assert_eq!(
                (&again.line, &again.labels, again.time_ns),
                (&letter.line, &letter.labels, letter.time_ns)
            );
        }
    }
    assert_eq!(end, segment.len() as u64);
});
