//! What is being read, container by container: for `/debug/targets`. Made from what the readers work with
//! anyway, and gone with them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use crate::credit::{Credit, WeakCredit};
use crate::record::{Container, ContainerId};

/// All containers that are followed. Cheap to clone; clones are one list.
#[derive(Clone, Debug, Default)]
pub struct Targets(Arc<Mutex<BTreeMap<ContainerId, Target>>>);

#[derive(Debug)]
struct Target {
    name: String,
    driver: String,
    tenant: Option<String>,
    credit: WeakCredit,
}

/// A container as the page shows it. Nothing that its environment or labels hold is here.
#[derive(Debug, Serialize)]
pub struct Shown {
    id: String,
    name: String,
    driver: String,
    tenant: Option<String>,
    /// What its lines on their way take.
    in_flight_bytes: usize,
    /// Why it is not read on, if it is not: `credit`, `tenant` or `rate`.
    waits_for: Option<&'static str>,
    /// When its last line that was read was written.
    last_line: Option<String>,
}

impl Targets {
    /// A container is followed for as long as somebody has its credit.
    pub fn follow(&self, container: &Container, tenant: Option<&str>, credit: &Credit) {
        let mut targets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        targets.retain(|_, target| target.credit.is_alive());
        let Container { id, name, log_driver, .. } = container;
        let target = Target {
            name: name.clone(),
            driver: log_driver.clone(),
            tenant: tenant.map(str::to_owned),
            credit: credit.downgrade(),
        };
        targets.insert(id.clone(), target);
    }

    /// It has another name now.
    pub fn rename(&self, container: &Container) {
        let mut targets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(target) = targets.get_mut(&container.id) {
            target.name.clone_from(&container.name);
        }
    }

    /// All of them, by id.
    #[must_use]
    pub fn list(&self) -> Vec<Shown> {
        let targets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = |(id, target): (&ContainerId, &Target)| {
            let credit = target.credit.upgrade()?;
            let Target { name, driver, tenant, .. } = target;
            let last_line =
                credit.last_line_ns().and_then(|ns| jiff::Timestamp::from_nanosecond(ns.into()).ok());
            Some(Shown {
                id: id.short().to_owned(),
                name: name.clone(),
                driver: driver.clone(),
                tenant: tenant.clone(),
                in_flight_bytes: credit.used_bytes(),
                waits_for: credit.waits_for(),
                last_line: last_line.map(|time| time.to_string()),
            })
        };
        targets.iter().filter_map(shown).collect()
    }
}
