//! The page's list of what the configuration allows, and what that kept from the detectors.

use serde::Serialize;

use crate::{
    alert::AlertKind,
    detect::allow::{Allowance, AllowanceUse, Whom},
    output::snapshot::Snapshot,
};

/// An entry of `allow`; what it does not say holds for any.
#[derive(Serialize)]
pub(super) struct Allowed<'a> {
    reason: &'a str,
    source: Option<&'a str>,
    destination: Option<&'a str>,
    /// Of the destination.
    ports: &'a [u16],
    kind: Option<&'static str>,
    /// First contacts that it covered, since the start.
    contacts: u64,
}

impl<'a> Allowed<'a> {
    /// All entries, in the order of the configuration, which bounds them.
    pub(super) fn all(snapshot: &'a Snapshot) -> Vec<Self> {
        snapshot.allowances.iter().map(Self::of).collect()
    }

    fn of(AllowanceUse { allowance, contacts }: &'a AllowanceUse) -> Self {
        let Allowance { source, destination, ports, kind, reason } = &**allowance;
        let name = |whom: &'a Option<Whom>| whom.as_ref().map(|whom| &*whom.name);
        Self {
            reason,
            source: name(source),
            destination: name(destination),
            ports,
            kind: kind.map(AlertKind::name),
            contacts: *contacts,
        }
    }
}
