//! Where the reading of a log begins. Pure: this is where post-mortem #1 is.

/// Which file: device and inode.
pub(crate) type Key = (u64, u64);

/// What is known when a log is opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening {
    /// Which file it is.
    pub(crate) key: Key,
    /// How long it is.
    pub(crate) size: u64,
    /// Whether it was there before the shipper, and this is the first look at it.
    pub(crate) history: bool,
    /// Up to where the last file of this container was read.
    pub(crate) left_off: Option<(Key, u64)>,
}

impl Opening {
    /// As the hybrid design did it: each open is a new file to it, and a new file has no offset.
    pub(crate) fn replayed(self) -> u64 {
        0
    }

    /// As the post-mortem would have it: behind what was read, else behind what nobody asked for.
    pub(crate) fn resumed(self) -> u64 {
        match self.left_off {
            Some((key, offset)) if key == self.key && offset <= self.size => offset,
            _ if self.history => self.size,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Opening = Opening { key: (1, 7), size: 100, history: true, left_off: None };

    #[test]
    fn with_the_defect_each_open_begins_with_the_first_line() {
        let restarted = Opening { left_off: Some(((1, 7), 60)), history: false, ..FIRST };
        for opening in [FIRST, restarted] {
            assert_eq!(opening.replayed(), 0);
        }
    }

    #[test]
    fn without_it_history_is_passed_over_and_a_restart_goes_on() {
        assert_eq!(FIRST.resumed(), 100);
        assert_eq!(Opening { left_off: Some(((1, 7), 60)), history: false, ..FIRST }.resumed(), 60);
    }

    #[test]
    fn what_is_new_is_read_from_its_first_line() {
        let new = Opening { history: false, ..FIRST };
        assert_eq!(new.resumed(), 0, "a new container");
        assert_eq!(Opening { left_off: Some(((1, 6), 60)), ..new }.resumed(), 0, "after a rotation");
        assert_eq!(Opening { left_off: Some(((1, 7), 101)), ..new }.resumed(), 0, "emptied meanwhile");
    }
}
