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
        if self.0.len() >= NODES_MAX {
            self.0.clear();
        }
        let fresh = || Arc::new(fields(plan.shape()));
        let kept = self.0.entry(Arc::as_ptr(plan)).or_insert_with(|| (plan.clone(), fresh()));
        if Arc::get_mut(&mut kept.1).is_none() {
            // Somebody still looks at them: a call that waits, for one.
            kept.1 = fresh();
        }
        let parameters = Arc::make_mut(&mut kept.1);
        let is_small = match &**plan {
            Plan::Object(plans) => renew_fields(plans, parameters, resolve)?,
            Plan::Constant(_) | Plan::List(_) | Plan::Typed(_) | Plan::Text(_) => true,
        };
        let renewed = kept.1.clone();
        if !is_small {
            self.0.remove(&Arc::as_ptr(plan));
        }
        Ok(renewed)
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
