//! Whose lines they are: the tenant that a container's label names, if the operator allows it, or the one of
//! the config. Each tenant has a lane of its own through the shipper, so that what Loki refuses of one holds up
//! no other.
//!
//! A container must not choose freely: who starts a container could write into anybody's logs, and each name
//! would be a lane more.

use std::ops::{Index, IndexMut};

use serde::{Deserialize, Serialize};

use crate::record::Container;

/// `loki.tenants` in the config.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The container label that names the tenant.
    pub label: String,
    /// The names it may say. Lines of a container that says none, or another, go to `loki.tenant`.
    pub allow: Vec<String>,
}

/// The way of one tenant's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lane(usize);

/// All tenants, the one of the config first.
#[derive(Clone, Debug, Default)]
pub struct Tenants {
    own: Option<String>,
    choice: Option<Config>,
}

/// A container's label names a tenant that is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAllowed<'a>(pub &'a str);

impl Tenants {
    /// Those of `loki:` in the config.
    #[must_use]
    pub fn new(own: Option<String>, choice: Option<Config>) -> Self {
        Self { own, choice }
    }

    /// The lane of the tenant of the config.
    #[must_use]
    pub fn own_lane(&self) -> Lane {
        Lane(0)
    }

    /// The lane of a container's lines.
    ///
    /// # Errors
    /// When its label names a tenant that is not allowed: its lines go to [`Tenants::own_lane`].
    pub fn lane_of<'a>(&self, container: &'a Container) -> Result<Lane, NotAllowed<'a>> {
        let Some(Config { label, allow }) = &self.choice else { return Ok(self.own_lane()) };
        let Some(name) = container.labels.get(label) else { return Ok(self.own_lane()) };
        let place = allow.iter().position(|allowed| allowed == name);
        place.map(|place| Lane(place + 1)).ok_or(NotAllowed(name))
    }

    /// Something for each lane, made from the lane and its tenant's name; without one no tenant is named to
    /// Loki.
    #[must_use]
    pub fn lanes<T>(&self, mut make: impl FnMut(Lane, Option<&str>) -> T) -> PerLane<T> {
        let allowed = self.choice.iter().flat_map(|choice| &choice.allow);
        let names = std::iter::once(self.own.as_deref()).chain(allowed.map(|name| Some(name.as_str())));
        PerLane(names.enumerate().map(|(place, name)| make(Lane(place), name)).collect())
    }
}

/// One of a kind for each lane of the [`Tenants`] that it was made for.
#[derive(Clone, Debug)]
pub struct PerLane<T>(Vec<T>);

impl<T> PerLane<T> {
    /// In the order of the lanes.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }

    /// In the order of the lanes.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut()
    }

    /// Each with its lane.
    pub fn enumerate_mut(&mut self) -> impl Iterator<Item = (Lane, &mut T)> {
        self.0.iter_mut().enumerate().map(|(place, one)| (Lane(place), one))
    }
}

impl<T, E> PerLane<Result<T, E>> {
    /// All of them.
    ///
    /// # Errors
    /// The first.
    pub fn transpose(self) -> Result<PerLane<T>, E> {
        self.0.into_iter().collect::<Result<_, E>>().map(PerLane)
    }
}

#[expect(clippy::indexing_slicing, reason = "there is one for each lane")]
impl<T> Index<Lane> for PerLane<T> {
    type Output = T;

    fn index(&self, lane: Lane) -> &T {
        &self.0[lane.0]
    }
}

#[expect(clippy::indexing_slicing, reason = "there is one for each lane")]
impl<T> IndexMut<Lane> for PerLane<T> {
    fn index_mut(&mut self, lane: Lane) -> &mut T {
        &mut self.0[lane.0]
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::record::ContainerId;

    fn container(label: &str, value: &str) -> Container {
        Container {
            id: ContainerId::parse(&"a".repeat(64)).unwrap(),
            name: "web".to_owned(),
            image: "generator".to_owned(),
            labels: [(label.to_owned(), value.to_owned())].into(),
            log_driver: "json-file".to_owned(),
            log_path: None::<PathBuf>,
            log_max_bytes: None,
            tty: false,
        }
    }

    fn names(tenants: &Tenants) -> PerLane<Option<String>> {
        tenants.lanes(|_, name| name.map(str::to_owned))
    }

    #[test]
    fn a_label_chooses_among_what_is_allowed_and_nothing_else() {
        let allow = vec!["red".to_owned(), "blue".to_owned()];
        let choice = Config { label: "team".to_owned(), allow };
        let tenants = Tenants::new(Some("ops".to_owned()), Some(choice));
        let names = names(&tenants);
        let of = |container: &Container| names[tenants.lane_of(container).unwrap()].clone().unwrap();
        assert_eq!(of(&container("team", "blue")), "blue");
        assert_eq!(of(&container("team", "red")), "red");
        assert_eq!(of(&container("other", "red")), "ops");
        assert_eq!(tenants.lane_of(&container("team", "green")), Err(NotAllowed("green")));
        assert_eq!(tenants.lane_of(&container("team", "Red")), Err(NotAllowed("Red")));
    }

    #[test]
    fn without_a_choice_all_have_one_lane_whatever_their_labels_say() {
        let tenants = Tenants::default();
        assert_eq!(tenants.lane_of(&container("team", "red")), Ok(tenants.own_lane()));
        assert_eq!(names(&tenants).iter().collect::<Vec<_>>(), [&None]);
    }
}
