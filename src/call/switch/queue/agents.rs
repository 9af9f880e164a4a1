//! Agents of queues: what became of the offers that ring them, and whether they are there and free.

use crate::base::Tick;
use crate::call::leg::{EndReason, LegRef};
use crate::call::site::Target;
use crate::call::switch::Switch;
use crate::dispatch::{Mode, OfferId};

impl Switch {
    /// An agent took the offer that a dial was made for.
    pub(in crate::call::switch) fn on_offer_answered(
        &mut self,
        offer: OfferId,
        winner: LegRef,
        now: Tick,
    ) {
        self.queues.offers.remove(&offer);
        if let Some(promise) = self.promises.by_entry.get(&offer.entry) {
            self.promises.agents.insert(*promise, winner);
        }
        let is_live = self.queues.dispatcher.mode_of(offer.entry) == Some(Mode::Live);
        let waited = self.queues.dispatcher.waited(offer.entry, now).unwrap_or_default();
        let leg = self.legs.get(winner);
        let agent = leg.and_then(|leg| {
            self.queues.agent(leg.origin.workflow, leg.origin.extension.as_deref()?)
        });
        if let Some(agent) = agent {
            let taken = self.queues.dispatcher.offer_answered(offer, agent, now);
            if let Ok(taken) = &taken {
                self.queues.note_taken(taken.queue, waited, is_live);
            }
            if taken.is_err() {
                // The caller left in the same instant: the agent is not kept.
                self.hangup_leg(winner, EndReason::Broken, now);
            }
        }
        self.drain_queues(now);
    }

    /// The agent whom an offer rings does not take it: where the next one is reached, if there is
    /// one.
    pub(in crate::call::switch) fn on_offer_passed(
        &mut self,
        offer: OfferId,
        now: Tick,
    ) -> Option<Vec<Target>> {
        let next = self.queues.dispatcher.offer_passed(offer, now).ok()??;
        let (workflow, number) = self.queues.agents[next.0 as usize].clone();
        self.queues.note(offer.entry, format!("not taken; {number} rings"), now);
        Some(self.extensions_to_ring(workflow, &[number], true))
    }

    /// Nobody took the offer that a dial was made for.
    pub(in crate::call::switch) fn on_offer_failed(&mut self, offer: OfferId, now: Tick) {
        self.queues.offers.remove(&offer);
        if self.queues.dispatcher.offer_failed(offer, now).is_ok() {
            self.queues.note_waiting(offer.entry, now);
        }
        self.drain_queues(now);
    }

    /// A leg of an extension has begun.
    pub(in crate::call::switch) fn on_extension_leg_begun(
        &mut self,
        workflow: usize,
        number: &str,
        now: Tick,
    ) {
        let legs = self.busy.entry(number.to_owned()).or_default();
        *legs.entry(workflow).or_default() += 1;
        self.on_extension_changed(workflow, number, now);
    }

    /// A leg of an extension has ended.
    pub(in crate::call::switch) fn on_extension_leg_ended(
        &mut self,
        workflow: usize,
        number: &str,
        now: Tick,
    ) {
        if let Some(legs) = self.busy.get_mut(number) {
            if let Some(count) = legs.get_mut(&workflow) {
                *count -= 1;
            }
            legs.retain(|_, count| *count > 0);
            if legs.is_empty() {
                self.busy.remove(number);
            }
        }
        self.on_extension_changed(workflow, number, now);
    }

    /// An extension is not rung for queues before this.
    pub(in crate::call::switch) fn rest_extension(
        &mut self,
        workflow: usize,
        number: &str,
        until: Tick,
    ) {
        if let Some(agent) = self.queues.agent(workflow, number) {
            self.queues.dispatcher.rest(agent, until);
        }
    }

    fn on_extension_changed(&mut self, workflow: usize, number: &str, now: Tick) {
        let Some(agent) = self.queues.agent(workflow, number) else { return };
        let is_busy = self.is_extension_busy(workflow, number);
        self.queues.dispatcher.set_busy(agent, is_busy);
        self.drain_queues(now);
    }

    /// A registration of an extension has come or gone.
    pub(in crate::call::switch) fn on_extension_online(
        &mut self,
        workflow: usize,
        number: &str,
        is_online: bool,
        now: Tick,
    ) {
        let Some(agent) = self.queues.agent(workflow, number) else { return };
        self.queues.dispatcher.set_online(agent, is_online);
        self.drain_queues(now);
    }
}
