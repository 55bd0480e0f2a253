//! The endpoint table.

use std::sync::Arc;

use contracts::FeedbackApi;
use contracts::feedback::{OF_PREDICTION, SUBMIT};
use runtime::bind_all;
use runtime::http::InternalRoutes;

/// Binds the service's endpoints.
pub fn http(routes: &mut InternalRoutes<'_>, api: &Arc<dyn FeedbackApi>) {
    bind_all!(routes, api, {
        SUBMIT => submit(request),
        OF_PREDICTION => of_prediction(id),
    });
}
