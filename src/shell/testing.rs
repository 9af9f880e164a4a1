//! A web server for tests, on a port of the loopback interface: each request meets a closure.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

/// What was asked.
#[derive(Debug)]
pub(super) struct Asked {
    /// Request line and headers.
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

/// A web server; it ends with the process.
pub(super) struct Site {
    pub(super) address: SocketAddr,
    /// Every request that came.
    pub(super) asked: Receiver<Asked>,
}

impl Site {
    /// Answers each request, on a thread of its own, as the closure does.
    pub(super) fn start(answer: impl Fn(&Asked, &mut TcpStream) + Clone + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, asked) = channel();
        let accept = move || {
            for stream in listener.incoming() {
                let (mut stream, sender, answer) =
                    (stream.unwrap(), sender.clone(), answer.clone());
                let serve = move || {
                    let Some(asked) = read(&stream) else { return };
                    answer(&asked, &mut stream);
                    let _ = sender.send(asked);
                };
                thread::Builder::new().spawn(serve).unwrap();
            }
        };
        thread::Builder::new().spawn(accept).unwrap();
        Self { address, asked }
    }

    /// The URL of a path.
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

fn read(stream: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { head, body })
}

/// Writes a whole answer.
pub(super) fn answer(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8]) {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}\r\n");
    let _ = stream.write_all(&[head.as_bytes(), body].concat());
}
