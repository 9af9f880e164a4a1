//! JSON as people and templates write it, read as it was meant: what raw output of Edit Fields is.
//!
//! Taken are quotes of every kind or none, comments, commas too many or missing, line breaks in
//! texts, words of other languages, and brackets that are not closed at the end. What is JSON
//! already is read as that.

use std::iter::Peekable;
use std::str::Chars;

use serde_json::{Map, Value};

use crate::flow::DEPTH_MAX;

/// Reads a text as the JSON that it was meant to be; the error is that of strict JSON.
pub(super) fn read(text: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str(text).or_else(|error| {
        let mut reader = Reader { rest: text.chars().peekable() };
        reader.skip();
        let value = reader.value(0);
        reader.skip();
        value.filter(|_| reader.rest.peek().is_none()).ok_or(error)
    })
}

struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
}

impl Reader<'_> {
    /// Passes over space and comments.
    fn skip(&mut self) {
        loop {
            while self.rest.next_if(|c| c.is_whitespace() || *c == '\u{feff}').is_some() {}
            let mut ahead = self.rest.clone();
            match (ahead.next(), ahead.next()) {
                (Some('/'), Some('/')) | (Some('#'), _) => {
                    while self.rest.next_if(|c| *c != '\n').is_some() {}
                }
                (Some('/'), Some('*')) => {
                    self.rest = ahead;
                    let mut before = ' ';
                    for c in self.rest.by_ref() {
                        if before == '*' && c == '/' {
                            break;
                        }
                        before = c;
                    }
                }
                _ => return,
            }
        }
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > DEPTH_MAX {
            return None;
        }
        match *self.rest.peek()? {
            '{' => self.object(depth),
            '[' => self.list(depth),
            c if closing(c).is_some() => self.text().map(Value::from),
            _ => self.bare(false).map(|word| meant(&word)),
        }
    }

    fn object(&mut self, depth: usize) -> Option<Value> {
        self.rest.next();
        let mut fields = Map::new();
        loop {
            self.between();
            match self.rest.peek() {
                // The end is missing: nothing else can have been meant.
                None => return Some(Value::Object(fields)),
                Some('}') => {
                    self.rest.next();
                    return Some(Value::Object(fields));
                }
                Some(c) => {
                    let is_quoted = closing(*c).is_some();
                    let key = if is_quoted { self.text() } else { self.bare(true) }?;
                    self.skip();
                    self.rest.next_if_eq(&':')?;
                    self.skip();
                    let is_left_out = self.rest.peek().is_none_or(|c| matches!(c, ',' | '}'));
                    let value = if is_left_out { Value::Null } else { self.value(depth + 1)? };
                    fields.insert(key, value);
                }
            }
        }
    }

    fn list(&mut self, depth: usize) -> Option<Value> {
        self.rest.next();
        let mut list = Vec::new();
        loop {
            self.between();
            match self.rest.peek() {
                None => return Some(Value::Array(list)),
                Some(']') => {
                    self.rest.next();
                    return Some(Value::Array(list));
                }
                Some('}' | ':') => return None,
                Some(_) => list.push(self.value(depth + 1)?),
            }
        }
    }

    /// Passes over commas, however many.
    fn between(&mut self) {
        self.skip();
        while self.rest.next_if_eq(&',').is_some() {
            self.skip();
        }
    }

    /// A text in quotes. A quote within is the end only if what follows could follow an end.
    fn text(&mut self) -> Option<String> {
        let close = closing(self.rest.next()?)?;
        let mut text = String::new();
        while let Some(c) = self.rest.next() {
            match c {
                '\\' => self.escape(&mut text),
                c if c == close && self.is_end() => return Some(text),
                c => text.push(c),
            }
        }
        Some(text)
    }

    fn escape(&mut self, text: &mut String) {
        match self.rest.next() {
            Some('n') => text.push('\n'),
            Some('t') => text.push('\t'),
            Some('r') => text.push('\r'),
            Some('b') => text.push('\u{8}'),
            Some('f') => text.push('\u{c}'),
            Some('u') => {
                let high = self.four();
                let code = match high {
                    // Two halves make one character.
                    0xd800..=0xdbff => {
                        let mut ahead = self.rest.clone();
                        if (ahead.next(), ahead.next()) == (Some('\\'), Some('u')) {
                            self.rest = ahead;
                            0x10000 + ((high - 0xd800) << 10) + (self.four() & 0x3ff)
                        } else {
                            high
                        }
                    }
                    code => code,
                };
                text.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            Some(c) => text.push(c),
            None => {}
        }
    }

    fn four(&mut self) -> u32 {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.rest.peek().and_then(|c| c.to_digit(16));
            let Some(digit) = digit else { return code };
            code = code * 16 + digit;
            self.rest.next();
        }
        code
    }

    /// Whether what follows a quote may follow the end of a text.
    fn is_end(&self) -> bool {
        let mut ahead = self.rest.clone();
        let mut is_new_line = false;
        while let Some(c) = ahead.next_if(|c| c.is_whitespace()) {
            is_new_line |= c == '\n';
        }
        is_new_line || ahead.peek().is_none_or(|c| matches!(c, ',' | ':' | '}' | ']' | '/' | '#'))
    }

    fn is_comment(&self) -> bool {
        let mut ahead = self.rest.clone();
        ahead.next() == Some('/') && matches!(ahead.next(), Some('/' | '*'))
    }

    /// A word without quotes, up to what ends it.
    fn bare(&mut self, is_key: bool) -> Option<String> {
        let mut word = String::new();
        let is_end = |c: &char| {
            matches!(c, ',' | '}' | ']' | '{' | '[' | '"' | '\n' | '#') || (is_key && *c == ':')
        };
        while !self.is_comment()
            && let Some(c) = self.rest.next_if(|c| !is_end(c))
        {
            word.push(c);
        }
        let word = word.trim();
        (!word.is_empty()).then(|| word.to_owned())
    }
}

/// The quote that closes what this one opens.
const fn closing(c: char) -> Option<char> {
    match c {
        '"' | '\'' | '`' => Some(c),
        '\u{201c}' | '\u{201d}' => Some('\u{201d}'),
        '\u{2018}' | '\u{2019}' => Some('\u{2019}'),
        _ => None,
    }
}

/// What a word without quotes means.
fn meant(word: &str) -> Value {
    match word {
        "true" | "True" => true.into(),
        "false" | "False" => false.into(),
        "null" | "None" | "undefined" | "NaN" => Value::Null,
        word => serde_json::from_str::<serde_json::Number>(word)
            .map_or_else(|_| word.into(), Value::Number),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_people_write_is_read_as_meant() {
        let check =
            |text: &str, expected: Value| assert_eq!(read(text).unwrap(), expected, "{text}");
        check(r#"{"a": 1}"#, json!({ "a": 1 }));
        check("{'a': 'it', b: `x`, c: word two}", json!({ "a": "it", "b": "x", "c": "word two" }));
        check(r#"{"a": 1, "b": [1, 2,],}"#, json!({ "a": 1, "b": [1, 2] }));
        check("{\"a\": 1\n \"b\": 2}", json!({ "a": 1, "b": 2 }));
        check("{\"a\": \"one\ntwo\"}", json!({ "a": "one\ntwo" }));
        check(r#"{"a": "say "hi" now"}"#, json!({ "a": "say \"hi\" now" }));
        check("{\"a\": 1 /* why */, // what\n # and\n \"b\": .5e}", json!({ "a": 1, "b": ".5e" }));
        check(
            "{\"a\": True, \"b\": None, \"c\": , \"d\": undefined}",
            json!({ "a": true, "b": null, "c": null, "d": null }),
        );
        check(r#"{"a": [1, {"b": 2"#, json!({ "a": [1, { "b": 2 }] }));
        check("{\u{201c}a\u{201d}: \u{2018}b\u{2019}}", json!({ "a": "b" }));
        check(r#"{'a': '\u00e9\ud83d\ude00\n'}"#, json!({ "a": "é😀\n" }));
        for broken in ["", "{]", "{\"a\" 1}", "[1}", "{}{}", "{a}"] {
            assert!(read(broken).is_err(), "{broken}");
        }
        let deep = "[".repeat(DEPTH_MAX + 3);
        assert!(read(&deep).is_err());
    }

    proptest! {
        #[test]
        fn nothing_panics_and_json_stays_what_it_is(text in r#"[\[\]{}",:'`/*#0-9a\\u .eE\n+-]{0,60}"#) {
            let meant = read(&text);
            if let Ok(value) = serde_json::from_str::<Value>(&text) {
                prop_assert_eq!(meant.unwrap(), value);
            }
        }
    }
}
