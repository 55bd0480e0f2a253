//! The public API.

use gateway::http::openapi;

#[test]
fn the_public_description_is_up_to_date() {
    super::compare("openapi/gateway.json", &openapi());
}
