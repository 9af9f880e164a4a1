//! A look at the words of a script before it is compiled: what it names, and what it may not.

use std::collections::BTreeSet;

/// Names that lead out of the sandbox; they are refused here and are gone at run time as well.
const REFUSED: [&str; 5] = ["constructor", "__proto__", "prototype", "getPrototypeOf", "import"];

/// What a script says, as far as words tell.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    /// Every identifier, property names among them.
    pub(super) names: BTreeSet<String>,
    /// Names in `$('name')` and `$node['name']`.
    pub(super) references: BTreeSet<String>,
    /// Whether `$` or `$node` stands where no name follows, so that any node may be meant.
    pub(super) refers_to_any: bool,
    /// Byte offset of the first `;` outside all brackets: what follows is not evaluated.
    pub(super) end: Option<usize>,
    /// Whether a property is read, or something is called.
    pub(super) reaches: bool,
    /// The words in order, comments and blanks left out.
    pub(super) tokens: Vec<Token>,
}

/// One word of a script, as far as it matters which is which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// Byte offsets.
    pub(super) from: usize,
    pub(super) to: usize,
}

/// Words of a script that cannot keep a thread for long between two questions whether to go on.
const LIGHT_TOKENS_MAX: usize = 200;

impl Words {
    /// Whether the script can only do what its few words say, each once, to what it is given:
    /// nothing loops, nothing is called back, and no value grows by itself. Single steps of any
    /// other may take seconds within the engine, which asks nobody then.
    pub(super) fn is_light(&self, code: &str) -> bool {
        const HEAVY: [&str; 19] = [
            "function",
            "class",
            "for",
            "while",
            "do",
            "repeat",
            "padStart",
            "padEnd",
            "fill",
            "Array",
            "ArrayBuffer",
            "DataView",
            "BigInt",
            "BigInt64Array",
            "BigUint64Array",
            "String",
            "numberList",
            "zip",
            "$evaluateExpression",
        ];
        let bytes = code.as_bytes();
        let is_light = |token: &Token| match token.kind {
            Kind::Name => !HEAVY.contains(&&code[token.from..token.to]),
            // A whole number without an end to it.
            Kind::Literal => !(bytes[token.from].is_ascii_digit() && bytes[token.to - 1] == b'n'),
            Kind::Operator => {
                let (before, after) = (token.from.checked_sub(1), bytes.get(token.to));
                let before = before.map_or(b' ', |at| bytes[at]);
                // An assignment or an arrow, and no comparison.
                bytes[token.from] != b'='
                    || (after == Some(&b'=') || b"=!<>".contains(&before)) && after != Some(&b'>')
            }
            Kind::Open | Kind::Close | Kind::Dot | Kind::OptionalDot => true,
        };
        self.tokens.len() <= LIGHT_TOKENS_MAX && self.tokens.iter().all(is_light)
    }

    /// Whether a light script is done in microseconds whatever it is given: it calls nothing but
    /// what looks at one short text or number, has no pattern, and needs no dates.
    pub(super) fn is_quick(&self, code: &str) -> bool {
        const CALLED: [&str; 15] = [
            "$",
            "Number",
            "charAt",
            "endsWith",
            "includes",
            "indexOf",
            "isNaN",
            "parseFloat",
            "parseInt",
            "slice",
            "startsWith",
            "substring",
            "toLowerCase",
            "toUpperCase",
            "trim",
        ];
        const KNOWN: [&str; 8] =
            ["$", "$execution", "$input", "$itemIndex", "$json", "$runIndex", "$vars", "$workflow"];
        let text = |token: &Token| &code[token.from..token.to];
        let is_quick = |(place, token): (usize, &Token)| {
            let before = place.checked_sub(1).map(|before| &self.tokens[before]);
            match token.kind {
                Kind::Name if text(token).starts_with('$') => KNOWN.contains(&text(token)),
                Kind::Name => !["DateTime", "Duration", "Interval", "new"].contains(&text(token)),
                Kind::Literal => !text(token).starts_with('/'),
                // A call, unless the bracket only holds together.
                Kind::Open if text(token) == "(" => before.is_none_or(|before| match before.kind {
                    Kind::Name => CALLED.contains(&text(before)),
                    Kind::Operator | Kind::Open => true,
                    Kind::Literal | Kind::Close | Kind::Dot | Kind::OptionalDot => false,
                }),
                Kind::Open | Kind::Close | Kind::Dot | Kind::OptionalDot | Kind::Operator => true,
            }
        };
        self.tokens.iter().enumerate().all(is_quick)
    }
}

impl Token {
    /// Whether it reads a property, or may call something.
    fn reaches(&self, code: &str) -> bool {
        match self.kind {
            Kind::Dot | Kind::OptionalDot => true,
            Kind::Open => matches!(code.as_bytes()[self.from], b'(' | b'['),
            Kind::Name | Kind::Literal | Kind::Close | Kind::Operator => false,
        }
    }
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An identifier or keyword.
    Name,
    /// A number, a quoted text, a pattern, or a piece of a template's text.
    Literal,
    /// A bracket that opens, the beginning of a template among them.
    Open,
    /// A bracket that closes.
    Close,
    /// `.`
    Dot,
    /// `?.`
    OptionalDot,
    Operator,
}

/// Why a script is refused, and the byte offset where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Name(&'static str, usize),
    Bracket(usize),
    Unfinished(usize),
    Empty,
}

impl Refused {
    pub(super) const fn offset(self) -> usize {
        match self {
            Self::Name(_, at) | Self::Bracket(at) | Self::Unfinished(at) => at,
            Self::Empty => 0,
        }
    }

    pub(super) fn message(self) -> String {
        match self {
            Self::Name(name, _) => format!("`{name}` may not be used"),
            Self::Bracket(_) => "a bracket does not match".to_owned(),
            Self::Unfinished(_) => "a text, pattern or comment does not end".to_owned(),
            Self::Empty => "there is no expression".to_owned(),
        }
    }
}

/// Reads the words of a script.
pub(super) fn scan(code: &str) -> Result<Words, Refused> {
    let (at, open, tokens) = (0, Vec::new(), Vec::new());
    let mut scan = Scan { code: code.as_bytes(), at, open, last: Last::Operator, tokens };
    let mut words = Words::default();
    while let Some(byte) = scan.peek() {
        let at = scan.at;
        match byte {
            _ if byte.is_ascii_whitespace() => scan.at += 1,
            b'\'' | b'"' => {
                scan.text(byte)?;
                scan.last = Last::Operand;
                scan.note(Kind::Literal, at);
            }
            b'`' => {
                scan.tokens.push(Token { kind: Kind::Open, from: at, to: at + 1 });
                scan.template(at + 1)?;
            }
            b'/' => scan.slash()?,
            b'(' | b'[' | b'{' => scan.open(byte),
            b')' | b']' | b'}' => scan.close(byte)?,
            b';' if scan.open.is_empty() => {
                words.end = words.end.or(Some(at));
                scan.at += 1;
                scan.last = Last::Operator;
                scan.note(Kind::Operator, at);
            }
            b'0'..=b'9' => {
                scan.number();
                scan.note(Kind::Literal, at);
            }
            b'.' if !scan.code[at..].starts_with(b"...") => {
                scan.at += 1;
                scan.last = Last::Operator;
                scan.note(Kind::Dot, at);
            }
            b'?' if scan.code.get(at + 1) == Some(&b'.')
                && !scan.code.get(at + 2).is_some_and(u8::is_ascii_digit) =>
            {
                scan.at += 2;
                scan.last = Last::Operator;
                scan.note(Kind::OptionalDot, at);
            }
            b'.' => {
                scan.at += 3;
                scan.last = Last::Operator;
                scan.note(Kind::Operator, at);
            }
            _ if is_word(byte) => {
                scan.skip_word();
                scan.note(Kind::Name, at);
                scan.name(&code[at..scan.at], at, &mut words)?;
            }
            // An escape in an identifier would hide a refused name.
            b'\\' => return Err(Refused::Name("\\", at)),
            _ => {
                scan.at += 1;
                scan.last = Last::Operator;
                scan.note(Kind::Operator, at);
            }
        }
    }
    words.tokens = scan.tokens;
    words.reaches = words.tokens.iter().any(|token| token.reaches(code));
    match scan.open.last() {
        Some(_) => Err(Refused::Bracket(code.len())),
        None if words.end == Some(0) || code.trim().is_empty() => Err(Refused::Empty),
        None => Ok(words),
    }
}

/// What stood before: a `/` after an operand divides, after an operator it begins a pattern.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Operator,
    Operand,
}

struct Scan<'a> {
    code: &'a [u8],
    at: usize,
    /// Open brackets; a back-tick stands for the `${` of a template.
    open: Vec<u8>,
    last: Last,
    tokens: Vec<Token>,
}

impl Scan<'_> {
    fn peek(&self) -> Option<u8> {
        self.code.get(self.at).copied()
    }

    /// Notes that a token began at `from` and ends here.
    fn note(&mut self, kind: Kind, from: usize) {
        self.tokens.push(Token { kind, from, to: self.at });
    }

    fn number(&mut self) {
        self.skip_word();
        let follows = |scan: &Self, at: usize| scan.code.get(at).is_some_and(u8::is_ascii_digit);
        if self.peek() == Some(b'.') && follows(self, self.at + 1) {
            self.at += 1;
            self.skip_word();
        }
        let is_exponent = self.at > 0 && matches!(self.code[self.at - 1], b'e' | b'E');
        if is_exponent && matches!(self.peek(), Some(b'+' | b'-')) && follows(self, self.at + 1) {
            self.at += 1;
            self.skip_word();
        }
        self.last = Last::Operand;
    }

    fn open(&mut self, byte: u8) {
        let from = self.at;
        self.open.push(byte);
        self.at += 1;
        self.last = Last::Operator;
        self.note(Kind::Open, from);
    }

    fn close(&mut self, byte: u8) -> Result<(), Refused> {
        let at = self.at;
        self.at += 1;
        self.last = Last::Operand;
        self.note(Kind::Close, at);
        match (self.open.pop(), byte) {
            (Some(b'('), b')') | (Some(b'['), b']') | (Some(b'{'), b'}') => Ok(()),
            (Some(b'`'), b'}') => self.template(at + 1),
            _ => Err(Refused::Bracket(at)),
        }
    }

    fn skip_word(&mut self) {
        while self.peek().is_some_and(is_word) {
            self.at += 1;
        }
        self.last = Last::Operand;
    }

    fn name(&mut self, name: &str, at: usize, words: &mut Words) -> Result<(), Refused> {
        if let Some(refused) = REFUSED.iter().find(|refused| **refused == name) {
            return Err(Refused::Name(refused, at));
        }
        if matches!(name, "return" | "typeof" | "in" | "of" | "void" | "delete" | "case" | "new") {
            self.last = Last::Operator;
        }
        if matches!(name, "$" | "$node") {
            match self.reference() {
                Some(name) => words.references.extend([name]),
                None => words.refers_to_any = true,
            }
        }
        words.names.insert(name.to_owned());
        Ok(())
    }

    /// The name in `('name')` or `['name']` that follows, without going there.
    fn reference(&self) -> Option<String> {
        let rest = std::str::from_utf8(&self.code[self.at..]).ok()?.trim_start();
        let rest = rest.strip_prefix(['(', '['])?.trim_start();
        let quote = rest.chars().next().filter(|quote| matches!(quote, '\'' | '"' | '`'))?;
        let (name, after) = rest[1..].split_once(quote)?;
        let is_plain = !name.contains(['\\', '$']);
        (is_plain && after.trim_start().starts_with([')', ']'])).then(|| name.to_owned())
    }

    fn text(&mut self, quote: u8) -> Result<(), Refused> {
        let from = self.at;
        self.at += 1;
        loop {
            match self.peek() {
                None | Some(b'\n') => return Err(Refused::Unfinished(from)),
                Some(b'\\') => self.at += 2,
                Some(byte) => {
                    self.at += 1;
                    if byte == quote {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// The text of a template from `from` to its end or to its next `${`.
    fn template(&mut self, from: usize) -> Result<(), Refused> {
        self.at = from;
        self.last = Last::Operand;
        loop {
            match self.peek() {
                None => return Err(Refused::Unfinished(from)),
                Some(b'\\') => self.at += 2,
                Some(b'`') => {
                    self.at += 1;
                    self.note(Kind::Close, self.at - 1);
                    return Ok(());
                }
                Some(b'$') if self.code.get(self.at + 1) == Some(&b'{') => {
                    self.at += 1;
                    self.open(b'`');
                    return Ok(());
                }
                Some(_) => self.at += 1,
            }
        }
    }

    /// A comment, a pattern or a division.
    fn slash(&mut self) -> Result<(), Refused> {
        let from = self.at;
        let rest = &self.code[from..];
        if rest.starts_with(b"//") {
            self.at += rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        } else if rest.starts_with(b"/*") {
            let end = rest[2..].windows(2).position(|pair| pair == b"*/");
            self.at += end.ok_or(Refused::Unfinished(from))? + 4;
        } else if self.last == Last::Operand {
            self.at += 1;
            self.last = Last::Operator;
            self.note(Kind::Operator, from);
        } else {
            self.pattern()?;
            self.note(Kind::Literal, from);
        }
        Ok(())
    }

    fn pattern(&mut self) -> Result<(), Refused> {
        let from = self.at;
        let mut is_class = false;
        self.at += 1;
        loop {
            match self.peek() {
                None | Some(b'\n') => return Err(Refused::Unfinished(from)),
                Some(b'\\') => self.at += 1,
                Some(b'[') => is_class = true,
                Some(b']') => is_class = false,
                Some(b'/') if !is_class => break,
                Some(_) => {}
            }
            self.at += 1;
        }
        self.at += 1;
        self.skip_word();
        Ok(())
    }
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_are_read_and_texts_are_not() {
        let check = |code, names: &[&str]| {
            let words = scan(code).unwrap();
            assert_eq!(words.names.iter().map(String::as_str).collect::<Vec<_>>(), names, "{code}");
        };
        check("$json.a + 'b c' / d", &["$json", "a", "d"]);
        check("`x ${y + `${z}`} w`", &["y", "z"]);
        check("/a[/]b/g.test(c) // d", &["c", "test"]);
        check("a /* b */ / c", &["a", "c"]);
    }

    #[test]
    fn what_leads_out_is_refused() {
        let check = |code, refused| assert_eq!(scan(code), Err(refused), "{code}");
        check("a.constructor", Refused::Name("constructor", 2));
        check("a.c\\u006fnstructor", Refused::Name("\\", 3));
        check("1) + (2", Refused::Bracket(1));
        check("(1", Refused::Bracket(2));
        check("'a", Refused::Unfinished(0));
        check("  ", Refused::Empty);
    }

    #[test]
    fn references_and_the_first_statement_are_found() {
        let words = scan("$('a b').item + $node[\"c\"].json; rest").unwrap();
        assert_eq!(words.references, BTreeSet::from(["a b".to_owned(), "c".to_owned()]));
        assert_eq!(words.end, Some(31));
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(code in ".{0,60}") {
            let _ = scan(&code);
        }

        #[test]
        fn arbitrary_punctuation_never_panics(code in "[/`$'\"{}()\\[\\]\\\\a;é]{0,30}") {
            let _ = scan(&code);
        }
    }
}
