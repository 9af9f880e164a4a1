//! Sound that comes from or goes to another server: the request that a node describes.

use serde_json::{Map, Value, json};

use crate::call::switch::ask::Ask;

/// A request for sound, or with a recording in it, as a node describes it. Whether it may go there
/// and what its credential holds is the owner's to know.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Remote {
    /// `GET`, `POST` or `PUT`.
    pub method: String,
    /// As written; it may hold secrets.
    pub url: String,
    /// Names and values in order.
    pub headers: Vec<(String, String)>,
    /// Type and name of the node's credential.
    pub credential: Option<(String, String)>,
}

impl Remote {
    /// The request of a playback (`playback`) or recording (`record`); an error says what the node
    /// is wrong about.
    pub(super) fn read(ask: &Ask, prefix: &str, usual: &str) -> Result<Self, String> {
        let key = |rest: &str| format!("{prefix}Http{rest}");
        let url = ask.text(&key("Url"));
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(format!("{} begins neither with http:// nor https://", key("Url")));
        }
        let method = ask.option(&key("Method")).and_then(Value::as_str).unwrap_or(usual);
        let credential = match ask.text(&key("Authentication")).as_str() {
            "" | "none" => None,
            "genericCredentialType" => {
                let kind = ask.text(&key("GenericAuthType"));
                let name = ask.credentials.get(&kind);
                let name =
                    name.ok_or(format!("the node has no credential of the type `{kind}`"))?;
                Some((kind, name.clone()))
            }
            _ => return Err("credentials of other services are not known here".to_owned()),
        };
        let headers = ask.option(&key("Headers")).map(pairs).unwrap_or_default();
        Ok(Self { method: method.to_uppercase(), url, headers, credential })
    }

    /// The same as parameters of an HTTP Request node.
    pub fn parameters(&self) -> Map<String, Value> {
        let headers = self.headers.iter();
        let headers = headers.map(|(name, value)| json!({ "name": name, "value": value }));
        let kind = self.credential.as_ref().map(|(kind, _)| kind.as_str());
        let authentication = kind.map_or("none", |_| "genericCredentialType");
        let fields = [
            ("method", self.method.as_str().into()),
            ("url", self.url.as_str().into()),
            ("sendHeaders", true.into()),
            ("headerParameters", json!({ "parameters": headers.collect::<Vec<_>>() })),
            ("authentication", authentication.into()),
            ("genericAuthType", kind.into()),
        ];
        fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// Scheme and host: what may stand in a log, where a path or query may hold secrets.
    pub fn place(&self) -> String {
        let (scheme, rest) = self.url.split_once("://").unwrap_or(("", &self.url));
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        format!("{scheme}://{}", rest[..end].rsplit('@').next().unwrap_or_default())
    }
}

/// Headers as an object, as its JSON, or as a list of names and values.
fn pairs(headers: &Value) -> Vec<(String, String)> {
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match headers {
        Value::String(text) => serde_json::from_str::<Value>(text)
            .ok()
            .filter(Value::is_object)
            .as_ref()
            .map_or_else(Vec::new, pairs),
        Value::Array(list) => {
            let named = list.iter().filter(|pair| pair["name"].is_string());
            named.map(|pair| (plain(&pair["name"]), plain(&pair["value"]))).collect()
        }
        Value::Object(fields) => match fields.values().next() {
            Some(list @ Value::Array(_)) => pairs(list),
            Some(_) | None => {
                fields.iter().map(|(name, value)| (name.clone(), plain(value))).collect()
            }
        },
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_however_an_export_has_them() {
        let expected = vec![("X-A".to_owned(), "b".to_owned())];
        for headers in [
            json!({ "X-A": "b" }),
            json!("{\"X-A\": \"b\"}"),
            json!({ "parameters": [{ "name": "X-A", "value": "b" }] }),
            json!([{ "name": "X-A", "value": "b" }]),
        ] {
            assert_eq!(pairs(&headers), expected, "{headers}");
        }
        for none in [json!(null), json!("no JSON"), json!("\"\""), json!({})] {
            assert!(pairs(&none).is_empty(), "{none}");
        }
    }

    #[test]
    fn a_log_shows_neither_path_nor_password() {
        let url = "https://user:secret@x.test:81/a?token=b".to_owned();
        let remote = Remote { method: String::new(), url, headers: Vec::new(), credential: None };
        assert_eq!(remote.place(), "https://x.test:81");
    }
}
