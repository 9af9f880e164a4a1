//! What an HTTP server answered, and the items that it becomes.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::flow::expr::base64;
use crate::flow::{Fault, Item, Object};

/// An answer as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpResponse {
    /// The status code.
    pub status: u16,
    /// The words beside it.
    pub reason: String,
    /// Names in lower case, and values, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl HttpResponse {
    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body as JSON, if it is that by its type, or by its look where no type is given.
    fn json(&self) -> Option<Value> {
        let is_json = self.header("content-type").is_none_or(|kind| kind.contains("json"));
        is_json.then(|| serde_json::from_slice(&self.body).ok()).flatten()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// As `$response` shows it.
    pub(super) fn to_json(&self) -> Value {
        let headers =
            self.headers.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
        json!({
            "body": self.json().unwrap_or_else(|| self.text().into()),
            "headers": headers.collect::<Object>(),
            "statusCode": self.status, "statusMessage": self.reason,
        })
    }

    /// Whether nothing came: no body, or JSON that holds nothing.
    pub(super) fn is_empty(&self) -> bool {
        match self.json() {
            Some(Value::Array(list)) => list.is_empty(),
            Some(Value::Object(fields)) => fields.is_empty(),
            Some(Value::Null) => true,
            Some(Value::String(text)) => text.is_empty(),
            Some(Value::Bool(_) | Value::Number(_)) => false,
            None => self.body.is_empty(),
        }
    }
}

/// What is to be made of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wanted {
    is_full: bool,
    never_fails: bool,
    format: String,
    property: String,
    /// What the item has attached already.
    binary: Option<Arc<Object>>,
}

impl Wanted {
    /// Reads the option `response`.
    pub(super) fn read(option: &Value, item: &Item) -> Self {
        let property = option["outputPropertyName"].as_str().filter(|name| !name.is_empty());
        Self {
            is_full: option["fullResponse"] == true,
            never_fails: option["neverError"] == true,
            format: option["responseFormat"].as_str().unwrap_or("autodetect").to_owned(),
            property: property.unwrap_or("data").to_owned(),
            binary: item.binary.clone(),
        }
    }

    /// The items that an answer becomes.
    pub(super) fn items(
        &self,
        response: &HttpResponse,
        url: &str,
    ) -> Result<Vec<(usize, Item)>, Fault> {
        let HttpResponse { status, reason, headers, body } = response;
        if !(200..300).contains(status) && !self.never_fails {
            let shown: String = response.text().chars().take(200).collect();
            let message = match status {
                429 => "The service is receiving too many requests from you".to_owned(),
                _ => format!("Request failed with status code {status} {reason}: {shown}"),
            };
            return Err(Fault::new("E-FLOW-HTTP", message));
        }
        let kind = response.header("content-type").unwrap_or_default();
        let format = match self.format.as_str() {
            "autodetect" if is_file(kind) => "file",
            format => format,
        };
        let mut full = Object::new();
        if self.is_full {
            let fields =
                headers.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str())));
            full.insert("body".to_owned(), Value::Null);
            full.insert("headers".to_owned(), Value::Object(fields.collect()));
            full.insert("statusCode".to_owned(), (*status).into());
            full.insert("statusMessage".to_owned(), reason.as_str().into());
        }
        if format == "file" {
            let mut binary = self.binary.as_deref().cloned().unwrap_or_default();
            binary.insert(self.property.clone(), file(response, url));
            full.shift_remove("body");
            return Ok(vec![(0, Item { binary: Some(Arc::new(binary)), ..Item::new(full) })]);
        }
        let value = match format {
            "json" => Some(serde_json::from_slice(body).map_err(|_| {
                Fault::new(
                    "E-FLOW-HTTP",
                    "Response body is not valid JSON. Change \"Response Format\" to \"Text\"",
                )
            })?),
            "text" => None,
            _ if kind.contains("json") => serde_json::from_slice(body).ok(),
            _ => None,
        };
        let objects = if self.is_full {
            full["body"] = value.unwrap_or_else(|| response.text().into());
            vec![Value::Object(full)]
        } else {
            match value {
                Some(Value::Array(list)) => list,
                Some(value) => vec![value],
                None => vec![json!({ self.property.as_str(): response.text() })],
            }
        };
        let item = |value: Value| match value {
            Value::Object(fields) => Item::new(fields),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => Item::new([(self.property.clone(), value)].into_iter().collect()),
        };
        Ok(objects.into_iter().map(|value| (0, item(value))).collect())
    }
}

/// An answer as an attachment, with the name that it came with, or that the URL has.
fn file(response: &HttpResponse, url: &str) -> Value {
    let kind = response.header("content-type").unwrap_or("application/octet-stream");
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let given = response.header("content-disposition").and_then(|field| {
        let (_, rest) = field.split_once("filename=")?;
        let name = rest.split(';').next()?.trim().trim_matches('"');
        Some(name.rsplit(['/', '\\']).next()?.to_owned())
    });
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let last = path.splitn(4, '/').nth(3).and_then(|path| path.rsplit('/').next());
    let name = given.or_else(|| last.map(str::to_owned)).filter(|name| !name.is_empty());
    let body = &response.body;
    let size = format!("{} B", body.len());
    let mut file = json!({ "data": base64(body), "mimeType": kind, "fileSize": size });
    if let Some(name) = name {
        if let Some((_, extension)) = name.rsplit_once('.') {
            file["fileExtension"] = extension.into();
        }
        file["fileName"] = name.into();
    }
    file
}

/// Whether an answer of this type is kept as a file unless its author says otherwise.
fn is_file(kind: &str) -> bool {
    const WHOLE: [&str; 8] = [
        "application/octet-stream",
        "application/gzip",
        "application/zip",
        "application/pdf",
        "application/msword",
        "application/epub+zip",
        "application/vnd.rar",
        "application/x-zip-compressed",
    ];
    let kind = kind.split(';').next().unwrap_or_default().trim();
    ["image/", "audio/", "video/", "application/vnd.ms", "application/vnd.openxml"]
        .iter()
        .any(|family| kind.starts_with(family))
        || WHOLE.contains(&kind)
}
