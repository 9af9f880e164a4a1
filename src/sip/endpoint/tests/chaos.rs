//! Random commands on both sides over a link that loses, doubles, delays and reorders, falls silent
//! for a while, or breaks its connection: every dialog ends once, and nothing is left.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::machines::Seen;
use super::*;
use crate::base::Rng;

/// The link of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    /// Of a hundred messages so many are lost, and so many come twice.
    pub(super) loss: u8,
    pub(super) transport: Transport,
    /// Whether the link is dead for a minute, or its connection breaks, now and then.
    pub(super) has_outages: bool,
    /// Whether a user leaves requests and offers unanswered now and then.
    pub(super) is_forgetful: bool,
}

/// One end with every dialog it ever had, and whether it ended.
struct Side {
    endpoint: Endpoint,
    dialogs: BTreeMap<DialogId, u32>,
    /// Requests of the peer that wait for this user.
    asked: Vec<TransactionId>,
    /// Offers of the peer that do.
    offered: Vec<DialogId>,
    /// Whether everything is answered at once: the calls are to end.
    is_prompt: bool,
}

impl Side {
    fn note(&mut self, event: &Event, weather: Weather, rng: &mut Rng, now: Tick, seen: &mut Seen) {
        let is_slow = !self.is_prompt && weather.is_forgetful && rng.percent(40);
        match event {
            Event::Invite { dialog, .. } => {
                assert_eq!(self.dialogs.insert(*dialog, 0), None, "an id came twice");
            }
            Event::Ended { dialog, .. } => *self.dialogs.get_mut(dialog).unwrap() += 1,
            Event::Offer { dialog, .. } => {
                assert_eq!(self.dialogs[dialog], 0, "an event after the end");
                self.offered.push(*dialog);
            }
            Event::RefreshDue { dialog } if !is_slow => {
                seen.command(&self.endpoint, *dialog, "offer");
                self.endpoint.offer(*dialog, sdp(), now);
            }
            Event::Answered { dialog, .. } | Event::OfferAnswered { dialog, .. } => {
                assert_eq!(self.dialogs[dialog], 0, "an event after the end");
                if !is_slow {
                    seen.command(&self.endpoint, *dialog, "acknowledge");
                    self.endpoint.acknowledge(*dialog, sdp());
                }
            }
            Event::RefreshDue { dialog }
            | Event::Provisional { dialog, .. }
            | Event::Acknowledged { dialog, .. }
            | Event::Info { dialog, .. } => {
                assert_eq!(self.dialogs[dialog], 0, "an event after the end");
            }
            Event::Request { request, .. } => self.asked.push(*request),
            Event::Response { .. }
            | Event::Closed { .. }
            | Event::BadInput { .. }
            | Event::ClosedOut { .. } => {}
        }
        if !is_slow {
            self.answer(rng, now, seen);
        }
    }

    /// Answers whatever waits.
    fn answer(&mut self, rng: &mut Rng, now: Tick, seen: &mut Seen) {
        for dialog in std::mem::take(&mut self.offered) {
            let answer = if rng.percent(80) { Ok(sdp()) } else { Err(488) };
            let status = if answer.is_ok() { "answers 2xx" } else { "answers 3xx+" };
            seen.command(&self.endpoint, dialog, "answer_offer");
            seen.their_offer(&self.endpoint, dialog, status);
            self.endpoint.answer_offer(dialog, answer, now);
        }
        for request in std::mem::take(&mut self.asked) {
            if !self.is_prompt && rng.percent(50) {
                seen.user(&self.endpoint, request, "answers 1xx");
                self.endpoint.respond(request, 100, &[], None, now);
                self.asked.push(request);
                if rng.percent(50) {
                    break;
                }
            } else {
                seen.user(&self.endpoint, request, "answers 2xx+");
                self.endpoint.respond(request, 200, &[], None, now);
            }
        }
    }

    fn command(&mut self, outgoing: &Outgoing, rng: &mut Rng, now: Tick, seen: &mut Seen) {
        // One of the latest: most commands meet a dialog that still lives.
        let recent = rng.below(3.min(self.dialogs.len() as u64)) as usize;
        let any = self.dialogs.keys().rev().nth(recent).copied();
        let Some(dialog) = any.filter(|_| !rng.percent(12)) else {
            let mut outgoing = outgoing.clone();
            if rng.percent(25) {
                outgoing.body = None;
            } else if rng.percent(20) {
                outgoing.headers.push(("Require".to_owned(), "100rel".to_owned()));
            }
            if rng.percent(20) {
                let _ = self.endpoint.request(Method::Message, outgoing, now);
            } else if let Ok(dialog) = self.endpoint.invite(outgoing, now) {
                self.dialogs.insert(dialog, 0);
            }
            return;
        };
        self.do_to(dialog, rng, now, seen);
        // Who has just answered may hang up before the ACK, and who has hung up may go on trying.
        if rng.percent(25) {
            self.hangup(dialog, now, seen);
            (0..rng.below(4)).for_each(|_| self.do_to(dialog, rng, now, seen));
        }
        self.answer(rng, now, seen);
    }

    fn hangup(&mut self, dialog: DialogId, now: Tick, seen: &mut Seen) {
        seen.command(&self.endpoint, dialog, "hangup");
        self.endpoint.hangup(dialog, Some("Q.850;cause=16"), now);
    }

    fn do_to(&mut self, dialog: DialogId, rng: &mut Rng, now: Tick, seen: &mut Seen) {
        let choice = rng.below(12);
        let name = ["provisional", "accept", "accept", "reject", "answer_offer", "acknowledge"];
        let name = name.get(choice as usize);
        seen.command(&self.endpoint, dialog, name.copied().unwrap_or("offer"));
        let body = if rng.percent(70) { sdp() } else { None };
        match choice {
            0 => {
                seen.invite(&self.endpoint, dialog, "answers 1xx");
                self.endpoint.provisional(dialog, 183, body, now);
            }
            1..=2 => {
                seen.invite(&self.endpoint, dialog, "answers 2xx");
                self.endpoint.accept(dialog, sdp(), now);
            }
            3 => {
                seen.invite(&self.endpoint, dialog, "answers 3xx+");
                self.endpoint.reject(dialog, 486, None, &[], now);
            }
            4 => self.endpoint.answer_offer(dialog, Ok(body), now),
            5 => self.endpoint.acknowledge(dialog, body),
            _ => self.endpoint.offer(dialog, body, now),
        }
    }

    fn hang_up_all(&mut self, now: Tick, rng: &mut Rng, seen: &mut Seen) {
        self.is_prompt = true;
        self.answer(rng, now, seen);
        for dialog in self.dialogs.keys() {
            self.endpoint.hangup(*dialog, None, now);
        }
    }
}

fn sdp() -> Option<Body> {
    Some(Body::sdp("v=0\r\n"))
}

/// One run. What was seen of the machines is noted.
#[expect(clippy::too_many_lines, reason = "one loop: outputs, the next thing, its effect")]
pub(super) fn run(seed: u64, weather: Weather, commands: u32, seen: &mut Seen) {
    let mut rng = Rng::new(seed);
    let world = World::over(weather.transport);
    let (flows, outgoing) = ([world.flow(0), world.flow(1)], world.outgoing());
    let calls = [outgoing.clone(), Outgoing { flow: flows[1], ..outgoing }];
    let mut sides = [1, 2].map(|end| {
        let session_expires = rng.percent(50).then_some(Duration::from_secs(90));
        Side {
            endpoint: Endpoint::new(Config { session_expires, ..config() }, Rng::new(seed ^ end)),
            dialogs: BTreeMap::new(),
            asked: Vec::new(),
            offered: Vec::new(),
            is_prompt: false,
        }
    });
    let mut wire = Wire::new();
    let (mut now, mut sent, mut left) = (Tick::ZERO, 0, commands);
    let (mut next_command, mut silent_until) = (Tick::ZERO, Tick::ZERO);
    for turn in 0.. {
        assert!(turn < 200_000, "the two never come to rest: seed {seed}, {weather:?}");
        for (end, side) in sides.iter_mut().enumerate() {
            while let Some(event) = side.endpoint.poll_event() {
                side.note(&event, weather, &mut rng, now, seen);
            }
            while let Some(transmit) = side.endpoint.poll_transmit() {
                let is_lost = rng.percent(weather.loss) || now < silent_until;
                let copies =
                    if is_lost { 0 } else { 1 + u32::from(rng.percent(weather.loss.max(1))) };
                for _ in 0..copies {
                    let delay = Duration::from_millis(1 + rng.below(60));
                    sent += 1;
                    wire.insert((now + delay, sent), (1 - end, Arc::clone(&transmit.bytes)));
                }
            }
        }
        let timers = sides.iter().filter_map(|side| side.endpoint.poll_timeout());
        let arrival = wire.keys().next().map(|(at, _)| *at);
        let command = (left > 0).then_some(next_command);
        let Some(next) = timers.chain(arrival).chain(command).min() else {
            // All is quiet: whoever still talks hangs up, and then everything is gone.
            if sides.iter().all(|side| side.endpoint.gauges() == Gauges::default()) {
                break;
            }
            sides.iter_mut().for_each(|side| side.hang_up_all(now, &mut rng, seen));
            continue;
        };
        now = now.max(next);
        if command.is_some_and(|at| at <= now) {
            let end = rng.below(2) as usize;
            if weather.has_outages && rng.percent(3) {
                silent_until = now + Duration::from_secs(rng.below(70));
                if weather.transport.is_reliable() {
                    wire.clear();
                    for (side, flow) in sides.iter_mut().zip(flows) {
                        seen.closed(&side.endpoint, flow.connection);
                        side.endpoint.handle_flow_closed(flow.connection, now);
                    }
                }
            }
            sides[end].command(&calls[end], &mut rng, now, seen);
            left -= 1;
            let pause = if rng.percent(4) { 70_000 } else { 400 };
            next_command = now + Duration::from_millis(rng.below(pause));
        } else if arrival.is_some_and(|at| at <= now) {
            let (_, (to, bytes)) = wire.pop_first().unwrap();
            seen.message(&sides[to].endpoint, &bytes);
            sides[to].endpoint.handle_message(flows[to], &bytes, now);
        } else {
            for side in &mut sides {
                seen.due(&side.endpoint, now);
                side.endpoint.handle_timeout(now);
            }
        }
        if left == 0 {
            sides.iter_mut().for_each(|side| side.hang_up_all(now, &mut rng, seen));
        }
    }
    for side in &sides {
        let once = side.dialogs.values().all(|ended| *ended == 1);
        assert!(once, "seed {seed}, {weather:?}: {:?}", side.dialogs);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A9, I10 of dialogs, transactions and timers.
    #[test]
    fn every_dialog_ends_once_and_leaves_nothing(
        seed in any::<u64>(),
        loss in 0u8..=20,
        is_stream in any::<bool>(),
        has_outages in any::<bool>(),
        is_forgetful in any::<bool>(),
        commands in 1u32..60,
    ) {
        let transport = if is_stream { Transport::Tcp } else { Transport::Udp };
        let loss = if is_stream { 0 } else { loss };
        run(seed, Weather { loss, transport, has_outages, is_forgetful }, commands, &mut Seen::default());
    }
}
