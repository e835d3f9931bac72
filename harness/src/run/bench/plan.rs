//! Who does what when: pure.
//!
//! Trials of different targets are interleaved, and every other round goes backwards (A B B A): what changes slowly, as
//! the machine's temperature or other people's load, then meets all of them alike.

/// One trial to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    /// Whose, by its place among the targets.
    pub(super) target: usize,
    /// Which repeat, from 0.
    pub(super) repeat: u32,
}

/// All trials of a case, in order.
#[must_use]
pub(super) fn turns(targets: usize, repeats: u32) -> Vec<Turn> {
    let round = |repeat: u32| {
        let backwards = !repeat.is_multiple_of(2);
        (0..targets).map(move |place| {
            let target = if backwards { targets - 1 - place } else { place };
            Turn { target, repeat }
        })
    };
    (0..repeats).flat_map(round).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_go_forth_and_back() {
        let order: Vec<usize> = turns(3, 3).iter().map(|turn| turn.target).collect();
        assert_eq!(order, [0, 1, 2, 2, 1, 0, 0, 1, 2]);
        let repeats: Vec<u32> = turns(2, 2).iter().map(|turn| turn.repeat).collect();
        assert_eq!(repeats, [0, 0, 1, 1]);
        assert_eq!(turns(0, 5), []);
    }

    #[test]
    fn over_two_rounds_everybody_comes_as_early_as_late() {
        let order = turns(5, 2);
        let places = |target: usize| -> usize {
            order.iter().enumerate().filter(|(_, turn)| turn.target == target).map(|(place, _)| place).sum()
        };
        assert!((0..5).all(|target| places(target) == places(0)));
    }
}
