//! A phone's audio on its way out: two ports, as every RTP stream has.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::media::{Channel, LegId, Wire};
use crate::sim::{Packet, Payload};

/// Sends the phone's audio from its two ports.
pub(super) struct PhoneWire<'a> {
    pub(super) audio: SocketAddr,
    pub(super) packets: &'a mut VecDeque<Packet>,
}

impl Wire for PhoneWire<'_> {
    fn send(&mut self, _leg: LegId, channel: Channel, to: SocketAddr, packet: &[u8]) {
        let port = match channel {
            Channel::Rtp => self.audio.port(),
            Channel::Rtcp => self.audio.port() + 1,
        };
        let from = SocketAddr::new(self.audio.ip(), port);
        self.packets.push_back(Packet { from, to, payload: Payload::Media(packet.to_vec()) });
    }
}
