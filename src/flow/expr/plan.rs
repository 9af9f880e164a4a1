//! What the text of a parameter is cut into before anything is compiled: text, and scripts in it.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::flow::expr::path::Path;
use crate::flow::expr::{extend, scan};

/// A parameter value, ready to be resolved.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::flow) enum Plan {
    /// Holds no expression.
    Constant(Value),
    /// Holds one somewhere.
    List(Vec<Self>),
    /// Holds one somewhere.
    Object(Vec<(String, Self)>),
    /// One script and nothing around it: the value keeps its type.
    Typed(Script),
    /// Scripts in text.
    Text(Vec<Chunk>),
}

/// A piece of a text with scripts in it.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::flow) enum Chunk {
    Text(String),
    Script(Script),
}

/// One script, compiled or a plain path.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::flow) struct Script {
    pub(super) code: Arc<str>,
    /// Names that mean nothing: undefined instead of an error.
    pub(super) unknown: Arc<[String]>,
    /// Whether a property is read or something called: only then an error makes it undefined, and
    /// null otherwise.
    pub(super) reaches: bool,
    pub(super) path: Option<Path>,
    /// Whether it takes no longer than its words are long.
    pub(super) is_light: bool,
    /// Whether it is done in microseconds, whatever it is given.
    pub(super) is_quick: bool,
    /// Whether it asks only nodes that it names what they gave.
    pub(super) names_all: bool,
}

impl Script {
    /// Reads one script, of which only the first statement counts, and names the nodes that it
    /// refers to. An error says at which character.
    pub(super) fn read(code: &str, refer: &mut dyn FnMut(String)) -> Result<Self, (usize, String)> {
        let mut words = scan::scan(code)
            .map_err(|refused| (code[..refused.offset()].chars().count(), refused.message()))?;
        std::mem::take(&mut words.references).into_iter().for_each(refer);
        let end = words.end.unwrap_or(code.len());
        words.tokens.retain(|token| token.to <= end);
        let code = &code[..end];
        let path = Path::parse(code);
        let is_light = path.is_some() || words.is_light(code);
        let is_quick = path.is_some() || is_light && words.is_quick(code);
        let names_all = path.is_some() || is_quick && !words.refers_to_any;
        let rewritten =
            if path.is_none() { extend::rewrite(code, &words) } else { code.to_owned() };
        let unknown = words.names.into_iter().filter(|name| !is_known(name)).collect();
        let (code, reaches) = (rewritten.into(), words.reaches);
        Ok(Self { code, unknown, reaches, path, is_light, is_quick, names_all })
    }
}

impl Plan {
    /// What it comes to, with nothing in the places of scripts.
    pub(super) fn shape(&self) -> Value {
        match self {
            Self::Constant(value) => value.clone(),
            Self::List(plans) => plans.iter().map(Self::shape).collect(),
            // Made at its size: collected results do not know how many they are.
            Self::Object(plans) => {
                let mut object = Map::with_capacity(plans.len());
                object.extend(plans.iter().map(|(key, plan)| (key.clone(), plan.shape())));
                Value::Object(object)
            }
            Self::Typed(_) | Self::Text(_) => Value::Null,
        }
    }

    /// Whether every script in it is light.
    pub(in crate::flow) fn is_light(&self) -> bool {
        self.all(&|script| script.is_light)
    }

    /// Whether every script in it is quick.
    pub(in crate::flow) fn is_quick(&self) -> bool {
        self.all(&|script| script.is_quick)
    }

    /// Whether every script in it asks only nodes that it names what they gave.
    pub(in crate::flow) fn names_all(&self) -> bool {
        self.all(&|script| script.names_all)
    }

    fn all(&self, holds: &dyn Fn(&Script) -> bool) -> bool {
        match self {
            Self::Constant(_) => true,
            Self::List(plans) => plans.iter().all(|plan| plan.all(holds)),
            Self::Object(plans) => plans.iter().all(|(_, plan)| plan.all(holds)),
            Self::Typed(script) => holds(script),
            Self::Text(chunks) => chunks.iter().all(|chunk| match chunk {
                Chunk::Text(_) => true,
                Chunk::Script(script) => holds(script),
            }),
        }
    }
}

/// A piece of an expression.
pub(super) enum Piece<'a> {
    Text(String),
    Code(&'a str),
}

/// Splits an expression into text and code, each with its byte offset. The first `}}` closes,
/// wherever it stands; `\{{` is text; a `}}` that is missing at the end is not missed.
pub(super) fn split(text: &str) -> Vec<(usize, Piece<'_>)> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut at = 0;
    while let Some(open) = text[at..].find("{{").map(|open| at + open) {
        if let Some(before) = text[at..open].strip_suffix('\\') {
            plain.push_str(before);
            plain.push_str("{{");
            at = open + 2;
            continue;
        }
        plain.push_str(&text[at..open]);
        if !plain.is_empty() {
            pieces.push((at, Piece::Text(std::mem::take(&mut plain))));
        }
        let code = &text[open + 2..];
        let end = code.find("}}");
        pieces.push((open + 2, Piece::Code(&code[..end.unwrap_or(code.len())])));
        at = end.map_or(text.len(), |end| open + 2 + end + 2);
    }
    plain.push_str(&text[at..]);
    if !plain.is_empty() {
        pieces.push((at, Piece::Text(plain)));
    }
    pieces
}

/// Words of the language and names that scripts see; everything else is undefined.
pub(super) fn is_known(name: &str) -> bool {
    const WORDS: &str = " Array ArrayBuffer BigInt BigInt64Array BigUint64Array Boolean DataView \
        Date Error EvalError Float32Array Float64Array Infinity Int16Array Int32Array Int8Array \
        JSON Map Math NaN Number Object RangeError ReferenceError RegExp Set String Symbol \
        SyntaxError TypeError URIError Uint16Array Uint32Array Uint8Array Uint8ClampedArray \
        WeakMap WeakSet decodeURI decodeURIComponent encodeURI encodeURIComponent isFinite isNaN \
        parseFloat parseInt undefined arguments async await break case catch class const continue \
        debugger default delete do else enum eval export extends false finally for function get if \
        implements in instanceof interface let new null of package private protected public \
        return set static super switch this throw true try typeof var void while with yield \
        $ $binary $data $env $execution $executionId $ext $extOptional $fromAI $getPairedItem $if \
        $ifEmpty $input $item $itemIndex $items $jmesPath $jmespath $json $max $min $mode $node \
        $evaluateExpression $nodeId $nodeVersion $not $now $pageCount $parameter $position $prevNode $rawParameter $request $response $resumeWebhookUrl $runIndex \
        $secrets $self $thisItem $thisItemIndex $thisRunIndex $today $vars $webhookId $workflow \
        $average average max min not numberList zip DateTime Duration Interval Intl document \
        global window Window globalThis self alert prompt confirm uneval setTimeout setInterval \
        setImmediate clearImmediate clearTimeout clearInterval queueMicrotask Function require \
        module Buffer fetch XMLHttpRequest Promise Generator GeneratorFunction AsyncFunction \
        AsyncGenerator AsyncGeneratorFunction WebAssembly Reflect Proxy escape unescape process ";
    let rest = WORDS.split(' ');
    name.starts_with(|first: char| first.is_ascii_digit())
        || rest.into_iter().any(|word| word == name)
}
