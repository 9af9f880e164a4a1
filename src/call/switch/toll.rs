//! The dial guard at work: what may leave by a trunk, how much at once and how fast.

use std::collections::BTreeMap;

use crate::base::Tick;
use crate::call::guard::{Denied, TrunkGuard};
use crate::call::leg::LegRef;
use crate::call::site::Target;
use crate::call::switch::ask::Failed;
use crate::call::switch::{Fact, Switch};

/// What each trunk does now, by its public name. A trunk that no call uses has no entry but its
/// last second.
#[derive(Debug, Default)]
pub(super) struct Toll {
    /// Live calls.
    live: BTreeMap<String, u32>,
    /// The beginning of the present second, and the calls that left in it.
    seconds: BTreeMap<String, (Tick, u32)>,
}

impl Toll {
    /// Live calls by trunks.
    pub(super) fn live(&self) -> usize {
        self.live.values().map(|count| *count as usize).sum()
    }
}

impl Switch {
    /// Whether a number may leave by a trunk; one that may not is counted and told.
    pub(super) fn judge_number(
        &mut self,
        trunk: &str,
        number: &str,
        target: Option<&Target>,
        is_promised: bool,
    ) -> Result<(), Failed> {
        // Nothing is sent to a trunk that is not there.
        let is_local =
            target.is_none_or(|target| target.flow.remote.ip().to_canonical().is_loopback());
        let judged = if self.config.blocked.has(number) {
            Err(Denied::Blocked)
        } else {
            let premium = &self.config.premium;
            self.trunk_guard(trunk).judge(number, premium, is_promised, is_local)
        };
        judged.map_err(|why| self.deny(trunk, number, why))
    }

    /// Whether so many calls may leave by a trunk now, of which so many at once; one dial that may not
    /// is told by its first number.
    pub(super) fn judge_trunk(
        &mut self,
        trunk: &str,
        number: &str,
        calls: usize,
        at_once: usize,
        now: Tick,
    ) -> Result<(), Failed> {
        if !self.has_channel(trunk, at_once) {
            return Err(self.deny(trunk, number, Denied::Channels));
        }
        let most = self.trunk_guard(trunk).calls_per_s;
        let calls = u32::try_from(calls).unwrap_or(u32::MAX);
        let (began, left) = self.toll.seconds.get(trunk).copied().unwrap_or((now, 0));
        let is_past = now.since(began).as_secs() >= 1;
        let (began, left) = if is_past { (now, 0) } else { (began, left) };
        if left.saturating_add(calls) > most {
            return Err(self.deny(trunk, number, Denied::Rate));
        }
        self.toll.seconds.insert(trunk.to_owned(), (began, left + calls));
        Ok(())
    }

    /// Whether a trunk has room for so many calls more.
    pub(super) fn has_channel(&self, trunk: &str, calls: usize) -> bool {
        let live = self.toll.live.get(trunk).copied().unwrap_or_default();
        calls == 0 || live as usize + calls <= self.trunk_guard(trunk).channels as usize
    }

    /// A call is up by a trunk.
    pub(super) fn take_channel(&mut self, id: LegRef) {
        if let Some(trunk) = self.legs.get(id).and_then(|leg| leg.trunk()) {
            *self.toll.live.entry(trunk.to_owned()).or_default() += 1;
        }
    }

    /// A call by a trunk is over.
    pub(super) fn give_channel(&mut self, trunk: &str) {
        if let Some(live) = self.toll.live.get_mut(trunk) {
            *live -= 1;
            if *live == 0 {
                self.toll.live.remove(trunk);
            }
        }
    }

    fn deny(&mut self, trunk: &str, number: &str, why: Denied) -> Failed {
        let (trunk, number) = (trunk.to_owned(), number.to_owned());
        self.tell(Fact::DialDenied { trunk, number, why });
        Failed::Denied(why)
    }

    pub(super) fn trunk_guard(&self, trunk: &str) -> TrunkGuard {
        let settings = self.config.trunks.get(trunk);
        settings.map(|settings| settings.guard.clone()).unwrap_or_default()
    }
}
