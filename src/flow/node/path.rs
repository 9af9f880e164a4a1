//! Ways into nested JSON, such as `a.b[0].c`, as nodes write them.

use serde_json::{Value, json};

use crate::flow::Object;

/// How deep a way may lead.
const DEPTH_MAX: usize = 32;

fn keys(path: &str, has_dots: bool) -> Vec<String> {
    if !has_dots {
        return vec![path.to_owned()];
    }
    let plain = path.replace("[\"", ".").replace("['", ".").replace("\"]", "").replace("']", "");
    let plain = plain.replace('[', ".").replace(']', "");
    plain.split('.').take(DEPTH_MAX).map(str::to_owned).collect()
}

/// The value at a path; a key that is the whole path comes first.
pub(super) fn find<'a>(json: &'a Object, path: &str, has_dots: bool) -> Option<&'a Value> {
    if let Some(value) = json.get(path) {
        return Some(value);
    }
    let keys = keys(path, has_dots);
    let (first, rest) = keys.split_first()?;
    rest.iter().try_fold(json.get(first)?, |here, key| match here {
        Value::Object(object) => object.get(key),
        Value::Array(list) => list.get(key.parse::<usize>().ok()?),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    })
}

/// Puts a value at a path, and makes the objects on the way.
pub(super) fn put(json: &mut Object, path: &str, has_dots: bool, value: Value) {
    let keys = keys(path, has_dots);
    let Some((first, rest)) = keys.split_first() else { return };
    let mut here = json.entry(first.clone()).or_insert(Value::Null);
    for key in rest {
        let index = key.parse::<usize>().ok().filter(|index| *index < 10_000);
        if let (Some(index), Value::Array(list)) = (index, &mut *here) {
            if list.len() <= index {
                list.resize(index + 1, Value::Null);
            }
        } else if !here.is_object() {
            *here = match index {
                Some(index) if here.is_null() => Value::Array(vec![Value::Null; index + 1]),
                Some(_) | None => json!({}),
            };
        }
        here = match (here, index) {
            (Value::Array(list), Some(index)) => &mut list[index],
            (other, _) => &mut other[key.as_str()],
        };
    }
    *here = value;
}

/// Takes the value at a path out.
pub(super) fn remove(json: &mut Object, path: &str, has_dots: bool) -> Option<Value> {
    if let Some(value) = json.shift_remove(path) {
        return Some(value);
    }
    let keys = keys(path, has_dots);
    let (last, way) = keys.split_last()?;
    let mut here = json;
    for key in way {
        here = here.get_mut(key)?.as_object_mut()?;
    }
    here.shift_remove(last)
}

/// The names in a list with commas between.
pub(super) fn names(list: Option<&Value>) -> Vec<String> {
    match list {
        Some(Value::Array(values)) => {
            values.iter().filter_map(|value| value.as_str().map(str::to_owned)).collect()
        }
        Some(Value::String(text)) => text
            .split(',')
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty())
            .collect(),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => {
            Vec::new()
        }
    }
}
