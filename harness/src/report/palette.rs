//! Colours and markers: who is who in every picture.
//!
//! The colours are Okabe and Ito's ("Color Universal Design", 2008), which readers with any of the common
//! colour-vision deficiencies can tell apart. A marker goes with each, so that a grey print reads as well.
//! The page turns the same colours into lighter ones for its dark theme (`report.html.j2`), by value: so
//! each value stands for one thing alone.

/// A colour with its opacity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ink {
    /// Red, green, blue.
    pub(super) rgb: (u8, u8, u8),
    /// 0 is invisible, 1 covers.
    pub(super) alpha: f64,
}

impl Ink {
    const fn new(red: u8, green: u8, blue: u8) -> Self {
        Self { rgb: (red, green, blue), alpha: 1.0 }
    }

    /// The same colour, seen through.
    pub(super) const fn faint(self, alpha: f64) -> Self {
        Self { alpha, ..self }
    }
}

/// What a picture is drawn on.
pub(super) const PAPER: Ink = Ink::new(255, 255, 255);
/// Words that matter.
pub(super) const TEXT: Ink = Ink::new(27, 31, 36);
/// Words beside the matter.
pub(super) const MUTED: Ink = Ink::new(87, 96, 106);
/// Lines of the grid.
pub(super) const GRID: Ink = Ink::new(225, 228, 232);
/// The axis at zero.
pub(super) const AXIS: Ink = Ink::new(140, 149, 159);
/// Phases that are not the load.
pub(super) const SHADE: Ink = Ink::new(241, 243, 245);
/// Where a step of the load's script begins.
pub(super) const STEP: Ink = Ink::new(182, 190, 200);
/// The limit.
pub(super) const LIMIT: Ink = Ink::new(28, 28, 28);
/// A fault on purpose.
pub(super) const FAULT: Ink = Ink::new(240, 228, 66);

/// Blue, bluish green, vermillion, reddish purple, sky blue, orange.
const TARGETS: [Ink; 6] = [
    Ink::new(0, 114, 178),
    Ink::new(0, 158, 115),
    Ink::new(213, 94, 0),
    Ink::new(204, 121, 167),
    Ink::new(86, 180, 233),
    Ink::new(230, 159, 0),
];

/// The form that stands for a target where colour does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marker {
    /// A disc.
    Disc,
    /// A square.
    Square,
    /// A triangle.
    Triangle,
    /// A square on its corner.
    Diamond,
}

/// In the order of the targets.
const MARKERS: [Marker; 4] = [Marker::Disc, Marker::Square, Marker::Triangle, Marker::Diamond];

/// The colour of the target at this place of the scenario's order.
pub(super) fn ink(place: usize) -> Ink {
    TARGETS.get(place % TARGETS.len()).copied().unwrap_or(TEXT)
}

/// The marker of the target at this place of the scenario's order.
pub(super) fn marker(place: usize) -> Marker {
    MARKERS.get(place % MARKERS.len()).copied().unwrap_or(Marker::Disc)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twelve_targets_look_different() {
        let looks: Vec<_> = (0..12).map(|place| (ink(place).rgb, marker(place))).collect();
        for (index, look) in looks.iter().enumerate() {
            assert!(!looks[..index].contains(look), "target {index} looks like an earlier one");
        }
    }
}
