//! What a leg sends: one SSRC for life, sequence numbers without gaps, timestamps that follow time.

use std::time::Duration;

use crate::base::{Rng, Tick};
use crate::media::rtp::{HEADER, Header};
use crate::media::{PTIME, duration_of, samples_in};

/// How late sound may begin and still count as the continuation of what was sent before: the
/// jitter of a bridged peer and of our own ticks.
const SLACK: Duration = Duration::from_millis(40);

/// The sender's side of a leg's RTP session.
#[derive(Debug)]
pub(super) struct Outbound {
    ssrc: u32,
    /// Of the next packet.
    sequence: u16,
    /// Of the sound that begins at `due`.
    timestamp: u32,
    /// When the sound sent so far ends; `None` before the first.
    due: Option<Tick>,
    packets: u64,
    octets: u64,
}

/// Where on the sender's time line a packet lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) timestamp: u32,
    /// Whether it begins a talkspurt (RFC 3551 §4.1).
    pub(super) marker: bool,
}

impl Outbound {
    /// All three numbers start at random, against known-plaintext attacks (RFC 3550 §5.1).
    pub(super) const fn new(rng: &mut Rng) -> Self {
        let (ssrc, timestamp) = (rng.next_u32(), rng.next_u32());
        let sequence = rng.next_u32() as u16;
        Self { ssrc, sequence, timestamp, due: None, packets: 0, octets: 0 }
    }

    /// Stamps sound that begins now and lasts `samples`. After silence the timestamp has advanced
    /// by the time that passed, and the marker says so.
    pub(super) fn begin(&mut self, samples: u32, now: Tick) -> Stamp {
        let silence = self.due.map(|due| now.since(due));
        let marker = silence.is_none_or(|silence| silence > SLACK);
        if marker {
            let skipped = samples_in(silence.unwrap_or_default());
            self.timestamp = self.timestamp.wrapping_add(skipped as u32);
            self.due = Some(now);
        }
        let stamp = Stamp { timestamp: self.timestamp, marker };
        self.timestamp = self.timestamp.wrapping_add(samples);
        self.due = self.due.map(|due| due + duration_of(u64::from(samples)));
        stamp
    }

    /// Writes the header of our next packet in front of its payload.
    pub(super) fn seal(&mut self, packet: &mut [u8], payload_type: u8, stamp: Stamp) {
        let Stamp { timestamp, marker } = stamp;
        let (sequence, ssrc) = (self.sequence, self.ssrc);
        self.sequence = self.sequence.wrapping_add(1);
        self.count(packet);
        Header { marker, payload_type, sequence, timestamp, ssrc }.write(packet);
    }

    /// Writes the header of a relayed packet, whose numbers follow those of its sender, and goes
    /// on after it; `until` is the timestamp at which its sound ends.
    pub(super) fn seal_relayed(
        &mut self,
        packet: &mut [u8],
        header: Header,
        until: u32,
        now: Tick,
    ) {
        let next = header.sequence.wrapping_add(1);
        if next.wrapping_sub(self.sequence) as i16 > 0 {
            self.sequence = next;
        }
        let ahead = until.wrapping_sub(self.timestamp) as i32;
        if ahead >= 0 {
            self.timestamp = until;
            self.due = Some(now + PTIME);
        }
        self.count(packet);
        Header { ssrc: self.ssrc, ..header }.write(packet);
    }

    const fn count(&mut self, packet: &[u8]) {
        self.packets += 1;
        self.octets += (packet.len() - HEADER) as u64;
    }

    /// The number that our next packet will have.
    pub(super) const fn next_sequence(&self) -> u16 {
        self.sequence
    }

    /// Our SSRC.
    pub(super) const fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Packets sent.
    pub(super) const fn packets(&self) -> u64 {
        self.packets
    }

    /// Payload bytes sent.
    pub(super) const fn octets(&self) -> u64 {
        self.octets
    }

    /// The timestamp that sound beginning at `now` would have, for sender reports.
    pub(super) fn timestamp_at(&self, now: Tick) -> u32 {
        let due = self.due.unwrap_or(now);
        let after = samples_in(now.since(due)) as u32;
        let before = samples_in(due.since(now)) as u32;
        self.timestamp.wrapping_add(after).wrapping_sub(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_follow_each_other_and_silence_is_skipped() {
        let mut outbound = Outbound::new(&mut Rng::new(1));
        let mut begin = |millis| outbound.begin(160, Tick::from_millis(millis));
        let first = begin(100);
        let after = |stamp: Stamp| (stamp.timestamp.wrapping_sub(first.timestamp), stamp.marker);
        assert!(first.marker);
        assert_eq!(after(begin(121)), (160, false), "a tick that is late by a millisecond");
        assert_eq!(after(begin(140)), (320, false));
        assert_eq!(after(begin(1160)), (480 + 8000, true), "one second of silence");
        assert_eq!(after(begin(1180)), (640 + 8000, false));
        assert_eq!(outbound.timestamp_at(Tick::from_millis(1210)), first.timestamp + 8000 + 880);
    }
}
