//! What a leg received: sequence numbers, loss and jitter as RFC 3550 A.1, A.3 and A.8 count them.

use std::time::Duration;

use crate::base::Tick;
use crate::media::rtcp::Block;
use crate::media::rtp::Header;
use crate::media::{duration_of, samples_in};

/// A step ahead up to this is loss (A.1).
const DROPOUT_MAX: u16 = 3000;

/// A step back up to this is reordering (A.1).
const MISORDER_MAX: u16 = 100;

/// The receiver's side of a leg's RTP session, over all SSRCs that its source has used.
#[derive(Debug, Default)]
pub(super) struct Reception {
    source: Option<Source>,
    packets: u64,
    octets: u64,
    /// Lost by sources before this one.
    lost_before: i64,
}

/// One SSRC.
#[derive(Debug)]
struct Source {
    ssrc: u32,
    first: u16,
    highest: u16,
    cycles: u32,
    received: u64,
    /// The number that would prove that the sender has restarted.
    restart: Option<u16>,
    transit: Option<u32>,
    /// Sixteen times the jitter, in samples.
    jitter: u32,
    expected_prior: u64,
    received_prior: u64,
}

impl Reception {
    /// Counts a packet of the leg's source.
    pub(super) fn count(&mut self, header: &Header, octets: usize) {
        self.packets += 1;
        self.octets += octets as u64;
        let goes_on = self
            .source
            .as_mut()
            .is_some_and(|source| source.ssrc == header.ssrc && source.count(header.sequence));
        if !goes_on {
            self.lost_before = self.lost();
            self.source = Some(Source::new(header));
        }
    }

    /// Measures the jitter of a packet whose timestamp is that of its own sound: not of events,
    /// which keep the timestamp at which they began.
    pub(super) fn measure(&mut self, timestamp: u32, now: Tick) {
        if let Some(source) = &mut self.source {
            source.measure(timestamp, now);
        }
    }

    /// Packets received.
    pub(super) const fn packets(&self) -> u64 {
        self.packets
    }

    /// Payload bytes received.
    pub(super) const fn octets(&self) -> u64 {
        self.octets
    }

    /// Expected less received.
    pub(super) fn lost(&self) -> i64 {
        self.lost_before + self.source.as_ref().map_or(0, Source::lost)
    }

    /// The jitter of the present source.
    pub(super) fn jitter(&self) -> Duration {
        duration_of(self.source.as_ref().map_or(0, |source| u64::from(source.jitter >> 4)))
    }

    /// What a report tells the sender (RFC 3550 §6.4.1), and the beginning of a new interval.
    pub(super) fn report(&mut self) -> Option<Block> {
        self.source.as_mut().map(Source::report)
    }
}

impl Source {
    const fn new(header: &Header) -> Self {
        Self {
            ssrc: header.ssrc,
            first: header.sequence,
            highest: header.sequence,
            cycles: 0,
            received: 1,
            restart: None,
            transit: None,
            jitter: 0,
            expected_prior: 0,
            received_prior: 0,
        }
    }

    /// Counts a sequence number; false when it proves that the sender has started anew.
    fn count(&mut self, sequence: u16) -> bool {
        let ahead = sequence.wrapping_sub(self.highest);
        if ahead < DROPOUT_MAX {
            if sequence < self.highest {
                self.cycles += 1 << 16;
            }
            self.highest = sequence;
        } else if ahead <= u16::MAX - MISORDER_MAX {
            // A.1: two packets in a row after a jump mean a restart; one alone is a stray.
            if self.restart == Some(sequence) {
                return false;
            }
            self.restart = Some(sequence.wrapping_add(1));
            return true;
        }
        self.restart = None;
        self.received += 1;
        true
    }

    fn measure(&mut self, timestamp: u32, now: Tick) {
        let arrival = samples_in(now.since(Tick::ZERO)) as u32;
        let transit = arrival.wrapping_sub(timestamp);
        if let Some(before) = self.transit.replace(transit) {
            let change = (transit.wrapping_sub(before) as i32).unsigned_abs();
            // A jump of more than ten seconds is a new time line, not jitter.
            if change < 80_000 {
                self.jitter += change;
                self.jitter -= (self.jitter - change + 8) >> 4;
            }
        }
    }

    fn expected(&self) -> u64 {
        u64::from(self.cycles) + u64::from(self.highest) + 1 - u64::from(self.first)
    }

    fn lost(&self) -> i64 {
        self.expected() as i64 - self.received as i64
    }

    fn report(&mut self) -> Block {
        let expected = self.expected();
        let expected_interval = expected - self.expected_prior;
        let received_interval = self.received - self.received_prior;
        let lost_interval = expected_interval.saturating_sub(received_interval);
        (self.expected_prior, self.received_prior) = (expected, self.received);
        Block {
            ssrc: self.ssrc,
            fraction: (lost_interval * 256).checked_div(expected_interval).unwrap_or(0).min(255)
                as u8,
            lost: self.lost().clamp(-0x80_0000, 0x7F_FFFF) as i32,
            highest: self.cycles | u32::from(self.highest),
            jitter: self.jitter >> 4,
            last_report: 0,
            delay: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sequence numbers that arrive, 20 ms apart; loss and the block of a report at the end.
    fn receive(sequences: &[u16]) -> (i64, Block) {
        let mut reception = Reception::default();
        for sequence in sequences {
            let (marker, payload_type, timestamp, ssrc) = (false, 0, 0, 7);
            let header = Header { marker, payload_type, sequence: *sequence, timestamp, ssrc };
            reception.count(&header, 160);
        }
        (reception.lost(), reception.report().unwrap())
    }

    #[test]
    fn loss_reordering_and_wrap_are_told_apart() {
        let (lost, block) = receive(&[65_534, 65_535, 1, 0, 4]);
        assert_eq!((lost, block.lost, block.highest), (2, 2, 0x1_0004));
        assert_eq!(block.fraction, (2 * 256 / 7) as u8);
    }

    #[test]
    fn duplicates_make_loss_negative_and_a_restart_begins_anew() {
        assert_eq!(receive(&[1, 2, 2, 3]).0, -1);
        assert_eq!(receive(&[1, 2, 40_000, 3]).0, 0, "one stray is not counted");
        let (lost, block) = receive(&[1, 2, 40_000, 40_001, 40_003]);
        assert_eq!((lost, block.highest), (1, 40_003));
    }

    #[test]
    fn jitter_settles_at_the_mean_deviation() {
        let mut reception = Reception::default();
        let mut header =
            Header { marker: false, payload_type: 0, sequence: 0, timestamp: 0, ssrc: 1 };
        for packet in 0..500_u64 {
            reception.count(&header, 160);
            // Every other packet is 4 ms late, so each transit differs by 4 ms from the one before.
            reception.measure(header.timestamp, Tick::from_millis(packet * 20 + packet % 2 * 4));
            header.sequence = header.sequence.wrapping_add(1);
            header.timestamp = header.timestamp.wrapping_add(160);
        }
        let jitter = reception.jitter().as_micros();
        assert!((3700..=4100).contains(&jitter), "{jitter} us");
    }
}
