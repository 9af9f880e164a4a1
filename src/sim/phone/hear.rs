//! What a phone hears: RTP laid on one time line, silence where nothing came.

use rtp_rs::RtpReader;

use super::*;

/// A silence longer than this between two packets is kept as this much.
const GAP_MAX: usize = 8000;

impl Phone {
    /// Hears one RTP packet; its place follows from the timestamp.
    pub(super) fn listen(&mut self, bytes: &[u8]) {
        let Some(agreed) = self.call.as_ref().and_then(|call| call.agreed) else { return };
        let Ok(packet) = RtpReader::new(bytes) else { return };
        if packet.payload_type() != agreed.payload_type {
            return;
        }
        let payload = packet.payload();
        let timestamp = packet.timestamp();
        let gap = self.next_timestamp.map_or(0, |next| timestamp.wrapping_sub(next) as i32);
        if gap < 0 || self.heard.len() + payload.len() + GAP_MAX > HEARD_MAX {
            return; // Too late to be heard, or more than a phone remembers.
        }
        let silence = usize::try_from(gap).unwrap_or(0).min(GAP_MAX);
        self.heard.resize(self.heard.len() + silence, 0);
        let begin = self.heard.len();
        self.heard.resize(begin + payload.len(), 0);
        codec(agreed.encoding).decode(payload, &mut self.heard[begin..]);
        self.next_timestamp = Some(timestamp.wrapping_add(payload.len() as u32));
    }
}
