//! Settings as people write them, and what is told of those that are wrong.

use super::*;

#[test]
fn an_empty_file_means_loopback() {
    let settings = read("").unwrap();
    assert_eq!(settings, Settings::default());
    assert!(settings.sip.ip().is_loopback() && settings.http.ip().is_loopback());
    assert_eq!(settings.rtp.to_string(), "127.0.0.1:20000-29999");
}

#[test]
fn audio_has_an_address_that_phones_can_reach() {
    for text in ["0.0.0.0:20000-29999", "[::]:20000-29999"] {
        assert_eq!(text.parse::<RtpRange>(), Err(RtpRangeError::Unspecified), "{text}");
    }
}

#[test]
fn every_problem_is_found_at_once_and_named_by_its_path() {
    let text = "
        sip.listen = 'here'
        rtp.listen = '127.0.0.1:80-70'
        limits.legs = 0
        [trunk.main]
        peers = ['192.0.2.1', 'nonsense']
        server = 'sip.example.org'
        transport = 'pigeon'
        backup = '192.0.2.9'
        domain = 'a b'
        username = 'alone'
        [extension.200]
        contact = 'sip:200@phone.example.org'
        [trunk.odd]
        codecs = ['pcma', 'g729']
        [extensions.agents]
        codecs = []
    ";
    let paths = read(text).unwrap_err().into_iter().map(|problem| problem.path);
    let paths = paths.collect::<Vec<_>>();
    let expected = [
        "sip.listen",
        "rtp.listen",
        "limits.legs",
        "trunk.main.peers[1]",
        "trunk.main.server",
        "trunk.main.backup",
        "trunk.main.transport",
        "trunk.main.domain",
        "trunk.main",
        "trunk.odd.codecs",
        "extension.200.contact",
        "extensions.agents.codecs",
    ];
    assert_eq!(paths, expected);
}

#[test]
fn an_unknown_key_is_an_error_with_its_line() {
    let problem = &read("[sip]\nlisten_on = 'x'\n").unwrap_err()[0];
    assert_eq!((&*problem.path, problem.line), ("sip.listen_on", Some(2)));
}
