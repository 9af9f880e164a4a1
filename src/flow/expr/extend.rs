//! Calls of n8n's own methods, `x.method(a)`, rewritten so that they work on nothing and on dates
//! in texts too: `$ext(x, "method", [a])`.

use crate::flow::expr::scan::{Kind, Token, Words};

/// The methods that n8n adds to values.
const METHODS: &str = " removeDuplicates unique first last pluck randomItem sum min max average \
    isNotEmpty isEmpty compact smartJoin chunk renameKeys merge union difference intersection \
    append toJsonString toInt toFloat toBoolean toDateTime reverse mergeIntoObject beginningOf \
    endOfMonth extract isBetween isDst isInLast isWeekend minus plus format diffTo diffToNow ceil \
    floor round abs isInteger isEven isOdd hasField removeField removeFieldsContaining \
    keepFieldsContaining urlEncode keys values hash removeMarkdown removeTags toDate \
    toDecimalNumber toNumber toWholeNumber toSentenceCase toSnakeCase toTitleCase urlDecode quote \
    replaceSpecialChars length isDomain isEmail isNumeric isUrl extractEmail extractDomain \
    extractUrl extractUrlPath parseJson base64Encode base64Decode ";

/// Objects of the language and of the run, whose own methods are meant.
const OWN: &str = " Math Object Number JSON Array String Date Reflect Symbol DateTime Duration \
    Interval Intl $input ";

/// Words after which a bracket is no call.
const KEYWORDS: &str = " if while for switch catch with return typeof in of instanceof await yield \
    new delete void case throw else do => ";

/// The same script with n8n's methods called through `$ext`.
pub(super) fn rewrite(code: &str, words: &Words) -> String {
    let tokens = &words.tokens;
    let partners = partners(tokens);
    let mut edits: Vec<(usize, usize, String)> = Vec::new();
    for at in 1..tokens.len().saturating_sub(2) {
        let (dot, name, open) = (tokens[at], tokens[at + 1], tokens[at + 2]);
        let is_optional = dot.kind == Kind::OptionalDot;
        let is_call = name.kind == Kind::Name && &code[open.from..open.to] == "(";
        if !(is_optional || dot.kind == Kind::Dot) || !is_call {
            continue;
        }
        let method = &code[name.from..name.to];
        let (Some(close), Some(begin)) = (partners[at + 2], receiver(code, tokens, &partners, at))
        else {
            continue;
        };
        let whole = &code[tokens[begin].from..dot.from];
        if !METHODS.contains(&format!(" {method} ")) || OWN.contains(&format!(" {} ", whole.trim()))
        {
            continue;
        }
        let chain = begin..at;
        let is_short =
            is_optional || tokens[chain].iter().any(|token| token.kind == Kind::OptionalDot);
        let (head, arguments, tail) = if is_short {
            ("$extOptional(", format!(",\"{method}\",()=>["), "])")
        } else {
            ("$ext(", format!(",\"{method}\",["), "])")
        };
        edits.push((tokens[begin].from, tokens[begin].from, head.to_owned()));
        edits.push((dot.from, open.to, arguments));
        edits.push((tokens[close].from, tokens[close].to, tail.to_owned()));
    }
    apply(code, edits)
}

fn apply(code: &str, mut edits: Vec<(usize, usize, String)>) -> String {
    // Where several begin, the widest call was found last and stands first.
    edits.reverse();
    edits.sort_by_key(|(from, _, _)| *from);
    let mut written = String::with_capacity(code.len() + edits.len() * 8);
    let mut at = 0;
    for (from, to, text) in edits {
        written.push_str(&code[at..from]);
        written.push_str(&text);
        at = to;
    }
    written.push_str(&code[at..]);
    written
}

/// For each bracket the place of the other one.
fn partners(tokens: &[Token]) -> Vec<Option<usize>> {
    let mut partners = vec![None; tokens.len()];
    let mut open = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match token.kind {
            Kind::Open => open.push(at),
            Kind::Close => {
                if let Some(other) = open.pop() {
                    partners[at] = Some(other);
                    partners[other] = Some(at);
                }
            }
            Kind::Name | Kind::Literal | Kind::Dot | Kind::OptionalDot | Kind::Operator => {}
        }
    }
    partners
}

/// The token with which the value before the dot at `dot` begins.
fn receiver(code: &str, tokens: &[Token], partners: &[Option<usize>], dot: usize) -> Option<usize> {
    let text = |at: usize| &code[tokens[at].from..tokens[at].to];
    let is_keyword = |at: usize| KEYWORDS.contains(&format!(" {} ", text(at)));
    let mut at = dot.checked_sub(1)?;
    loop {
        let begin = match tokens[at].kind {
            Kind::Close => partners[at]?,
            Kind::Name | Kind::Literal => at,
            Kind::Open | Kind::Dot | Kind::OptionalDot | Kind::Operator => return None,
        };
        let Some(before) = begin.checked_sub(1) else { return Some(begin) };
        let is_bracket = tokens[at].kind == Kind::Close && matches!(text(begin), "(" | "[" | "`");
        at = match tokens[before].kind {
            // A property: what it belongs to comes before.
            Kind::Dot | Kind::OptionalDot if !is_bracket || text(begin) != "`" => {
                before.checked_sub(1)?
            }
            // A call, an index or a tag: what is called comes before.
            Kind::Close | Kind::Literal if is_bracket => before,
            Kind::Name if is_bracket && !is_keyword(before) => before,
            Kind::Name if text(before) == "new" => return Some(before),
            Kind::Name
            | Kind::Literal
            | Kind::Open
            | Kind::Close
            | Kind::Dot
            | Kind::OptionalDot
            | Kind::Operator => return Some(begin),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::expr::scan::scan;

    #[track_caller]
    fn check(code: &str, expected: &str) {
        assert_eq!(rewrite(code, &scan(code).unwrap()), expected);
    }

    #[test]
    fn calls_of_the_methods_are_rewritten_and_others_are_not() {
        check("$json.a.isEmpty()", "$ext($json.a,\"isEmpty\",[])");
        check("a.first().last()", "$ext($ext(a,\"first\",[]),\"last\",[])");
        check("-x.round(1) + f(y)[0].abs()", "-$ext(x,\"round\",[1]) + $ext(f(y)[0],\"abs\",[])");
        check("Math.max(1, 2) + Object.keys(a).length", "Math.max(1, 2) + Object.keys(a).length");
        check("[1, 2].sum()", "$ext([1, 2],\"sum\",[])");
        check("new Date().plus(1, 'day')", "$ext(new Date(),\"plus\",[1, 'day'])");
        check("a?.toInt()", "$extOptional(a,\"toInt\",()=>[])");
        check("`a${b.toInt()}c`.hash()", "$ext(`a${$ext(b,\"toInt\",[])}c`,\"hash\",[])");
        check("x => x.toInt()", "x => $ext(x,\"toInt\",[])");
        check(
            "a.map(x => x.isEmpty()).compact()",
            "$ext(a.map(x => $ext(x,\"isEmpty\",[])),\"compact\",[])",
        );
        check("typeof x.toInt()", "typeof $ext(x,\"toInt\",[])");
        check(
            "(a || b).isEmpty() ? 1.5.round() : 'x'.length()",
            "$ext((a || b),\"isEmpty\",[]) ? $ext(1.5,\"round\",[]) : $ext('x',\"length\",[])",
        );
        check(
            "$now.plus({ days: 1 }).format('x')",
            "$ext($ext($now,\"plus\",[{ days: 1 }]),\"format\",['x'])",
        );
        check("a.keys", "a.keys");
    }
}
