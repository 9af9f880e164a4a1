//! What a script may ask of the run that it belongs to, and how values cross over.

use std::rc::Rc;

use rquickjs::function::{Constructor, Function};
use rquickjs::object::Property;
use rquickjs::{Array, CString, Ctx, Error, Exception, Object};
use serde_json::Value;

use crate::flow::expr::bytes;
use crate::flow::expr::engine::{Current, Desk, Outcome, source, syntax_error};
use crate::flow::expr::plan::{Piece, Script, split};
use crate::flow::{Fault, Item, Mode, zone};

/// Which of several items is asked for.
const FIRST: i32 = 1;
const LAST: i32 = 2;

/// Bytes of a text that crosses over each time that it is asked for; a longer one is kept.
const LONG: usize = 32;

/// Bytes that a workflow, or one node of it, may keep from run to run.
const STATICS_MAX: usize = 256 * 1024;
/// Bytes of a JMESPath query, and characters in it that may go deeper: reading one recurses.
const QUERY_MAX: usize = 4096;
const QUERY_DEPTH_MAX: usize = 128;
/// What scripts may say about an execution, as in n8n: entries, one more is not kept; characters
/// of a key and of a value, the rest is cut off.
const CUSTOM_MAX: usize = 10;
const CUSTOM_KEY_MAX: usize = 50;
const CUSTOM_VALUE_MAX: usize = 512;

type Js<'js> = rquickjs::Result<rquickjs::Value<'js>>;

/// The functions of the prelude's `host`.
pub(super) fn object<'js>(ctx: &Ctx<'js>, desk: &Rc<Desk>) -> rquickjs::Result<Object<'js>> {
    let host = Object::new(ctx.clone())?;
    add_item(ctx, &host, desk)?;
    add_nodes(ctx, &host, desk)?;
    add_run(ctx, &host, desk)?;
    add_tools(ctx, &host, desk)?;
    add_facts(ctx, &host, desk)?;
    add_expressions(ctx, &host, desk)?;
    Ok(host)
}

fn add_item<'js>(ctx: &Ctx<'js>, host: &Object<'js>, desk: &Rc<Desk>) -> rquickjs::Result<()> {
    let of = desk.clone();
    let field = move |ctx: Ctx<'js>, key: CString<'js>| -> Js<'js> {
        of.with(&ctx, |current| match current.scope.items[current.item].json.get(key.as_str()) {
            Some(value) => to_js(&ctx, value),
            None => Ok(rquickjs::Value::new_undefined(ctx.clone())),
        })
    };
    host.set("field", Function::new(ctx.clone(), field)?)?;
    let of = desk.clone();
    // What `$json` asks for a field. Its target holds what to ask where more than a look is needed.
    let get = move |asked: Object<'js>, key: rquickjs::Value<'js>| -> Js<'js> {
        match of.short(&key)? {
            Some(value) => Ok(value),
            None => asked.get::<_, Function<'js>>("look")?.call((key,)),
        }
    };
    host.set("get", Function::new(ctx.clone(), get)?)?;
    let of = desk.clone();
    host.set("keeps", Function::new(ctx.clone(), move || of.keeps.set(true))?)?;
    host.set("LONG", LONG)?;
    let of = desk.clone();
    let json = move |ctx: Ctx<'js>| -> Js<'js> {
        of.with(&ctx, |current| object_to_js(&ctx, &current.scope.items[current.item].json))
    };
    host.set("json", Function::new(ctx.clone(), json)?)?;
    let of = desk.clone();
    let binary = move |ctx: Ctx<'js>| -> Js<'js> {
        of.with(&ctx, |current| match &current.scope.items[current.item].binary {
            Some(binary) => object_to_js(&ctx, binary),
            None => Ok(rquickjs::Value::new_undefined(ctx.clone())),
        })
    };
    host.set("binary", Function::new(ctx.clone(), binary)?)?;
    let of = desk.clone();
    let input = move |ctx: Ctx<'js>, which: i32| -> Js<'js> {
        of.with(&ctx, |current| chosen(&ctx, &current.scope.items, which))
    };
    host.set("input", Function::new(ctx.clone(), input)?)
}

fn add_nodes<'js>(ctx: &Ctx<'js>, host: &Object<'js>, desk: &Rc<Desk>) -> rquickjs::Result<()> {
    let of = desk.clone();
    let ancestor = move |ctx: Ctx<'js>, name: String, item: usize| -> Js<'js> {
        of.with(&ctx, |current| {
            let json = of.or_fault(&ctx, current.scope.ancestor(&name, item))?;
            let found = Object::new(ctx.clone())?;
            found.set("json", object_to_js(&ctx, json)?)?;
            Ok(found.into_value())
        })
    };
    host.set("ancestor", Function::new(ctx.clone(), ancestor)?)?;
    let of = desk.clone();
    let given = move |ctx: Ctx<'js>, name: String, which: i32, branch: i32, pass: i32| -> Js<'js> {
        of.with(&ctx, |current| {
            let (branch, pass) = (usize::try_from(branch).ok(), u64::try_from(pass).ok());
            let items = of.or_fault(&ctx, current.scope.given(&name, branch, pass))?;
            chosen(&ctx, items, which)
        })
    };
    host.set("given", Function::new(ctx.clone(), given)?)?;
    let of = desk.clone();
    let exists = move |ctx: Ctx<'js>, name: String| -> rquickjs::Result<()> {
        of.with(&ctx, |current| of.or_fault(&ctx, current.scope.find(&name)).map(|_| ()))
    };
    host.set("exists", Function::new(ctx.clone(), exists)?)?;
    let of = desk.clone();
    let passes = move |ctx: Ctx<'js>, name: String| -> rquickjs::Result<f64> {
        of.with(&ctx, |current| {
            let node = of.or_fault(&ctx, current.scope.find(&name))?;
            Ok(current.scope.memory.passes(node) as f64)
        })
    };
    host.set(
        "executed",
        Function::new(ctx.clone(), {
            let passes = passes.clone();
            move |ctx: Ctx<'js>, name: String| passes(ctx, name).map(|passes| passes > 0.0)
        })?,
    )?;
    host.set("passes", Function::new(ctx.clone(), passes)?)?;
    let of = desk.clone();
    let params = move |ctx: Ctx<'js>, name: String| -> Js<'js> {
        of.with(&ctx, |current| {
            let node = of.or_fault(&ctx, current.scope.find(&name))?;
            object_to_js(&ctx, &current.scope.graph.node(node).parameters)
        })
    };
    host.set("params", Function::new(ctx.clone(), params)?)
}

fn add_run<'js>(ctx: &Ctx<'js>, host: &Object<'js>, desk: &Rc<Desk>) -> rquickjs::Result<()> {
    let number = |read: fn(&Current) -> f64| {
        let of = desk.clone();
        let get = move |ctx: Ctx<'js>| -> rquickjs::Result<f64> {
            of.with(&ctx, |current| Ok(read(current)))
        };
        Function::new(ctx.clone(), get)
    };
    host.set("index", number(|current| current.item as f64)?)?;
    host.set("pass", number(|current| current.scope.pass as f64)?)?;
    host.set("now", number(|current| current.now_ms as f64)?)?;
    let of = desk.clone();
    // 53 bits fill the mantissa, as Math.random does.
    let random = move || (of.rng.borrow_mut().next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    host.set("random", Function::new(ctx.clone(), random)?)?;
    let text = |read: fn(&Current) -> String| {
        let of = desk.clone();
        let get = move |ctx: Ctx<'js>| -> rquickjs::Result<String> {
            of.with(&ctx, |current| Ok(read(current)))
        };
        Function::new(ctx.clone(), get)
    };
    host.set("name", text(|current| current.scope.node().name.to_string())?)?;
    let mode = |current: &Current| match current.scope.mode {
        Mode::Manual => "test".to_owned(),
        Mode::Production => "production".to_owned(),
    };
    host.set("mode", text(mode)?)?;
    host.set("run", text(|current| current.scope.run.0.to_string())?)?;
    let of = desk.clone();
    let resume = move |ctx: Ctx<'js>| -> rquickjs::Result<Option<String>> {
        of.with(&ctx, |current| Ok(of.resume.as_ref().map(|it| it.url(current.scope.run))))
    };
    host.set("resume", Function::new(ctx.clone(), resume)?)?;
    let of = desk.clone();
    let workflow = move |ctx: Ctx<'js>, which: i32| -> rquickjs::Result<String> {
        of.with(&ctx, |current| {
            let graph = &current.scope.graph;
            Ok(if which == 0 { graph.id() } else { graph.name() }.to_owned())
        })
    };
    host.set("workflow", Function::new(ctx.clone(), workflow)?)?;
    let of = desk.clone();
    let previous = move |ctx: Ctx<'js>, which: i32| -> Js<'js> {
        of.with(&ctx, |current| {
            let Some(source) = current.scope.source else {
                return Ok(rquickjs::Value::new_undefined(ctx.clone()));
            };
            let name: &str = &current.scope.graph.node(source.node).name;
            let fact = match which {
                0 => name.into(),
                1 => Value::from(source.output),
                _ => Value::from(source.pass),
            };
            to_js(&ctx, &fact)
        })
    };
    host.set("previous", Function::new(ctx.clone(), previous)?)
}

/// The larger parts of what scripts see.
fn part(part: &str) -> Option<&'static str> {
    Some(match part {
        "extensions" => include_str!("extensions.js"),
        "code" => include_str!("code.js"),
        "intl" => include_str!("intl.js"),
        "luxon" => include_str!("luxon.min.js"),
        _ => return None,
    })
}

fn add_tools<'js>(ctx: &Ctx<'js>, host: &Object<'js>, desk: &Rc<Desk>) -> rquickjs::Result<()> {
    let load = |ctx: Ctx<'js>, name: String| -> Js<'js> {
        ctx.eval(part(&name).expect("the prelude asks for parts that are there"))
    };
    host.set("load", Function::new(ctx.clone(), load)?)?;
    host.set(
        "offset",
        Function::new(ctx.clone(), |zone: String, ms: f64| zone::offset_minutes(&zone, ms))?,
    )?;
    host.set(
        "abbreviation",
        Function::new(ctx.clone(), |zone: String, ms: f64| zone::abbreviation(&zone, ms))?,
    )?;
    host.set(
        "hash",
        Function::new(ctx.clone(), |kind: String, text: String| bytes::hash(&kind, &text))?,
    )?;
    host.set("base64", Function::new(ctx.clone(), |text: String| bytes::encode(text.as_bytes()))?)?;
    let base64bytes = |list: Vec<u8>| bytes::encode(&list);
    host.set("base64bytes", Function::new(ctx.clone(), base64bytes)?)?;
    host.set("bytes", Function::new(ctx.clone(), |text: String| bytes::decode(&text))?)?;
    let unbase64 = |text: String| String::from_utf8_lossy(&bytes::decode(&text)).into_owned();
    host.set("unbase64", Function::new(ctx.clone(), unbase64)?)?;
    let of = desk.clone();
    let jmespath = move |ctx: Ctx<'js>, value: String, query: String| -> Js<'js> {
        let is_deep = |c: char| "([{!.|&".contains(c);
        if query.len() > QUERY_MAX
            || query.chars().filter(|c| is_deep(*c)).count() > QUERY_DEPTH_MAX
        {
            let message = "the JMESPath query is too long, or nested too deep";
            return of.or_fault(&ctx, Err(Fault::new("E-FLOW-EXPRESSION", message)));
        }
        let found = jmespath::compile(&query).and_then(|query| {
            query.search(jmespath::Variable::from_json(&value).unwrap_or(jmespath::Variable::Null))
        });
        let found = found.map_err(|error| {
            let message = format!("the JMESPath query is wrong: {}", error.reason);
            Fault::new("E-FLOW-EXPRESSION", message)
        });
        let found = of.or_fault(&ctx, found)?;
        let found = serde_json::to_value(&*found).unwrap_or(Value::Null);
        to_js(&ctx, &found)
    };
    host.set("jmespath", Function::new(ctx.clone(), jmespath)?)
}

fn add_facts<'js>(ctx: &Ctx<'js>, host: &Object<'js>, desk: &Rc<Desk>) -> rquickjs::Result<()> {
    let of = desk.clone();
    let zone = move |ctx: Ctx<'js>| -> rquickjs::Result<String> {
        of.with(&ctx, |current| Ok(current.scope.graph.timezone().unwrap_or("UTC").to_owned()))
    };
    host.set("zone", Function::new(ctx.clone(), zone)?)?;
    let of = desk.clone();
    let variable = move |ctx: Ctx<'js>, name: String| -> Js<'js> {
        match of.variables.get(&name) {
            Some(value) => to_js(&ctx, value),
            None => Ok(rquickjs::Value::new_undefined(ctx.clone())),
        }
    };
    host.set("variable", Function::new(ctx.clone(), variable)?)?;
    add_statics(ctx, host, desk)?;
    add_custom(ctx, host, desk)?;
    let of = desk.clone();
    let fact = move |ctx: Ctx<'js>, name: String| -> Js<'js> {
        match of.facts.borrow().as_ref().and_then(|facts| facts.get(&name)) {
            Some(value) => to_js(&ctx, value),
            None => Ok(rquickjs::Value::new_undefined(ctx.clone())),
        }
    };
    host.set("fact", Function::new(ctx.clone(), fact)?)?;
    let of = desk.clone();
    let node = move |ctx: Ctx<'js>, key: String| -> Js<'js> {
        of.with(&ctx, |current| {
            let node = current.scope.node();
            let value = match key.as_str() {
                "version" => Value::from(node.version),
                "id" => node.id.as_str().into(),
                "webhook" if !node.webhook_id.is_empty() => node.webhook_id.as_str().into(),
                _ => Value::Null,
            };
            to_js(&ctx, &value)
        })
    };
    host.set("node", Function::new(ctx.clone(), node)?)?;
    let of = desk.clone();
    let context = move |ctx: Ctx<'js>, name: String| -> Js<'js> {
        of.with(&ctx, |current| {
            let node = of.or_fault(&ctx, current.scope.find(&name))?;
            let empty = crate::flow::Object::new();
            let context = current.scope.memory.contexts.get(&node);
            object_to_js(&ctx, context.map_or(&empty, |context| context))
        })
    };
    host.set("context", Function::new(ctx.clone(), context)?)?;
    let of = desk.clone();
    let paired = move |ctx: Ctx<'js>| -> Js<'js> {
        of.with(&ctx, |current| {
            let item = current.scope.items[current.item].to_value();
            to_js(&ctx, &item["pairedItem"])
        })
    };
    host.set("paired", Function::new(ctx.clone(), paired)?)
}

/// Expressions that scripts make: the pieces of one, and the item that it is about.
fn add_expressions<'js>(
    ctx: &Ctx<'js>,
    host: &Object<'js>,
    desk: &Rc<Desk>,
) -> rquickjs::Result<()> {
    let of = desk.clone();
    let pieces = move |ctx: Ctx<'js>, text: String| -> Js<'js> {
        let list = Array::new(ctx.clone())?;
        for (place, (_, piece)) in split(&text).into_iter().enumerate() {
            let code = match piece {
                Piece::Text(text) => {
                    list.set(place, text)?;
                    continue;
                }
                Piece::Code(code) => code,
            };
            let invalid =
                |why: String| Fault::new("E-FLOW-EXPRESSION", format!("invalid syntax: {why}"));
            let script = Script::read(code, &mut |_| {}).map_err(|(_, why)| invalid(why));
            let script = of.or_fault(&ctx, script)?;
            let call: rquickjs::Result<Function<'js>> =
                ctx.eval(source(&script.code, &script.unknown));
            let call = call.map_err(|_| invalid(syntax_error(&ctx).message));
            let piece = Object::new(ctx.clone())?;
            piece.set("call", of.or_fault(&ctx, call)?)?;
            piece.set("reaches", script.reaches)?;
            list.set(place, piece)?;
        }
        Ok(list.into_value())
    };
    host.set("pieces", Function::new(ctx.clone(), pieces)?)?;
    let of = desk.clone();
    let at = move |ctx: Ctx<'js>, item: usize| -> rquickjs::Result<f64> {
        let count = of.with(&ctx, |current| Ok(current.scope.items.len()))?;
        if item >= count {
            let message = format!("there is no item {item}: there are {count}");
            return of.or_fault(&ctx, Err(Fault::new("E-FLOW-EXPRESSION", message)));
        }
        let mut current = of.current.borrow_mut();
        Ok(current.as_mut().map_or(0, |current| std::mem::replace(&mut current.item, item)) as f64)
    };
    host.set("at", Function::new(ctx.clone(), at)?)
}

fn add_custom<'js>(ctx: &Ctx<'js>, host: &Object<'js>, desk: &Rc<Desk>) -> rquickjs::Result<()> {
    let of = desk.clone();
    let custom = move |ctx: Ctx<'js>| -> Js<'js> {
        of.with(&ctx, |current| {
            let mut all = current.scope.memory.custom.clone();
            all.extend(of.custom.borrow().clone());
            let fields = all.into_iter().map(|(key, value)| (key, value.into()));
            object_to_js(&ctx, &fields.collect())
        })
    };
    host.set("custom", Function::new(ctx.clone(), custom)?)?;
    let of = desk.clone();
    let set = move |ctx: Ctx<'js>, key: String, value: String| -> rquickjs::Result<()> {
        of.with(&ctx, |current| {
            let cut = |text: String, most: usize| text.chars().take(most).collect::<String>();
            let (known, key) = (&current.scope.memory.custom, cut(key, CUSTOM_KEY_MAX));
            let mut new = of.custom.borrow_mut();
            let count = known.len() + new.keys().filter(|key| !known.contains_key(*key)).count();
            if count < CUSTOM_MAX || known.contains_key(&key) || new.contains_key(&key) {
                new.insert(key, cut(value, CUSTOM_VALUE_MAX));
            }
            Ok(())
        })
    };
    host.set("setCustom", Function::new(ctx.clone(), set)?)
}

fn add_statics<'js>(ctx: &Ctx<'js>, host: &Object<'js>, desk: &Rc<Desk>) -> rquickjs::Result<()> {
    let of = desk.clone();
    let owner = move |ctx: Ctx<'js>| -> rquickjs::Result<String> {
        of.with(&ctx, |current| Ok(current.scope.graph.owner().to_string()))
    };
    host.set("owner", Function::new(ctx.clone(), owner)?)?;
    let of = desk.clone();
    let kept = move |ctx: Ctx<'js>, key: String| -> rquickjs::Result<Option<String>> {
        of.with(&ctx, |current| {
            let statics = of.statics.borrow();
            let held =
                statics.held.get(&**current.scope.graph.owner()).and_then(|own| own.get(&key));
            let exported = || current.scope.graph.statics.get(&key).map(Value::to_string);
            Ok(held.cloned().or_else(exported))
        })
    };
    host.set("kept", Function::new(ctx.clone(), kept)?)?;
    let of = desk.clone();
    let keep = move |ctx: Ctx<'js>, key: String, text: String| -> rquickjs::Result<()> {
        of.with(&ctx, |current| {
            if text.len() > STATICS_MAX {
                let message = format!(
                    "static data of {} bytes, and at most {STATICS_MAX} are kept",
                    text.len()
                );
                return Err(thrown(&ctx, &message)?);
            }
            let mut statics = of.statics.borrow_mut();
            statics
                .held
                .entry(current.scope.graph.owner().to_string())
                .or_default()
                .insert(key, text);
            statics.has_changed = true;
            Ok(())
        })
    };
    host.set("keep", Function::new(ctx.clone(), keep)?)
}

impl Desk {
    /// Reads the current evaluation; outside of one there is nothing to read.
    fn with<T>(
        &self,
        ctx: &Ctx<'_>,
        read: impl FnOnce(&Current) -> rquickjs::Result<T>,
    ) -> rquickjs::Result<T> {
        match &*self.current.borrow() {
            Some(current) => read(current),
            None => Err(Exception::throw_message(ctx, "nothing is being evaluated")),
        }
    }

    /// A short field of the current item, as long as scripts keep none.
    fn short<'js>(
        &self,
        key: &rquickjs::Value<'js>,
    ) -> rquickjs::Result<Option<rquickjs::Value<'js>>> {
        let (Some(key), false) = (key.as_string(), self.keeps.get()) else { return Ok(None) };
        let ctx = key.ctx();
        let key = CString::from_string(key.clone())?;
        self.with(ctx, |current| match current.scope.items[current.item].json.get(key.as_str()) {
            Some(Value::String(text)) if text.len() > LONG => Ok(None),
            None | Some(Value::Array(_) | Value::Object(_)) => Ok(None),
            Some(value) => to_js(ctx, value).map(Some),
        })
    }

    /// A fault that reaches the node unless the script catches it.
    fn or_fault<T>(&self, ctx: &Ctx<'_>, result: Result<T, Fault>) -> rquickjs::Result<T> {
        result.map_err(|fault| {
            let error = thrown(ctx, &fault.message);
            *self.fault.borrow_mut() = Some(fault);
            error.unwrap_or_else(|error| error)
        })
    }
}

/// Throws an error that scripts can catch. Prototypes are frozen, so that its name is defined
/// and not set.
fn thrown(ctx: &Ctx<'_>, message: &str) -> rquickjs::Result<Error> {
    let constructor: Constructor<'_> = ctx.globals().get("Error")?;
    let error: Object<'_> = constructor.construct((message,))?;
    error.prop("name", Property::from("ExpressionError"))?;
    Ok(ctx.throw(error.into_value()))
}

fn chosen<'js>(ctx: &Ctx<'js>, items: &[Item], which: i32) -> Js<'js> {
    let one = |item: Option<&Item>| match item {
        Some(item) => item_to_js(ctx, item),
        None => Ok(rquickjs::Value::new_undefined(ctx.clone())),
    };
    match which {
        FIRST => one(items.first()),
        LAST => one(items.last()),
        _ => {
            let list = Array::new(ctx.clone())?;
            for (index, item) in items.iter().enumerate() {
                list.set(index, item_to_js(ctx, item)?)?;
            }
            Ok(list.into_value())
        }
    }
}

fn item_to_js<'js>(ctx: &Ctx<'js>, item: &Item) -> Js<'js> {
    let object = Object::new(ctx.clone())?;
    object.set("json", object_to_js(ctx, &item.json)?)?;
    if let Some(binary) = &item.binary {
        object.set("binary", object_to_js(ctx, binary)?)?;
    }
    if let Some(paired) = item.paired.to_json() {
        object.set("pairedItem", to_js(ctx, &paired)?)?;
    }
    Ok(object.into_value())
}

fn object_to_js<'js>(ctx: &Ctx<'js>, fields: &crate::flow::Object) -> Js<'js> {
    let object = Object::new(ctx.clone())?;
    for (key, value) in fields {
        object.set(key.as_str(), to_js(ctx, value)?)?;
    }
    Ok(object.into_value())
}

/// A JSON value as JavaScript.
pub(super) fn to_js<'js>(ctx: &Ctx<'js>, value: &Value) -> Js<'js> {
    Ok(match value {
        Value::Null => rquickjs::Value::new_null(ctx.clone()),
        Value::Bool(value) => rquickjs::Value::new_bool(ctx.clone(), *value),
        Value::Number(number) => {
            rquickjs::Value::new_number(ctx.clone(), number.as_f64().unwrap_or(f64::NAN))
        }
        Value::String(text) => rquickjs::String::from_str(ctx.clone(), text)?.into_value(),
        Value::Array(values) => {
            let list = Array::new(ctx.clone())?;
            for (index, value) in values.iter().enumerate() {
                list.set(index, to_js(ctx, value)?)?;
            }
            list.into_value()
        }
        Value::Object(fields) => object_to_js(ctx, fields)?,
    })
}

/// A JavaScript value as JSON, as `JSON.stringify` would write it.
pub(super) fn from_js<'js>(
    ctx: &Ctx<'js>,
    value: rquickjs::Value<'js>,
) -> rquickjs::Result<Outcome> {
    if value.is_undefined() || value.is_symbol() {
        return Ok(Outcome::Undefined);
    }
    if value.is_function() {
        let message = "the expression gives a function: add () to call it";
        return Ok(Outcome::Fault(Fault::new("E-FLOW-EXPRESSION", message)));
    }
    if let Some(plain) = value.as_bool() {
        return Ok(Outcome::Value(plain.into()));
    }
    if let Some(number) = value.as_number() {
        return Ok(Outcome::Value(number_from_js(number)));
    }
    if let Some(text) = value.as_string() {
        return Ok(Outcome::Value(text.to_string()?.into()));
    }
    if value.is_null() {
        return Ok(Outcome::Value(Value::Null));
    }
    let Some(text) = ctx.json_stringify(value)? else { return Ok(Outcome::Undefined) };
    serde_json::from_str(&text.to_string()?).map(Outcome::Value).map_err(|_| Error::Unknown)
}

/// Whole numbers stay whole, so that 3 does not become 3.0; what JSON cannot say becomes null.
fn number_from_js(number: f64) -> Value {
    const WHOLE_MAX: f64 = 9.2e18;
    if number.fract() == 0.0 && number.abs() <= WHOLE_MAX {
        Value::from(number as i64)
    } else {
        serde_json::Number::from_f64(number).map_or(Value::Null, Value::Number)
    }
}
