//! A phone on real sockets: the simulated world's phone, moved by a clock and three UDP sockets.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use crate::base::Rng;
use crate::shell::Clock;
use crate::shell::poller::{Poller, Ready};
use crate::sim::{Packet, Payload, Phone};
use crate::sip::Ladder;

/// Where phones look for a free pair of audio ports.
const AUDIO_PORTS: std::ops::Range<u16> = 31_000..32_000;
/// The longest datagram.
const DATAGRAM_MAX: usize = 65_535;

/// A phone and its sockets; it draws the ladder of its calls.
#[derive(Debug)]
pub(super) struct Line {
    phone: Phone,
    sockets: [UdpSocket; 3],
    poller: Poller,
    clock: Clock,
    ladder: Ladder,
}

impl Line {
    /// A phone on loopback.
    pub(super) fn open(name: &str, clock: Clock, rng: &mut Rng) -> io::Result<Self> {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let sip = UdpSocket::bind((loopback, 0))?;
        let (rtp, rtcp) = audio_pair(loopback, rng)?;
        let poller = Poller::new()?;
        let phone = Phone::new(name, sip.local_addr()?, rtp.local_addr()?, rng.next_u64());
        let sockets = [sip, rtp, rtcp];
        for (number, socket) in sockets.iter().enumerate() {
            socket.set_nonblocking(true)?;
            poller.add(socket, number as u64)?;
        }
        let ladder = Ladder::new(&[name, "ringback"]);
        Ok(Self { phone, sockets, poller, clock, ladder })
    }

    /// The phone, to look at.
    pub(super) const fn phone(&self) -> &Phone {
        &self.phone
    }

    /// The ladder so far.
    pub(super) fn ladder(&self) -> String {
        self.ladder.render()
    }

    /// Uses the phone: dial, press, hang up.
    pub(super) fn with(&mut self, act: impl FnOnce(&mut Phone, crate::base::Tick)) {
        act(&mut self.phone, self.clock.now());
        self.flush();
    }

    /// Lets time pass until `done`; says whether that was so before `patience` was over.
    pub(super) fn until(&mut self, patience: Duration, done: impl Fn(&Phone) -> bool) -> bool {
        let deadline = self.clock.now() + patience;
        let mut ready = Vec::new();
        while !done(&self.phone) {
            let now = self.clock.now();
            if now >= deadline {
                return false;
            }
            let due = self.phone.poll_timeout().map_or(deadline, |due| due.min(deadline));
            self.poller.wait(Some(self.clock.until(due)), &mut ready);
            for source in &ready {
                self.receive(*source);
            }
            let now = self.clock.now();
            if self.phone.poll_timeout().is_some_and(|due| due <= now) {
                self.phone.handle_timeout(now);
            }
            self.flush();
        }
        true
    }

    fn receive(&mut self, source: Ready) {
        let place = source.number as usize;
        let mut buffer = vec![0_u8; DATAGRAM_MAX];
        let Ok(to) = self.sockets[place].local_addr() else { return };
        while let Ok((length, from)) = self.sockets[place].recv_from(&mut buffer) {
            let (bytes, now) = (&buffer[..length], self.clock.now());
            let payload = if place == 0 {
                self.ladder.message(now, Some(now), 1, 0, bytes);
                Payload::Sip(bytes.into())
            } else {
                Payload::Media(bytes.to_vec())
            };
            self.phone.handle_packet(Packet { from, to, payload }, now);
            self.flush();
        }
    }

    fn flush(&mut self) {
        while let Some(packet) = self.phone.poll_packet() {
            let now = self.clock.now();
            let is_from = |socket: &&UdpSocket| {
                socket.local_addr().is_ok_and(|address| address == packet.from)
            };
            let Some(socket) = self.sockets.iter().find(is_from) else { continue };
            match &packet.payload {
                Payload::Sip(bytes) => {
                    self.ladder.message(now, Some(now), 0, 1, bytes);
                    let _ = socket.send_to(bytes, packet.to);
                }
                Payload::Media(bytes) => {
                    let _ = socket.send_to(bytes, packet.to);
                }
            }
        }
    }
}

/// Two free ports next to each other, the first even.
fn audio_pair(address: IpAddr, rng: &mut Rng) -> io::Result<(UdpSocket, UdpSocket)> {
    let span = u64::from(AUDIO_PORTS.end - AUDIO_PORTS.start);
    let begin = rng.below(span / 2);
    for step in 0..span / 2 {
        let port = AUDIO_PORTS.start + (((begin + step) * 2) % span) as u16;
        let bind = |port| UdpSocket::bind(SocketAddr::new(address, port));
        if let (Ok(rtp), Ok(rtcp)) = (bind(port), bind(port + 1)) {
            return Ok((rtp, rtcp));
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, "no free pair of ports from 31000 to 31999"))
}
