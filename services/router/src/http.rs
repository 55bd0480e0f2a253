//! The endpoint table.

use std::sync::Arc;

use contracts::RouterApi;
use contracts::router::{
    CHANGE_WEBHOOK, CREATE_MODEL, CREATE_VERSION, CREATE_WEBHOOK, DELIVERIES, EVENTS, FLUSH,
    FOLLOW, MODEL, MODELS, POLICY, PREDICT, PREDICTION, PUT_POLICY, PUT_ROUTE, READINESS,
    REMOVE_WEBHOOK, RETRY_DELIVERY, ROUTE, SET_ALIAS, SET_ENABLED, TEST_WEBHOOK, VERSION, WEBHOOKS,
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
