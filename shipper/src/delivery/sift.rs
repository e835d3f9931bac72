//! Lines on their way that Loki is known to refuse by now: since they were let in they have aged, their stream
//! has moved on, or Loki has shown a limit. Pure.

use super::parcel::Parcel;
use crate::batch::Group;
use crate::clock::Moment;
use crate::metrics::labels::DropReason;
use crate::window::Outside;
use crate::window::shared::Window;

/// Parts the lines that Loki would refuse from the others. A probe is sent although it would.
#[must_use]
pub fn sift(parcel: Parcel, window: &Window, now: Moment) -> (Vec<(Outside, Group)>, Option<Parcel>) {
    let outside = |group: &Group, time_ns: i64| window.edges(&group.labels.text, now).outside(time_ns);
    // If the oldest and the newest line are inside, so are all between them.
    let is_concerned = |group: &Group| {
        let edges = window.edges(&group.labels.text, now);
        [group.oldest_ns(), group.newest_ns()].iter().any(|time_ns| edges.outside(*time_ns).is_some())
    };
    if parcel.probe || !parcel.groups.iter().any(is_concerned) {
        return (Vec::new(), Some(parcel));
    }
    parcel.sort(|group, entry| outside(group, entry.time_ns))
}

/// As it is counted when the policy is to drop.
#[must_use]
pub fn reason(outside: Outside) -> DropReason {
    match outside {
        Outside::TooOld => DropReason::TooOld,
        Outside::TooNew => DropReason::TooNew,
        Outside::TooFarBehind => DropReason::TooFarBehind,
    }
}
