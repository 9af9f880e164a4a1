//! The scanners once more, as the grammar says it and one rule at a time: the quick ones agree.

use proptest::prelude::*;

use super::message::next_control;
use super::name::{FORMS, Name};
use super::set::{TOKEN, URI};
use super::text::{Params, find_bare, number, quoted_len};
use super::typed::Via;
use super::uri::{Host, Uri};

/// Text that is nearly a header value: its pieces, its separators, and what must not be there.
fn value() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        ";",
        ";",
        ",",
        "<",
        ">",
        "\"",
        "\\",
        "=",
        "=",
        "@",
        ":",
        ":",
        "?",
        "[",
        "]",
        "/",
        " ",
        "\t",
        "a",
        "Br",
        "5",
        "5062",
        "ü",
        "\u{a0}",
        "\u{7f}",
        "\0",
        "%41",
        "_",
        "sip:",
        "SIPS:",
        "tel:",
        "mailto:",
        "192.0.2.7",
        "[2001:db8::1]",
        "[:::1]",
        "h.example",
        "SIP/2.0/UDP ",
        "SIP",
        "2.0",
        ";lr",
        ";x=y",
        ";t=\"a;b\"",
        "branch",
        "z9hG4bK",
    ]);
    prop::collection::vec(piece, 0..9).prop_map(|pieces| pieces.concat())
}

fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t')
}

/// Cut where the character stands outside quotes and brackets, a byte at a time.
fn pieces(text: &str, at: u8) -> Vec<&str> {
    let (mut pieces, mut begin) = (Vec::new(), 0);
    while let Some(end) = bare(&text[begin..], at) {
        pieces.push(text[begin..begin + end].trim_matches(is_blank));
        begin += end + 1;
    }
    pieces.push(text[begin..].trim_matches(is_blank));
    pieces
}

fn bare(text: &str, wanted: u8) -> Option<usize> {
    let (mut at, mut in_brackets) = (0, false);
    while let Some(&byte) = text.as_bytes().get(at) {
        if byte == wanted && !in_brackets {
            return Some(at);
        }
        match byte {
            b'"' if !in_brackets => at += quoted_len(&text[at..])? - 1,
            b'<' => in_brackets = true,
            b'>' => in_brackets = false,
            _ => {}
        }
        at += 1;
    }
    None
}

fn params(text: &str) -> Option<Vec<(&str, &str)>> {
    let text = text.trim_matches(is_blank);
    if text.is_empty() {
        return Some(Vec::new());
    }
    let is_word = |text: &str| {
        text.bytes().all(|byte| byte > b' ' && byte != 0x7f && !b"\"<>,;".contains(&byte))
    };
    let one = |piece| {
        let (name, value) = str::split_once(piece, '=').unwrap_or((piece, ""));
        let (name, value) = (name.trim_matches(is_blank), value.trim_matches(is_blank));
        let is_quoted = value.starts_with('"') && quoted_len(value) == Some(value.len());
        let is_sound = !name.is_empty() && is_word(name) && (is_quoted || is_word(value));
        is_sound.then_some((name, value))
    };
    pieces(text.strip_prefix(';')?.trim_matches(is_blank), b';').into_iter().map(one).collect()
}

fn host_and_port(text: &str) -> Option<(Host<'_>, Option<u16>)> {
    let colon = match text.find(']') {
        Some(end) => text[end..].find(':').map(|at| end + at),
        None => text.find(':'),
    };
    let Some(colon) = colon else { return Some((host(text)?, None)) };
    let port = number(text[colon + 1..].trim_start())?;
    Some((host(text[..colon].trim_end())?, Some(port)))
}

fn host(text: &str) -> Option<Host<'_>> {
    if let Some(inner) = text.strip_prefix('[') {
        let inner = inner.strip_suffix(']')?;
        let address = inner.parse().or_else(|_| inner.replacen(":::", "::", 1).parse());
        return address.ok().map(Host::V6);
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    match text.parse() {
        Ok(address) => Some(Host::V4(address)),
        Err(_) if text.bytes().all(is_name) && !text.is_empty() => Some(Host::Name(text)),
        Err(_) => None,
    }
}

/// What [`Uri::parse`] says of a `sip:` or `sips:` URI, printed.
fn uri(text: &str) -> Option<String> {
    let is_foreign = |byte: u8| byte <= b' ' || byte >= 0x7f || b"<>\"".contains(&byte);
    let (scheme, rest) = text.split_once(':')?;
    let is_sip = scheme.eq_ignore_ascii_case("sip") || scheme.eq_ignore_ascii_case("sips");
    if text.bytes().any(is_foreign) || !is_sip || rest.is_empty() {
        return None;
    }
    let (user, rest) = rest.split_once('@').map_or((None, rest), |(user, rest)| (Some(user), rest));
    if user.is_some_and(|user| user.is_empty() || user.starts_with(':')) {
        return None;
    }
    let (rest, headers) = rest.split_once('?').unwrap_or((rest, ""));
    let (host, behind) = rest.split_at(rest.find(';').unwrap_or(rest.len()));
    let (host, port) = host_and_port(host)?;
    params(behind)?;
    let user = user.map(|user| format!("{user}@")).unwrap_or_default();
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let headers = if headers.is_empty() { String::new() } else { format!("?{headers}") };
    Some(format!("{}:{user}{host}{port}{behind}{headers}", scheme.to_lowercase()))
}

fn via(text: &str) -> Option<(&str, Host<'_>, Option<u16>)> {
    let (sent, behind) = text.split_at(bare(text, b';').unwrap_or(text.len()));
    params(behind)?;
    let mut parts = sent.splitn(3, '/').map(|part| part.trim_matches(is_blank));
    let (name, version, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let (transport, sent_by) = rest.split_once(is_blank)?;
    if !name.eq_ignore_ascii_case("SIP") || version != "2.0" || !TOKEN.spells(transport.as_bytes())
    {
        return None;
    }
    let (host, port) = host_and_port(sent_by.trim_matches(is_blank))?;
    Some((transport, host, port))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn separators_are_found(text in value()) {
        for wanted in [b';', b',', b'<'] {
            prop_assert_eq!(find_bare(&text, wanted), bare(&text, wanted), "{}", text);
        }
        let values: Vec<_> = super::text::Split::list(&text).collect();
        prop_assert_eq!(values, pieces(&text, b','));
    }

    #[test]
    fn parameters_are_read(text in value(), semicolon in any::<bool>()) {
        let text = if semicolon { format!(";{text}") } else { text };
        let read = Params::parse(&text).map(|params| params.iter().collect::<Vec<_>>());
        prop_assert_eq!(read, params(&text), "{}", text);
    }

    #[test]
    fn hosts_and_uris_are_read(text in value(), scheme in "(sip:|sips:|SIP:|)(a@|)") {
        prop_assert_eq!(Host::parse_with_port(&text), host_and_port(&text), "{}", text);
        let text = format!("{scheme}{text}");
        let read = Uri::parse(&text).filter(|uri| uri.sip().is_some());
        // Blanks around parameters cannot be there, so what is printed is what was read.
        prop_assert_eq!(read.map(|uri| uri.to_string()), uri(&text), "{}", text);
    }

    #[test]
    fn vias_are_read(text in value(), protocol in "(SIP/2.0/UDP |sip / 2.0 / TCP\t|)") {
        let text = format!("{protocol}{text}");
        let read = Via::parse(&text).map(|via| (via.transport, via.host, via.port));
        prop_assert_eq!(read, via(&text), "{}", text);
    }

    #[test]
    fn controls_are_found(bytes in prop::collection::vec(prop_oneof![
        20 => 0x20..=0xff_u8, 1 => 0..0x20_u8, 1 => Just(b'\t'),
    ], 0..60)) {
        let plain = bytes.iter().take_while(|byte| **byte >= b' ' || **byte == b'\t').count();
        prop_assert_eq!(next_control(&bytes), plain);
    }

    #[test]
    fn names_are_looked_up(at in 0..FORMS.len(), upper in any::<u32>(), bend in 0..60_usize, byte: u8) {
        let mut bytes = FORMS[at].0.to_vec();
        for (place, byte) in bytes.iter_mut().enumerate() {
            if upper >> place & 1 == 1 {
                byte.make_ascii_uppercase();
            }
        }
        if let Some(bent) = bytes.get_mut(bend) {
            *bent = byte;
        }
        let known = FORMS.iter().find(|(form, ..)| form.eq_ignore_ascii_case(&bytes));
        let name = known.map_or(Name::Other, |(_, _, name)| *name);
        prop_assert_eq!(Name::parse(&bytes), name);
    }
}

#[test]
fn the_sets_are_what_the_grammar_says() {
    for byte in 0..=u8::MAX {
        let is_token = byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte);
        assert_eq!(TOKEN.has(byte), is_token);
        assert_eq!(URI.has(byte), byte.is_ascii_graphic() && !b"<>\"".contains(&byte));
    }
}
