//! HTTP Request: what is to be sent, and what the answer becomes. The sending is the shell's.

use std::time::Duration;

use serde_json::{Value, json};

use crate::flow::expr::base64;
use crate::flow::node::condition::plain;
use crate::flow::node::http_response::{HttpResponse, Wanted};
use crate::flow::node::shown;
use crate::flow::node::{http_body, http_page};
use crate::flow::{Fault, Findings, Item, NodeType, Object, Role, Shown};

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

    fn shown_while(&self, _version: f64) -> &'static [Shown] {
        const RULES: &[Shown] = &[
            shown("specifyQuery", "sendQuery", "false", &["true"]),
            shown("queryParameters", "sendQuery", "false", &["true"]),
            shown("jsonQuery", "sendQuery", "false", &["true"]),
            shown("queryParameters", "specifyQuery", "keypair", &["keypair"]),
            shown("jsonQuery", "specifyQuery", "keypair", &["json"]),
            shown("specifyHeaders", "sendHeaders", "false", &["true"]),
            shown("headerParameters", "sendHeaders", "false", &["true"]),
            shown("jsonHeaders", "sendHeaders", "false", &["true"]),
            shown("headerParameters", "specifyHeaders", "keypair", &["keypair"]),
            shown("jsonHeaders", "specifyHeaders", "keypair", &["json"]),
            shown("specifyBody", "contentType", "json", &["json", "form-urlencoded"]),
            shown("bodyParameters", "sendBody", "false", &["true"]),
            shown("jsonBody", "sendBody", "false", &["true"]),
            shown("body", "sendBody", "false", &["true"]),
            shown("inputDataFieldName", "sendBody", "false", &["true"]),
            shown("bodyParameters", "specifyBody", "keypair", &["keypair"]),
            shown("jsonBody", "specifyBody", "keypair", &["json"]),
            shown("jsonBody", "contentType", "json", &["json"]),
            shown("inputDataFieldName", "contentType", "json", &["binaryData"]),
            shown("genericAuthType", "authentication", "none", &["genericCredentialType"]),
            shown("nodeCredentialType", "authentication", "none", &["predefinedCredentialType"]),
        ];
        RULES
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
        let options = parameters.get("options").unwrap_or(&Value::Null);
        if options.get("proxy").is_some() {
            let message = "this option has no effect here";
            report.warning("W-FLOW-PARAMETER", "options.proxy", message, "");
        }
        let mode = options["pagination"]["pagination"]["paginationMode"].as_str().unwrap_or("off");
        const MODES: [&str; 3] =
            ["off", "updateAParameterInEachRequest", "responseContainsNextURL"];
        if !MODES.contains(&mode) {
            let message = format!("pages are not asked for in the mode `{mode}`");
            let path = "options.pagination.pagination.paginationMode";
            let remedy = "choose updateAParameterInEachRequest or responseContainsNextURL";
            report.error("E-FLOW-OPTION", path, &message, remedy);
        }
    }

    /// Items start together, unless their author lets them wait for each other.
    fn asks_at_once(&self, parameters: &Object) -> bool {
        parameters.get("options").is_none_or(|options| options["batching"].is_null())
    }

    fn late(&self) -> Option<(&'static str, &'static str)> {
        Some(("options", "pagination"))
    }
}

/// Names and values, in order.
pub(super) type Pairs = Vec<(String, String)>;

/// The key of what one page's request has of its own.
pub(super) const PAGE: &str = "(page)";

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
    pub body: Option<Vec<u8>>,
    /// How long the whole may take.
    pub timeout: Duration,
    /// Redirects that may be followed.
    pub redirects: u32,
    /// How long to wait before it is sent.
    pub pause: Duration,
    /// Whether the other end may show any certificate, or none that is good.
    pub trusts_everybody: bool,
    /// Whether its answer is one of several pages.
    pub is_page: bool,
    /// What scripts see of it: nothing that lets the author in.
    shown: Value,
    response: Wanted,
}

impl HttpRequest {
    /// Reads the parameters, resolved for an item. `credential` finds what the author's credential
    /// of a type holds.
    pub fn read(
        parameters: &Object,
        item: &Item,
        credential: impl Fn(&str) -> Result<Object, Fault>,
    ) -> Result<Self, Fault> {
        let text = |key: &str| parameters.get(key).map(plain).unwrap_or_default();
        let option = |key: &str| parameters.get("options").map_or(&Value::Null, |o| &o[key]);
        let is_on = |key: &str| parameters.get(key).is_some_and(|value| value == true);
        let page = parameters.get(PAGE);
        let own = page.unwrap_or(&Value::Null);
        let mut headers = Vec::new();
        let mut query = Vec::new();
        if is_on("sendHeaders") {
            let list = pairs(parameters, "specifyHeaders", "headerParameters", "jsonHeaders")?;
            headers.extend(list.into_iter().map(|(name, value)| (name, plain(&value))));
        }
        set(&mut headers, &own["headers"]);
        if is_on("sendQuery") && own["url"].is_null() {
            let style = option("queryParameterArrays").as_str().unwrap_or("brackets");
            let list = pairs(parameters, "specifyQuery", "queryParameters", "jsonQuery")?;
            list.into_iter().for_each(|(name, value)| add(&mut query, name, &value, style));
        }
        set(&mut query, &own["qs"]);
        let base = text("url");
        let mut url = own["url"].as_str().unwrap_or(&base).to_owned();
        let shown = (headers.clone(), with_query(&url, &query));
        // Where an answer sends us is no place that the author has named: it gets no secrets.
        let is_ours = own["url"].is_null() || host(&url) == host(&base);
        if text("authentication") == "genericCredentialType" && is_ours {
            authenticate(&text("genericAuthType"), credential, &mut headers, &mut query)?;
        }
        let mut body = None;
        if is_on("sendBody") {
            let made = http_body::body(parameters, item, &mut headers)?;
            body = Some(with_fields(made, &own["body"]));
        }
        if !url.starts_with("http://") && !url.starts_with("https://") {
            let message = format!("the URL '{url}' begins neither with http:// nor https://");
            return Err(Fault::new("E-FLOW-HTTP", message));
        }
        url = with_query(&url, &query);
        let shown = shown_as(&text("method"), shown, body.as_deref());
        let redirect = &option("redirect")["redirect"];
        let follows = redirect["followRedirects"] != false;
        let redirects = redirect["maxRedirects"].as_u64().map_or(REDIRECTS, |n| n.min(50) as u32);
        let timeout = option("timeout").as_u64().filter(|timeout| *timeout > 0);
        Ok(Self {
            method: text("method").to_uppercase(),
            url,
            headers,
            body,
            timeout: timeout.map_or(TIMEOUT, Duration::from_millis).min(TIMEOUT),
            redirects: if follows { redirects } else { 0 },
            pause: http_page::pause(own).max(batch_pause(option("batching"), item)),
            trusts_everybody: *option("allowUnauthorizedCerts") == true,
            is_page: page.is_some(),
            shown,
            response: Wanted::read(&option("response")["response"], item),
        })
    }

    /// As `$request` shows it.
    pub const fn shown(&self) -> &Value {
        &self.shown
    }

    /// The items that an answer becomes.
    pub fn items(&self, response: &HttpResponse) -> Result<Vec<(usize, Item)>, Fault> {
        self.response.items(response, &self.url)
    }
}

fn shown_as(method: &str, (headers, url): (Pairs, String), body: Option<&[u8]>) -> Value {
    let body = body.map(|body| {
        serde_json::from_slice(body).unwrap_or_else(|_| Value::from(String::from_utf8_lossy(body)))
    });
    let headers: Object = headers.into_iter().map(|(name, value)| (name, value.into())).collect();
    json!({ "method": method, "url": url, "headers": headers, "body": body })
}

fn with_query(url: &str, query: &Pairs) -> String {
    if query.is_empty() {
        return url.to_owned();
    }
    let mark = if url.contains('?') { '&' } else { '?' };
    format!("{url}{mark}{}", form(query))
}

/// Scheme, host and port of a URL.
fn host(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..].find(['/', '?', '#']).map_or(url.len(), |at| start + at);
    &url[..end]
}

/// How long an item waits for those of the batches before it.
fn batch_pause(batching: &Value, item: &Item) -> Duration {
    let batch = &batching["batch"];
    let size = batch["batchSize"].as_u64().unwrap_or(50).max(1);
    let place = item.paired.origins().first().map_or(0, |origin| origin.item as u64);
    let is_first = !batch.is_object() || place == 0 || !place.is_multiple_of(size);
    let pause = batch["batchInterval"].as_u64().unwrap_or(1000).min(60_000);
    if is_first { Duration::ZERO } else { Duration::from_millis(pause) }
}

/// A query parameter; a list is written as its author chose.
fn add(query: &mut Pairs, name: String, value: &Value, style: &str) {
    match value {
        Value::Array(values) => {
            for (place, value) in values.iter().enumerate() {
                let name = match style {
                    "indices" => format!("{name}[{place}]"),
                    "repeat" => name.clone(),
                    _ => format!("{name}[]"),
                };
                query.push((name, plain(value)));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            query.push((name, plain(value)));
        }
    }
}

/// Puts fields in place of those that have the same name.
fn set(pairs: &mut Pairs, fields: &Value) {
    for (name, value) in fields.as_object().into_iter().flatten() {
        pairs.retain(|(known, _)| known != name);
        pairs.push((name.clone(), plain(value)));
    }
}

/// A body of JSON with further fields; any other is left as it is.
fn with_fields(body: Vec<u8>, fields: &Value) -> Vec<u8> {
    let Some(fields) = fields.as_object().filter(|fields| !fields.is_empty()) else { return body };
    match serde_json::from_slice::<Object>(&body) {
        Ok(mut held) => {
            held.extend(fields.clone());
            Value::Object(held).to_string().into_bytes()
        }
        Err(_) => body,
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
        "httpCustomAuth" => {
            let custom = parsed(held.get("json"), "json")?;
            set(headers, &custom["headers"]);
            set(query, &custom["qs"]);
        }
        "httpBasicAuth" => {
            let pair = format!("{}:{}", text("user"), text("password"));
            let coded = base64(pair.as_bytes());
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
) -> Result<Vec<(String, Value)>, Fault> {
    if parameters.get(specify).is_some_and(|specify| specify == "json") {
        let object = parsed(parameters.get(json), json)?;
        return Ok(object.as_object().cloned().unwrap_or_default().into_iter().collect());
    }
    let list = parameters.get(list).and_then(|list| list["parameters"].as_array());
    let named = list.into_iter().flatten().filter(|pair| pair["name"] != "");
    Ok(named.map(|pair| (plain(&pair["name"]), pair["value"].clone())).collect())
}

pub(super) fn parsed(value: Option<&Value>, key: &str) -> Result<Value, Fault> {
    match value {
        Some(Value::String(text)) => serde_json::from_str(text).map_err(|error| {
            Fault::new("E-FLOW-HTTP", format!("the JSON of `{key}` is no JSON: {error}"))
        }),
        Some(value) => Ok(value.clone()),
        None => Ok(Value::Object(Object::new())),
    }
}

/// `application/x-www-form-urlencoded`, with a space as `%20`, which both queries and forms take.
pub(super) fn form(pairs: &[(String, String)]) -> String {
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
        HttpRequest::read(&parameters, &Item::default(), held).unwrap()
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
        assert_eq!(request.body.as_deref(), Some(&br#"{"n":1}"#[..]));
        assert_eq!(request.headers[0], ("Authorization".into(), "Basic YTpi".into()));
        assert_eq!(request.headers[1].1, "application/json");
    }

    #[test]
    fn lists_in_a_query_are_written_as_chosen() {
        let with = |style: Value| {
            read(json!({"url": "http://x.test", "sendQuery": true, "options": {"queryParameterArrays": style},
                "queryParameters": {"parameters": [{"name": "a", "value": [1, 2]}]}}))
            .url
        };
        assert_eq!(with(Value::Null), "http://x.test?a%5B%5D=1&a%5B%5D=2");
        assert_eq!(with("indices".into()), "http://x.test?a%5B0%5D=1&a%5B1%5D=2");
        assert_eq!(with("repeat".into()), "http://x.test?a=1&a=2");
    }

    #[test]
    fn a_page_at_another_host_gets_no_secrets_and_scripts_see_none() {
        let at = |url: Value| {
            read(json!({"url": "http://x.test/a", "authentication": "genericCredentialType",
                "genericAuthType": "httpBasicAuth", PAGE: {"url": url, "qs": {"n": 1}}}))
        };
        let ours = at("http://x.test/b".into());
        assert_eq!((ours.headers.len(), ours.url.as_str()), (1, "http://x.test/b?n=1"));
        assert_eq!(ours.shown()["headers"], json!({}));
        assert!(at("http://x.test.evil/b".into()).headers.is_empty());
        assert!(at("https://x.test/b".into()).headers.is_empty());
        assert_eq!(at(Value::Null).url, "http://x.test/a?n=1");
    }

    #[test]
    fn items_of_a_later_batch_wait() {
        let pause = |place, batching: Value| {
            let item = Item { paired: crate::flow::Paired::with(place), ..Item::default() };
            batch_pause(&batching, &item).as_millis()
        };
        let batching = json!({"batch": {"batchSize": 2, "batchInterval": 500}});
        assert_eq!([0, 1, 2, 3].map(|place| pause(place, batching.clone())), [0, 0, 500, 0]);
        assert_eq!(pause(50, Value::Null), 0);
        assert_eq!(pause(50, json!({"batch": {}})), 1000);
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
