//! Expressions: parameters that begin with `=`, split into text and scripts, and resolved for one item.
//!
//! ```text
//!  "=Hello {{ $json.name }}" ─▶ [Text "Hello ", Script] ─▶ Path, without the engine
//!                                                       └▶ Engine, where no path will do
//! ```

mod bytes;
mod engine;
mod extend;
mod host;
mod path;
mod plan;
mod reuse;
mod scan;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use serde_json::Value;

pub use bytes::decode as unbase64;
pub use bytes::encode as base64;
pub(super) use bytes::hash;
pub use engine::Deadline;
pub(super) use engine::{Current, Statics};
use engine::{Engine, Outcome};
use path::Found;
pub(super) use plan::Plan;
use plan::{Chunk, Piece, Script, split};
use reuse::Resolved;

use crate::base::Rng;
use crate::flow::{Evaluated, Fault, Object, Resume};

/// Where the scripts of a run are evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// All of them here.
    Here,
    /// The light ones here; a visit that needs others is an errand.
    Home,
    /// On an errand: one visit, and then home again.
    Away,
}

/// The scripts of one runner, and the engine for those that need one.
pub(super) struct Scripts {
    place: Place,
    engine: Option<Engine>,
    deadline: Option<Rc<dyn Deadline>>,
    rng: Rng,
    variables: Rc<Object>,
    resume: Option<Rc<Resume>>,
    /// Outlives engines that are thrown away.
    statics: Rc<RefCell<Statics>>,
    resolved: Resolved,
}

/// Why an expression is refused at import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Path of the parameter.
    pub(super) parameter: String,
    /// Character in the parameter's text, from 1.
    pub(super) column: usize,
    pub(super) message: String,
}

/// What compiling the parameters of a node found.
#[derive(Debug, Default)]
pub(super) struct Compiled {
    pub(super) refusals: Vec<Refusal>,
    /// Parameter and name of each node that is referred to by a plain name.
    pub(super) references: Vec<(String, String)>,
}

impl Scripts {
    /// No scripts yet; the engine is built when the first one needs it.
    pub(super) fn new(rng: Rng, deadline: Option<Rc<dyn Deadline>>) -> Self {
        let (variables, statics, place) = (Rc::default(), Rc::default(), Place::Here);
        let resolved = Resolved::default();
        Self { place, engine: None, deadline, rng, variables, resume: None, statics, resolved }
    }

    /// Where they are evaluated.
    pub(super) const fn place(&self) -> Place {
        self.place
    }

    /// Where they are evaluated from now on.
    pub(super) const fn set_place(&mut self, place: Place) {
        self.place = place;
    }

    /// What scripts have said about their execution since the last time.
    pub(super) fn take_custom(&self) -> BTreeMap<String, String> {
        self.engine.as_ref().map(Engine::take_custom).unwrap_or_default()
    }

    /// The same with a deadline for each evaluation.
    pub(super) fn set_deadline(&mut self, deadline: Rc<dyn Deadline>) {
        self.engine = None;
        self.deadline = Some(deadline);
    }

    /// What `$vars` holds.
    pub(super) fn set_variables(&mut self, variables: Object) {
        self.engine = None;
        self.variables = Rc::new(variables);
    }

    /// Where runs that wait for a call are reached.
    pub(super) fn set_resume(&mut self, resume: Option<Resume>) {
        self.engine = None;
        self.resume = resume.map(Rc::new);
    }

    /// What workflows keep from run to run.
    pub(super) fn statics(&self) -> &Rc<RefCell<Statics>> {
        &self.statics
    }

    /// Compiles the parameters of a node; `None` when no expression is among them.
    pub(super) fn compile(
        &mut self,
        parameters: &Object,
        compiled: &mut Compiled,
    ) -> Option<Arc<Plan>> {
        match self.plan_object(parameters, "", compiled) {
            Plan::Constant(_) => None,
            plan @ (Plan::List(_) | Plan::Object(_) | Plan::Typed(_) | Plan::Text(_)) => {
                Some(Arc::new(plan))
            }
        }
    }

    /// Compiles parameters that are resolved later; `option` is the one that they belong to.
    pub(super) fn compile_late(
        &mut self,
        parameters: &Object,
        option: &str,
        compiled: &mut Compiled,
    ) -> Arc<Plan> {
        Arc::new(self.plan_object(parameters, option, compiled))
    }

    /// Resolves such parameters, with what scripts can know by now.
    pub(super) fn resolve_late(
        &mut self,
        plan: &Plan,
        facts: Object,
        current: &Current,
    ) -> Result<Object, Fault> {
        if let Some(engine) = self.engine() {
            engine.set_facts(Some(facts));
        }
        let resolved = self.value(plan, current).map(fields);
        if let Some(engine) = &self.engine {
            engine.set_facts(None);
        }
        resolved
    }

    /// Resolves the parameters of a node for one item.
    pub(super) fn resolve(
        &mut self,
        plan: &Arc<Plan>,
        current: &Current,
    ) -> Result<Arc<Object>, Fault> {
        let mut resolved = std::mem::take(&mut self.resolved);
        let parameters = resolved.renew(plan, &mut |script| self.value(script, current));
        self.resolved = resolved;
        parameters
    }

    /// Compiles the text of one expression, without its `=`.
    pub(super) fn compile_text(&mut self, text: &str, compiled: &mut Compiled) -> Plan {
        self.plan_expression(text, "", compiled)
    }

    /// Resolves one expression and tells the type that JavaScript sees.
    pub(super) fn evaluate(&mut self, plan: &Plan, current: &Current) -> Result<Evaluated, Fault> {
        let value = match plan {
            Plan::Typed(script) => match self.by_path(script, current)? {
                Some(value) => value,
                None => {
                    let (kind, value) = self.described(script, current)?;
                    return Ok(Evaluated { kind, value });
                }
            },
            Plan::Constant(_) | Plan::List(_) | Plan::Object(_) | Plan::Text(_) => {
                Some(self.value(plan, current)?)
            }
        };
        let kind = match &value {
            None => "undefined",
            Some(Value::Null) => "null",
            Some(Value::Bool(_)) => "boolean",
            Some(Value::Number(_)) => "number",
            Some(Value::String(_)) => "string",
            Some(Value::Array(_)) => "array",
            Some(Value::Object(_)) => "object",
        };
        Ok(Evaluated { kind, value: value.unwrap_or(Value::Null) })
    }

    /// Runs the script of a Code node.
    pub(super) fn run_code(
        &mut self,
        code: &Arc<str>,
        is_each: bool,
        current: &Current,
    ) -> Result<Value, Fault> {
        let engine = self.engine().ok_or_else(no_memory)?;
        let outcome = engine.run_code(code, is_each, current.clone());
        Ok(self.settle(outcome)?.unwrap_or(Value::Null))
    }

    /// A parameter in which the values of scripts stand as JSON in the text.
    pub(super) fn spliced(
        &mut self,
        plan: &Plan,
        key: &str,
        current: &Current,
    ) -> Result<Option<String>, Fault> {
        let Plan::Object(fields) = plan else { return Ok(None) };
        let Some((_, Plan::Text(chunks))) = fields.iter().find(|(name, _)| name == key) else {
            return Ok(None);
        };
        let mut text = String::new();
        for chunk in chunks {
            match chunk {
                Chunk::Text(plain) => text.push_str(plain),
                Chunk::Script(script) => match self.typed(script, current)? {
                    Some(Value::String(value)) => text.push_str(&value),
                    Some(value) => text.push_str(&value.to_string()),
                    None => {}
                },
            }
        }
        Ok(Some(text))
    }

    /// Calls a function of the prelude.
    pub(super) fn call(
        &mut self,
        function: &str,
        argument: &Value,
        current: &Current,
    ) -> Result<Value, Fault> {
        let engine = self.engine().ok_or_else(no_memory)?;
        let outcome = engine.call(function, argument, current.clone());
        Ok(self.settle(outcome)?.unwrap_or(Value::Null))
    }

    /// Says where and why the script of a Code node is no JavaScript.
    pub(super) fn check_code(&mut self, code: &str) -> Option<(usize, String)> {
        let error = self.engine()?.check_code(code).err()?;
        let before = code.split_inclusive('\n').take(error.line - 1);
        let before: usize = before.map(|line| line.chars().count()).sum();
        Some((before + error.column, error.message))
    }

    /// Whether a text matches a pattern, bare or as `/pattern/flags`. A pattern that is none
    /// matches nothing.
    pub(super) fn matches(
        &mut self,
        text: &str,
        pattern: &str,
        current: &Current,
    ) -> Result<bool, Fault> {
        let split = pattern.strip_prefix('/').and_then(|inner| inner.rsplit_once('/'));
        let (pattern, flags) = split.unwrap_or((pattern, ""));
        // JSON's texts are JavaScript's as well.
        let literal = |text: &str| Value::from(text).to_string();
        let (pattern, flags, text) = (literal(pattern), literal(flags), literal(text));
        let code = format!("new RegExp({pattern}, {flags}).test({text})").into();
        let (unknown, path) = (Arc::new([]), None);
        let (is_light, is_quick, names_all) = (true, false, false);
        let script = Script { code, unknown, reaches: true, path, is_light, is_quick, names_all };
        Ok(self.run(&script, false, current)? == Some(Value::Bool(true)))
    }

    fn plan(&mut self, value: &Value, parameter: &str, compiled: &mut Compiled) -> Plan {
        match value {
            Value::String(text) => match text.strip_prefix('=') {
                Some(expression) => self.plan_expression(expression, parameter, compiled),
                None => Plan::Constant(value.clone()),
            },
            Value::Array(values) => {
                let plans: Vec<Plan> = values
                    .iter()
                    .enumerate()
                    .map(|(index, value)| {
                        self.plan(value, &format!("{parameter}[{index}]"), compiled)
                    })
                    .collect();
                let is_constant = plans.iter().all(|plan| matches!(plan, Plan::Constant(_)));
                if is_constant { Plan::Constant(value.clone()) } else { Plan::List(plans) }
            }
            Value::Object(fields) => self.plan_object(fields, parameter, compiled),
            Value::Null | Value::Bool(_) | Value::Number(_) => Plan::Constant(value.clone()),
        }
    }

    fn plan_object(&mut self, fields: &Object, parameter: &str, compiled: &mut Compiled) -> Plan {
        let dot = if parameter.is_empty() { "" } else { "." };
        let plans: Vec<(String, Plan)> = fields
            .iter()
            .map(|(key, value)| {
                (key.clone(), self.plan(value, &format!("{parameter}{dot}{key}"), compiled))
            })
            .collect();
        if plans.iter().all(|(_, plan)| matches!(plan, Plan::Constant(_))) {
            Plan::Constant(Value::Object(fields.clone()))
        } else {
            Plan::Object(plans)
        }
    }

    fn plan_expression(&mut self, text: &str, parameter: &str, compiled: &mut Compiled) -> Plan {
        let mut chunks = Vec::new();
        for (offset, piece) in split(text) {
            let code = match piece {
                Piece::Text(text) => {
                    chunks.push(Chunk::Text(text));
                    continue;
                }
                Piece::Code(code) => code,
            };
            match self.script(code, parameter, compiled) {
                Ok(Some(script)) => chunks.push(Chunk::Script(script)),
                Ok(None) => chunks.push(Chunk::Text(String::new())),
                Err((at, message)) => {
                    // One for the `=`, one because columns count from 1.
                    let column = text[..offset].chars().count() + at + 2;
                    let parameter = parameter.to_owned();
                    compiled.refusals.push(Refusal { parameter, column, message });
                }
            }
        }
        match chunks.as_mut_slice() {
            [] => Plan::Constant("".into()),
            [Chunk::Text(text)] => Plan::Constant(std::mem::take(text).into()),
            [Chunk::Script(script)] => Plan::Typed(script.clone()),
            _ => Plan::Text(chunks),
        }
    }

    /// Compiles one script; an empty one is nothing. An error says at which character.
    fn script(
        &mut self,
        code: &str,
        parameter: &str,
        compiled: &mut Compiled,
    ) -> Result<Option<Script>, (usize, String)> {
        if code.trim().is_empty() {
            return Ok(None);
        }
        let script = Script::read(code, &mut |name| {
            compiled.references.push((parameter.to_owned(), name));
        })?;
        if script.path.is_none()
            && let Some(engine) = self.engine()
            && let Err(error) = engine.compiled(&script.code, &script.unknown)
        {
            let before = code.split_inclusive('\n').take(error.line - 1);
            let before: usize = before.map(|line| line.chars().count()).sum();
            return Err((before + error.column - 1, error.message));
        }
        Ok(Some(script))
    }

    fn value(&mut self, plan: &Plan, current: &Current) -> Result<Value, Fault> {
        match plan {
            Plan::Constant(value) => Ok(value.clone()),
            Plan::List(plans) => {
                let mut values = Vec::with_capacity(plans.len());
                for plan in plans {
                    values.push(self.value(plan, current)?);
                }
                Ok(Value::Array(values))
            }
            // Made at its size: collected results do not know how many they are.
            Plan::Object(plans) => {
                let mut object = Object::with_capacity(plans.len());
                for (key, plan) in plans {
                    object.insert(key.clone(), self.value(plan, current)?);
                }
                Ok(Value::Object(object))
            }
            Plan::Typed(script) => Ok(self.typed(script, current)?.unwrap_or(Value::Null)),
            Plan::Text(chunks) => {
                let mut text = String::new();
                for chunk in chunks {
                    match chunk {
                        Chunk::Text(plain) => text.push_str(plain),
                        Chunk::Script(script) => text.push_str(&self.text(script, current)?),
                    }
                }
                Ok(text.into())
            }
        }
    }

    /// The value of a script; `None` is undefined.
    fn typed(&mut self, script: &Script, current: &Current) -> Result<Option<Value>, Fault> {
        match self.by_path(script, current)? {
            Some(value) => Ok(value),
            None => self.run(script, false, current),
        }
    }

    /// What a plain path leads to: `Some(None)` is undefined, `None` what only a script knows.
    fn by_path(&self, script: &Script, current: &Current) -> Result<Option<Option<Value>>, Fault> {
        let Some(path) = &script.path else { return Ok(None) };
        Ok(match path.find(&current.scope, current.item)? {
            Found::Value(value) => Some(Some(value)),
            Found::Undefined => Some(None),
            Found::Script => None,
        })
    }

    /// Type and value of a script.
    fn described(
        &mut self,
        script: &Script,
        current: &Current,
    ) -> Result<(&'static str, Value), Fault> {
        let value = self.run(script, false, current)?;
        let kind = self.engine.as_ref().map_or("undefined", Engine::kind);
        Ok((kind, value.unwrap_or(Value::Null)))
    }

    /// What a script leaves in the middle of a text.
    fn text(&mut self, script: &Script, current: &Current) -> Result<String, Fault> {
        if let Some(path) = &script.path {
            match path.find(&current.scope, current.item)? {
                Found::Value(Value::String(text)) => return Ok(text),
                Found::Value(Value::Bool(value)) => return Ok(value.to_string()),
                Found::Value(Value::Null) | Found::Undefined => return Ok(String::new()),
                Found::Value(Value::Number(number)) if !number.is_f64() => {
                    return Ok(number.to_string());
                }
                // How JavaScript writes fractions, lists and objects, it knows best.
                Found::Value(Value::Number(_) | Value::Array(_) | Value::Object(_))
                | Found::Script => {}
            }
        }
        match self.run(script, true, current)? {
            Some(Value::String(text)) => Ok(text),
            Some(
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::Array(_)
                | Value::Object(_),
            )
            | None => Ok(String::new()),
        }
    }

    fn run(
        &mut self,
        script: &Script,
        is_text: bool,
        current: &Current,
    ) -> Result<Option<Value>, Fault> {
        let Some(engine) = self.engine() else {
            return Err(no_memory());
        };
        let Ok(compiled) = engine.compiled(&script.code, &script.unknown) else {
            self.engine = None;
            return Err(Fault::new("E-FLOW-SCRIPT-LIMIT", "no memory to compile the expression"));
        };
        let outcome = engine.evaluate(compiled, is_text, current.clone());
        if matches!(outcome, Outcome::Thrown) {
            return Ok((!script.reaches).then_some(Value::Null));
        }
        self.settle(outcome)
    }

    fn settle(&mut self, outcome: Outcome) -> Result<Option<Value>, Fault> {
        match outcome {
            Outcome::Value(value) => Ok(Some(value)),
            Outcome::Undefined | Outcome::Thrown => Ok(None),
            Outcome::Fault(fault) => Err(fault),
            Outcome::Broken(fault) => {
                self.engine = None;
                Err(fault)
            }
        }
    }

    fn engine(&mut self) -> Option<&mut Engine> {
        if self.engine.is_none() {
            let rng = Rng::new(self.rng.next_u64());
            let (variables, statics) = (self.variables.clone(), self.statics.clone());
            let (deadline, resume) = (self.deadline.clone(), self.resume.clone());
            self.engine = Engine::new(rng, deadline, variables, statics, resume).ok();
        }
        self.engine.as_mut()
    }
}

impl std::fmt::Debug for Scripts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scripts").field("engine", &self.engine).finish_non_exhaustive()
    }
}

/// The parameters of a node are an object.
fn fields(parameters: Value) -> Object {
    match parameters {
        Value::Object(fields) => fields,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Object::new()
        }
    }
}

fn no_memory() -> Fault {
    Fault::new("E-FLOW-SCRIPT-LIMIT", "no memory for the script engine")
}

#[cfg(test)]
mod tests;
