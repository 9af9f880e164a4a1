//! Switch: an item leaves by the output of the first rule that holds, or of all that hold.

use serde_json::Value;

use crate::flow::node::condition::{compares_plainly, filter_holds, old_holds, option};
use crate::flow::node::if_else::check_filter;
use crate::flow::node::shown;
use crate::flow::{Branches, Fault, Findings, NodeType, Object, Role, Shown, Work};

pub(super) struct Switch;

/// Outputs that an export leaves out; the first version has no others.
const OUTPUTS: u64 = 4;
/// Outputs at most.
const OUTPUTS_MAX: u64 = 64;

impl NodeType for Switch {
    fn name(&self) -> &'static str {
        "n8n-nodes-base.switch"
    }

    fn versions(&self) -> &'static [f64] {
        &[1.0, 2.0, 3.0, 3.1, 3.2, 3.3, 3.4]
    }

    fn shown_while(&self, _version: f64) -> &'static [Shown] {
        const RULES: &[Shown] = &[
            shown("rules", "mode", "rules", &["rules"]),
            shown("dataType", "mode", "rules", &["rules"]),
            shown("value1", "mode", "rules", &["rules"]),
            shown("fallbackOutput", "mode", "rules", &["rules"]),
            shown("outputsAmount", "mode", "rules", &["expression"]),
            shown("numberOutputs", "mode", "rules", &["expression"]),
            shown("output", "mode", "rules", &["expression"]),
        ];
        RULES
    }

    fn role(&self) -> Role {
        Role::Core
    }

    fn is_quick(&self, parameters: &Object) -> bool {
        compares_plainly(parameters.values())
    }

    fn keys(&self) -> &'static [&'static str] {
        &[
            "mode",
            "rules",
            "options",
            "looseTypeValidation",
            "numberOutputs",
            "output",
            "outputsAmount",
            "dataType",
            "value1",
            "fallbackOutput",
        ]
    }

    fn fill(&self, _version: f64, parameters: &mut Object, _report: &mut Findings) {
        parameters.entry("mode").or_insert_with(|| "rules".into());
    }

    fn outputs(&self, version: f64, parameters: &Object) -> Vec<String> {
        let amount = |key: &str| parameters.get(key).and_then(Value::as_u64).unwrap_or(OUTPUTS);
        let numbered = |amount: u64| (0..amount.min(OUTPUTS_MAX)).map(|n| n.to_string()).collect();
        if version < 2.0 {
            return numbered(OUTPUTS);
        }
        if is_expression(parameters) {
            return numbered(amount(if version < 3.0 { "outputsAmount" } else { "numberOutputs" }));
        }
        let label = |(place, rule): (usize, &Value)| match rule["outputKey"].as_str() {
            Some(key) if !key.is_empty() => key.to_owned(),
            Some(_) | None => place.to_string(),
        };
        let mut outputs: Vec<String> = rules(parameters).iter().enumerate().map(label).collect();
        if fallback(parameters).is_some_and(|fallback| fallback == "extra") {
            outputs.push("fallback".to_owned());
        }
        outputs
    }

    fn check(&self, version: f64, parameters: &Object, report: &mut Findings) {
        if version < 3.0 || is_expression(parameters) {
            return;
        }
        for (place, rule) in rules(parameters).iter().enumerate() {
            let path = format!("rules.values[{place}].conditions");
            check_filter(rule.get("conditions"), &path, report);
        }
    }

    fn perform(&self, work: &mut Work<'_>) -> Result<Branches, Fault> {
        let outputs = work.outputs();
        work.route(|work, parameters, item| {
            let mut taken = Vec::new();
            if is_expression(parameters) {
                let output = parameters.get("output").and_then(number).unwrap_or(0);
                return allowed(output, outputs).map(|output| vec![output]);
            }
            let is_every = option(parameters, "allMatchingOutputs");
            for (place, rule) in rules(parameters).iter().enumerate() {
                if !holds(parameters, rule, work, item)? {
                    continue;
                }
                let own = rule.get("output").and_then(number).filter(|_| work.version() < 2.0);
                taken.push(allowed(own.unwrap_or(place as i64), outputs)?);
                if !is_every {
                    return Ok(taken);
                }
            }
            if taken.is_empty() {
                taken.extend(fallback_output(parameters, outputs));
            }
            Ok(taken)
        })
    }
}

fn is_expression(parameters: &Object) -> bool {
    parameters.get("mode").is_some_and(|mode| mode == "expression")
}

/// `rules.values` since version 3, `rules.rules` before.
fn rules(parameters: &Object) -> &[Value] {
    let rules = parameters.get("rules");
    let rules = rules.and_then(|rules| rules.get("values").or_else(|| rules.get("rules")));
    rules.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn fallback(parameters: &Object) -> Option<&Value> {
    let options = parameters.get("options").and_then(|options| options.get("fallbackOutput"));
    options.or_else(|| parameters.get("fallbackOutput"))
}

fn fallback_output(parameters: &Object, outputs: usize) -> Option<usize> {
    let fallback = fallback(parameters)?;
    if fallback == "extra" {
        return outputs.checked_sub(1);
    }
    usize::try_from(number(fallback)?).ok().filter(|output| *output < outputs)
}

fn holds(
    parameters: &Object,
    rule: &Value,
    work: &mut Work<'_>,
    item: usize,
) -> Result<bool, Fault> {
    if work.version() >= 3.0 {
        let is_loose = option(parameters, "looseTypeValidation");
        let ignores_case = option(parameters, "ignoreCase");
        return filter_holds(&rule["conditions"], is_loose, ignores_case, work, item);
    }
    let kind = parameters.get("dataType").and_then(Value::as_str).unwrap_or("number");
    let omitted = if kind == "dateTime" {
        "after"
    } else if kind == "number" {
        "smaller"
    } else {
        "equal"
    };
    let operation = rule["operation"].as_str().unwrap_or(omitted);
    let left = parameters.get("value1").unwrap_or(&Value::Null);
    old_holds(kind, operation, (left, &rule["value2"]), work, item)
}

fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())
}

fn allowed(output: i64, outputs: usize) -> Result<usize, Fault> {
    usize::try_from(output).ok().filter(|output| *output < outputs).ok_or_else(|| {
        let message = format!("the output {output} is not allowed: there are {outputs}");
        Fault::new("E-FLOW-OUTPUT", message)
    })
}
