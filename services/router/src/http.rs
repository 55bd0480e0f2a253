//! The endpoint table.

use std::sync::Arc;

use contracts::RouterApi;
use contracts::router::{
    ACT_ON_EXPERIMENT, ACT_ON_ROLLOUT, CHANGE_WEBHOOK, CLEAR_BLOCK, CREATE_EXPERIMENT,
    CREATE_MODEL, CREATE_ROLLOUT, CREATE_VERSION, CREATE_WEBHOOK, DELIVERIES, EVENTS, EXPERIMENT,
    EXPERIMENTS, EXPLAIN, FLUSH, FOLLOW, HISTORY, IMPOSE, LAYERS, MODEL, MODELS, POLICY, PREDICT,
    PREDICTION, PUT_LAYER, PUT_POLICY, PUT_ROUTE, READINESS, REMOVE_WEBHOOK, REPORT,
    RETRY_DELIVERY, ROLLBACK, ROLLOUT, ROLLOUTS, ROUTE, SET_ALIAS, SET_ENABLED, SHADOW_REPORT,
    SWITCH, TEST_WEBHOOK, VERSION, WEBHOOKS, WHAT_IF,
};
use runtime::bind_all;
use runtime::http::InternalRoutes;

/// Binds the service's endpoints.
pub fn http(routes: &mut InternalRoutes<'_>, api: &Arc<dyn RouterApi>) {
    bind_all!(routes, api, {
        PREDICT => predict(request),
        PREDICTION => prediction(id),
        MODELS => models(),
        MODEL => model(name),
        CREATE_MODEL => create_model(request),
        CREATE_VERSION => create_version(request),
        VERSION => version(target),
        POLICY => policy(model),
        PUT_POLICY => put_policy(request),
        SET_ALIAS => set_alias(request),
        ROUTE => route(model),
        PUT_ROUTE => put_route(request),
        SET_ENABLED => set_enabled(request),
        FOLLOW => follow(change),
        FLUSH => flush(),
        READINESS => readiness(),
        EXPLAIN => explain(request),
        ROLLBACK => rollback(request),
        SWITCH => switch(request),
        CLEAR_BLOCK => clear_block(request),
        HISTORY => history(query),
        IMPOSE => impose(imposed),
        SHADOW_REPORT => shadow_report(query),
        EXPERIMENTS => experiments(query),
        EXPERIMENT => experiment(id),
        CREATE_EXPERIMENT => create_experiment(request),
        ACT_ON_EXPERIMENT => act_on_experiment(request),
        REPORT => report(id),
        WHAT_IF => what_if(request),
        LAYERS => layers(),
        PUT_LAYER => put_layer(request),
        ROLLOUTS => rollouts(query),
        ROLLOUT => rollout(id),
        CREATE_ROLLOUT => create_rollout(request),
        ACT_ON_ROLLOUT => act_on_rollout(request),
        EVENTS => events(query),
        WEBHOOKS => webhooks(),
        CREATE_WEBHOOK => create_webhook(request),
        CHANGE_WEBHOOK => change_webhook(request),
        REMOVE_WEBHOOK => remove_webhook(id),
        TEST_WEBHOOK => test_webhook(id),
        DELIVERIES => deliveries(query),
        RETRY_DELIVERY => retry_delivery(id),
    });
}
