//! The endpoint table.

use std::sync::Arc;

use contracts::FeedbackApi;
use contracts::feedback::{OF_PREDICTION, PENDING, SUBMIT, SUMMARY};
use runtime::bind_all;
use runtime::http::InternalRoutes;

/// Binds the service's endpoints.
pub fn http(routes: &mut InternalRoutes<'_>, api: &Arc<dyn FeedbackApi>) {
    bind_all!(routes, api, {
        SUBMIT => submit(request),
        OF_PREDICTION => of_prediction(id),
        SUMMARY => summary(query),
        PENDING => pending(query),
    });
}
