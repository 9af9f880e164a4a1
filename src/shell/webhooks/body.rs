//! What a request carries: JSON, a form, text, files; and how an item holds it.

use serde_json::{Map, Value, json};

use crate::flow::{self, Object};

/// What a request carries, as an item has it.
#[derive(Clone, Debug, Default)]
pub(in crate::shell) struct Content {
    pub(in crate::shell) body: Value,
    pub(in crate::shell) binary: Object,
}

/// A field or file of a form.
#[derive(Clone, Debug, Default)]
pub(in crate::shell) struct Part {
    pub(in crate::shell) name: String,
    pub(in crate::shell) file: Option<String>,
    pub(in crate::shell) kind: Option<String>,
    pub(in crate::shell) bytes: Vec<u8>,
}

impl Content {
    /// Reads a body that is no form of parts. `None`: it says that it is JSON, and is not.
    pub(super) fn read(kind: &str, bytes: &[u8], options: &Value) -> Option<Self> {
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let text = || Value::from(String::from_utf8_lossy(bytes));
        let property = options["binaryPropertyName"].as_str().unwrap_or("data");
        let mut content = Self { body: Value::Object(Map::new()), binary: Object::new() };
        let is_wanted = options["rawBody"] == true || options["binaryData"] == true;
        if bytes.is_empty() {
            return Some(content);
        }
        if kind.is_empty() {
            content.body = serde_json::from_slice(bytes).unwrap_or_else(|_| text());
        } else if kind == "application/json" || kind.ends_with("+json") {
            content.body = serde_json::from_slice(bytes).ok()?;
        } else if kind == "application/x-www-form-urlencoded" {
            content.body = Value::Object(pairs(&String::from_utf8_lossy(bytes)));
        } else if kind.starts_with("text/") || kind.ends_with("xml") {
            content.body = text();
        } else if !is_wanted {
            content.binary.insert(property.to_owned(), attachment(bytes, &kind, None));
        }
        if is_wanted {
            content.binary.insert(property.to_owned(), attachment(bytes, &kind, None));
        }
        Some(content)
    }

    /// Fields become the body, files are attached.
    pub(in crate::shell) fn of_parts(parts: Vec<Part>) -> Self {
        let (mut body, mut binary) = (Map::new(), Object::new());
        for Part { name, file, kind, bytes } in parts {
            match file {
                None => add(&mut body, name, String::from_utf8_lossy(&bytes).into()),
                Some(file) => {
                    let kind = kind.as_deref().unwrap_or("application/octet-stream");
                    let mut key = name.clone();
                    let mut number = 0;
                    while binary.contains_key(&key) {
                        number += 1;
                        key = format!("{name}{number}");
                    }
                    binary.insert(key, attachment(&bytes, kind, Some(&file)));
                }
            }
        }
        Self { body: Value::Object(body), binary }
    }
}

/// Bytes as an item carries them.
fn attachment(bytes: &[u8], kind: &str, name: Option<&str>) -> Value {
    let mut attached = json!({
        "data": flow::base64(bytes), "mimeType": kind, "fileSize": format!("{} B", bytes.len()),
    });
    if let Some(name) = name {
        attached["fileName"] = name.into();
        if let Some((_, extension)) = name.rsplit_once('.') {
            attached["fileExtension"] = extension.into();
        }
    }
    attached
}

/// The pairs of a query or form; a name that comes twice is a list.
pub(in crate::shell) fn pairs(text: &str) -> Map<String, Value> {
    let mut read = Map::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        add(&mut read, unescaped(name), unescaped(value).into());
    }
    read
}

fn add(fields: &mut Map<String, Value>, name: String, value: Value) {
    match fields.entry(name) {
        serde_json::map::Entry::Vacant(slot) => {
            slot.insert(value);
        }
        serde_json::map::Entry::Occupied(mut slot) => {
            if let Value::Array(list) = slot.get_mut() {
                list.push(value);
            } else {
                let first = slot.get_mut().take();
                slot.insert(Value::Array(vec![first, value]));
            }
        }
    }
}

/// A `%` that no two digits follow stands for itself.
fn unescaped(text: &str) -> String {
    let text = text.as_bytes();
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let digit = |at: usize| text.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'+', ..) => bytes.push(b' '),
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                at += 2;
            }
            (byte, ..) => bytes.push(*byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_request_carries() {
        let read = |kind: &str, bytes: &[u8]| {
            let content = Content::read(kind, bytes, &Value::Null)?;
            Some((content.body, content.binary.get("data").map(|data| data["data"].clone())))
        };
        let body = |kind: &str, text: &str| read(kind, text.as_bytes()).map(|(body, _)| body);
        assert_eq!(body("application/json; charset=utf-8", "[1]"), Some(json!([1])));
        assert_eq!(body("application/json", "{"), None);
        assert_eq!(body("", "{"), Some(json!("{")));
        assert_eq!(body("text/plain", "7"), Some(json!("7")));
        let form = "a=1&b=x+y%21&a=%zz&c";
        let expected = json!({ "a": ["1", "%zz"], "b": "x y!", "c": "" });
        assert_eq!(body("application/x-www-form-urlencoded", form), Some(expected));
        assert_eq!(read("image/png", b"abc"), Some((json!({}), Some(json!("YWJj")))));
        let raw = Content::read("application/json", b"{}", &json!({ "rawBody": true })).unwrap();
        assert_eq!((raw.body, &raw.binary["data"]["fileSize"]), (json!({}), &json!("2 B")));
    }

    #[test]
    fn forms_of_parts() {
        let part = |name: &str, file: Option<&str>| {
            let (name, file, bytes) = (name.to_owned(), file.map(str::to_owned), b"x".to_vec());
            Part { name, file, kind: None, bytes }
        };
        let content = Content::of_parts(vec![
            part("a", None),
            part("f", Some("1.txt")),
            part("f", Some("2")),
        ]);
        assert_eq!(content.body, json!({ "a": "x" }));
        assert_eq!(content.binary["f"]["fileExtension"], "txt");
        assert_eq!(content.binary["f1"]["fileName"], "2");
    }
}
