//! Random commands on both sides over a link that loses, doubles and reorders.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::base::Rng;

/// One end with every dialog it ever had, and whether it ended.
struct Side {
    endpoint: Endpoint,
    dialogs: BTreeMap<DialogId, u32>,
}

impl Side {
    fn note(&mut self, event: &Event, seed: &mut Rng, now: Tick) {
        match event {
            Event::Invite { dialog, .. } => {
                assert_eq!(self.dialogs.insert(*dialog, 0), None, "an id came twice");
            }
            Event::Ended { dialog, .. } => *self.dialogs.get_mut(dialog).unwrap() += 1,
            Event::Offer { dialog, .. } => {
                assert_eq!(self.dialogs[dialog], 0, "an event after the end");
                let answer = if seed.percent(80) { Ok(None) } else { Err(488) };
                self.endpoint.answer_offer(*dialog, answer, now);
            }
            Event::RefreshDue { dialog } => self.endpoint.offer(*dialog, None, now),
            Event::Provisional { dialog, .. }
            | Event::Answered { dialog, .. }
            | Event::Acknowledged { dialog, .. }
            | Event::OfferAnswered { dialog, .. }
            | Event::Info { dialog, .. } => {
                assert_eq!(self.dialogs[dialog], 0, "an event after the end");
            }
            Event::Request { .. }
            | Event::Response { .. }
            | Event::Closed { .. }
            | Event::BadInput { .. }
            | Event::ClosedOut { .. } => {}
        }
    }

    fn command(&mut self, outgoing: &Outgoing, seed: &mut Rng, now: Tick) {
        // One of the latest: most commands meet a dialog that still lives.
        let recent = seed.below(3.min(self.dialogs.len() as u64)) as usize;
        let any = self.dialogs.keys().rev().nth(recent).copied();
        match (seed.below(8), any) {
            (0, _) | (_, None) => {
                if let Ok(dialog) = self.endpoint.invite(outgoing.clone(), now) {
                    self.dialogs.insert(dialog, 0);
                }
            }
            (1, Some(dialog)) => self.endpoint.provisional(dialog, 180, None, now),
            (2..=3, Some(dialog)) => self.endpoint.accept(dialog, None, now),
            (4, Some(dialog)) => self.endpoint.reject(dialog, 486, None, &[], now),
            (5, Some(dialog)) => self.endpoint.hangup(dialog, None, now),
            (_, Some(dialog)) => self.endpoint.offer(dialog, Some(Body::sdp("v=0\r\n")), now),
        }
    }
}

fn run(seed: u64, loss: u8, commands: u32) {
    let mut rng = Rng::new(seed);
    let world = World::new();
    let (flows, outgoing) = ([world.flow(0), world.flow(1)], world.outgoing());
    let calls = [outgoing.clone(), Outgoing { flow: flows[1], ..outgoing }];
    let mut sides = [1, 2].map(|end| Side {
        endpoint: Endpoint::new(config(), Rng::new(seed ^ end)),
        dialogs: BTreeMap::new(),
    });
    let mut wire = Wire::new();
    let (mut now, mut sent, mut left) = (Tick::ZERO, 0, commands);
    let mut next_command = Tick::ZERO;
    for turn in 0.. {
        assert!(turn < 200_000, "the two never come to rest");
        for (end, side) in sides.iter_mut().enumerate() {
            while let Some(event) = side.endpoint.poll_event() {
                side.note(&event, &mut rng, now);
            }
            while let Some(transmit) = side.endpoint.poll_transmit() {
                let copies = if rng.percent(loss) { 0 } else { 1 + u32::from(rng.percent(loss)) };
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
            hang_up_all(&mut sides, now);
            continue;
        };
        now = now.max(next);
        if command.is_some_and(|at| at <= now) {
            let end = rng.below(2) as usize;
            sides[end].command(&calls[end], &mut rng, now);
            left -= 1;
            next_command = now + Duration::from_millis(rng.below(400));
            if left == 0 {
                hang_up_all(&mut sides, now);
            }
        } else if arrival.is_some_and(|at| at <= now) {
            let (_, (to, bytes)) = wire.pop_first().unwrap();
            sides[to].endpoint.handle_message(flows[to], &bytes, now);
        } else {
            sides.iter_mut().for_each(|side| side.endpoint.handle_timeout(now));
            if left == 0 {
                hang_up_all(&mut sides, now);
            }
        }
    }
    for side in &sides {
        assert!(side.dialogs.values().all(|ended| *ended == 1), "{:?}", side.dialogs);
    }
}

fn hang_up_all(sides: &mut [Side; 2], now: Tick) {
    for side in sides {
        for dialog in side.dialogs.keys() {
            side.endpoint.hangup(*dialog, None, now);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_dialog_ends_once_and_leaves_nothing(
        seed in any::<u64>(),
        loss in 0u8..=20,
        commands in 1u32..60,
    ) {
        run(seed, loss, commands);
    }
}
