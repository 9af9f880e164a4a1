//! Plain paths such as `$json.a.b` and `$('node').item.json.a`, answered without the script engine.
//!
//! What a path says is exactly what the script engine would say; where that is not plain (a
//! property of a number, a text beyond ASCII), the path hands over to it.

use std::sync::Arc;

use serde_json::Value;

use crate::flow::memory::Scope;
use crate::flow::{Fault, Json, Object};

/// A script that is nothing but a way to a value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Path {
    root: Root,
    keys: Vec<Key>,
    slice: Option<(usize, Option<usize>)>,
}

#[derive(Clone, Debug, PartialEq)]
enum Root {
    Literal(Value),
    Json,
    Item(Arc<str>),
    First(Arc<str>),
    Last(Arc<str>),
}

#[derive(Clone, Debug, PartialEq)]
enum Key {
    Name(String),
    Index(usize),
}

/// What a path leads to.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Found {
    Value(Value),
    Undefined,
    /// Only the script engine knows.
    Script,
}

/// Properties that objects have without being given them.
const INHERITED: [&str; 16] = [
    "constructor",
    "__proto__",
    "hasField",
    "isEmpty",
    "isNotEmpty",
    "toJsonString",
    "hasOwnProperty",
    "isPrototypeOf",
    "propertyIsEnumerable",
    "toLocaleString",
    "toString",
    "valueOf",
    "__defineGetter__",
    "__defineSetter__",
    "__lookupGetter__",
    "__lookupSetter__",
];

impl Path {
    /// The path that a script is, if it is one.
    pub(super) fn parse(code: &str) -> Option<Self> {
        let code = code.trim();
        if let Some(literal) = literal(code) {
            return Some(Self { root: Root::Literal(literal), keys: Vec::new(), slice: None });
        }
        let (root, mut rest) = root(code)?;
        let mut keys = Vec::new();
        while !rest.is_empty() {
            if let Some(slice) = slice(rest) {
                return Some(Self { root, keys, slice: Some(slice) });
            }
            let (key, after) = key(rest)?;
            if matches!(&key, Key::Name(name) if INHERITED.contains(&name.as_str())) {
                return None;
            }
            keys.push(key);
            rest = after;
        }
        Some(Self { root, keys, slice: None })
    }

    /// Follows the path for the item at `index`.
    pub(super) fn find(&self, scope: &Scope, index: usize) -> Result<Found, Fault> {
        let json: &Json = match &self.root {
            Root::Literal(value) => return Ok(Found::Value(value.clone())),
            Root::Json => &scope.items[index].json,
            Root::Item(name) => scope.ancestor(name, index)?,
            Root::First(name) => match scope.given(name, None, None)?.first() {
                Some(item) => &item.json,
                None => return Ok(Found::Undefined),
            },
            Root::Last(name) => match scope.given(name, None, None)?.last() {
                Some(item) => &item.json,
                None => return Ok(Found::Undefined),
            },
        };
        Ok(self.follow(json))
    }

    fn follow(&self, json: &Json) -> Found {
        let mut keys = self.keys.iter();
        let mut here = match keys.next() {
            None if self.slice.is_none() => {
                return Found::Value(Value::Object(Object::clone(json)));
            }
            None | Some(Key::Index(_)) => return Found::Script,
            Some(Key::Name(name)) => match json.get(name) {
                Some(value) => value,
                // What would be behind it is undefined too: the error that JavaScript raises
                // there is swallowed.
                None => return Found::Undefined,
            },
        };
        while let Some(key) = keys.next() {
            let next = match (here, key) {
                (Value::Object(object), Key::Name(name)) => object.get(name),
                (Value::Array(list), Key::Index(index)) => list.get(*index),
                (Value::Array(list), Key::Name(name))
                    if name == "length" && keys.len() == 0 && self.slice.is_none() =>
                {
                    return Found::Value(list.len().into());
                }
                (Value::Null, Key::Name(_) | Key::Index(_)) => return Found::Undefined,
                (
                    Value::Object(_)
                    | Value::Array(_)
                    | Value::String(_)
                    | Value::Number(_)
                    | Value::Bool(_),
                    Key::Name(_) | Key::Index(_),
                ) => return Found::Script,
            };
            match next {
                Some(value) => here = value,
                None => return Found::Undefined,
            }
        }
        match (self.slice, here) {
            (None, value) => Found::Value(value.clone()),
            (Some((from, to)), Value::String(text)) if text.is_ascii() => {
                let to = to.unwrap_or(text.len()).min(text.len());
                Found::Value(text.get(from.min(to)..to).unwrap_or_default().into())
            }
            (Some(_), _) => Found::Script,
        }
    }
}

fn literal(code: &str) -> Option<Value> {
    let quoted = |quote: char| {
        let inside = code.strip_prefix(quote)?.strip_suffix(quote)?;
        (code.len() > 1 && !inside.contains(['\'', '"', '\\', '\n', '\r'])).then_some(inside)
    };
    if let Some(text) = quoted('\'').or_else(|| quoted('"')) {
        return Some(text.into());
    }
    let is_number = code.len() < 10 && code.bytes().all(|byte| byte.is_ascii_digit());
    match code {
        "true" => Some(true.into()),
        "false" => Some(false.into()),
        "null" => Some(Value::Null),
        _ if is_number && (code == "0" || !code.starts_with('0')) => {
            code.parse::<u32>().ok().map(Value::from)
        }
        _ => None,
    }
}

fn root(code: &str) -> Option<(Root, &str)> {
    for plain in ["$json", "$input.item.json"] {
        if let Some(rest) = code.strip_prefix(plain)
            && rest.chars().next().is_none_or(|next| matches!(next, '.' | '['))
        {
            return Some((Root::Json, rest));
        }
    }
    let rest = code.strip_prefix("$(")?;
    let (name, rest) = quoted(rest)?;
    let rest = rest.strip_prefix(')')?;
    let name: Arc<str> = name.into();
    let of = |way: &str| {
        let rest = rest.strip_prefix(way)?;
        rest.chars().next().is_none_or(|next| matches!(next, '.' | '[')).then_some(rest)
    };
    if let Some(rest) = of(".item.json") {
        Some((Root::Item(name), rest))
    } else if let Some(rest) = of(".first().json") {
        Some((Root::First(name), rest))
    } else {
        of(".last().json").map(|rest| (Root::Last(name), rest))
    }
}

fn key(code: &str) -> Option<(Key, &str)> {
    if let Some(rest) = code.strip_prefix('.') {
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$');
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        let is_name = name.chars().next().is_some_and(|first| !first.is_ascii_digit());
        // What is called is no plain property.
        return (is_name && !rest.starts_with('(')).then(|| (Key::Name(name.to_owned()), rest));
    }
    let rest = code.strip_prefix('[')?;
    if let Some((name, rest)) = quoted(rest) {
        let is_index = name.bytes().all(|byte| byte.is_ascii_digit());
        let rest = rest.strip_prefix(']').filter(|rest| !rest.starts_with('('))?;
        return (!is_index).then(|| (Key::Name(name.to_owned()), rest));
    }
    let (index, rest) = rest.split_once(']')?;
    let is_index = index == "0" || !index.starts_with('0');
    let is_index = is_index && index.bytes().all(|byte| byte.is_ascii_digit());
    is_index.then(|| Some((Key::Index(index.parse().ok()?), rest))).flatten()
}

fn quoted(code: &str) -> Option<(&str, &str)> {
    let quote = code.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
    let (name, rest) = code[1..].split_once(quote)?;
    (!name.contains(['\\', '\n'])).then_some((name, rest))
}

/// `.slice(1)` or `.slice(1, 4)` at the end.
fn slice(code: &str) -> Option<(usize, Option<usize>)> {
    let inside = code.strip_prefix(".slice(")?.strip_suffix(')')?;
    let number = |text: &str| {
        let text = text.trim();
        (text.len() < 8 && text.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| text.parse().ok())
            .flatten()
    };
    match inside.split_once(',') {
        None => Some((number(inside)?, None)),
        Some((from, to)) => Some((number(from)?, Some(number(to)?))),
    }
}
