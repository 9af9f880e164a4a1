//! What a queue shows to flows: the items that runs of its branches begin with, and its figures
//! (contract §9).

use serde_json::{Map, Value, json};

use crate::base::Tick;
use crate::call::dial::{DialRef, dial_text};
use crate::call::leg::{LegRef, leg_text};
use crate::call::switch::Switch;
use crate::call::switch::ask::{Ask, Failed};
use crate::dispatch::{CallRef, EntryId, Mode, QueueId};

impl Switch {
    /// `queue.getStats`.
    pub(in crate::call::switch) fn queue_stats(&mut self, ask: &Ask, now: Tick) {
        let payload = match ask.text("queueStatsTarget").as_str() {
            "legId" => self.leg_stats(ask, now),
            "ref" | "" => {
                let found = self.queue_ref(ask).and_then(|reference| {
                    let workflow = self.workflow_of(ask);
                    self.queues.find(workflow, &reference).ok_or(Failed::QueueUnknown)
                });
                found.map(|queue| self.stats_of(queue, now))
            }
            _ => Err(Failed::StatsTarget),
        };
        match payload {
            Ok(payload) => self.answer(ask, 0, Value::Object(payload), None),
            Err(failed) => self.fail(ask, failed),
        }
    }

    /// What a run that is started for an entry begins with.
    pub(in crate::call::switch) fn entry_payload(
        &self,
        entry: EntryId,
        mode: Option<Mode>,
        dial: Option<DialRef>,
    ) -> Map<String, Value> {
        let mut payload = Map::new();
        let Some(card) = self.queues.cards.get(&entry) else { return payload };
        let reference = self.queues.queues[card.queue.0 as usize].reference.clone();
        let mut context = json!({ "ref": reference });
        payload.insert("ref".to_owned(), reference.into());
        if let Some(mode) = mode {
            let mode = match mode {
                Mode::Live => "live",
                Mode::Callback => "callback",
            };
            payload.insert("mode".to_owned(), mode.into());
        }
        if let Some(dial) = dial {
            let is_enabled = card.is_callback_enabled;
            payload.insert("callbackEnabled".to_owned(), is_enabled.into());
            payload.insert("dialId".to_owned(), dial_text(dial).into());
            context["dialId"] = dial_text(dial).into();
        }
        payload.insert("callerNumber".to_owned(), card.caller.number.clone().into());
        payload.insert("callerName".to_owned(), card.caller.name.clone().into());
        payload.insert("trunkRef".to_owned(), card.trunk.clone().into());
        payload.insert("sipPbx".to_owned(), context);
        let leg = card.leg.filter(|_| mode.is_none());
        with_leg(payload, leg.map(|leg| CallRef(leg.as_u64())))
    }

    fn leg_stats(&mut self, ask: &Ask, now: Tick) -> Result<Map<String, Value>, Failed> {
        let id = self.leg_of(ask)?;
        let entry = self.legs.get(id).and_then(|leg| leg.entry).map(EntryId);
        let entry = entry.ok_or(Failed::QueueEntry)?;
        let queue = self.queues.dispatcher.queue_of(entry).ok_or(Failed::QueueEntry)?;
        let mut payload = self.stats_of(queue, now);
        let estimate = self.queues.dispatcher.estimated_answer(entry).unwrap_or_default();
        payload.insert("legId".to_owned(), leg_text(id).into());
        payload.insert("position".to_owned(), self.tell_position(entry).into());
        payload.insert("estimatedAnswerSeconds".to_owned(), estimate.as_secs().into());
        Ok(payload)
    }

    /// The position of an entry, never worse than it was told before (A7).
    fn tell_position(&mut self, entry: EntryId) -> Option<usize> {
        let position = self.queues.dispatcher.position(entry)?;
        let card = self.queues.cards.get_mut(&entry)?;
        let told = card.told.map_or(position, |told| told.min(position));
        card.told = Some(told);
        Some(told)
    }

    fn stats_of(&self, queue: QueueId, now: Tick) -> Map<String, Value> {
        let reference = self.queues.queues[queue.0 as usize].reference.clone();
        let stats = self.queues.dispatcher.stats(queue);
        let (size, average, completed) = stats
            .map_or((0, 0, 0), |stats| (stats.size, stats.average_wait.as_secs(), stats.completed));
        let updated_at = self.config.epoch_ms + now.as_millis();
        Map::from_iter([
            ("ref".to_owned(), reference.into()),
            ("size".to_owned(), size.into()),
            ("averageWaitSeconds".to_owned(), average.into()),
            ("completedCount".to_owned(), completed.into()),
            ("updatedAt".to_owned(), updated_at.into()),
        ])
    }
}

/// The payload, with the leg where flows look for it.
pub(super) fn with_leg(
    mut payload: Map<String, Value>,
    leg: Option<CallRef>,
) -> Map<String, Value> {
    if let Some(leg) = leg {
        let text = leg_text(LegRef::from_u64(leg.0));
        if let Some(context) = payload.get_mut("sipPbx") {
            context["legId"] = text.clone().into();
        }
        payload.insert("legId".to_owned(), text.into());
    }
    payload
}
