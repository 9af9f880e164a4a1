//! Parameters as they were resolved last, so that only what scripts say in them is made anew: the
//! rest of a node's parameters is the same for every item.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use crate::flow::expr::fields;
use crate::flow::expr::plan::Plan;
use crate::flow::{Fault, Object};

/// Nodes whose parameters are kept; with one more, all are forgotten.
const NODES_MAX: usize = 1024;
/// Bytes that a script's text may have in parameters that are kept.
const TEXT_MAX: usize = 256;

/// What resolves a script.
type Resolve<'a> = dyn FnMut(&Plan) -> Result<Value, Fault> + 'a;

/// Resolved parameters, each with its plan: no other plan can come to stand at its place.
#[derive(Debug, Default)]
pub(super) struct Resolved(HashMap<*const Plan, (Arc<Plan>, Arc<Object>)>);

impl Resolved {
    /// Parameters that follow this plan, with what scripts say now.
    pub(super) fn renew(
        &mut self,
        plan: &Arc<Plan>,
        resolve: &mut Resolve<'_>,
    ) -> Result<Arc<Object>, Fault> {
        let place = Arc::as_ptr(plan);
        if self.0.len() >= NODES_MAX && !self.0.contains_key(&place) {
            self.0.clear();
        }
        let fresh = || Arc::new(fields(plan.shape()));
        let (_, kept) = self.0.entry(place).or_insert_with(|| (plan.clone(), fresh()));
        if Arc::get_mut(kept).is_none() {
            // Somebody still looks at them: a call that waits, for one.
            *kept = fresh();
        }
        let is_small = match &**plan {
            Plan::Object(plans) => renew_fields(plans, Arc::make_mut(kept), resolve),
            Plan::Constant(_) | Plan::List(_) | Plan::Typed(_) | Plan::Text(_) => Ok(true),
        };
        let renewed = kept.clone();
        if !matches!(is_small, Ok(true)) {
            self.0.remove(&place);
        }
        is_small.map(|_| renewed)
    }
}

/// Resolves every script of fields, which stand in the order of the plan. Tells whether they may be
/// kept: what scripts say in them is small.
fn renew_fields(
    plans: &[(String, Plan)],
    fields: &mut Object,
    resolve: &mut Resolve<'_>,
) -> Result<bool, Fault> {
    let mut is_small = true;
    for ((_, plan), value) in plans.iter().zip(fields.values_mut()) {
        is_small &= renew_value(plan, value, resolve)?;
    }
    Ok(is_small)
}

fn renew_value(plan: &Plan, value: &mut Value, resolve: &mut Resolve<'_>) -> Result<bool, Fault> {
    match (plan, value) {
        (Plan::Constant(_), _) => Ok(true),
        (Plan::Object(plans), Value::Object(fields)) => renew_fields(plans, fields, resolve),
        (Plan::List(plans), Value::Array(values)) => {
            let mut is_small = true;
            for (plan, value) in plans.iter().zip(values) {
                is_small &= renew_value(plan, value, resolve)?;
            }
            Ok(is_small)
        }
        (Plan::Typed(_) | Plan::Text(_) | Plan::Object(_) | Plan::List(_), value) => {
            *value = resolve(plan)?;
            Ok(match value {
                Value::Null | Value::Bool(_) | Value::Number(_) => true,
                Value::String(text) => text.len() <= TEXT_MAX,
                Value::Array(_) | Value::Object(_) => false,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::flow::expr::plan::Script;

    fn plan() -> Arc<Plan> {
        let script = || Plan::Typed(Script::read("$json.a", &mut |_| {}).unwrap());
        let list = Plan::List(vec![Plan::Constant(json!(1)), script()]);
        let inner = Plan::Object(vec![("list".to_owned(), list)]);
        let kind = Plan::Constant(json!({ "is": "constant" }));
        Arc::new(Plan::Object(vec![("kind".to_owned(), kind), ("inner".to_owned(), inner)]))
    }

    fn renewed(kept: &mut Resolved, plan: &Arc<Plan>, says: &Value) -> Result<Arc<Object>, Fault> {
        kept.renew(plan, &mut |_| Ok(says.clone()))
    }

    #[test]
    fn parameters_say_what_scripts_say_now_and_to_those_who_have_them_what_they_said() {
        let (mut kept, plan) = (Resolved::default(), plan());
        let whole =
            |says: Value| json!({ "kind": { "is": "constant" }, "inner": { "list": [1, says] } });
        let first = renewed(&mut kept, &plan, &json!("x")).unwrap();
        let place = Arc::as_ptr(&first);
        assert_eq!(json!(*first), whole(json!("x")));
        let second = renewed(&mut kept, &plan, &json!(2)).unwrap();
        assert_eq!((json!(*first), json!(*second)), (whole(json!("x")), whole(json!(2))));
        drop((first, second));
        let third = renewed(&mut kept, &plan, &Value::Null).unwrap();
        assert_eq!(json!(*third), whole(Value::Null));
        let place_of_second = Arc::as_ptr(&third);
        drop(third);
        let fourth = renewed(&mut kept, &plan, &json!(4)).unwrap();
        assert_eq!(Arc::as_ptr(&fourth), place_of_second, "nobody looked, so nothing was made");
        assert_ne!(place, place_of_second);
    }

    #[test]
    fn what_is_large_or_failed_is_not_kept() {
        let (mut kept, plan) = (Resolved::default(), plan());
        for large in [json!("x".repeat(TEXT_MAX + 1)), json!({ "a": 1 })] {
            renewed(&mut kept, &plan, &large).unwrap();
            assert!(kept.0.is_empty(), "{large}");
        }
        let failed = kept.renew(&plan, &mut |_| Err(Fault::new("E-FLOW-X", "why")));
        assert!(failed.is_err() && kept.0.is_empty());
        let plans = (0..=NODES_MAX).map(|_| self::plan()).collect::<Vec<_>>();
        for plan in plans.iter().chain(&plans[1..]) {
            renewed(&mut kept, plan, &json!(1)).unwrap();
            assert!(kept.0.len() <= NODES_MAX);
        }
        assert_eq!(kept.0.len(), NODES_MAX);
    }
}
