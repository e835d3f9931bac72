//! Docker's log stream, in pieces: however it is cut, the same messages come out.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shipper::source::pool::frames::{Decoder, Error};

fn messages<'a>(tty: bool, pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<(i64, Vec<u8>)>, bool) {
    let mut decoder = Decoder::new(tty);
    let mut found = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.decode() {
                Ok(Some(message)) => found.push((message.time_ns, message.text.to_vec())),
                Ok(None) => break,
                Err(Error::NoTimestamp { .. }) => {}
                Err(_) => return (found, true),
            }
        }
    }
    (found, false)
}

fuzz_target!(|input: (bool, u8, Vec<u8>)| {
    let (tty, size, body) = input;
    let whole = messages(tty, std::iter::once(body.as_slice()));
    let cut = messages(tty, body.chunks(usize::from(size).max(1)));
    // A line without frames is given out in parts once it is longer than Docker's fragments, and where
    // it is cut then depends on how it arrived.
    if !tty {
        assert_eq!(whole, cut);
    }
});
