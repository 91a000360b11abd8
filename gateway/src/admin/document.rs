//! The description of the API, in OpenAPI 3.1: what is said once for all routes. The rest is beside each.

use std::sync::Arc;

use axum::{Extension, body::Body, http::Response};
use utoipa::{
    OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};

use super::{fault::Refused, reply};

/// The name of the security scheme.
pub(super) const TOKEN: &str = "token";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Hookweir's admin API",
        description = "What operators see of a gateway and have it do. Every request needs `Authorization: Bearer TOKEN`; \
                       what a token may do is its scope: `read`, `operate` or `admin`, each with the ones before it in it. \
                       Every refusal has the same shape, those of unknown paths (404) and methods (405, with `Allow`) too. \
                       A list answers `next`, which is the `cursor` of the page that follows; null ends it.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    tags(
        (name = "gateway", description = "The gateway itself: how it stands, and this description."),
        (name = "events", description = "Events, their deliveries, and having them delivered once more."),
        (name = "jobs", description = "Bulk work: all that a filter means, with progress and cancel."),
        (name = "dead", description = "Dead letters: deliveries that are not tried again until somebody says so."),
        (name = "sources", description = "Sources, and what they refused."),
        (name = "plugins", description = "Plugins, their versions, and what they answer."),
    ),
    components(schemas(Refused)),
)]
struct Head;

/// What is said of all routes.
pub(super) fn head() -> utoipa::openapi::OpenApi {
    let mut head = Head::openapi();
    env!("CARGO_PKG_VERSION").clone_into(&mut head.info.version);
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(
        "A token of `[admin]` in the gateway's config. Its scope is what it is for.",
    ));
    let components = head.components.get_or_insert_default();
    components.add_security_scheme(TOKEN, SecurityScheme::Http(bearer.build()));
    head
}

/// The description as it is served.
#[derive(Clone)]
pub(super) struct Document(pub(super) Arc<utoipa::openapi::OpenApi>);

/// The description of this API.
///
/// In OpenAPI 3.1, made from the code that answers.
#[utoipa::path(get, path = "/v1/openapi.json", operation_id = "describe", tag = "gateway",
    responses((status = 200, description = "The description.", body = Object)))]
pub(super) async fn describe(Extension(document): Extension<Document>) -> Response<Body> {
    reply::json(axum::http::StatusCode::OK, &*document.0)
}
