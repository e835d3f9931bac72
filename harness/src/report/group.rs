//! Which shapes of a picture belong together: so the page's script finds what can be zoomed, and whose it is.

/// A place in the picture: right, down.
pub(super) type Point = (f64, f64);

/// What shapes belong to. A picture file shows all of them alike; the page's script finds them by it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Group {
    /// The field of a panel, cut off at its corners: what is zoomed.
    Field {
        /// Its upper left corner.
        from: Point,
        /// Its lower right corner.
        to: Point,
        /// Seconds at its left and its right edge.
        time: (f64, f64),
        /// Counts at its lower and its upper edge.
        value: (f64, f64),
    },
    /// What is of the target at this place.
    Target(usize),
    /// A part with a name.
    Part(Part),
}

/// A part of a picture that changes, or does not hold any more, where it is zoomed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The samples of one target, to be drawn finer.
    Samples,
    /// Markers, which are moved and never stretched.
    Marks,
    /// Lines of the grid.
    Grid,
    /// Stretches under a fault.
    Faults,
    /// Figures of the count axis.
    Counts,
    /// Figures of the time axis.
    Times,
    /// What stands right only where nothing is zoomed.
    Pinned,
}

impl Group {
    /// The start and the end of its element in SVG; `side` turns a length into steps of the picture.
    pub(super) fn tags(&self, side: impl Fn(f64) -> i32) -> (String, &'static str) {
        match self {
            Self::Field { from, to, time, value } => {
                let (x, y) = (side(from.0), side(from.1));
                let (width, height) = (side(to.0) - x, side(to.1) - y);
                let start = format!(
                    "<svg class=\"field\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" \
                     viewBox=\"{x} {y} {width} {height}\" data-time=\"{} {}\" data-value=\"{} {}\">",
                    time.0, time.1, value.0, value.1
                );
                (start, "</svg>")
            }
            Self::Target(place) => (format!("<g data-target=\"{place}\">"), "</g>"),
            Self::Part(part) => (format!("<g class=\"{}\">", part.class()), "</g>"),
        }
    }
}

impl Part {
    fn class(self) -> &'static str {
        match self {
            Self::Samples => "samples",
            Self::Marks => "marks",
            Self::Grid => "grid",
            Self::Faults => "faults",
            Self::Counts => "counts",
            Self::Times => "times",
            Self::Pinned => "pinned",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_says_which_seconds_and_counts_it_shows() {
        let field = Group::Field { from: (1.0, 2.0), to: (11.0, 7.0), time: (0.5, 60.0), value: (-1.0, 4.5) };
        let (start, end) = field.tags(|length| format!("{}", length * 4.0).parse().unwrap());
        assert!(start.contains(r#"x="4" y="8" width="40" height="20" viewBox="4 8 40 20""#), "{start}");
        assert!(start.contains(r#"data-time="0.5 60" data-value="-1 4.5""#), "{start}");
        assert_eq!(end, "</svg>");
        let (start, _) = Group::Target(3).tags(|_| 0);
        assert_eq!(start, r#"<g data-target="3">"#);
    }
}
