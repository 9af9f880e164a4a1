//! Registrations: who is reachable where.

use crate::call::site::{NoTarget, Target};
use crate::call::switch::Switch;

impl Switch {
    /// Every registered endpoint of an extension.
    pub(super) fn extension_targets(&self, _workflow: usize, _number: &str) -> Vec<Target> {
        Vec::new()
    }

    /// The way to a destination by a trunk.
    pub(super) fn trunk_target(
        &self,
        _workflow: usize,
        _reference: &str,
        _destination: &str,
    ) -> Result<Target, NoTarget> {
        Err(NoTarget::UnknownTrunk)
    }
}
