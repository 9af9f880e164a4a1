//! Where `dial.make` goes: to endpoints of extensions, by a trunk of the workflow, or directly by a
//! connection (contract §7.1, §13).

use serde_json::Value;

use crate::base::Tick;
use crate::call::dial::{Strategy, TARGETS_MAX};
use crate::call::node::operation::words;
use crate::call::site::{NoTarget, Target};
use crate::call::switch::Switch;
use crate::call::switch::ask::{Ask, Failed};
use crate::call::switch::dial::strategy;
use crate::call::trigger::AudioRules;

/// The type of the credential that names a connection.
const CONNECTION: &str = "sipPbxExternal";

impl Switch {
    /// Every endpoint of these numbers that may ring.
    pub(super) fn extensions_to_ring(
        &self,
        workflow: usize,
        numbers: &[String],
        only_free: bool,
    ) -> Vec<Target> {
        let may_ring = |number: &&String| !only_free || !self.is_extension_busy(workflow, number);
        let targets =
            numbers.iter().filter(may_ring).flat_map(|n| self.extension_targets(workflow, n));
        targets.take(TARGETS_MAX).collect()
    }

    pub(super) fn free_extensions(&self, ask: &Ask, workflow: usize) -> Vec<Target> {
        let only_free = ask.option("extensionOnlyFreeEndpoints") != Some(&Value::Bool(false));
        self.extensions_to_ring(workflow, &words(ask.parameter("extensionNumbers")), only_free)
    }

    /// By a trunk of the workflow.
    pub(super) fn trunk_targets(
        &mut self,
        ask: &Ask,
        workflow: usize,
        now: Tick,
    ) -> Result<Vec<Target>, Failed> {
        let reference = ask.text("ref");
        let target = |switch: &Self, number: &str| {
            match switch.trunk_target(workflow, &reference, number) {
                Ok(target) => Ok(Some(target)),
                // The dial exists, and fails: the flow learns it from its wait (contract §7.1).
                Err(NoTarget::NotRegistered) => Ok(None),
                Err(NoTarget::UnknownTrunk) => Err(Failed::TrunkUnknown),
                Err(NoTarget::BadNumber) => Err(Failed::DialTargets),
            }
        };
        self.number_targets(ask, &reference, target, now)
    }

    /// By the connection that the node's credential names. An export does not hold what is behind
    /// that name: `[trunk.NAME]` of the settings says it, and what may be dialled by it.
    pub(super) fn direct_targets(&mut self, ask: &Ask, now: Tick) -> Result<Vec<Target>, Failed> {
        let name = ask.credentials.get(CONNECTION).cloned().ok_or(Failed::ConnectionMissing)?;
        let audio = AudioRules::of(ask.parameter("options"));
        let target = |switch: &Self, number: &str| {
            let target = switch.site.connection_target(&name, number).map_err(|no| match no {
                NoTarget::BadNumber => Failed::DialTargets,
                NoTarget::UnknownTrunk | NoTarget::NotRegistered => Failed::ConnectionUnknown,
            })?;
            Ok(Some(Target { audio: Some(audio.clone()), ..target }))
        };
        self.number_targets(ask, &name, target, now)
    }

    /// The targets of `destination`, as far as the guard of the trunk lets them pass.
    fn number_targets(
        &mut self,
        ask: &Ask,
        trunk: &str,
        target_of: impl Fn(&Self, &str) -> Result<Option<Target>, Failed>,
        now: Tick,
    ) -> Result<Vec<Target>, Failed> {
        let mut targets = Vec::new();
        let numbers = words(Some(&Value::String(ask.text("destination"))));
        if numbers.is_empty() {
            return Err(Failed::DialTargets);
        }
        let is_promised = numbers.len() == 1 && self.promise_of_run(ask, &numbers[0]).is_some();
        for number in numbers.iter().take(TARGETS_MAX) {
            let target = target_of(self, number)?;
            self.judge_number(trunk, number, target.as_ref(), is_promised)?;
            targets.extend(target);
        }
        let at_once = match strategy(ask) {
            Strategy::Sequential { .. } => targets.len().min(1),
            Strategy::Parallel | Strategy::OneAgent { .. } => targets.len(),
        };
        self.judge_trunk(trunk, &numbers[0], targets.len(), at_once, now)?;
        Ok(targets)
    }
}
