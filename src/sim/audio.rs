//! The audio side of a simulated server: what handles its legs, and where their packets go.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use crate::base::Tick;
use crate::media::{self, Channel, Command, FRAME, LegId, Shard, Wire};
use crate::sim::silence::Silence;
use crate::sim::tapes::Tapes;
use crate::sim::{Packet, Payload};

/// The audio of a server: the shard that real calls have, or none.
#[derive(Debug)]
pub(super) enum Audio {
    /// Packets go over the link.
    Heard(Box<Shard>),
    /// Nobody hears them: players and keys take their time, and nothing is sent.
    Unheard(Silence),
}

impl Audio {
    pub(super) fn handle_command(&mut self, command: Command, now: Tick) {
        match self {
            Self::Heard(shard) => shard.handle_command(command, now),
            Self::Unheard(silence) => silence.handle_command(command, now),
        }
    }

    pub(super) fn poll_report(&mut self) -> Option<media::Report> {
        match self {
            Self::Heard(shard) => shard.poll_report(),
            Self::Unheard(silence) => silence.poll_report(),
        }
    }
}

/// Sends a leg's packets from the port that was opened for it.
pub(super) struct PortWire<'a> {
    pub(super) ports: &'a HashMap<LegId, u16>,
    pub(super) out: &'a mut VecDeque<Packet>,
    pub(super) tapes: &'a mut Tapes,
    pub(super) ip: SocketAddr,
}

impl Wire for PortWire<'_> {
    fn send(&mut self, leg: LegId, channel: Channel, to: SocketAddr, packet: &[u8]) {
        let Some(port) = self.ports.get(&leg) else { return };
        let port = match channel {
            Channel::Rtp => *port,
            Channel::Rtcp => port + 1,
        };
        let from = SocketAddr::new(self.ip.ip(), port);
        self.out.push_back(Packet { from, to, payload: Payload::Media(packet.to_vec()) });
    }

    fn record(&mut self, recorder: u64, index: u64, channels: &[&[i16; FRAME]]) {
        self.tapes.record(recorder, index, channels);
    }
}
