//! Which version a request would get, and why. Nothing is served, and nothing logged.

use contracts::pointer::step;
use contracts::router::{Asked, Explain, Explained};
use contracts::{ApiError, Call, Faults};
use domain::targeting::{Context, is_routing_header};
use domain::{PredictionId, Role, Route};
use serde_json::Value;

use super::{Service, not_shown};
use crate::choice::Steps;
use crate::targeting::Who;

impl Service {
    pub(super) fn explained(&self, call: &Call, request: Explain) -> Result<Explained, ApiError> {
        let caller = call.require(&[Role::Analyst])?;
        let Explain { model, asked } = request;
        call.require_model(&model)?;
        if !self.table.shows_versions(&model, Some(caller.role)) {
            return Err(not_shown(&model));
        }
        self.check_unit(asked.unit.as_deref())?;
        let mut steps = Steps::told();
        let role = asked.role.unwrap_or(caller.role);
        let name = asked.caller.clone().unwrap_or_else(|| caller.name.clone());
        let (unit, version) = (asked.unit.clone(), asked.version);
        let context = context_of(asked, &mut steps)?;
        let who = Who { unit: unit.as_deref(), role, caller: &name, context: &context };
        let id = PredictionId::new();
        let choice = self.table.choose(&model, version, &who, id, &mut steps)?;
        if let Some(refused) = &choice.refused {
            steps.say(|| format!("it cannot answer now: {refused}"));
        }
        if let Some(route) = choice.route.as_deref().filter(|_| version.is_none()) {
            say_fallback(route, &mut steps);
        }
        Ok(Explained {
            version: choice.version.version,
            decision: choice.decision,
            bucket: choice.bucket,
            steps: steps.into_list(),
        })
    }
}

/// What the gateway would pass on of this.
fn context_of(asked: Asked, steps: &mut Steps) -> Result<Context, ApiError> {
    let mut faults = Faults::default();
    for (key, value) in &asked.context {
        if matches!(value, Value::Null | Value::Array(_) | Value::Object(_)) {
            let detail = "must be a text, a number, `true` or `false`";
            faults.add(step("#/context", key), detail);
        }
    }
    faults.check()?;
    let mut context = Context { fields: asked.context, ..Context::default() };
    for (name, value) in asked.headers {
        let name = name.to_ascii_lowercase();
        if is_routing_header(&name) {
            context.headers.insert(name, value);
        } else {
            steps.say(|| format!("header `{name}` is never looked at"));
        }
    }
    Ok(context)
}

fn say_fallback(route: &Route, steps: &mut Steps) {
    let fallback = &route.fallback;
    if fallback.is_none() {
        return;
    }
    let versions = fallback.versions.iter().map(|version| format!("version {version}"));
    let last_good = fallback.last_good.then(|| "the last good answer to the same input".to_owned());
    let default = fallback.default.as_ref().map(|_| "the safe default".to_owned());
    let chain: Vec<_> = versions.chain(last_good).chain(default).collect();
    steps.say(|| format!("should it fail: {}", chain.join(", then ")));
}
