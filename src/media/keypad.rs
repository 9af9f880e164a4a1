//! Digits that arrive as telephone-events, each told once, at the first packet that shows it.
//!
//! A key press is known by (SSRC, timestamp): every packet of it repeats both, so it is told even
//! when its start or all three ends are lost, and never twice when packets come twice or late.

use crate::media::digits::Event;
use crate::media::rtp::Header;

/// Presses that are remembered: a packet may come late by so many digits.
const PRESSES: usize = 8;

/// A press longer than this goes on in a new segment when its 16-bit duration is full (§2.5.1.3).
const SEGMENT_MIN: u32 = 0xE000;

/// The memory of one leg for key presses.
#[derive(Debug, Default)]
pub(super) struct Keypad {
    presses: [Option<Press>; PRESSES],
    next: usize,
}

#[derive(Clone, Copy, Debug)]
struct Press {
    ssrc: u32,
    timestamp: u32,
    code: u8,
    duration: u16,
    has_ended: bool,
}

impl Keypad {
    /// Whether this packet is the first of its press.
    pub(super) fn handle_event(&mut self, header: &Header, event: Event) -> bool {
        let known = self.presses.iter_mut().flatten().find(|press| press.shows(header));
        if let Some(press) = known {
            press.duration = press.duration.max(event.duration);
            press.has_ended |= event.is_end;
            return false;
        }
        let goes_on =
            self.presses.iter().flatten().any(|press| press.goes_on_in(header, event.code));
        self.presses[self.next] = Some(Press {
            ssrc: header.ssrc,
            timestamp: header.timestamp,
            code: event.code,
            duration: event.duration,
            has_ended: event.is_end,
        });
        self.next = (self.next + 1) % PRESSES;
        !goes_on
    }
}

impl Press {
    const fn shows(&self, header: &Header) -> bool {
        self.ssrc == header.ssrc && self.timestamp == header.timestamp
    }

    fn goes_on_in(&self, header: &Header, code: u8) -> bool {
        let after = header.timestamp.wrapping_sub(self.timestamp);
        self.ssrc == header.ssrc
            && self.code == code
            && !self.has_ended
            && u32::from(self.duration) >= SEGMENT_MIN
            && (SEGMENT_MIN..=0xFFFF).contains(&after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets as (timestamp, key code, duration, end); which of them were told.
    fn told(packets: &[(u32, u8, u16, bool)]) -> Vec<usize> {
        let mut keypad = Keypad::default();
        let mut first = |(timestamp, code, duration, is_end): (u32, u8, u16, bool)| {
            let (marker, payload_type, sequence, ssrc) = (false, 101, 0, 1);
            let header = Header { marker, payload_type, sequence, timestamp, ssrc };
            keypad.handle_event(&header, Event { code, is_end, duration })
        };
        (0..packets.len()).filter(|index| first(packets[*index])).collect()
    }

    #[test]
    fn a_digit_is_told_once_whatever_is_lost_or_doubled() {
        let whole = [(0, 5, 160, false), (0, 5, 320, false), (0, 5, 480, true), (0, 5, 480, true)];
        assert_eq!(told(&whole), [0]);
        assert_eq!(told(&whole[2..]), [0], "the start is lost");
        assert_eq!(told(&[whole[0], (900, 5, 160, false)]), [0, 1], "all ends are lost");
        let reordered = [(900, 6, 160, false), (0, 5, 480, true), (900, 6, 320, false)];
        assert_eq!(told(&reordered), [0, 1], "a late end does not repeat the later digit");
    }

    #[test]
    fn a_key_held_for_ten_seconds_is_one_digit() {
        let held = [(0, 5, 160, false), (0, 5, 65_440, false), (65_535, 5, 160, false)];
        assert_eq!(told(&held), [0]);
        assert_eq!(told(&[held[0], (65_535, 5, 160, false)]), [0, 1], "pressed anew");
    }
}
