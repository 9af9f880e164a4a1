//! The SIP sockets, UDP and TCP on one port, and what waits for them.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;

use crate::shell::poller::Poller;
use crate::shell::stream::Streams;

/// Their numbers in the poller, and that of what other threads say.
pub(super) const INBOX: u64 = 0;
pub(super) const UDP: u64 = 1;
pub(super) const TCP: u64 = 2;
/// Connections are numbered from here on.
const FIRST_CONNECTION: u64 = 16;
/// How often a port is chosen that both transports are to have.
const PORT_TRIES: u32 = 16;

/// Bound sockets.
pub(super) struct Sockets {
    pub(super) udp: UdpSocket,
    /// The address that was bound.
    pub(super) local: SocketAddr,
    pub(super) streams: Streams,
    pub(super) poller: Poller,
}

impl Sockets {
    /// Binds them; the poller waits for the inbox too.
    pub(super) fn bind(address: SocketAddr, inbox: impl AsFd) -> io::Result<Self> {
        let (udp, streams) = bind_both(address)?;
        udp.set_nonblocking(true)?;
        // A burst of calls waits in the kernel rather than being lost and sent again.
        let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&udp, 4 * 1024 * 1024);
        let local = udp.local_addr()?;
        let poller = Poller::new()?;
        poller.add_signal(inbox, INBOX)?;
        poller.add(&udp, UDP)?;
        poller.add(streams.listener(), TCP)?;
        Ok(Self { udp, local, streams, poller })
    }
}

/// UDP and TCP on one port. Where the system chooses it for UDP, it may be taken for TCP: then it
/// chooses again.
fn bind_both(address: SocketAddr) -> io::Result<(UdpSocket, Streams)> {
    let bind = || {
        let udp = UdpSocket::bind(address)?;
        let streams = Streams::listen(udp.local_addr()?, FIRST_CONNECTION)?;
        Ok((udp, streams))
    };
    let is_taken = |bound: &io::Result<_>| {
        bound.as_ref().is_err_and(|error: &io::Error| error.kind() == io::ErrorKind::AddrInUse)
    };
    let tries = if address.port() == 0 { PORT_TRIES } else { 1 };
    let mut bound = bind();
    for _ in 1..tries {
        if is_taken(&bound) {
            bound = bind();
        }
    }
    bound
}
