//! When a leg sends its RTCP reports, and what it learns from the peer's.

use std::time::Duration;

use crate::base::{Rng, Tick};
use crate::media::outbound::Outbound;
use crate::media::reception::Reception;
use crate::media::rtcp::{self, Compound, Sender};
use crate::media::{Statistics, duration_of};

/// The mean time between two reports; each wait is half to one and a half of it, so that legs do
/// not report in step (RFC 3550 §6.2).
const INTERVAL: Duration = Duration::from_secs(5);

/// RTCP of one leg.
#[derive(Debug)]
pub(super) struct Control {
    cname: u64,
    due: Tick,
    /// Packets we had sent at the last two reports: who sent since is a sender (§6.4).
    sent_before: [u64; 2],
    /// The peer's last sender report and when it came.
    sender_report: Option<(u32, Tick)>,
    remote_lost: Option<i32>,
    remote_jitter: Option<Duration>,
    round_trip: Option<Duration>,
}

impl Control {
    /// The first report is due after one wait.
    pub(super) fn new(rng: &mut Rng, now: Tick) -> Self {
        Self {
            cname: rng.next_u64(),
            due: now + wait(rng),
            sent_before: [0; 2],
            sender_report: None,
            remote_lost: None,
            remote_jitter: None,
            round_trip: None,
        }
    }

    /// The report that is due, if one is and there is anything to report.
    pub(super) fn poll(
        &mut self,
        outbound: &Outbound,
        reception: &mut Reception,
        rng: &mut Rng,
        now: Tick,
    ) -> Option<Compound> {
        if now < self.due {
            return None;
        }
        self.due = now + wait(rng);
        let sent = outbound.packets();
        let has_sent = sent > self.sent_before[1];
        self.sent_before = [sent, self.sent_before[0]];
        if !has_sent && reception.packets() == 0 {
            return None;
        }
        let sender = has_sent.then(|| Sender {
            ntp: ntp(now),
            timestamp: outbound.timestamp_at(now),
            packets: sent as u32,
            octets: outbound.octets() as u32,
        });
        let mut block = reception.report();
        if let (Some(block), Some((report, at))) = (&mut block, self.sender_report) {
            block.last_report = report;
            block.delay = (ntp(now).wrapping_sub(ntp(at)) >> 16) as u32;
        }
        Some(Compound::new(outbound.ssrc(), sender, block, self.cname))
    }

    /// Takes in a packet; false when it is malformed.
    pub(super) fn handle_packet(&mut self, packet: &[u8], ours: u32, now: Tick) -> bool {
        let Some(heard) = rtcp::parse(packet, ours) else { return false };
        if let Some(report) = heard.sender_report {
            self.sender_report = Some((report, now));
        }
        if let Some(block) = heard.block {
            self.remote_lost = Some(block.lost);
            self.remote_jitter = Some(duration_of(u64::from(block.jitter)));
            self.round_trip = round_trip(block.last_report, block.delay, now).or(self.round_trip);
        }
        true
    }

    /// Adds what the peer told.
    pub(super) const fn add_to(&self, statistics: &mut Statistics) {
        statistics.remote_lost = self.remote_lost;
        statistics.remote_jitter = self.remote_jitter;
        statistics.round_trip = self.round_trip;
    }
}

/// RFC 3550 §6.4.1: now, less when our report left, less what the peer held it back. An answer to
/// no report of ours, or to one older than a minute, measures nothing.
fn round_trip(last_report: u32, delay: u32, now: Tick) -> Option<Duration> {
    let middle = (ntp(now) >> 16) as u32;
    let units = middle.wrapping_sub(last_report).wrapping_sub(delay);
    let is_plausible = last_report != 0 && units < 60 << 16;
    is_plausible.then(|| Duration::from_micros((u64::from(units) * 1_000_000) >> 16))
}

/// A tick as NTP time. Wall-clock time is not needed, since nobody synchronises our streams (§4).
/// One second ahead, so that no report carries the zero that means "none".
const fn ntp(now: Tick) -> u64 {
    let micros = now.as_micros() as u128 + 1_000_000;
    ((micros << 32) / 1_000_000) as u64
}

fn wait(rng: &mut Rng) -> Duration {
    rng.between(INTERVAL / 2, INTERVAL * 3 / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_trip_is_measured_from_report_and_answer() {
        let sent = (ntp(Tick::from_millis(1000)) >> 16) as u32;
        let held = 500 * 65_536 / 1000;
        let measured = round_trip(sent, held, Tick::from_millis(1580)).unwrap();
        assert!(measured.abs_diff(Duration::from_millis(80)) < Duration::from_micros(50));
        assert_eq!(round_trip(0, held, Tick::from_millis(1580)), None);
        assert_eq!(round_trip(sent, held * 9, Tick::from_millis(1580)), None, "less than nothing");
    }
}
