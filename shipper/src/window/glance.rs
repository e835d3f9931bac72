//! The window for many lines at one go. Pure.

use super::Edges;

/// A look at the window for lines of one stream, which follows them itself. For a moment: what Loki answers meanwhile
/// it does not know.
#[derive(Clone, Copy, Debug)]
pub struct Glance {
    edges: Edges,
    behind_ns: Option<i64>,
    /// The newest line that it has let pass; [`Window::admit`](super::shared::Window::admit) wants to know of it.
    pub kept_ns: Option<i64>,
}

impl Glance {
    /// With these edges, of a stream that takes lines so far behind its newest; of an unknown one, if that is not
    /// said.
    #[must_use]
    pub fn new(edges: Edges, behind_ns: Option<i64>) -> Self {
        Self { edges, behind_ns, kept_ns: None }
    }

    /// Whether the window keeps a line, which is on its way then. If not, [`Window::judge`](super::shared::Window::judge) has the verdict.
    pub fn keeps(&mut self, time_ns: i64) -> bool {
        if self.edges.outside(time_ns).is_some() {
            return false;
        }
        self.kept_ns = self.kept_ns.max(Some(time_ns));
        if let Some(behind_ns) = self.behind_ns
            && self.edges.newest_ns.is_none_or(|newest| time_ns > newest)
        {
            self.edges.newest_ns = Some(time_ns);
            self.edges.floor_ns = self.edges.floor_ns.max(Some(time_ns.saturating_sub(behind_ns)));
        }
        true
    }
}
