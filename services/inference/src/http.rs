//! The endpoint table.

use std::sync::Arc;

use contracts::InferenceApi;
use contracts::inference::{CHECK, LOAD, LOADED, PREDICT, UNLOAD};
use runtime::bind_all;
use runtime::http::InternalRoutes;

/// Binds the service's endpoints.
pub fn http(routes: &mut InternalRoutes<'_>, api: &Arc<dyn InferenceApi>) {
    bind_all!(routes, api, {
        PREDICT => predict(request),
        CHECK => check(version),
        LOAD => load(version),
        UNLOAD => unload(target),
        LOADED => loaded(),
    });
}
