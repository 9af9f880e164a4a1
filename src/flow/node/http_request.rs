//! HTTP Request: what is to be sent, and what the answer becomes. The sending is the shell's.

use std::time::Duration;

use serde_json::{Value, json};

use crate::flow::node::condition::plain;
use crate::flow::{Fault, Findings, Item, NodeType, Object, Role};

/// The type's name in exports.
pub const HTTP_REQUEST: &str = "n8n-nodes-base.httpRequest";

/// How long a request may take when its author does not say.
const TIMEOUT: Duration = Duration::from_secs(300);
/// Redirects that are followed when the author does not say.
const REDIRECTS: u32 = 21;

pub(super) struct HttpRequestNode;

impl NodeType for HttpRequestNode {
    fn name(&self) -> &'static str {
        HTTP_REQUEST
    }

    fn versions(&self) -> &'static [f64] {
        &[3.0, 4.0, 4.1, 4.2, 4.3, 4.4]
    }

    fn role(&self) -> Role {
        Role::Service
    }

    fn fill(&self, _version: f64, parameters: &mut Object, _report: &mut Findings) {
        let defaults = [
            ("method", "GET"),
            ("authentication", "none"),
            ("specifyQuery", "keypair"),
            ("specifyHeaders", "keypair"),
            ("contentType", "json"),
            ("specifyBody", "keypair"),
        ];
        for (key, value) in defaults {
            parameters.entry(key).or_insert_with(|| value.into());
        }
    }

    fn check(&self, _version: f64, parameters: &Object, report: &mut Findings) {
        let text = |key: &str| parameters.get(key).and_then(Value::as_str).unwrap_or_default();
        if text("url").is_empty() {
            report.error("E-FLOW-REQUIRED", "url", "there is no URL", "write one");
        }
        if text("authentication") == "predefinedCredentialType" {
            let message = "credentials of other services are not known here";
            let remedy = "choose a generic credential: header, bearer, basic or query";
            report.error("E-FLOW-UNSERVED", "authentication", message, remedy);
        }
        if matches!(text("contentType"), "multipart-form-data" | "binaryData") {
            let message =
                format!("a body of the kind `{}` is not sent by this server", text("contentType"));
            report.error(
                "E-FLOW-UNSERVED",
                "contentType",
                &message,
                "send JSON, a form or raw text",
            );
        }
        let option = |key: &str| parameters.get("options").and_then(|options| options.get(key));
        for key in ["pagination", "proxy"] {
            if option(key).is_some() {
                let path = format!("options.{key}");
                report.warning("W-FLOW-PARAMETER", &path, "this option has no effect here", "");
            }
        }
    }
}

/// One request, ready to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpRequest {
    /// `GET`, `POST` and so on.
    pub method: String,
    /// With its query.
    pub url: String,
    /// Names and values in order.
    pub headers: Vec<(String, String)>,
    /// What is sent after the headers.
    pub body: Option<String>,
    /// How long the whole may take.
    pub timeout: Duration,
    /// Redirects that may be followed.
    pub redirects: u32,
    response: Wanted,
}

/// What is to be made of an answer.
#[derive(Clone, Debug, PartialEq)]
struct Wanted {
    is_full: bool,
    never_fails: bool,
    format: String,
    property: String,
}

/// An answer as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpResponse {
    /// The status code.
    pub status: u16,
    /// The words beside it.
    pub reason: String,
    /// Names in lower case, and values, in order.
    pub headers: Vec<(String, String)>,
    /// The body as text.
    pub body: String,
}

impl HttpRequest {
    /// Reads the resolved parameters. `credential` finds what the author's credential of a type
    /// holds.
    pub fn read(
        parameters: &Object,
        credential: impl Fn(&str) -> Result<Object, Fault>,
    ) -> Result<Self, Fault> {
        let text = |key: &str| parameters.get(key).map(plain).unwrap_or_default();
        let option = |key: &str| parameters.get("options").map_or(&Value::Null, |o| &o[key]);
        let is_on = |key: &str| parameters.get(key).is_some_and(|value| value == true);
        let mut headers = Vec::new();
        let mut query = Vec::new();
        if is_on("sendHeaders") {
            headers = pairs(parameters, "specifyHeaders", "headerParameters", "jsonHeaders")?;
        }
        if is_on("sendQuery") {
            query = pairs(parameters, "specifyQuery", "queryParameters", "jsonQuery")?;
        }
        if text("authentication") == "genericCredentialType" {
            authenticate(&text("genericAuthType"), credential, &mut headers, &mut query)?;
        }
        let body = if is_on("sendBody") { body(parameters, &mut headers)? } else { None };
        let mut url = text("url");
        if !url.starts_with("http://") && !url.starts_with("https://") {
            let message = format!("the URL '{url}' begins neither with http:// nor https://");
            return Err(Fault::new("E-FLOW-HTTP", message));
        }
        if !query.is_empty() {
            url.push(if url.contains('?') { '&' } else { '?' });
            url.push_str(&form(&query));
        }
        let response = &option("response")["response"];
        let redirect = &option("redirect")["redirect"];
        let follows = redirect["followRedirects"] != false;
        let redirects = redirect["maxRedirects"].as_u64().map_or(REDIRECTS, |n| n.min(50) as u32);
        let timeout = option("timeout").as_u64().filter(|timeout| *timeout > 0);
        let property = response["outputPropertyName"].as_str().filter(|name| !name.is_empty());
        Ok(Self {
            method: text("method").to_uppercase(),
            url,
            headers,
            body,
            timeout: timeout.map_or(TIMEOUT, Duration::from_millis).min(TIMEOUT),
            redirects: if follows { redirects } else { 0 },
            response: Wanted {
                is_full: response["fullResponse"] == true,
                never_fails: response["neverError"] == true,
                format: response["responseFormat"].as_str().unwrap_or("autodetect").to_owned(),
                property: property.unwrap_or("data").to_owned(),
            },
        })
    }

    /// The items that an answer becomes.
    pub fn items(&self, response: &HttpResponse) -> Result<Vec<(usize, Item)>, Fault> {
        let HttpResponse { status, reason, headers, body } = response;
        if !(200..300).contains(status) && !self.response.never_fails {
            let shown: String = body.chars().take(200).collect();
            let message = match status {
                429 => "The service is receiving too many requests from you".to_owned(),
                _ => format!("Request failed with status code {status} {reason}: {shown}"),
            };
            return Err(Fault::new("E-FLOW-HTTP", message));
        }
        let kind = headers.iter().find(|(name, _)| name == "content-type");
        let is_json = kind.is_some_and(|(_, value)| value.contains("json"));
        let value = match self.response.format.as_str() {
            "json" => Some(serde_json::from_str(body).map_err(|_| {
                Fault::new(
                    "E-FLOW-HTTP",
                    "Response body is not valid JSON. Change \"Response Format\" to \"Text\"",
                )
            })?),
            "text" | "file" => None,
            _ if is_json => serde_json::from_str(body).ok(),
            _ => None,
        };
        let objects = if self.response.is_full {
            let fields =
                headers.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str())));
            let headers = Value::Object(fields.collect());
            vec![json!({
                "body": value.unwrap_or_else(|| body.as_str().into()), "headers": headers,
                "statusCode": status, "statusMessage": reason,
            })]
        } else {
            match value {
                Some(Value::Array(list)) => list,
                Some(value) => vec![value],
                None => vec![json!({ self.response.property.as_str(): body })],
            }
        };
        let item = |value: Value| match value {
            Value::Object(fields) => Item::new(fields),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => {
                Item::new([(self.response.property.clone(), value)].into_iter().collect())
            }
        };
        Ok(objects.into_iter().map(|value| (0, item(value))).collect())
    }
}

fn authenticate(
    kind: &str,
    credential: impl Fn(&str) -> Result<Object, Fault>,
    headers: &mut Vec<(String, String)>,
    query: &mut Vec<(String, String)>,
) -> Result<(), Fault> {
    let held = credential(kind)?;
    let text = |key: &str| held.get(key).map(plain).unwrap_or_default();
    match kind {
        "httpHeaderAuth" => headers.push((text("name"), text("value"))),
        "httpQueryAuth" => query.push((text("name"), text("value"))),
        "httpBearerAuth" => {
            headers.push(("Authorization".to_owned(), format!("Bearer {}", text("token"))));
        }
        "httpBasicAuth" => {
            let pair = format!("{}:{}", text("user"), text("password"));
            let coded = crate::flow::expr::base64(pair.as_bytes());
            headers.push(("Authorization".to_owned(), format!("Basic {coded}")));
        }
        _ => {
            let message = format!("credentials of the type `{kind}` are not known here");
            return Err(Fault::new("E-FLOW-CREDENTIALS", message));
        }
    }
    Ok(())
}

fn pairs(
    parameters: &Object,
    specify: &str,
    list: &str,
    json: &str,
) -> Result<Vec<(String, String)>, Fault> {
    if parameters.get(specify).is_some_and(|specify| specify == "json") {
        let object = parsed(parameters.get(json), json)?;
        let fields = object.as_object().into_iter().flatten();
        return Ok(fields.map(|(name, value)| (name.clone(), plain(value))).collect());
    }
    let list = parameters.get(list).and_then(|list| list["parameters"].as_array());
    let named = list.into_iter().flatten().filter(|pair| pair["name"] != "");
    Ok(named.map(|pair| (plain(&pair["name"]), plain(&pair["value"]))).collect())
}

fn parsed(value: Option<&Value>, key: &str) -> Result<Value, Fault> {
    match value {
        Some(Value::String(text)) => serde_json::from_str(text).map_err(|error| {
            Fault::new("E-FLOW-HTTP", format!("the JSON of `{key}` is no JSON: {error}"))
        }),
        Some(value) => Ok(value.clone()),
        None => Ok(Value::Object(Object::new())),
    }
}

fn body(parameters: &Object, headers: &mut Vec<(String, String)>) -> Result<Option<String>, Fault> {
    let text = |key: &str| parameters.get(key).map(plain).unwrap_or_default();
    let mut kind = |kind: &str| {
        let is_said = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        if !is_said {
            headers.push(("Content-Type".to_owned(), kind.to_owned()));
        }
    };
    let list = parameters.get("bodyParameters").and_then(|list| list["parameters"].as_array());
    let list = list.map_or(&[][..], Vec::as_slice);
    Ok(Some(match text("contentType").as_str() {
        "form-urlencoded" => {
            kind("application/x-www-form-urlencoded");
            match text("specifyBody").as_str() {
                "string" => text("body"),
                _ => form(
                    &list
                        .iter()
                        .map(|pair| (plain(&pair["name"]), plain(&pair["value"])))
                        .collect::<Vec<_>>(),
                ),
            }
        }
        "raw" => {
            let said = text("rawContentType");
            kind(if said.is_empty() { "text/plain" } else { &said });
            text("body")
        }
        _ => {
            kind("application/json");
            if text("specifyBody") == "json" {
                parsed(parameters.get("jsonBody"), "jsonBody")?.to_string()
            } else {
                let fields = list.iter().map(|pair| (plain(&pair["name"]), pair["value"].clone()));
                Value::Object(fields.collect()).to_string()
            }
        }
    }))
}

/// `application/x-www-form-urlencoded`, with a space as `%20`, which both queries and forms take.
fn form(pairs: &[(String, String)]) -> String {
    let pairs = pairs.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value)));
    pairs.collect::<Vec<_>>().join("&")
}

fn escaped(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                written.push(char::from(byte));
            }
            byte => written.push_str(&format!("%{byte:02X}")),
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parameters: Value) -> HttpRequest {
        let mut parameters = parameters.as_object().unwrap().clone();
        HttpRequestNode.fill(4.2, &mut parameters, &mut Findings::new());
        let held = |_: &str| Ok(json!({"user": "a", "password": "b"}).as_object().unwrap().clone());
        HttpRequest::read(&parameters, held).unwrap()
    }

    #[test]
    fn parameters_become_a_request() {
        let request = read(json!({
            "method": "POST", "url": "http://x.test/a", "sendQuery": true,
            "queryParameters": {"parameters": [{"name": "q", "value": "a b"}]},
            "sendBody": true, "bodyParameters": {"parameters": [{"name": "n", "value": 1}]},
            "authentication": "genericCredentialType", "genericAuthType": "httpBasicAuth",
        }));
        assert_eq!(request.url, "http://x.test/a?q=a%20b");
        assert_eq!(request.body.as_deref(), Some(r#"{"n":1}"#));
        assert_eq!(request.headers[0], ("Authorization".into(), "Basic YTpi".into()));
        assert_eq!(request.headers[1].1, "application/json");
    }

    #[test]
    fn answers_become_items() {
        let request = read(json!({"url": "http://x.test"}));
        let answer = |status, kind: &str, body: &str| HttpResponse {
            status,
            reason: "x".into(),
            headers: vec![("content-type".into(), kind.into())],
            body: body.into(),
        };
        let json_of = |response: &HttpResponse| {
            let items = request.items(response).map_err(|fault| fault.message)?;
            Ok::<_, String>(
                items
                    .iter()
                    .map(|(_, item)| Value::Object(Object::clone(&item.json)))
                    .collect::<Value>(),
            )
        };
        let list = answer(200, "application/json", r#"[{"a":1},{"a":2}]"#);
        assert_eq!(json_of(&list), Ok(json!([{"a": 1}, {"a": 2}])));
        assert_eq!(json_of(&answer(200, "text/html", "hi")), Ok(json!([{"data": "hi"}])));
        let gone = json_of(&answer(404, "text/plain", "gone")).unwrap_err();
        assert!(gone.contains("404"), "{gone}");
    }
}
