//! What a request that started a run is answered with.

use serde_json::{Value, json};

use crate::flow::{self, Branches, Fault, Finished, Item, Object};
use crate::shell::credentials::Credentials;
use crate::shell::webhooks::auth;

/// What a request is answered with.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::shell) struct Reply {
    pub(in crate::shell) status: u16,
    pub(in crate::shell) headers: Vec<(String, String)>,
    pub(in crate::shell) body: Vec<u8>,
}

impl Reply {
    pub(in crate::shell) fn json(status: u16, body: &Value) -> Self {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Self { status, headers, body: body.to_string().into_bytes() }
    }

    fn text(status: u16, body: String) -> Self {
        let headers = vec![("content-type".to_owned(), "text/html; charset=utf-8".to_owned())];
        Self { status, headers, body: body.into_bytes() }
    }

    /// Puts a header in place of one that has the same name.
    fn set(&mut self, name: &str, value: &str) {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    fn set_all(&mut self, options: &Value) {
        for entry in options["responseHeaders"]["entries"].as_array().into_iter().flatten() {
            if let Some(name) = entry["name"].as_str() {
                self.set(name, &plain(&entry["value"]));
            }
        }
    }

    /// An attachment of an item.
    fn attached(status: u16, item: Option<&Item>, property: &str) -> Result<Self, Fault> {
        let binary = item.and_then(|item| item.binary.as_ref());
        let held = binary.and_then(|binary| match property {
            "" => binary.values().next(),
            named => binary.get(named),
        });
        let held = held.ok_or_else(|| {
            let name = if property.is_empty() { "data" } else { property };
            Fault::new("E-FLOW-BINARY", format!("the item has no binary data called `{name}`"))
        })?;
        let kind = held["mimeType"].as_str().unwrap_or("application/octet-stream");
        let headers = vec![("content-type".to_owned(), kind.to_owned())];
        let body = flow::unbase64(held["data"].as_str().unwrap_or_default());
        Ok(Self { status, headers, body })
    }
}

/// What is said at once to a request whose run is not waited for.
pub(super) fn received(parameters: &Object, version: f64) -> Reply {
    let options = &parameters.get("options").cloned().unwrap_or_default();
    let status = status(parameters, version);
    let mut reply = match (&options["noResponseBody"], &options["responseData"]) {
        (Value::Bool(true), _) => Reply { status, ..Reply::default() },
        (_, Value::Null) => Reply::json(status, &json!({ "message": "Workflow was started" })),
        (_, said) => Reply::text(status, plain(said)),
    };
    reply.set_all(options);
    reply
}

/// What the end of a run makes of the request that waits for it.
pub(super) fn ended(
    parameters: &Object,
    version: f64,
    outcome: &Finished,
    last: &Branches,
) -> Reply {
    let options = &parameters.get("options").cloned().unwrap_or_default();
    let text = |key: &str| parameters.get(key).map(plain).unwrap_or_default();
    let items = last.iter().find(|items| !items.is_empty()).map_or(&[][..], Vec::as_slice);
    let is_by_node = text("responseMode") == "responseNode";
    let status = if is_by_node { 200 } else { status(parameters, version) };
    let mut reply = match (outcome, text("responseData").as_str()) {
        (Finished::Failed { .. } | Finished::Cancelled, _) => {
            return Reply::json(500, &json!({ "message": "Error in workflow" }));
        }
        // No node has answered: there is nothing to say.
        (Finished::Success, _) if is_by_node => Reply { status, ..Reply::default() },
        (Finished::Success, "noData") => Reply { status, ..Reply::default() },
        (Finished::Success, "allEntries") => {
            Reply::json(status, &items.iter().map(json_of).collect())
        }
        (Finished::Success, "firstEntryBinary") => {
            let property = text("responseBinaryPropertyName");
            let property = if property.is_empty() { "data" } else { &property };
            match Reply::attached(status, items.first(), property) {
                Ok(reply) => reply,
                Err(fault) => return Reply::json(500, &json!({ "message": fault.message })),
            }
        }
        (Finished::Success, _) => {
            let first = items.first().map_or(Value::Null, json_of);
            match options["responsePropertyName"].as_str().filter(|path| !path.is_empty()) {
                Some(path) => Reply::json(status, &at(&first, path)),
                None => Reply::json(status, &first),
            }
        }
    };
    if let Some(kind) = options["responseContentType"].as_str().filter(|_| !is_by_node) {
        reply.set("content-type", kind);
    }
    reply.set_all(options);
    reply
}

/// What a Respond to Webhook node says, for all items that came to it.
pub(super) fn respond(
    parameters: &Object,
    items: &[Item],
    credential: Option<&str>,
    credentials: &Credentials,
) -> Result<Reply, Fault> {
    let options = parameters.get("options").cloned().unwrap_or_default();
    let status = options["responseCode"].as_u64().and_then(|code| u16::try_from(code).ok());
    let status = status.filter(|status| (200..600).contains(status)).unwrap_or(200);
    let text = |key: &str| parameters.get(key).map(plain).unwrap_or_default();
    let beneath = |value: Value| match options["responseKey"].as_str() {
        Some(key) if !key.is_empty() => {
            key.rsplit('.').fold(value, |value, key| json!({ key: value }))
        }
        Some(_) | None => value,
    };
    let mut reply = match text("respondWith").as_str() {
        "allIncomingItems" => Reply::json(status, &beneath(items.iter().map(json_of).collect())),
        "firstIncomingItem" => {
            Reply::json(status, &beneath(items.first().map_or(Value::Null, json_of)))
        }
        "json" => match parameters.get("responseBody") {
            Some(Value::String(text)) => {
                let read = serde_json::from_str::<Value>(text).map_err(|error| {
                    let message = format!("`responseBody` is no JSON: {error}");
                    Fault::new("E-FLOW-RESPOND", message)
                })?;
                Reply::json(status, &read)
            }
            Some(value) => Reply::json(status, value),
            None => Reply::json(status, &json!({})),
        },
        "noData" => Reply { status, ..Reply::default() },
        "redirect" => {
            let status = if (300..400).contains(&status) { status } else { 307 };
            let headers = vec![("location".to_owned(), text("redirectURL"))];
            Reply { status, headers, body: Vec::new() }
        }
        "text" => Reply::text(status, text("responseBody")),
        "binary" => {
            let is_set = text("responseDataSource") == "set";
            let property = if is_set { text("inputFieldName") } else { String::new() };
            Reply::attached(status, items.first(), &property)?
        }
        "jwt" => {
            let name = credential.ok_or_else(|| {
                Fault::new("E-FLOW-CREDENTIALS", "the node has no credential of the type `jwtAuth`")
            })?;
            let payload = match parameters.get("payload") {
                Some(Value::String(text)) => serde_json::from_str(text).map_err(|error| {
                    Fault::new("E-FLOW-RESPOND", format!("`payload` is no JSON: {error}"))
                })?,
                Some(value) => value.clone(),
                None => json!({}),
            };
            let token = auth::sign(&payload, &credentials.find(name)?)?;
            Reply::json(status, &json!({ "token": token }))
        }
        other => {
            let message = format!("`respondWith` is `{other}`, which this server does not know");
            return Err(Fault::new("E-FLOW-RESPOND", message));
        }
    };
    reply.set_all(&options);
    Ok(reply)
}

fn status(parameters: &Object, version: f64) -> u16 {
    let chosen = &parameters.get("options").unwrap_or(&Value::Null)["responseCode"]["values"];
    let code = match chosen["responseCode"].as_str() {
        Some("customCode") => chosen["customCode"].as_u64(),
        Some(code) => code.parse().ok(),
        None => chosen["responseCode"].as_u64(),
    };
    let code = code.or_else(|| parameters.get("responseCode").filter(|_| version < 2.0)?.as_u64());
    let code = code.and_then(|code| u16::try_from(code).ok());
    code.filter(|code| (200..600).contains(code)).unwrap_or(200)
}

fn json_of(item: &Item) -> Value {
    Value::Object(Object::clone(&item.json))
}

fn plain(value: &Value) -> String {
    match value.as_str() {
        Some(text) => text.to_owned(),
        None if value.is_null() => String::new(),
        None => value.to_string(),
    }
}

/// What lies at a path such as `a.b[0]`.
fn at(value: &Value, path: &str) -> Value {
    let path = path.replace('[', ".").replace(']', "");
    let mut here = value;
    for key in path.split('.') {
        here = match (here.as_array(), key.parse::<usize>()) {
            (Some(list), Ok(index)) => list.get(index).unwrap_or(&Value::Null),
            (Some(_), Err(_)) | (None, _) => &here[key],
        };
    }
    here.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Object {
        value.as_object().unwrap().clone()
    }

    fn answer(parameters: Value, items: &[Item]) -> Result<Reply, Fault> {
        respond(&object(parameters), items, None, &Credentials::default())
    }

    fn body(reply: &Reply) -> &str {
        std::str::from_utf8(&reply.body).unwrap()
    }

    #[test]
    fn what_a_node_answers() {
        let text = json!({ "respondWith": "text", "responseBody": "hi", "options": {
            "responseCode": 201, "responseHeaders": { "entries": [{ "name": "X-A", "value": 7 }] } } });
        let said = answer(text, &[]).unwrap();
        assert_eq!((said.status, body(&said)), (201, "hi"));
        assert!(said.headers.contains(&("X-A".to_owned(), "7".to_owned())));

        let item = Item::new(object(json!({ "a": 1 })));
        let key = json!({ "respondWith": "allIncomingItems", "options": { "responseKey": "x.y" } });
        assert_eq!(
            body(&answer(key, std::slice::from_ref(&item)).unwrap()),
            r#"{"x":{"y":[{"a":1}]}}"#
        );
        let json = json!({ "respondWith": "json", "responseBody": "{\"b\": 2}" });
        assert_eq!(body(&answer(json, &[]).unwrap()), r#"{"b":2}"#);
        let broken = json!({ "respondWith": "json", "responseBody": "{b: 2}" });
        assert!(answer(broken, &[]).unwrap_err().message.contains("is no JSON"));
        assert!(answer(json!({ "respondWith": "carrier pigeon" }), &[]).is_err());
    }

    #[test]
    fn attachments() {
        let attached = json!({ "data": "YWJj", "mimeType": "audio/wav" });
        let item = Item {
            binary: Some(std::sync::Arc::new(object(json!({ "wav": attached })))),
            ..Item::default()
        };
        let binary = json!({ "respondWith": "binary" });
        let said = answer(binary.clone(), std::slice::from_ref(&item)).unwrap();
        assert_eq!((body(&said), said.headers[0].1.as_str()), ("abc", "audio/wav"));
        assert!(answer(binary, &[Item::default()]).is_err());
        let other =
            json!({ "respondWith": "binary", "responseDataSource": "set", "inputFieldName": "x" });
        assert!(answer(other, std::slice::from_ref(&item)).unwrap_err().message.contains("`x`"));

        let last = vec![vec![item]];
        let wanted =
            object(json!({ "responseMode": "lastNode", "responseData": "firstEntryBinary",
            "responseBinaryPropertyName": "wav" }));
        assert_eq!(body(&ended(&wanted, 2.0, &Finished::Success, &last)), "abc");
    }

    #[test]
    fn codes_and_what_lies_deeper() {
        let code = |parameters: Value| received(&object(parameters), 2.0).status;
        assert_eq!(code(json!({})), 200);
        assert_eq!(
            code(json!({ "options": { "responseCode": { "values": { "responseCode": 202 } } } })),
            202
        );
        let own = json!({ "responseCode": "customCode", "customCode": 207 });
        assert_eq!(code(json!({ "options": { "responseCode": { "values": own } } })), 207);
        let mut last = vec![vec![Item::new(object(json!({ "a": { "b": [1, 2] } })))]];
        let of = object(
            json!({ "responseMode": "lastNode", "options": { "responsePropertyName": "a.b[1]" } }),
        );
        assert_eq!(body(&ended(&of, 2.0, &Finished::Success, &last)), "2");
        last.insert(0, Vec::new());
        assert_eq!(body(&ended(&of, 2.0, &Finished::Success, &last)), "2");
    }
}
