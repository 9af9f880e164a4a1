//! Workflow files as text: four shapes of export in, strict JSON only, one [`Document`] per workflow out.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::flow::{Object, Problem};

/// Bytes a workflow file may have.
pub const DOCUMENT_BYTES_MAX: usize = 1024 * 1024;
/// How deep objects and arrays may be nested.
pub const DEPTH_MAX: usize = 64;
/// Workflows one file may hold.
pub const WORKFLOWS_MAX: usize = 64;

/// One workflow as it was exported: parsed, not checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The file it came from.
    pub file: String,
    /// The export, with `nodes` and `connections` and whatever else the editor wrote.
    pub body: Object,
}

/// Reads the text of a workflow file.
///
/// All shapes that n8n writes are taken: the editor's download, the whole entity of the command
/// line and the API, an array of either, and what is copied from the canvas. A key that stands
/// twice in one object is refused: which of the two is meant is not for us to guess.
pub fn read(text: &str, file: &str) -> Result<Vec<Document>, Box<Problem>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let whole = |code, message: String, remedy: &str| problem(file, code, message, remedy);
    if text.len() > DOCUMENT_BYTES_MAX {
        let message = format!("{} bytes, and at most {DOCUMENT_BYTES_MAX} are read", text.len());
        return Err(whole("E-FLOW-SIZE", message, "remove pinned data, or split the workflow"));
    }
    let workflows = match parse(text).map_err(|error| not_json(file, &error))? {
        Value::Array(workflows) => workflows,
        one @ Value::Object(_) => vec![one],
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    if workflows.is_empty() || workflows.len() > WORKFLOWS_MAX {
        let message =
            format!("holds {} workflows, and 1 to {WORKFLOWS_MAX} are read", workflows.len());
        return Err(whole("E-FLOW-SHAPE", message, "export the workflow again"));
    }
    workflows
        .into_iter()
        .enumerate()
        .map(|(index, workflow)| match workflow {
            Value::Object(body)
                if body.contains_key("nodes") && body.contains_key("connections") =>
            {
                Ok(Document { file: file.to_owned(), body })
            }
            Value::Object(_)
            | Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => {
                let message =
                    format!("workflow {index} is no object with `nodes` and `connections`");
                Err(whole("E-FLOW-SHAPE", message, "export the workflow again"))
            }
        })
        .collect()
}

fn problem(file: &str, code: &'static str, message: String, remedy: &str) -> Box<Problem> {
    Box::new(Problem::error(file, code, message, remedy))
}

fn not_json(file: &str, error: &serde_json::Error) -> Box<Problem> {
    let text = error.to_string();
    let message = text.split(" at line ").next().unwrap_or_default().to_owned();
    let remedy = if error.is_eof() { "the file ends too early: export it again" } else { "" };
    let mut problem = problem(file, "E-FLOW-JSON", message, remedy);
    problem.line = Some(error.line());
    problem.column = Some(error.column());
    problem
}

fn parse(text: &str) -> Result<Value, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Strict { depth: 0 }.deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// Reads a [`Value`], and refuses what a lenient reader would quietly lose.
#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth >= DEPTH_MAX {
            return Err(E::custom(format_args!("nested deeper than {DEPTH_MAX}")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let deeper = self.deeper()?;
        let mut list = Vec::new();
        while let Some(value) = access.next_element_seed(deeper)? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let deeper = self.deeper()?;
        let mut object = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(A::Error::custom(format_args!("the key `{key}` stands here twice")));
            }
            let value = access.next_value_seed(deeper)?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: &str) {
        let said = match read(text, "a.json") {
            Ok(documents) => format!("{} read", documents.len()),
            Err(problem) => problem.to_string().lines().take(2).collect::<Vec<_>>().join(""),
        };
        assert_eq!(said, expected);
    }

    #[test]
    fn every_shape_of_export_is_read() {
        check(r#"{"name":"a","nodes":[],"connections":{}}"#, "1 read");
        check(r#"{"nodes":[],"connections":{},"pinData":{},"meta":{}}"#, "1 read");
        check(r#"[{"nodes":[],"connections":{}},{"nodes":[],"connections":{}}]"#, "2 read");
        check("\u{feff}{\"nodes\":[],\"connections\":{}}", "1 read");
    }

    #[test]
    fn broken_files_are_refused_with_their_place() {
        check(
            "{\n \"a\": 1,\n \"a\": 2}",
            "error[E-FLOW-JSON]: the key `a` stands here twice  --> a.json:3:4",
        );
        check("{\"nodes\": [", "error[E-FLOW-JSON]: EOF while parsing a list  --> a.json:1:11");
        check(&"[".repeat(65), "error[E-FLOW-JSON]: nested deeper than 64  --> a.json:1:65");
        check("3", "error[E-FLOW-SHAPE]: holds 0 workflows, and 1 to 64 are read  --> a.json");
        let long = " ".repeat(DOCUMENT_BYTES_MAX + 1);
        check(&long, "error[E-FLOW-SIZE]: 1048577 bytes, and at most 1048576 are read  --> a.json");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn arbitrary_text_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&String::from_utf8_lossy(&bytes), "any");
        }

        #[test]
        fn arbitrary_json_like_text_never_panics(text in r#"[\[\]{}",:0-9a"\\ .eE+-]{0,80}"#) {
            let _ = read(&text, "any");
        }
    }
}
