//! The time line of a bridged peer laid onto ours: packets pass with their own distances, so that
//! loss, reordering and pauses of the peer stay visible, and start where our last packet ended.
//!
//! A thread is a run of packets of one SSRC that share their offsets. It is cut when we send
//! something of our own, when the bridge changes, and when the peer's numbers jump.

use crate::base::Tick;
use crate::media::outbound::Outbound;
use crate::media::rtp::Header;
use crate::media::samples_in;

/// Sequence numbers that may be missing before a thread is taken to have jumped.
const AHEAD_MAX: i16 = 1000;

/// How far a timestamp may be from what the arrival time says: one second.
const DRIFT_MAX: u32 = 8000;

/// The relay into one leg.
#[derive(Debug, Default)]
pub(super) struct Relay {
    thread: Option<Thread>,
}

#[derive(Clone, Copy, Debug)]
struct Thread {
    ssrc: u32,
    /// Ours less the peer's.
    sequence_offset: u16,
    timestamp_offset: u32,
    /// Where the thread began; until it is far behind, nothing before it may pass.
    first_timestamp: u32,
    first_sequence: Option<u16>,
    /// The last sound in order, and when it came.
    sequence: u16,
    timestamp: u32,
    at: Tick,
}

impl Relay {
    /// Ends the thread; the next packet begins a new one.
    pub(super) const fn cut(&mut self) {
        self.thread = None;
    }

    /// Our header for a packet of sound; `None` when it is too late to pass.
    pub(super) fn sound(
        &mut self,
        header: &Header,
        samples: u32,
        outbound: &mut Outbound,
        now: Tick,
    ) -> Option<Header> {
        let thread = self.thread.take().filter(|thread| thread.goes_on_with(header, now));
        let is_new = thread.is_none();
        let thread = thread.unwrap_or_else(|| Thread::begin(header, samples, outbound, now));
        let thread = self.thread.insert(thread);
        let passes = thread.pass(header)?;
        if (header.sequence.wrapping_sub(thread.sequence) as i16) >= 0 {
            (thread.sequence, thread.timestamp, thread.at) =
                (header.sequence, header.timestamp, now);
        }
        Some(Header { marker: header.marker || is_new, ..passes })
    }

    /// Our header for a packet of an event, which `is_first` or not of its press. A press that
    /// began before the thread does not pass: with other offsets it would be another digit.
    pub(super) fn event(
        &mut self,
        header: &Header,
        is_first: bool,
        outbound: &mut Outbound,
        now: Tick,
    ) -> Option<Header> {
        let thread = self.thread.take().filter(|thread| thread.is_near(header));
        if thread.is_none() && !is_first {
            return None;
        }
        let thread = thread.unwrap_or_else(|| Thread::begin(header, 0, outbound, now));
        let thread = self.thread.insert(thread);
        let since = header.timestamp.wrapping_sub(thread.first_timestamp) as i32;
        if since < 0 {
            return None;
        }
        let passes = thread.pass(header)?;
        if (header.sequence.wrapping_sub(thread.sequence) as i16) > 0 {
            thread.sequence = header.sequence;
        }
        Some(passes)
    }
}

impl Thread {
    fn begin(header: &Header, samples: u32, outbound: &mut Outbound, now: Tick) -> Self {
        let stamp = outbound.begin(samples, now);
        Self {
            ssrc: header.ssrc,
            sequence_offset: outbound.next_sequence().wrapping_sub(header.sequence),
            timestamp_offset: stamp.timestamp.wrapping_sub(header.timestamp),
            first_timestamp: header.timestamp,
            first_sequence: Some(header.sequence),
            sequence: header.sequence,
            timestamp: header.timestamp,
            at: now,
        }
    }

    fn goes_on_with(&self, header: &Header, now: Tick) -> bool {
        let expected = self.timestamp.wrapping_add(samples_in(now.since(self.at)) as u32);
        let drift = (header.timestamp.wrapping_sub(expected) as i32).unsigned_abs();
        self.is_near(header) && drift <= DRIFT_MAX
    }

    const fn is_near(&self, header: &Header) -> bool {
        let ahead = header.sequence.wrapping_sub(self.sequence) as i16;
        self.ssrc == header.ssrc && -AHEAD_MAX <= ahead && ahead <= AHEAD_MAX
    }

    /// The packet's header with our numbers, unless it is older than the thread: those numbers
    /// were given to what we sent before.
    fn pass(&mut self, header: &Header) -> Option<Header> {
        if let Some(first) = self.first_sequence {
            let after = header.sequence.wrapping_sub(first) as i16;
            if after < 0 {
                return None;
            }
            if after > 2 * AHEAD_MAX {
                self.first_sequence = None;
            }
        }
        Some(Header {
            sequence: header.sequence.wrapping_add(self.sequence_offset),
            timestamp: header.timestamp.wrapping_add(self.timestamp_offset),
            ..*header
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;
    use crate::media::rtp::HEADER;

    /// Packets as (arrival in ms, SSRC, sequence, timestamp); what passes, counted from the first.
    fn relayed(packets: &[(u64, u32, u16, u32)]) -> Vec<(u16, u32, bool)> {
        let mut outbound = Outbound::new(&mut Rng::new(3));
        let (mut relay, mut first, mut passed) = (Relay::default(), None, Vec::new());
        for (at, ssrc, sequence, timestamp) in packets.iter().copied() {
            let now = Tick::from_millis(at);
            let header = Header { marker: false, payload_type: 0, sequence, timestamp, ssrc };
            let Some(header) = relay.sound(&header, 160, &mut outbound, now) else { continue };
            outbound.seal_relayed(&mut [0; HEADER], header, header.timestamp + 160, now);
            let (sequence, timestamp) = *first.get_or_insert((header.sequence, header.timestamp));
            let distance = header.timestamp.wrapping_sub(timestamp);
            passed.push((header.sequence.wrapping_sub(sequence), distance, header.marker));
        }
        passed
    }

    #[test]
    fn loss_reordering_and_wrap_of_the_peer_pass_as_they_are() {
        let packets = [(0, 1, 65_535, 0), (20, 1, 0, 160), (60, 1, 2, 480), (61, 1, 1, 320)];
        let expected = [(0, 0, true), (1, 160, false), (3, 480, false), (2, 320, false)];
        assert_eq!(relayed(&packets), expected);
    }

    #[test]
    fn a_new_source_goes_on_where_the_old_one_ended() {
        let packets = [(0, 1, 10, 0), (20, 1, 11, 160), (40, 2, 5000, 777), (60, 2, 5001, 937)];
        let expected = [(0, 0, true), (1, 160, false), (2, 320, true), (3, 480, false)];
        assert_eq!(relayed(&packets), expected);
    }

    #[test]
    fn a_jump_of_the_peers_numbers_is_smoothed_and_older_packets_do_not_pass() {
        let packets =
            [(0, 1, 10, 0), (20, 1, 11, 900_000), (40, 1, 9000, 900_160), (41, 1, 8999, 0)];
        let expected = [(0, 0, true), (1, 160, true), (2, 320, true)];
        assert_eq!(relayed(&packets)[..3], expected);
        assert_eq!(relayed(&[(0, 1, 10, 1600), (1, 1, 9, 1440)]).len(), 1);
    }

    #[test]
    fn an_event_passes_only_in_the_thread_in_which_it_began() {
        let mut outbound = Outbound::new(&mut Rng::new(3));
        let mut relay = Relay::default();
        let header = |sequence: u16, timestamp: u32| Header {
            marker: false,
            payload_type: 101,
            sequence,
            timestamp,
            ssrc: 1,
        };
        let (press, again) = (header(1, 800), header(2, 800));
        let first = relay.event(&press, true, &mut outbound, Tick::ZERO).unwrap();
        let second = relay.event(&again, false, &mut outbound, Tick::ZERO).unwrap();
        assert_eq!((second.timestamp, second.sequence), (first.timestamp, first.sequence + 1));

        relay.cut();
        assert_eq!(relay.event(&header(3, 800), false, &mut outbound, Tick::ZERO), None);
        assert!(relay.sound(&header(4, 1600), 160, &mut outbound, Tick::ZERO).is_some());
        assert_eq!(relay.event(&header(5, 800), false, &mut outbound, Tick::ZERO), None);
        assert!(relay.event(&header(6, 1760), true, &mut outbound, Tick::ZERO).is_some());
    }
}
