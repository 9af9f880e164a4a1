//! What a request of the HTTP node carries: JSON, forms, parts with files, attachments, raw text.

use serde_json::Value;

use crate::flow::expr::unbase64;
use crate::flow::node::condition::plain;
use crate::flow::node::http_request::{Pairs, form, parsed};
use crate::flow::{Fault, Item, Object};

/// The body that an author asks for; its type is added to the headers unless they name one.
pub(super) fn body(
    parameters: &Object,
    item: &Item,
    headers: &mut Pairs,
) -> Result<Vec<u8>, Fault> {
    let text = |key: &str| parameters.get(key).map(plain).unwrap_or_default();
    let list = parameters.get("bodyParameters").and_then(|list| list["parameters"].as_array());
    let list = list.map_or(&[][..], Vec::as_slice);
    let (kind, body) = match text("contentType").as_str() {
        "form-urlencoded" => {
            let pair = |pair: &Value| (plain(&pair["name"]), plain(&pair["value"]));
            let body = match text("specifyBody").as_str() {
                "string" => text("body"),
                _ => form(&list.iter().map(pair).collect::<Vec<_>>()),
            };
            ("application/x-www-form-urlencoded".to_owned(), body.into_bytes())
        }
        "multipart-form-data" => parts(list, item)?,
        "binaryData" => {
            let Attached { bytes, kind, .. } = attached(item, &text("inputDataFieldName"))?;
            (kind, bytes)
        }
        "raw" => {
            let said = text("rawContentType");
            let kind = if said.is_empty() { "text/plain".to_owned() } else { said };
            (kind, text("body").into_bytes())
        }
        _ => {
            let body = if text("specifyBody") == "json" {
                parsed(parameters.get("jsonBody"), "jsonBody")?
            } else {
                let fields = list.iter().map(|pair| (plain(&pair["name"]), pair["value"].clone()));
                Value::Object(fields.collect())
            };
            ("application/json".to_owned(), body.to_string().into_bytes())
        }
    };
    let is_said = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    if !is_said {
        headers.push(("Content-Type".to_owned(), kind));
    }
    Ok(body)
}

/// An attachment of an item.
struct Attached {
    bytes: Vec<u8>,
    kind: String,
    name: String,
}

fn attached(item: &Item, field: &str) -> Result<Attached, Fault> {
    let field = if field.is_empty() { "data" } else { field };
    let held = item.binary.as_ref().and_then(|binary| binary.get(field)).ok_or_else(|| {
        Fault::new("E-FLOW-HTTP", format!("the item has no binary data called `{field}`"))
    })?;
    let text = |key: &str| held[key].as_str();
    Ok(Attached {
        bytes: unbase64(text("data").unwrap_or_default()),
        kind: text("mimeType").unwrap_or("application/octet-stream").to_owned(),
        name: text("fileName").unwrap_or(field).to_owned(),
    })
}

/// A form of parts (RFC 7578), and its type with the boundary.
fn parts(list: &[Value], item: &Item) -> Result<(String, Vec<u8>), Fault> {
    let mut parts: Vec<(String, Vec<u8>)> = Vec::new();
    for pair in list {
        let name = quoted(&plain(&pair["name"]));
        if pair["parameterType"] == "formBinaryData" {
            let field = plain(&pair["inputDataFieldName"]);
            let Attached { bytes, kind, name: file } = attached(item, &field)?;
            let file = quoted(&file);
            let kind: String = kind.chars().filter(|c| !c.is_control()).collect();
            let head = format!("name=\"{name}\"; filename=\"{file}\"\r\nContent-Type: {kind}");
            parts.push((head, bytes));
        } else {
            parts.push((format!("name=\"{name}\""), plain(&pair["value"]).into_bytes()));
        }
    }
    let boundary = boundary(&parts);
    let mut body = Vec::new();
    for (head, bytes) in &parts {
        let head = format!("--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Ok((format!("multipart/form-data; boundary={boundary}"), body))
}

/// A line that no part holds.
fn boundary(parts: &[(String, Vec<u8>)]) -> String {
    let is_free = |boundary: &String| {
        let marker = boundary.as_bytes();
        parts.iter().all(|(_, bytes)| !bytes.windows(marker.len()).any(|part| part == marker))
    };
    let mut candidates = (0_u64..).map(|number| format!("ringback-part-{number}"));
    candidates.find(is_free).expect("bytes that are finite do not hold every number")
}

/// A name within quotes, as browsers write it.
fn quoted(name: &str) -> String {
    name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    fn made(parameters: Value) -> Result<(String, String), Fault> {
        let binary =
            json!({ "data": { "data": "YWJj", "mimeType": "audio/wav", "fileName": "a\"b.wav" } });
        let binary = Some(Arc::new(binary.as_object().unwrap().clone()));
        let (item, mut headers) = (Item { binary, ..Item::default() }, Vec::new());
        let body = body(parameters.as_object().unwrap(), &item, &mut headers)?;
        Ok((headers.remove(0).1, String::from_utf8(body).unwrap()))
    }

    #[test]
    fn attachments_and_parts() {
        let file = json!({ "contentType": "binaryData", "inputDataFieldName": "data" });
        assert_eq!(made(file).unwrap(), ("audio/wav".to_owned(), "abc".to_owned()));
        let list = json!([
            { "name": "note", "value": "ringback-part-0" },
            { "parameterType": "formBinaryData", "name": "f", "inputDataFieldName": "data" },
        ]);
        let form = json!({ "contentType": "multipart-form-data", "bodyParameters": { "parameters": list } });
        let (kind, body) = made(form).unwrap();
        assert_eq!(kind, "multipart/form-data; boundary=ringback-part-1");
        let expected = "--ringback-part-1\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\n\
            ringback-part-0\r\n--ringback-part-1\r\nContent-Disposition: form-data; name=\"f\"; \
            filename=\"a%22b.wav\"\r\nContent-Type: audio/wav\r\n\r\nabc\r\n--ringback-part-1--\r\n";
        assert_eq!(body, expected);
        let missing = json!({ "contentType": "binaryData", "inputDataFieldName": "other" });
        assert!(made(missing).unwrap_err().message.contains("`other`"));
    }
}
