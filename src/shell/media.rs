//! The media thread: one epoll over every audio socket, and a tick every 5 ms.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::base::Rng;
use crate::media::{self, Channel, Command, LegId, Report, Shard, Wire};
use crate::shell::Clock;
use crate::shell::poller::Poller;
use crate::shell::signalling::Input;
use crate::shell::wake::{Inbox, Sender};

/// A quarter of the packet duration: each tick serves a quarter of the legs.
const PHASE: Duration = Duration::from_millis(5);
/// Packets that one socket may deliver before the others have their turn.
const BURST_MAX: usize = 8;
/// Ticks that a thread which was held up catches up with; older ones are lost.
const CATCH_UP_MAX: u64 = 20;

const INBOX: u64 = u64::MAX;
const TIMER: u64 = u64::MAX - 1;

/// What the media thread is told.
#[derive(Debug)]
pub(super) enum MediaInput {
    /// Open the sockets of a leg, and the leg.
    Open { leg: LegId, port: u16 },
    /// A command of the switch.
    Command(Command),
    /// End the thread.
    Stop,
}

/// The sockets of one leg.
#[derive(Debug)]
struct Sockets {
    leg: LegId,
    rtp: UdpSocket,
    rtcp: UdpSocket,
}

/// Sockets by the leg's place.
#[derive(Debug, Default)]
struct Table {
    places: Vec<Option<Sockets>>,
}

impl Wire for Table {
    fn send(&mut self, leg: LegId, channel: Channel, to: SocketAddr, packet: &[u8]) {
        let Some(Some(sockets)) = self.places.get(leg.index()) else { return };
        let socket = match channel {
            Channel::Rtp => &sockets.rtp,
            Channel::Rtcp => &sockets.rtcp,
        };
        // A packet that the kernel does not take now is too late in 20 ms; the peer counts it.
        let _ = socket.send_to(packet, to);
    }
}

pub(super) struct MediaThread {
    shard: Shard,
    table: Table,
    poller: Poller,
    inbox: Inbox<MediaInput>,
    reports: Sender<Input>,
    address: IpAddr,
    clock: Clock,
    phase: u8,
}

impl MediaThread {
    pub(super) fn new(
        inbox: Inbox<MediaInput>,
        reports: Sender<Input>,
        address: IpAddr,
        legs_max: usize,
        clock: Clock,
        rng: Rng,
    ) -> io::Result<Self> {
        let config = media::Config { legs_max, ..media::Config::STANDARD };
        let poller = Poller::new()?;
        poller.add(&inbox, INBOX)?;
        let (shard, table) = (Shard::new(config, rng), Table::default());
        Ok(Self { shard, table, poller, inbox, reports, address, clock, phase: 0 })
    }

    /// Runs until it is told to stop.
    pub(super) fn run(mut self) -> io::Result<()> {
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        let period = Timespec { tv_sec: 0, tv_nsec: PHASE.as_nanos() as i64 };
        let times = Itimerspec { it_interval: period, it_value: period };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &times)?;
        self.poller.add(&timer, TIMER)?;
        let (mut ready, mut buffer) = (Vec::new(), [0_u8; 2048]);
        loop {
            self.poller.wait(None, &mut ready);
            for source in &ready {
                match source.number {
                    INBOX if !self.obey() => return Ok(()),
                    INBOX => {}
                    TIMER => {
                        let mut expired = [0_u8; 8];
                        if rustix::io::read(&timer, &mut expired).is_ok() {
                            self.tick(u64::from_ne_bytes(expired));
                        }
                    }
                    number => self.receive(number, &mut buffer),
                }
            }
            while let Some(report) = self.shard.poll_report() {
                self.reports.send(Input::Media(report));
            }
        }
    }

    fn obey(&mut self) -> bool {
        self.inbox.clear();
        while let Some(input) = self.inbox.take() {
            match input {
                MediaInput::Open { leg, port } => self.open(leg, port),
                MediaInput::Command(command) => {
                    let closed =
                        if let Command::Close { leg } = &command { Some(*leg) } else { None };
                    self.shard.handle_command(command, self.clock.now());
                    // Last packets of the leg have left by now; only then its sockets go.
                    if let Some(leg) = closed {
                        self.close(leg);
                    }
                }
                MediaInput::Stop => return false,
            }
        }
        true
    }

    fn tick(&mut self, expired: u64) {
        for _ in 0..expired.min(CATCH_UP_MAX) {
            self.shard.tick(self.phase, &mut self.table, self.clock.now());
            self.phase = (self.phase + 1) % 4;
        }
    }

    fn receive(&mut self, number: u64, buffer: &mut [u8]) {
        let place = (number >> 1) as usize;
        let channel = if number & 1 == 0 { Channel::Rtp } else { Channel::Rtcp };
        for _ in 0..BURST_MAX {
            let Some(Some(sockets)) = self.table.places.get(place) else { return };
            let socket = match channel {
                Channel::Rtp => &sockets.rtp,
                Channel::Rtcp => &sockets.rtcp,
            };
            let leg = sockets.leg;
            let Ok((length, from)) = socket.recv_from(buffer) else { return };
            let now = self.clock.now();
            self.shard.handle_packet(leg, channel, from, &buffer[..length], &mut self.table, now);
        }
    }

    fn open(&mut self, leg: LegId, port: u16) {
        let sockets = match self.bind(leg, port) {
            Ok(sockets) => sockets,
            Err(error) => {
                tracing::error!(port, %error, "cannot open the audio port; another program has it?");
                return;
            }
        };
        let place = leg.index();
        if self.table.places.len() <= place {
            self.table.places.resize_with(place + 1, || None);
        }
        self.table.places[place] = Some(sockets);
        self.shard.handle_command(Command::Open { leg }, self.clock.now());
    }

    fn close(&mut self, leg: LegId) {
        let Some(place) = self.table.places.get_mut(leg.index()) else { return };
        if place.as_ref().is_some_and(|sockets| sockets.leg == leg) {
            *place = None;
        }
    }

    fn bind(&self, leg: LegId, port: u16) -> io::Result<Sockets> {
        let bind = |port: u16| {
            let socket = UdpSocket::bind(SocketAddr::new(self.address, port))?;
            socket.set_nonblocking(true)?;
            io::Result::Ok(socket)
        };
        let sockets = Sockets { leg, rtp: bind(port)?, rtcp: bind(port + 1)? };
        let number = (leg.index() as u64) << 1;
        self.poller.add(&sockets.rtp, number)?;
        self.poller.add(&sockets.rtcp, number | 1)?;
        Ok(sockets)
    }
}

/// A report, as signalling receives it.
impl From<Report> for Input {
    fn from(report: Report) -> Self {
        Self::Media(report)
    }
}
