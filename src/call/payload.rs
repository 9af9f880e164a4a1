//! What a flow is given when a call comes in (contract §5.4), and how names become JSON keys.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::call::leg::{LegRef, leg_text};
use crate::flow::{Json, LateMembers};
use crate::sip::{Flow, Message, NameAddr, Start, digest};

/// Bytes of a body that the payload carries.
const BODY_MAX: usize = 16 * 1024;

/// The item of a trigger's `Call` branch. `bytes` is the INVITE; what most flows never look at is made
/// from them when one asks for it. `numbers` are those of the caller and of whom he called.
///
/// `extension` is who was proven to call, which may differ from what From says.
pub fn call(
    bytes: &[u8],
    numbers: (&str, &str),
    reference: &str,
    extension: Option<&str>,
    leg: LegRef,
) -> Json {
    let (caller, called) = numbers;
    let leg = leg_text(leg);
    let context = object([("ref", reference.into()), ("legId", leg.as_str().into())]);
    let more = extension.map(|extension| ("extension", extension.into()));
    let made = object_with(
        [
            ("eventType", "invite".into()),
            ("ref", reference.into()),
            ("legId", leg.into()),
            ("direction", "inbound".into()),
            ("callerNumber", caller.into()),
            ("calledNumber", called.into()),
            ("sipPbx", Value::Object(context)),
        ],
        more,
    );
    Json::with_late(made, Arc::new(Invite { bytes: bytes.into() }))
}

/// The INVITE that a call began with.
#[derive(Debug)]
struct Invite {
    bytes: Box<[u8]>,
}

impl LateMembers for Invite {
    fn keys(&self) -> &'static [&'static str] {
        &["callId", "from", "callerName", "to", "calledName", "raw"]
    }

    fn bytes(&self) -> usize {
        2 * self.bytes.len()
    }

    fn whole(&self, made: &Map<String, Value>) -> Map<String, Value> {
        let Ok(message) = Message::parse(&self.bytes) else { return made.clone() };
        let from = message.from().ok();
        let to = message.to().ok();
        let caller_name = from.as_ref().map(display).unwrap_or_default();
        let called_name = to.as_ref().map(display).unwrap_or_default();
        let from = from.as_ref().map(uri_text).unwrap_or_default();
        let to = to.as_ref().map(uri_text).unwrap_or_default();
        let call_id = message.call_id().unwrap_or_default();
        let extension = made.get("extension").and_then(Value::as_str);
        let raw = raw(&message, extension, &from, &to, call_id, &caller_name);
        let known = |key: &'static str| (key, made.get(key).cloned().unwrap_or_default());
        object_with(
            [
                known("eventType"),
                known("ref"),
                known("legId"),
                ("callId", call_id.into()),
                known("direction"),
                ("from", from.into()),
                known("callerNumber"),
                ("callerName", caller_name.into()),
                ("to", to.into()),
                known("calledNumber"),
                ("calledName", called_name.into()),
                ("raw", raw),
                known("sipPbx"),
            ],
            extension.map(|extension| ("extension", extension.into())),
        )
    }
}

/// The item of a trigger's `Auth` branch (contract §5.6): what a request shows of its sender.
pub fn auth(
    message: &Message<'_>,
    reference: &str,
    id: &str,
    request: &str,
    flow: Flow,
    shown: Option<&digest::Credentials<'_>>,
) -> Map<String, Value> {
    let from = message.from().ok().as_ref().map(uri_text).unwrap_or_default();
    let to = message.to().ok().as_ref().map(uri_text).unwrap_or_default();
    let caller_name = message.from().ok().as_ref().map(display).unwrap_or_default();
    let call_id = message.call_id().unwrap_or_default().to_owned();
    let mut named = Map::new();
    if let Some(shown) = shown {
        let mut set = |key: &str, value: &str| named.insert(key.to_owned(), value.into());
        set("username", shown.username);
        set("realm", shown.realm);
        set("nonce", shown.nonce);
        set("uri", shown.uri);
        set("response", shown.response);
        set("algorithm", shown.algorithm.as_str());
        if let Some(protection) = &shown.protection {
            set("qop", protection.qop.as_str());
            set("nc", protection.nc);
            set("cnonce", protection.cnonce);
        }
    }
    let payload = json!({
        "authRequestId": id,
        "ref": reference,
        "requestType": request,
        "auth": named,
        "remoteIp": flow.remote.ip().to_string(),
        "remotePort": flow.remote.port(),
        "transport": flow.transport.in_via().to_ascii_lowercase(),
        "localIp": flow.local.ip().to_string(),
        "localPort": flow.local.port(),
        "raw": raw(message, None, &from, &to, &call_id, &caller_name),
        "sipPbx": { "ref": reference, "authRequestId": id },
    });
    payload.as_object().cloned().unwrap_or_default()
}

fn raw(
    message: &Message<'_>,
    extension: Option<&str>,
    from: &str,
    to: &str,
    call_id: &str,
    caller_name: &str,
) -> Value {
    let (method, uri) = match &message.start {
        Start::Request { method, uri } => (method.as_str(), text(uri)),
        Start::Response { .. } => ("", String::new()),
    };
    let mut headers = Map::with_capacity(message.fields.len());
    for field in &message.fields {
        let key = camel(&String::from_utf8_lossy(field.raw_name));
        headers.entry(key).or_insert_with(|| Value::String(text(&field.value)));
    }
    let members = [
        ("callId", call_id.into()),
        ("from", from.into()),
        ("callerName", caller_name.into()),
        ("to", to.into()),
        ("headers", Value::Object(headers)),
        ("startLine", format!("{method} {uri} SIP/2.0").into()),
        ("method", method.into()),
        ("requestUri", uri.into()),
        ("body", text(&message.body[..message.body.len().min(BODY_MAX)]).into()),
    ];
    let more = extension.map(|extension| ("extension", extension.into()));
    Value::Object(object_with(members, more))
}

/// An object of these members: every call has some, so they are made at their size.
fn object<const N: usize>(members: [(&str, Value); N]) -> Map<String, Value> {
    object_with(members, None)
}

/// [`object`] with one more member, perhaps.
fn object_with<const N: usize>(
    members: [(&str, Value); N],
    more: Option<(&str, Value)>,
) -> Map<String, Value> {
    let mut object = Map::with_capacity(N + usize::from(more.is_some()));
    object.extend(members.into_iter().chain(more).map(|(key, value)| (key.to_owned(), value)));
    object
}

/// The user part of an address: of the URI in angle brackets first, decoded; else the text before
/// `@`; else all of it.
pub fn user_of(address: &str) -> String {
    let inner = address.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    let uri = inner.map_or(address, |(uri, _)| uri).trim();
    let rest = uri.strip_prefix("sips:").or_else(|| uri.strip_prefix("sip:")).unwrap_or(uri);
    let user = rest.split_once('@').map_or(rest, |(user, _)| user);
    decoded(user.split([';', ':']).next().unwrap_or_default())
}

/// A name in camel case: `X-Test-Header` becomes `xTestHeader`.
pub fn camel(name: &str) -> String {
    let mut key = String::with_capacity(name.len());
    let mut begins_word = false;
    for c in name.chars() {
        if !c.is_ascii_alphanumeric() {
            begins_word = !key.is_empty();
            continue;
        }
        key.push(if begins_word { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() });
        begins_word = false;
    }
    key
}

fn display(address: &NameAddr<'_>) -> String {
    address.display_name().into_owned()
}

fn uri_text(address: &NameAddr<'_>) -> String {
    address.uri_text.to_owned()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Percent-escapes decoded (RFC 3261 §19.1.2); a broken escape stays as it is.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escape = tail.get(..2).filter(|_| first == b'%');
        let value = escape.and_then(|hex| std::str::from_utf8(hex).ok());
        match value.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_parts_as_the_contract_reads_them() {
        assert_eq!(user_of("\"A\" <sip:+4930%20123@example.org;user=phone>"), "+4930 123");
        assert_eq!(user_of("sips:200@example.org"), "200");
        assert_eq!(user_of("300@example.org"), "300");
        assert_eq!(user_of("anonymous"), "anonymous");
        assert_eq!(user_of("<sip:a%zz:secret@h>"), "a%zz");
    }

    #[test]
    fn an_extension_is_who_was_proven_and_not_who_is_named() {
        let invite = b"INVITE sip:200@h SIP/2.0\r\nFrom: <sip:999@h>;tag=1\r\n\
                       To: <sip:200@h>\r\nCall-ID: c\r\n\r\n";
        let leg = LegRef::from_u64(0);
        let payload = call(invite, ("999", "200"), "office", Some("100"), leg);
        let keys = payload.keys().map(String::as_str).collect::<Vec<_>>();
        assert_eq!(keys[10..], ["calledName", "raw", "sipPbx", "extension"]);
        let of = |value: &Value| value["extension"].as_str().map(str::to_owned);
        assert_eq!(payload["callerNumber"], "999");
        assert_eq!(payload["extension"], "100");
        assert_eq!(of(&payload["raw"]).as_deref(), Some("100"));
        assert!(!call(invite, ("999", "200"), "trunk", None, leg).contains_key("extension"));
    }

    #[test]
    fn header_names_become_keys() {
        assert_eq!(camel("X-Test-Header"), "xTestHeader");
        assert_eq!(camel("call-id"), "callId");
        assert_eq!(camel("CSeq"), "cseq");
        assert_eq!(camel("--a--b-"), "aB");
        assert_eq!(camel("--"), "");
    }
}
