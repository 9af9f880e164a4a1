//! What runs ask the world, and what becomes of its answers: one by one, several at once, page by page.

use std::sync::Arc;
use std::time::Duration;

use crate::base::{Tick, push_few};
use crate::flow::node::{self, Next, Pages};
use crate::flow::run::ASKS_MAX;
use crate::flow::runner::{AskId, Output, RunId, Runner, Wake};
use crate::flow::{Fault, Item, Object, Page, Role};

impl Runner {
    /// A run has come to an item that the world is to be asked about; a node that may asks about
    /// those behind it as well.
    pub(super) fn on_ask(&mut self, id: RunId, parameters: Arc<Object>, now: Tick) {
        let now_ms = self.wall_ms(now);
        let running = self.runs.get_mut(&id).expect("only a live run asks");
        let first = running.run.item_index();
        let late = running.run.late(Pages::facts_before, &mut self.scripts, now_ms);
        match late {
            Some(Ok(wanted)) if node::wants_pages(&wanted) => {
                let pages = running.pages.insert(Pages::new(parameters));
                let parameters = pages.first(&wanted);
                return self.ask(id, first, parameters);
            }
            Some(Err(fault)) => {
                return match running.run.answer(Err(fault), now_ms) {
                    Some(step) => self.on_step(id, step, now),
                    None => self.drive(id, now),
                };
            }
            Some(Ok(_)) | None => self.ask(id, first, parameters),
        }
        let running = self.runs.get_mut(&id).expect("it has asked just now");
        if !running.run.asks_at_once() {
            return;
        }
        let last = running.run.items().len().min(first + ASKS_MAX);
        for index in first + 1..last {
            let running = self.runs.get_mut(&id).expect("it has asked just now");
            if running.run.has_answer(index) {
                continue;
            }
            match running.run.resolved(index, &mut self.scripts, now_ms) {
                Ok(parameters) => self.ask(id, index, parameters),
                Err(fault) => running.run.keep_answer(index, Err(fault)),
            }
        }
    }

    /// The answers to items that were asked about together are taken in the items' order, once
    /// all are there.
    pub(super) fn on_answer(
        &mut self,
        id: RunId,
        ask: AskId,
        answer: Result<Vec<(usize, Item)>, Fault>,
        now: Tick,
    ) {
        let id = self.inner_asks.remove(&ask).unwrap_or(id);
        let now_ms = self.wall_ms(now);
        let running = self.runs.get_mut(&id);
        let Some((running, index)) =
            running.and_then(|running| running.take_ask(ask).map(|index| (running, index)))
        else {
            self.gauges.late += 1;
            return;
        };
        // A call has come in time.
        self.timers.clear_slot(&mut running.pause);
        if !running.asks.is_empty() {
            return running.run.keep_answer(index, answer);
        }
        if index != running.run.item_index() {
            running.run.keep_answer(index, answer);
            return self.drive(id, now);
        }
        match running.run.answer(answer, now_ms) {
            Some(step) => self.on_step(id, step, now),
            None => self.drive(id, now),
        }
    }

    /// A node waits for a call from outside: the world is asked for one.
    pub(super) fn on_await(
        &mut self,
        id: RunId,
        parameters: Arc<Object>,
        most: Option<Duration>,
        now: Tick,
    ) {
        let now_ms = self.wall_ms(now);
        let running = self.runs.get_mut(&id).expect("only a live run waits");
        if running.root != id {
            let message = "a workflow that another one executes cannot wait for a call";
            let fault = Fault::new("E-FLOW-WAIT", message);
            return match running.run.answer(Err(fault), now_ms) {
                Some(step) => self.on_step(id, step, now),
                None => self.drive(id, now),
            };
        }
        running.pause = most.map(|most| self.timers.arm(now + most, Wake::Resume(id)));
        self.ask(id, 0, parameters);
    }

    /// Nobody waits for what a run has asked any longer.
    pub(super) fn withdraw(&mut self, id: RunId) {
        let Some(running) = self.runs.get_mut(&id) else { return };
        for (ask, _) in std::mem::take(&mut running.asks) {
            self.inner_asks.remove(&ask);
            self.outputs.push_back(Output::Withdraw { run: running.root, ask });
        }
    }

    /// A page came: what its author wants now is resolved with it.
    pub(super) fn on_page(&mut self, id: RunId, ask: AskId, page: Page, now: Tick) {
        let inner = self.inner_asks.get(&ask).copied().unwrap_or(id);
        let now_ms = self.wall_ms(now);
        let running = self.runs.get_mut(&inner);
        let Some((running, mut pages)) = running
            .filter(|running| running.asks.iter().any(|(open, _)| *open == ask))
            .and_then(|running| running.pages.take().map(|pages| (running, pages)))
        else {
            self.gauges.late += 1;
            return;
        };
        let wanted = running.run.late(|| pages.facts(&page), &mut self.scripts, now_ms);
        let next = wanted.unwrap_or(Ok(Object::new())).and_then(|wanted| pages.take(page, &wanted));
        match next {
            Ok(Next::Ask(parameters)) => {
                running.pages = Some(pages);
                let index = running.run.item_index();
                self.put(inner, ask, index, parameters);
            }
            Ok(Next::Done(items)) => self.on_answer(id, ask, Ok(items), now),
            Err(fault) => self.on_answer(id, ask, Err(fault), now),
        }
    }

    /// Asks the world about an item of the node that a run visits.
    fn ask(&mut self, id: RunId, index: usize, parameters: Arc<Object>) {
        let ask = AskId(self.asks);
        self.asks += 1;
        let running = self.runs.get_mut(&id).expect("only a live run asks");
        push_few(&mut running.asks, (ask, index));
        if running.root != id {
            self.inner_asks.insert(ask, id);
        }
        self.put(id, ask, index, parameters);
    }

    fn put(&mut self, id: RunId, ask: AskId, index: usize, parameters: Arc<Object>) {
        let running = self.runs.get(&id).expect("only a live run asks");
        let root = self.runs.get(&running.root).unwrap_or(running);
        let Some((node, item)) = running.run.asked(index) else { return };
        let asking = running.run.graph().node(node);
        let is_service = asking.kind.role() == Role::Service;
        self.outputs.push_back(Output::Ask {
            run: running.root,
            ask,
            workflow: root.run.graph().shared_name().clone(),
            node,
            name: asking.name.clone(),
            kind: asking.kind.name(),
            parameters,
            item,
            items: if is_service { running.run.items().to_vec() } else { Vec::new() },
            credentials: asking.credentials.clone(),
        });
    }
}
