//! If: items for which the conditions hold leave by the first output, the others by the second.

use serde_json::Value;

use crate::flow::node::condition::{
    compares_plainly, filter_holds, old_holds, option, unknown_operation,
};
use crate::flow::node::never;
use crate::flow::{Branches, Fault, Findings, NodeType, Object, Role, Shown, Work};

pub(super) struct If;

/// Kinds of conditions of the first version, in the order they are tried, with the operation that
/// an export leaves out.
const OLD_KINDS: [(&str, &str); 4] =
    [("boolean", "equal"), ("dateTime", "after"), ("number", "smaller"), ("string", "equal")];

impl NodeType for If {
    fn name(&self) -> &'static str {
        "n8n-nodes-base.if"
    }

    fn versions(&self) -> &'static [f64] {
        &[1.0, 2.0, 2.1, 2.2, 2.3]
    }

    fn shown_while(&self, version: f64) -> &'static [Shown] {
        const FIRST: &[Shown] = &[never("looseTypeValidation"), never("options")];
        const SECOND: &[Shown] = &[never("combineOperation"), never("looseTypeValidation")];
        const LATER: &[Shown] = &[never("combineOperation")];
        match version {
            _ if version < 2.0 => FIRST,
            _ if version < 2.1 => SECOND,
            _ => LATER,
        }
    }

    fn role(&self) -> Role {
        Role::Core
    }

    fn is_quick(&self, parameters: &Object) -> bool {
        compares_plainly(parameters.values())
    }

    fn keys(&self) -> &'static [&'static str] {
        &["conditions", "combineOperation", "looseTypeValidation", "options"]
    }

    fn outputs(&self, _version: f64, _parameters: &Object) -> Vec<String> {
        vec!["true".to_owned(), "false".to_owned()]
    }

    fn check(&self, version: f64, parameters: &Object, report: &mut Findings) {
        if version >= 2.0 {
            check_filter(parameters.get("conditions"), "conditions", report);
        }
    }

    fn perform(&self, work: &mut Work<'_>) -> Result<Branches, Fault> {
        work.route(|work, parameters, item| {
            let holds = holds(parameters, work, item)?;
            Ok(vec![usize::from(!holds)])
        })
    }
}

/// Filter: the items for which the conditions hold, and no others.
pub(super) struct Filter;

impl NodeType for Filter {
    fn name(&self) -> &'static str {
        "n8n-nodes-base.filter"
    }

    fn versions(&self) -> &'static [f64] {
        &[1.0, 2.0, 2.1, 2.2, 2.3]
    }

    fn shown_while(&self, version: f64) -> &'static [Shown] {
        If.shown_while(version)
    }

    fn role(&self) -> Role {
        Role::Core
    }

    fn is_quick(&self, parameters: &Object) -> bool {
        compares_plainly(parameters.values())
    }

    fn keys(&self) -> &'static [&'static str] {
        If.keys()
    }

    fn outputs(&self, _version: f64, _parameters: &Object) -> Vec<String> {
        vec!["kept".to_owned()]
    }

    fn check(&self, version: f64, parameters: &Object, report: &mut Findings) {
        If.check(version, parameters, report);
    }

    fn perform(&self, work: &mut Work<'_>) -> Result<Branches, Fault> {
        work.route(|work, parameters, item| {
            Ok(if holds(parameters, work, item)? { vec![0] } else { vec![] })
        })
    }
}

/// Reports what no run could make sense of in a filter.
pub(super) fn check_filter(filter: Option<&Value>, path: &str, report: &mut Findings) {
    let Some(filter) = filter else {
        return report.warning("W-FLOW-CONDITION", path, "there is no condition", "add one");
    };
    if let Some((place, operation)) = unknown_operation(filter) {
        let path = format!("{path}.conditions[{place}].operator");
        let message = format!("the operation `{operation}` is unknown");
        report.error("E-FLOW-OPERATION", &path, &message, "choose another operation");
    }
}

fn holds(parameters: &Object, work: &mut Work<'_>, item: usize) -> Result<bool, Fault> {
    let Some(conditions) = parameters.get("conditions") else { return Ok(true) };
    if work.version() >= 2.0 {
        let is_loose = option(parameters, "looseTypeValidation");
        let ignores_case = option(parameters, "ignoreCase");
        return filter_holds(conditions, is_loose, ignores_case, work, item);
    }
    let is_any = parameters.get("combineOperation").is_some_and(|combine| combine == "any");
    for (kind, omitted) in OLD_KINDS {
        for condition in conditions[kind].as_array().into_iter().flatten() {
            let operation = condition["operation"].as_str().unwrap_or(omitted);
            let sides = (&condition["value1"], &condition["value2"]);
            if old_holds(kind, operation, sides, work, item)? == is_any {
                return Ok(is_any);
            }
        }
    }
    Ok(!is_any)
}
