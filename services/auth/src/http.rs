//! The endpoint table.

use std::sync::Arc;

use contracts::AuthApi;
use contracts::auth::{CREATE_USER, JWKS, SERVICE_TOKEN, SIGN_IN, USERS};
use runtime::bind_all;
use runtime::http::InternalRoutes;

/// Binds the service's endpoints.
pub fn http(routes: &mut InternalRoutes<'_>, api: &Arc<dyn AuthApi>) {
    bind_all!(routes, api, {
        SIGN_IN => sign_in(request),
        SERVICE_TOKEN => service_token(request),
        JWKS => jwks(),
        USERS => users(),
        CREATE_USER => create_user(request),
    });
}
