//! The endpoint table.

use std::sync::Arc;

use contracts::DriftApi;
use contracts::drift::SUMMARY;
use runtime::bind_all;
use runtime::http::InternalRoutes;

/// Binds the service's endpoints.
pub fn http(routes: &mut InternalRoutes<'_>, api: &Arc<dyn DriftApi>) {
    bind_all!(routes, api, { SUMMARY => summary(request) });
}
