//! Which version of a workflow a document is: the same text for what does the same (QC-01).

use serde_json::{Value, json};

use super::Object;
use super::expr::hash;

/// Characters of n8n's own `versionId` that are told.
const VERSION_ID_MAX: usize = 64;

/// The first eight digits of the SHA-256 of what runs, whatever the order of its keys; behind it,
/// where the export has one, n8n's `versionId`.
pub(super) fn version(body: &Object) -> String {
    let parts = ["name", "nodes", "connections", "settings"].map(|part| body.get(part).map(sorted));
    let digest = hash("sha256", &json!(parts).to_string()).unwrap_or_default();
    let short = &digest[..8];
    match body.get("versionId").and_then(Value::as_str) {
        Some(id) if !id.is_empty() => {
            format!("{short}/{}", id.chars().take(VERSION_ID_MAX).collect::<String>())
        }
        Some(_) | None => short.to_owned(),
    }
}

/// The same value, with its keys in order. A document is at most 64 deep.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut pairs = object.iter().collect::<Vec<_>>();
            pairs.sort_by_key(|(key, _)| *key);
            pairs.into_iter().map(|(key, value)| (key.clone(), sorted(value))).collect()
        }
        Value::Array(values) => values.iter().map(sorted).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// QC-01: an import of the same is the same version, whatever the editor wrote beside it.
    #[test]
    fn what_does_the_same_is_the_same_version() {
        let of = |text: &str| version(&serde_json::from_str(text).unwrap());
        let first = of(r#"{"name": "a", "nodes": [{"x": 1, "y": 2}], "connections": {}}"#);
        let again = of(
            r#"{"connections": {}, "id": "7", "nodes": [{"y": 2, "x": 1}], "pinData": {}, "name": "a"}"#,
        );
        assert_eq!((first.len(), &again), (8, &first));
        let other = of(r#"{"name": "a", "nodes": [{"x": 1, "y": 3}], "connections": {}}"#);
        assert_ne!(other, first);
        let with_id = of(
            r#"{"name": "a", "nodes": [{"x": 1, "y": 2}], "connections": {}, "versionId": "v"}"#,
        );
        assert_eq!(with_id, format!("{first}/v"));
    }
}
