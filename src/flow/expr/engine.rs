//! The script engine: QuickJS without a clock, a loader or a way out, and with a limit on everything.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use rquickjs::context::EvalOptions;
use rquickjs::context::intrinsic::{
    Date, Eval, Json, MapSet, Promise, Proxy, RegExp, RegExpCompiler, TypedArrays,
};
use rquickjs::function::Function;
use rquickjs::{Context, Ctx, Error, Exception, Persistent, Runtime, Type};
use serde_json::Value;

use crate::base::Rng;
use crate::flow::expr::host;
use crate::flow::memory::Scope;
use crate::flow::{Fault, Resume};

/// Bytes that scripts may hold.
const MEMORY_MAX: usize = 64 * 1024 * 1024;
/// Bytes of stack that scripts may use; the threads of `shell` have more.
const STACK_MAX: usize = 256 * 1024;
/// How often QuickJS may ask whether to go on: about ten thousand loop turns each. This limit is
/// the same on every machine; the deadline is the one that keeps calls moving.
const INTERRUPTS_MAX: u32 = 100;
/// How many times longer than an expression the script of a Code node may take.
const CODE_TIMES: u32 = 100;
/// Scripts kept compiled.
const SCRIPTS_MAX: usize = 4096;
/// A script that says one of these needs luxon, which takes longer to read on a busy machine than an
/// expression may take. One that gets at dates in another way reads it in its own time.
const DATE_WORDS: [&str; 16] = [
    "$now",
    "$today",
    "DateTime",
    "Duration",
    "Interval",
    "beginningOf",
    "diffTo",
    "endOfMonth",
    "extract",
    "format",
    "isBetween",
    "isDst",
    "isInLast",
    "isWeekend",
    "minus",
    "plus",
];

/// How long one evaluation may take by the clock, which this room does not have.
pub trait Deadline {
    /// An evaluation begins, which may take so many times the usual.
    fn arm(&self, times: u32);

    /// Whether it has taken too long.
    fn is_past(&self) -> bool;

    /// The evaluation is over.
    fn rest(&self) {}
}

/// Everything that is evaluated for one item of one node.
#[derive(Clone, Debug)]
pub(in crate::flow) struct Current {
    pub(in crate::flow) scope: Arc<Scope>,
    pub(in crate::flow) item: usize,
    pub(in crate::flow) now_ms: i64,
}

/// What host functions read and leave behind.
pub(super) struct Desk {
    pub(super) current: RefCell<Option<Current>>,
    pub(super) fault: RefCell<Option<Fault>>,
    pub(super) rng: RefCell<Rng>,
    pub(super) variables: Rc<serde_json::Map<String, Value>>,
    /// What workflows keep from run to run.
    pub(super) statics: Rc<RefCell<Statics>>,
    /// Where runs are reached that wait for a call.
    pub(super) resume: Option<Rc<Resume>>,
    /// `$pageCount`, `$response` and `$request`, where there are any.
    pub(super) facts: RefCell<Option<serde_json::Map<String, Value>>>,
    /// Scripts keep fields of `$json`, which they are to forget before the next evaluation.
    pub(super) keeps: Cell<bool>,
    /// What `$execution.customData` was told and the run does not know yet.
    pub(super) custom: RefCell<BTreeMap<String, String>>,
}

/// What workflows keep from run to run, as JSON: by the workflow and by `global` or `node:NAME`.
#[derive(Clone, Debug, Default)]
pub(in crate::flow) struct Statics {
    pub(in crate::flow) held: BTreeMap<String, BTreeMap<String, String>>,
    pub(in crate::flow) has_changed: bool,
}

struct Meter {
    interrupts: Cell<u32>,
    interrupts_max: Cell<u32>,
    is_over: Cell<bool>,
    deadline: Option<Rc<dyn Deadline>>,
}

/// A compiled script.
#[derive(Clone)]
pub(super) struct Script {
    function: Persistent<Function<'static>>,
    /// It may speak of dates: they are to be read before its time begins.
    needs_dates: bool,
}

/// One QuickJS runtime. After [`Outcome::Broken`] it is to be thrown away.
pub(super) struct Engine {
    // Dropped before the runtime that they live in.
    scripts: HashMap<Arc<str>, Script>,
    code: HashMap<Arc<str>, Persistent<Function<'static>>>,
    run: Persistent<Function<'static>>,
    call: Persistent<Function<'static>>,
    begin: Persistent<Function<'static>>,
    text: Persistent<Function<'static>>,
    name_kind: Persistent<Function<'static>>,
    weigh: Persistent<Function<'static>>,
    read_dates: Persistent<Function<'static>>,
    has_dates: bool,
    context: Context,
    runtime: Runtime,
    desk: Rc<Desk>,
    meter: Rc<Meter>,
    /// What the last value was to JavaScript.
    kind: &'static str,
}

/// What an evaluation came to.
pub(super) enum Outcome {
    Value(Value),
    Undefined,
    /// It threw, and nobody cares what.
    Thrown,
    Fault(Fault),
    /// A limit was reached; the engine is no longer to be trusted.
    Broken(Fault),
}

/// Where and why a script is no JavaScript.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SyntaxError {
    /// Line of the script, from 1.
    pub(super) line: usize,
    /// Column in the line, from 1.
    pub(super) column: usize,
    pub(super) message: String,
}

impl Engine {
    pub(super) fn new(
        rng: Rng,
        deadline: Option<Rc<dyn Deadline>>,
        variables: Rc<serde_json::Map<String, Value>>,
        statics: Rc<RefCell<Statics>>,
        resume: Option<Rc<Resume>>,
    ) -> rquickjs::Result<Self> {
        let runtime = Runtime::new()?;
        runtime.set_memory_limit(MEMORY_MAX);
        runtime.set_max_stack_size(STACK_MAX);
        let context = Context::custom::<(
            Date,
            Eval,
            RegExpCompiler,
            RegExp,
            Json,
            Proxy,
            MapSet,
            TypedArrays,
            Promise,
        )>(&runtime)?;
        let rng = RefCell::new(rng);
        let (current, fault) = (RefCell::default(), RefCell::default());
        let (facts, custom) = (RefCell::default(), RefCell::default());
        let keeps = Cell::new(false);
        let desk = Desk { current, fault, rng, variables, statics, resume, facts, keeps, custom };
        let desk = Rc::new(desk);
        let tools = context.with(|ctx| {
            let prelude: Function<'_> = ctx.eval(include_str!("prelude.js"))?;
            let host = host::object(&ctx, &desk)?;
            let tools: rquickjs::Object<'_> = prelude.call((host,))?;
            let tool = |name: &str| {
                tools.get::<_, Function<'_>>(name).map(|tool| Persistent::save(&ctx, tool))
            };
            let names = ["begin", "text", "kind", "run", "call", "weigh", "readDates"];
            names.into_iter().map(tool).collect::<rquickjs::Result<Vec<_>>>()
        })?;
        let [begin, text, name_kind, run, call, weigh, read_dates] =
            tools.try_into().map_err(|_| Error::Unknown)?;
        let meter = Rc::new(Meter {
            interrupts: Cell::new(0),
            interrupts_max: Cell::new(INTERRUPTS_MAX),
            is_over: Cell::new(false),
            deadline,
        });
        let asked = meter.clone();
        runtime.set_interrupt_handler(Some(Box::new(move || asked.is_over())));
        let scripts = HashMap::new();
        let kind = "undefined";
        let code = HashMap::new();
        Ok(Self {
            scripts,
            code,
            run,
            call,
            begin,
            text,
            name_kind,
            weigh,
            read_dates,
            has_dates: false,
            context,
            runtime,
            desk,
            meter,
            kind,
        })
    }

    /// A script, compiled unless it is already.
    pub(super) fn compiled(
        &mut self,
        code: &Arc<str>,
        unknown: &[String],
    ) -> Result<Script, SyntaxError> {
        if let Some(script) = self.scripts.get(code) {
            return Ok(script.clone());
        }
        if self.scripts.len() >= SCRIPTS_MAX {
            self.scripts.clear();
        }
        self.meter.arm(1);
        let source = source(code, unknown);
        let compiled = self.context.with(|ctx| match ctx.eval::<Function<'_>, _>(source) {
            Ok(function) => Ok(Persistent::save(&ctx, function)),
            Err(_) => Err(syntax_error(&ctx)),
        });
        self.meter.rest();
        let needs_dates = DATE_WORDS.iter().any(|word| code.contains(word));
        let script = Script { function: compiled?, needs_dates };
        self.scripts.insert(code.clone(), script.clone());
        Ok(script)
    }

    /// What scripts know beyond the run, from now on.
    pub(super) fn set_facts(&self, facts: Option<serde_json::Map<String, Value>>) {
        *self.desk.facts.borrow_mut() = facts;
    }

    /// What `$execution.customData` was told since the last time.
    pub(super) fn take_custom(&self) -> BTreeMap<String, String> {
        std::mem::take(&mut self.desk.custom.borrow_mut())
    }

    /// What the last value that was no text was to JavaScript.
    pub(super) fn kind(&self) -> &'static str {
        self.kind
    }

    /// Evaluates a compiled script; as text, it is what the script leaves in the middle of a text.
    pub(super) fn evaluate(&mut self, script: Script, is_text: bool, current: Current) -> Outcome {
        if script.needs_dates
            && let Err(outcome) = self.read_dates()
        {
            return outcome;
        }
        *self.desk.current.borrow_mut() = Some(current);
        self.meter.arm(1);
        let mut kind = "undefined";
        let outcome = self.context.with(|ctx| {
            if self.desk.keeps.replace(false) {
                self.begin.clone().restore(&ctx)?.call::<_, ()>(())?;
            }
            let value: rquickjs::Value<'_> = match script.function.restore(&ctx)?.call(()) {
                Err(Error::Exception) => return Ok(self.exception(&ctx)),
                called => called?,
            };
            kind = self.kind_of(&ctx, &value).unwrap_or(kind);
            let value =
                if is_text { self.text.clone().restore(&ctx)?.call((value,)) } else { Ok(value) };
            match value.and_then(|value| self.to_json(&ctx, value)) {
                Err(Error::Exception) => Ok(self.exception(&ctx)),
                converted => converted,
            }
        });
        self.kind = kind;
        self.conclude(outcome)
    }

    /// Reads what dates need, once, before the time of an expression begins.
    fn read_dates(&mut self) -> Result<(), Outcome> {
        if self.has_dates {
            return Ok(());
        }
        self.meter.arm(CODE_TIMES);
        let read = self.context.with(|ctx| {
            let read = self.read_dates.clone().restore(&ctx)?;
            match read.call::<_, ()>(()) {
                Err(Error::Exception) => Ok(self.exception(&ctx)),
                called => called.map(|()| Outcome::Undefined),
            }
        });
        let outcome = self.conclude(read);
        self.has_dates = matches!(outcome, Outcome::Undefined);
        if self.has_dates { Ok(()) } else { Err(outcome) }
    }

    /// A value as JSON; one that is too large to be is an error.
    fn to_json<'js>(
        &self,
        ctx: &Ctx<'js>,
        value: rquickjs::Value<'js>,
    ) -> rquickjs::Result<Outcome> {
        if value.is_object() {
            let weigh = self.weigh.clone().restore(ctx)?;
            if weigh.call::<_, ()>((value.clone(),)).is_err() {
                let exception = ctx.catch();
                let name =
                    exception.as_exception().and_then(|error| error.get::<_, String>("name").ok());
                return Ok(match name.as_deref() {
                    Some("RangeError") => Outcome::Fault(Fault::new(
                        "E-FLOW-SCRIPT-LIMIT",
                        "the value of the expression is too large",
                    )),
                    Some(_) => Outcome::Thrown,
                    None => Outcome::Broken(limit("it used too much memory")),
                });
            }
        }
        host::from_js(ctx, value)
    }

    fn kind_of<'js>(
        &self,
        ctx: &Ctx<'js>,
        value: &rquickjs::Value<'js>,
    ) -> rquickjs::Result<&'static str> {
        const NAMED: [&str; 4] = ["date", "dateTime", "duration", "interval"];
        Ok(match value.type_of() {
            Type::Undefined | Type::Uninitialized => "undefined",
            Type::Null => "null",
            Type::Bool => "boolean",
            Type::Int | Type::Float => "number",
            Type::String => "string",
            Type::Symbol => "symbol",
            Type::BigInt => "bigint",
            Type::Array => "array",
            Type::Constructor
            | Type::Function
            | Type::Promise
            | Type::Exception
            | Type::Proxy
            | Type::Object
            | Type::Module
            | Type::Unknown => {
                let name: String = self.name_kind.clone().restore(ctx)?.call((value.clone(),))?;
                NAMED.into_iter().find(|known| *known == name).unwrap_or("object")
            }
        })
    }

    /// Runs the script of a Code node: once for all items, or for the current one.
    pub(super) fn run_code(&mut self, code: &Arc<str>, is_each: bool, current: Current) -> Outcome {
        *self.desk.current.borrow_mut() = Some(current);
        self.meter.arm(CODE_TIMES);
        let known = self.code.get(code).cloned();
        let started = self.context.with(|ctx| {
            let script = match &known {
                Some(script) => script.clone(),
                None => match ctx
                    .eval_with_options::<Function<'_>, _>(code_source(code), code_options())
                {
                    Ok(script) => Persistent::save(&ctx, script),
                    Err(_) => return Err(Outcome::Fault(code_error(&syntax_error(&ctx)))),
                },
            };
            let run = self.run.clone().restore(&ctx);
            let call = script.clone().restore(&ctx);
            let started: rquickjs::Result<rquickjs::Object<'_>> =
                run.and_then(|run| call.and_then(|call| run.call((call, is_each))));
            match started {
                Ok(state) => Ok((script, Persistent::save(&ctx, state))),
                Err(_) => Err(self.exception(&ctx)),
            }
        });
        let (script, state): (_, Persistent<rquickjs::Object<'static>>) = match started {
            Ok(started) => started,
            Err(outcome) => return self.conclude(Ok(outcome)),
        };
        if known.is_none() && self.code.len() < SCRIPTS_MAX {
            self.code.insert(code.clone(), script);
        }
        while matches!(self.runtime.execute_pending_job(), Ok(true)) {}
        let outcome = self.context.with(|ctx| {
            let state = state.restore(&ctx)?;
            match state.get::<_, Option<String>>("state")?.as_deref() {
                Some("done") => match self.to_json(&ctx, state.get("value")?) {
                    Err(Error::Exception) => Ok(self.exception(&ctx)),
                    converted => converted,
                },
                Some(_) => {
                    let message: String = state.get("message")?;
                    Ok(Outcome::Fault(Fault::new("E-FLOW-CODE", message)))
                }
                None => {
                    let message = "the code waits for something that never comes";
                    Ok(Outcome::Fault(Fault::new("E-FLOW-CODE", message)))
                }
            }
        });
        self.conclude(outcome)
    }

    /// Whether the script of a Code node can be compiled.
    pub(super) fn check_code(&mut self, code: &str) -> Result<(), SyntaxError> {
        self.meter.arm(CODE_TIMES);
        let checked = self.context.with(|ctx| {
            match ctx.eval_with_options::<Function<'_>, _>(code_source(code), code_options()) {
                Ok(_) => Ok(()),
                Err(_) => Err(syntax_error(&ctx)),
            }
        });
        self.meter.rest();
        checked
    }

    /// Calls a function of the prelude; all of them are about dates.
    pub(super) fn call(&mut self, name: &str, argument: &Value, current: Current) -> Outcome {
        if let Err(outcome) = self.read_dates() {
            return outcome;
        }
        *self.desk.current.borrow_mut() = Some(current);
        self.meter.arm(1);
        let outcome = self.context.with(|ctx| {
            let argument = host::to_js(&ctx, argument)?;
            let call: Function<'_> = self.call.clone().restore(&ctx)?;
            match call.call::<_, rquickjs::Value<'_>>((name, argument)) {
                Err(Error::Exception) => Ok(self.exception(&ctx)),
                called => self.to_json(&ctx, called?),
            }
        });
        self.conclude(outcome)
    }

    fn conclude(&self, outcome: rquickjs::Result<Outcome>) -> Outcome {
        *self.desk.current.borrow_mut() = None;
        *self.desk.fault.borrow_mut() = None;
        self.meter.rest();
        match outcome {
            _ if self.meter.is_over.get() => Outcome::Broken(limit("it took too long")),
            Ok(outcome) => outcome,
            Err(Error::Allocation) => Outcome::Broken(limit("it used too much memory")),
            Err(_) => Outcome::Broken(limit("the script engine failed")),
        }
    }

    /// What an exception means: swallowed as n8n swallows it, or the end of this engine.
    fn exception(&self, ctx: &Ctx<'_>) -> Outcome {
        let exception = ctx.catch();
        // When memory runs out there may be none left for an error: the exception is null then.
        if exception.is_null() {
            return Outcome::Broken(limit("it used too much memory"));
        }
        let exception = exception.as_exception();
        let message = exception.and_then(Exception::message).unwrap_or_default();
        if message.contains("out of memory") {
            return Outcome::Broken(limit("it used too much memory"));
        }
        let name = exception.and_then(|exception| exception.get::<_, String>("name").ok());
        if name.as_deref() != Some("ExpressionError") {
            return Outcome::Thrown;
        }
        let known = self.desk.fault.borrow_mut().take_if(|fault| fault.message == message);
        Outcome::Fault(known.unwrap_or_else(|| Fault::new("E-FLOW-EXPRESSION", message)))
    }
}

impl Meter {
    fn arm(&self, times: u32) {
        self.interrupts.set(0);
        self.interrupts_max.set(INTERRUPTS_MAX * times);
        self.is_over.set(false);
        if let Some(deadline) = &self.deadline {
            deadline.arm(times);
        }
    }

    fn rest(&self) {
        if let Some(deadline) = &self.deadline {
            deadline.rest();
        }
    }

    fn is_over(&self) -> bool {
        self.interrupts.set(self.interrupts.get() + 1);
        let is_past = self.deadline.as_ref().is_some_and(|deadline| deadline.is_past());
        if is_past || self.interrupts.get() > self.interrupts_max.get() {
            self.is_over.set(true);
        }
        self.is_over.get()
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Engine with {} scripts", self.scripts.len())
    }
}

/// A script as a function. A name that means nothing is undefined instead of an error: it becomes
/// a parameter that nobody passes. The script stands on lines of its own, so that errors count
/// from it.
pub(super) fn source(code: &str, unknown: &[String]) -> String {
    format!("(function ({}) {{ return (\n{code}\n); }})", unknown.join(", "))
}

/// The script of a Code node as a function. It stands on lines of its own, so that errors count
/// from it.
fn code_source(code: &str) -> String {
    const NAMES: &str = "items, item, console, Promise, setTimeout, setImmediate, clearTimeout, \
        Buffer, btoa, atob, require, $getWorkflowStaticData";
    format!("(async function ({NAMES}) {{\n{code}\n}})")
}

/// Its name tells its lines in a stack from those of the prelude.
fn code_options() -> EvalOptions {
    let mut options = EvalOptions::default();
    options.filename = Some("author".to_owned());
    options
}

fn code_error(error: &SyntaxError) -> Fault {
    Fault::new("E-FLOW-CODE", format!("{} [line {}]", error.message, error.line))
}

fn limit(what: &str) -> Fault {
    Fault::new("E-FLOW-SCRIPT-LIMIT", format!("the expression was stopped: {what}"))
}

/// The error that was thrown last, as one of syntax.
pub(super) fn syntax_error(ctx: &Ctx<'_>) -> SyntaxError {
    let exception = ctx.catch();
    let exception = exception.as_exception();
    let message = exception.and_then(Exception::message).unwrap_or_default();
    let stack = exception.and_then(Exception::stack).unwrap_or_default();
    let first = stack.lines().next().unwrap_or_default();
    let mut numbers = first.rsplit(':').map(|part| part.trim_end_matches(')').parse().ok());
    let column = numbers.next().flatten().unwrap_or(1);
    let line: usize = numbers.next().flatten().unwrap_or(2);
    // The first line is ours.
    SyntaxError { line: line.saturating_sub(1).max(1), column, message }
}
