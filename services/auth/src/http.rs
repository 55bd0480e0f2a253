//! The endpoint table.

use std::sync::Arc;

use contracts::AuthApi;
use contracts::auth::{
    API_KEYS, AUDIT, CHANGE_PASSWORD, CHANGE_USER, CREATE_API_KEY, CREATE_USER, EXCHANGE_KEY, JWKS,
    OIDC_BEGIN, OIDC_FINISH, RECORD, REFRESH, REVOCATIONS, REVOKE_API_KEY, ROTATE_API_KEY,
    ROTATE_SIGNING_KEY, SERVICE_TOKEN, SIGN_IN, SIGN_OUT, USERS, VERIFY_AUDIT,
};
use runtime::bind_all;
use runtime::http::InternalRoutes;

/// Binds the service's endpoints.
pub fn http(routes: &mut InternalRoutes<'_>, api: &Arc<dyn AuthApi>) {
    bind_all!(routes, api, {
        SIGN_IN => sign_in(request),
        OIDC_BEGIN => oidc_begin(),
        OIDC_FINISH => oidc_finish(request),
        REFRESH => refresh(request),
        SIGN_OUT => sign_out(request),
        CHANGE_PASSWORD => change_password(request),
        EXCHANGE_KEY => exchange_key(request),
        SERVICE_TOKEN => service_token(request),
        JWKS => jwks(),
        ROTATE_SIGNING_KEY => rotate_signing_key(),
        REVOCATIONS => revocations(request),
        USERS => users(),
        CREATE_USER => create_user(request),
        CHANGE_USER => change_user(request),
        API_KEYS => api_keys(),
        CREATE_API_KEY => create_api_key(request),
        ROTATE_API_KEY => rotate_api_key(request),
        REVOKE_API_KEY => revoke_api_key(request),
        RECORD => record(request),
        AUDIT => audit(request),
        VERIFY_AUDIT => verify_audit(),
    });
}
