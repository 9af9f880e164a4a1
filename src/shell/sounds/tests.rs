//! Sounds from a web server on the loopback interface: good ones, bad ones, slow ones, endless ones.

use std::io::Write as _;
use std::net::TcpStream;

use super::*;
use crate::media::ear;
use crate::shell::testing::{Asked, Site, answer};
use crate::shell::wake::{self, Inbox};

const MP3: &[u8] = include_bytes!("../../../sip-test/sounds/stereo.mp3");

/// Limits that a test can wait for.
const SHORT: Limits = Limits {
    silence: Duration::from_millis(300),
    whole: Duration::from_millis(900),
    octets: 100_000,
};

fn sounds(allowed: Vec<String>) -> (Sounds, Inbox<Input>) {
    let (outputs, inbox) = wake::channel(16).unwrap();
    let policy = Policy { reaches_loopback: allowed.is_empty(), allowed };
    (Sounds::new(outputs, policy, Credentials::default(), Clock::start(), SHORT), inbox)
}

fn remote(url: String) -> Remote {
    Remote { method: "GET".to_owned(), url, headers: Vec::new(), credential: None }
}

/// Gets a sound and waits for it.
fn get(sounds: &Sounds, inbox: &Inbox<Input>, url: String) -> Result<Source, String> {
    sounds.start(remote(url));
    let poller = crate::shell::poller::Poller::new().unwrap();
    poller.add(inbox, 0).unwrap();
    let mut ready = Vec::new();
    loop {
        if let Some(Input::Sound(_, sound)) = inbox.take() {
            return sound;
        }
        inbox.clear();
        poller.wait(Some(Duration::from_millis(100)), &mut ready);
    }
}

fn check_hum(source: &Source) {
    let Source::Clip(clip) = source else { panic!("{source:?}") };
    assert!(ear::power(&clip.samples()[1600..6400], 400.0) > 1e5);
}

fn is_for(asked: &Asked, path: &str) -> bool {
    asked.head.starts_with(&format!("GET {path} "))
}

#[test]
fn a_sound_is_fetched_once_and_asked_for_as_its_server_says() {
    let site = Site::start(|asked, stream| {
        let has_tag = asked.head.to_lowercase().contains("if-none-match: \"7\"");
        if is_for(asked, "/fresh") {
            answer(stream, "200 OK", "cache-control: max-age=60\r\n", MP3);
        } else if has_tag {
            answer(stream, "304 Not Modified", "etag: \"7\"\r\n", b"");
        } else {
            answer(stream, "200 OK", "etag: \"7\"\r\n", MP3);
        }
    });
    let (sounds, inbox) = sounds(Vec::new());
    for _ in 0..3 {
        check_hum(&get(&sounds, &inbox, site.url("/fresh")).unwrap());
        check_hum(&get(&sounds, &inbox, site.url("/tag")).unwrap());
    }
    drop(sounds);
    let asked = std::iter::from_fn(|| site.asked.recv_timeout(SHORT.silence).ok());
    let asked = asked.map(|asked| asked.head.to_lowercase()).collect::<Vec<_>>();
    let count = |path: &str| asked.iter().filter(|head| head.contains(path)).count();
    assert_eq!((count("/fresh"), count("/tag")), (1, 3), "{asked:#?}");
    assert_eq!(count("if-none-match"), 2);
}

#[test]
fn what_is_wrong_with_a_sound_is_told_in_time() {
    let other = Site::start(|_, stream| answer(stream, "200 OK", "", MP3));
    let elsewhere = other.url("/");
    let site = Site::start(move |asked, stream| {
        let path = asked.head.split(' ').nth(1).unwrap_or_default();
        match path {
            "/missing" => answer(stream, "404 Not Found", "", b"no"),
            "/page" => answer(stream, "200 OK", "", b"<html>no sound</html>"),
            "/empty" => answer(stream, "200 OK", "", b""),
            "/long" => answer(stream, "200 OK", "", &vec![0; 200_000]),
            "/away" => answer(stream, "302 Found", &format!("location: {elsewhere}\r\n"), b""),
            "/metadata" => {
                let to = "location: http://169.254.169.254/latest\r\n";
                answer(stream, "302 Found", to, b"");
            }
            "/cut" => {
                let head = "HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n";
                let _ = stream.write_all(&[head.as_bytes(), &MP3[..4000]].concat());
            }
            // Neither says anything more for as long as the other side is there.
            "/dead" => wait_for_close(stream),
            _ => {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n");
                wait_for_close(stream);
            }
        }
    });
    let (sounds, inbox) = sounds(vec![site.address.to_string()]);
    for (path, wanted) in [
        ("/missing", "answered 404"),
        ("/page", "neither WAV nor MP3"),
        ("/empty", "neither WAV nor MP3"),
        ("/long", "longer than 100000 bytes"),
        ("/away", "private address"),
        ("/metadata", "private address"),
        ("/cut", "broke off"),
        ("/dead", "too long"),
        ("/slow", "broke off"),
    ] {
        let why = get(&sounds, &inbox, site.url(path)).unwrap_err();
        assert!(why.contains(wanted), "{path}: {why}");
        assert!(why.contains(&site.address.ip().to_string()), "{path} names the server: {why}");
    }
    let why = get(&sounds, &inbox, "http://127.0.0.1:1/gone".to_owned()).unwrap_err();
    assert!(why.contains("private address"), "{why}");
    assert_eq!(sounds.shared.fetches.load(Ordering::Relaxed), 0);
}

fn wait_for_close(stream: &mut TcpStream) {
    let _ = stream.read(&mut [0; 1]);
}

/// A radio station whose connection breaks again and again: all listeners share one stream, and it
/// is connected anew while somebody listens.
#[test]
fn an_endless_stream_is_shared_and_connected_again() {
    let site = Site::start(|_, stream| {
        let _ = stream
            .write_all(b"HTTP/1.0 200 OK\r\ncontent-type: audio/mpeg\r\nicy-name: test\r\n\r\n");
        // Two seconds of it at once, beginning in the middle of a frame.
        let _ = stream.write_all(&[&MP3[100..], MP3, MP3].concat());
    });
    let (sounds, inbox) = sounds(Vec::new());
    let first = get(&sounds, &inbox, site.url("/radio")).unwrap();
    let second = get(&sounds, &inbox, site.url("/radio")).unwrap();
    let (Source::Live(live), Source::Live(same)) = (&first, &second) else { panic!("{first:?}") };
    assert!(Arc::ptr_eq(live, same));
    let (mut sound, mut position) = (Vec::new(), live.position());
    for _ in 0..40 {
        let (frame, next) = live.read(position);
        position = next;
        sound.extend(frame);
    }
    assert!(ear::power(&sound[1600..], 400.0) > 1e5);
    // Three connections, by and by; the listeners keep what they have.
    for _ in 0..3 {
        site.asked.recv_timeout(Duration::from_secs(20)).unwrap();
    }
    assert!(live.written() >= Duration::from_secs(2), "{live:?}");
    assert!(!live.is_done(position));
}

/// What has no length and does not end in time is heard while it comes, and ends when it ends.
#[test]
fn a_sound_that_takes_long_is_heard_while_it_comes() {
    let site = Site::start(|_, stream| {
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\nconnection: close\r\n\r\n");
        // Slower than it may take, faster than it is heard: 9 seconds in 1.5.
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        for _ in 0..9 {
            let _ = stream.write_all(MP3);
            let _ = receiver.recv_timeout(Duration::from_millis(170));
        }
        drop(sender);
    });
    let (sounds, inbox) = sounds(Vec::new());
    let Ok(Source::Live(live)) = get(&sounds, &inbox, site.url("/slow.mp3")) else { panic!() };
    site.asked.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(live.written() >= READY);
}

#[test]
fn cache_control_is_read_as_it_is_written() {
    let life = |text: &str| (cache_control(text).0.as_secs(), cache_control(text).1);
    assert_eq!(life(""), (0, true));
    assert_eq!(life("public, Max-Age=60"), (60, true));
    assert_eq!(life("max-age=99999999"), (86_400, true));
    assert_eq!(life("no-store, max-age=60"), (60, false));
    assert_eq!(life("no-cache, max-age=60"), (0, true));
}
