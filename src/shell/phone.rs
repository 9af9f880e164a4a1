//! Phones on real sockets: the simulated world's phones, all moved by one loop over one poller.
//!
//! While a story waits for one phone, the others go on: they hum, answer and refresh.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use crate::base::{Rng, Tick};
use crate::shell::Clock;
use crate::shell::poller::{Poller, Ready};
use crate::sim::{Packet, Payload, Phone};
use crate::sip::Ladder;

/// Where phones look for a free pair of audio ports.
const AUDIO_PORTS: std::ops::Range<u16> = 31_600..32_600;
/// The longest datagram.
const DATAGRAM_MAX: usize = 65_535;
/// Sockets of a phone: SIP, RTP, RTCP.
const SOCKETS: usize = 3;
/// The server's place in the ladder: right of the first phone, which is the caller.
const SERVER_COLUMN: usize = 1;

/// Name of a phone, and how it differs from a plain one.
pub(super) type Role = (&'static str, fn(Phone) -> Phone);

/// Phones on loopback, their sockets, and one ladder of all their calls.
#[derive(Debug)]
pub(super) struct Stage {
    lines: Vec<Line>,
    poller: Poller,
    clock: Clock,
    ladder: Ladder,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Line {
    phone: Phone,
    sockets: [UdpSocket; SOCKETS],
}

impl Stage {
    /// Opens a phone for each role; the first is the caller's.
    pub(super) fn open(roles: &[Role], clock: Clock, rng: &mut Rng) -> io::Result<Self> {
        let poller = Poller::new()?;
        let mut lines = Vec::with_capacity(roles.len());
        for (index, role) in roles.iter().enumerate() {
            let line = Line::open(*role, rng)?;
            for (place, socket) in line.sockets.iter().enumerate() {
                poller.add(socket, (index * SOCKETS + place) as u64)?;
            }
            lines.push(line);
        }
        let mut columns = roles.iter().map(|(name, _)| *name).collect::<Vec<_>>();
        columns.insert(SERVER_COLUMN.min(columns.len()), "ringback");
        let ladder = Ladder::new(&columns);
        Ok(Self { lines, poller, clock, ladder, buffer: vec![0; DATAGRAM_MAX] })
    }

    /// A phone, to look at.
    pub(super) fn phone(&self, index: usize) -> &Phone {
        &self.lines[index].phone
    }

    /// The ladder so far.
    pub(super) fn ladder(&self) -> String {
        self.ladder.render()
    }

    /// Writes a remark into the ladder.
    pub(super) fn note(&mut self, text: &str) {
        self.ladder.note(self.clock.now(), text);
    }

    /// Uses a phone: dial, press, hang up.
    pub(super) fn act(&mut self, index: usize, act: impl FnOnce(&mut Phone, Tick)) {
        act(&mut self.lines[index].phone, self.clock.now());
        self.flush(index);
    }

    /// Lets time pass.
    pub(super) fn pass(&mut self, wait: Duration) {
        self.until(wait, |_| false);
    }

    /// Lets time pass until `done`; says whether that was so before `patience` was over.
    pub(super) fn until(&mut self, patience: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let deadline = self.clock.now() + patience;
        let mut ready = Vec::new();
        while !done(self) {
            if self.clock.now() >= deadline {
                return false;
            }
            let timeouts = self.lines.iter().filter_map(|line| line.phone.poll_timeout());
            let due = timeouts.fold(deadline, Tick::min);
            self.poller.wait(Some(self.clock.until(due)), &mut ready);
            for source in &ready {
                self.receive(*source);
            }
            self.handle_timeouts();
        }
        true
    }

    /// A phone is told when its timer was due rather than how late it is: lateness would add up,
    /// and its packets would come slower than the sound that they carry.
    fn handle_timeouts(&mut self) {
        let now = self.clock.now();
        for index in 0..self.lines.len() {
            let phone = &mut self.lines[index].phone;
            if let Some(due) = phone.poll_timeout().filter(|due| *due <= now) {
                phone.handle_timeout(due);
                self.flush(index);
            }
        }
    }

    fn receive(&mut self, source: Ready) {
        let (index, place) = (source.number as usize / SOCKETS, source.number as usize % SOCKETS);
        let mut buffer = std::mem::take(&mut self.buffer);
        let Line { phone, sockets } = &mut self.lines[index];
        if let Ok(to) = sockets[place].local_addr() {
            while let Ok((length, from)) = sockets[place].recv_from(&mut buffer) {
                let (bytes, now) = (&buffer[..length], self.clock.now());
                let payload = if place == 0 {
                    self.ladder.message(now, Some(now), SERVER_COLUMN, column(index), bytes);
                    Payload::Sip(bytes.into())
                } else {
                    Payload::Media(bytes.to_vec())
                };
                phone.handle_packet(Packet { from, to, payload }, now);
            }
        }
        self.buffer = buffer;
        self.flush(index);
    }

    fn flush(&mut self, index: usize) {
        let Line { phone, sockets } = &mut self.lines[index];
        while let Some(packet) = phone.poll_packet() {
            let now = self.clock.now();
            let is_from = |socket: &&UdpSocket| {
                socket.local_addr().is_ok_and(|address| address == packet.from)
            };
            let Some(socket) = sockets.iter().find(is_from) else { continue };
            // What a full socket drops is lost on the way, as any datagram may be.
            let _ = match &packet.payload {
                Payload::Sip(bytes) => {
                    self.ladder.message(now, Some(now), column(index), SERVER_COLUMN, bytes);
                    socket.send_to(bytes, packet.to)
                }
                Payload::Media(bytes) => socket.send_to(bytes, packet.to),
                Payload::Keys(_) => continue, // These phones have sound, and send their keys in it.
            };
        }
    }
}

impl Line {
    fn open((name, dress): Role, rng: &mut Rng) -> io::Result<Self> {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let sip = UdpSocket::bind((loopback, 0))?;
        let (rtp, rtcp) = audio_pair(loopback, rng)?;
        let phone = Phone::new(name, sip.local_addr()?, rtp.local_addr()?, rng.next_u64());
        let sockets = [sip, rtp, rtcp];
        for socket in &sockets {
            socket.set_nonblocking(true)?;
        }
        Ok(Self { phone: dress(phone), sockets })
    }
}

/// The place of a phone in the ladder.
const fn column(index: usize) -> usize {
    if index < SERVER_COLUMN { index } else { index + 1 }
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
