//! SIP over TCP: connections that are accepted or opened, framed, and never waited for.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::base::Tick;
use crate::shell::poller::{Poller, Ready};
use crate::sip::{Flow, Frame, Framer, Transport};

/// Connections at a time.
const CONNECTIONS_MAX: usize = 1024;
/// Connections of one peer address.
const CONNECTIONS_PER_PEER_MAX: usize = 256;
/// Bytes that may wait for a slow reader; then the connection goes.
const UNSENT_MAX: usize = 1024 * 1024;
/// How long the first whole message of an accepted connection may take.
const FIRST_MESSAGE: Duration = Duration::from_secs(5);
/// How long an accepted connection may be silent inside its first message: twice as long as a TCP
/// that lost a segment waits to send it again on a short way.
const FIRST_STALL: Duration = Duration::from_millis(750);
/// How long a connection that was of use before may be silent inside a message.
const STALL: Duration = Duration::from_secs(5);
/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(600);
/// How long the answer to a broken stream may take to leave.
const LAST_WORD: Duration = Duration::from_millis(500);
/// Bytes read from one connection before the others have their turn.
const READ_MAX: usize = 64 * 1024;

/// What a connection gives.
#[derive(Debug)]
pub(super) enum Given {
    /// A whole message.
    Message(Flow, Vec<u8>),
    /// The connection is gone.
    Closed(u64),
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    flow: Flow,
    framer: Framer,
    unsent: VecDeque<u8>,
    deadline: Tick,
    /// When the rest of a message is no longer waited for.
    stalls: Option<Tick>,
    /// A whole message came.
    is_of_use: bool,
    /// Nothing more is read; the connection goes when the last answer is out.
    is_closing: bool,
}

impl Connection {
    /// Nothing more is read; what is unsent, and the last answer, may still leave.
    fn end_with(&mut self, now: Tick) {
        self.is_closing = true;
        self.stalls = None;
        self.deadline = now + LAST_WORD;
    }
}

/// All connections of one listener.
#[derive(Debug)]
pub(super) struct Streams {
    listener: TcpListener,
    local: SocketAddr,
    connections: BTreeMap<u64, Connection>,
    by_remote: HashMap<SocketAddr, u64>,
    next: u64,
    given: VecDeque<Given>,
}

impl Streams {
    /// Listens; connections are watched under numbers from `first` on.
    pub(super) fn listen(address: SocketAddr, first: u64) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let local = listener.local_addr()?;
        Ok(Self {
            listener,
            local,
            connections: BTreeMap::new(),
            by_remote: HashMap::new(),
            next: first,
            given: VecDeque::new(),
        })
    }

    pub(super) const fn listener(&self) -> &TcpListener {
        &self.listener
    }

    /// The next thing that a connection gave.
    pub(super) fn poll(&mut self) -> Option<Given> {
        self.given.pop_front()
    }

    /// Takes every connection that waits.
    pub(super) fn accept(&mut self, poller: &Poller, now: Tick) {
        while let Ok((stream, remote)) = self.listener.accept() {
            let of_peer = self.of_peer(remote.ip());
            if self.connections.len() >= CONNECTIONS_MAX || of_peer >= CONNECTIONS_PER_PEER_MAX {
                tracing::warn!(%remote, of_peer, "connection refused: too many");
                continue;
            }
            self.add(stream, remote, poller, now + FIRST_MESSAGE);
        }
    }

    /// Reads and writes what a connection is ready for.
    pub(super) fn serve(&mut self, ready: Ready, poller: &Poller, now: Tick) {
        let number = ready.number;
        if ready.readable && !self.read(number, now) {
            return self.close(number, poller);
        }
        if ready.writable {
            self.flush(number, poller);
        }
    }

    /// Sends a message over the connection that its flow names, or one to the same peer, or a new
    /// one.
    pub(super) fn send(&mut self, flow: Flow, bytes: &[u8], poller: &Poller, now: Tick) {
        let known = Some(flow.connection).filter(|number| self.connections.contains_key(number));
        let known = known.or_else(|| self.by_remote.get(&flow.remote).copied());
        let number = match known {
            Some(number) => number,
            None => match connect(flow.remote) {
                Ok(stream) => self.add(stream, flow.remote, poller, now + IDLE),
                Err(error) => {
                    tracing::info!(remote = %flow.remote, %error, "cannot connect");
                    return;
                }
            },
        };
        if let Some(connection) = self.connections.get_mut(&number) {
            connection.unsent.extend(bytes);
        }
        self.flush(number, poller);
    }

    /// Closes what has been silent for too long.
    pub(super) fn expire(&mut self, poller: &Poller, now: Tick) {
        let due = self.connections.iter().filter(|(_, connection)| connection.deadline <= now);
        for number in due.map(|(number, _)| *number).collect::<Vec<_>>() {
            self.close(number, poller);
        }
        let has_stalled = |one: &Connection| one.stalls.is_some_and(|at| at <= now);
        for connection in self.connections.values_mut().filter(|one| has_stalled(one)) {
            let remote = connection.flow.remote;
            tracing::info!(%remote, "closing a connection that stopped inside a message");
            connection.end_with(now);
            let begun = connection.framer.give_up();
            self.given.push_back(Given::Message(connection.flow, begun));
        }
    }

    /// When [`Self::expire`] is worth calling.
    pub(super) fn next_expiry(&self) -> Option<Tick> {
        let next = |one: &Connection| one.stalls.map_or(one.deadline, |at| at.min(one.deadline));
        self.connections.values().map(next).min()
    }

    fn add(
        &mut self,
        stream: TcpStream,
        remote: SocketAddr,
        poller: &Poller,
        deadline: Tick,
    ) -> u64 {
        let number = self.next;
        self.next += 1;
        let _ = stream.set_nonblocking(true);
        let _ = stream.set_nodelay(true);
        if let Err(error) = poller.add(&stream, number) {
            tracing::error!(%error, "cannot watch a connection");
            return number;
        }
        let local = stream.local_addr().unwrap_or(self.local);
        let flow = Flow { transport: Transport::Tcp, local, remote, connection: number };
        let framer = Framer::new();
        let connection = Connection {
            stream,
            flow,
            framer,
            unsent: VecDeque::new(),
            deadline,
            stalls: None,
            is_of_use: false,
            is_closing: false,
        };
        self.connections.insert(number, connection);
        self.by_remote.insert(remote, number);
        number
    }

    /// Says whether the connection goes on.
    fn read(&mut self, number: u64, now: Tick) -> bool {
        let Some(connection) = self.connections.get_mut(&number) else { return true };
        if connection.is_closing {
            return false;
        }
        let mut buffer = [0_u8; 16 * 1024];
        let mut total = 0;
        while total < READ_MAX {
            let length = match connection.stream.read(&mut buffer) {
                Ok(0) => return false,
                Ok(length) => length,
                Err(error) if would_block(&error) => return true,
                Err(_) => return false,
            };
            total += length;
            connection.framer.push(&buffer[..length]);
            connection.stalls = None;
            while let Some(framed) = connection.framer.next() {
                match framed {
                    Ok(Frame::Message(bytes)) => {
                        connection.deadline = now + IDLE;
                        connection.is_of_use = true;
                        self.given.push_back(Given::Message(connection.flow, bytes));
                    }
                    Ok(Frame::Ping) => connection.unsent.extend(b"\r\n"),
                    Ok(Frame::Pong) => {}
                    Err(error) => {
                        let remote = connection.flow.remote;
                        tracing::info!(%remote, %error, "closing a connection that broke its framing");
                        // The head alone is enough for the endpoint to say what was wrong.
                        self.given.push_back(Given::Message(connection.flow, error.head));
                        connection.end_with(now);
                        return true;
                    }
                }
            }
            if connection.framer.is_inside() {
                let patience = if connection.is_of_use { STALL } else { FIRST_STALL };
                connection.stalls = Some(now + patience);
            }
        }
        true
    }

    fn flush(&mut self, number: u64, poller: &Poller) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let has_failed = loop {
            let (front, _) = connection.unsent.as_slices();
            if front.is_empty() {
                break false;
            }
            match connection.stream.write(front) {
                Ok(0) => break true,
                Ok(length) => drop(connection.unsent.drain(..length)),
                Err(error) if would_block(&error) => break connection.unsent.len() > UNSENT_MAX,
                Err(_) => break true,
            }
        };
        if has_failed {
            return self.close(number, poller);
        }
        let wants_write = !connection.unsent.is_empty();
        let _ = poller.set(&connection.stream, number, wants_write);
    }

    fn close(&mut self, number: u64, poller: &Poller) {
        let Some(connection) = self.connections.remove(&number) else { return };
        poller.remove(&connection.stream);
        self.by_remote.retain(|_, other| *other != number);
        self.given.push_back(Given::Closed(number));
    }

    fn of_peer(&self, peer: IpAddr) -> usize {
        self.connections.values().filter(|connection| connection.flow.remote.ip() == peer).count()
    }
}

/// A connection still being made is a socket that cannot be written yet.
fn would_block(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected)
}

fn connect(remote: SocketAddr) -> io::Result<TcpStream> {
    let family = if remote.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, &remote) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(TcpStream::from(socket)),
        Err(error) => Err(error.into()),
    }
}
