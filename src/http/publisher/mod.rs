//! The publisher listener: private, every route but health behind a bearer token.
//!
//! All routes, grouped by who calls them:
//!
//! | route | scope | what |
//! |---|---|---|
//! | `PUT /v1/products/{product}` | admin | create or update |
//! | `GET /v1/products`, `/v1/products/{product}` | read | products and what their channels offer |
//! | `POST /v1/products/{product}/releases/{version}/images` | publish | upload |
//! | `POST /v1/uploads`, `HEAD`, `PATCH`, `DELETE`, `GET /v1/uploads/{id}` | publish | resumable upload (tus 1.0) |
//! | `PUT /v1/products/{product}/channels/{channel}` | publish | promote |
//! | `POST /v1/products/{product}/releases/{version}/recall` | publish | recall |
//! | `POST /v1/products/{product}/images` | publish | upload, the version taken from the image |
//! | `PUT /v1/products/{product}/releases/{version}/path` | publish | floor, lowest version that can take it |
//! | `PUT …/releases/{version}/notes`, `PUT`, `DELETE …/security` | publish | what a release says of itself |
//! | `GET`, `PUT`, `DELETE …/releases/{version}/attachments/{name}` | read, publish | its documents |
//! | `GET /v1/products/{product}/releases`, `…/releases/{version}` | read | releases |
//! | `GET /v1/products/{product}/explain` | read | what a device is offered, and why |
//! | `GET /v1/products/{product}/audit`, `/v1/audit` | read | the audit log |
//! | `GET /v1/status` | read | the reconcilers' last outcomes |
//! | `GET /metrics` | none | Prometheus text |
//! | `POST …/images/direct`, `POST /v1/uploads/{id}/complete` | publish | direct upload |
//! | `OPTIONS /v1/uploads` | any | which tus this is |
//! | `GET /livez`, `/readyz`, `/openapi.json` | none | health, OpenAPI |

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, FromRef, rejection::BytesRejection},
    http::StatusCode,
    middleware,
    routing::get,
};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::Value;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        OpenApi as Document,
        security::{Http, HttpAuthScheme, SecurityScheme},
    },
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{authentication::Tokens, front, health, health::Readiness, problem::HttpError, query::malformed};
use crate::{
    cdn::Links,
    error::{Error, Kind},
    jobs::Outcomes,
    publishing::Publishing,
    telemetry::Metrics,
};

mod attachments;
mod audit;
mod describe;
mod direct;
mod explain;
mod headers;
mod images;
mod operations;
mod path;
mod products;
mod purges;
mod releases;
mod stated;
mod tus;
mod view;

/// The largest JSON body, in bytes.
const LARGEST_JSON: usize = 64 * 1024;

/// All that publisher code can reach.
#[derive(Clone)]
pub struct PublisherState {
    /// The use cases.
    pub publishing: Arc<Publishing>,
    /// Who may call.
    pub tokens: Arc<Tokens>,
    /// Makes the links that devices will be given.
    pub links: Arc<Links>,
    /// The device listener's host and port, for links in the embedded default.
    pub device_host: Arc<str>,
    /// For `/metrics`.
    pub metrics: Arc<Metrics>,
    /// For `/v1/status`.
    pub outcomes: Arc<Outcomes>,
    /// For `/readyz`.
    pub readiness: Readiness,
}

impl FromRef<PublisherState> for Readiness {
    fn from_ref(state: &PublisherState) -> Self {
        state.readiness.clone()
    }
}

impl FromRef<PublisherState> for Arc<Tokens> {
    fn from_ref(state: &PublisherState) -> Self {
        Arc::clone(&state.tokens)
    }
}

struct BearerToken;

impl Modify for BearerToken {
    fn modify(&self, document: &mut Document) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        document.components.get_or_insert_default().add_security_scheme("token", scheme);
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Firmament: publisher listener",
        description = "What publishers and operators ask. Errors are problem documents (RFC 9457); for a refused image, `reasons` lists every rule that refuses it."
    ),
    modifiers(&BearerToken),
    security(("token" = [])),
    components(schemas(crate::api::VerdictView)),
    tags(
        (name = "publish", description = "For publishers"),
        (name = "read", description = "What there is"),
        (name = "operations", description = "For operators"),
        (name = "health", description = "For load balancers")
    )
)]
struct Description;

fn routes() -> OpenApiRouter<PublisherState> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(products::put_product, products::get_product))
        .routes(routes!(products::list_products))
        .routes(routes!(images::publish_image))
        .routes(routes!(direct::begin_direct))
        .routes(routes!(direct::complete_direct))
        .routes(routes!(tus::options, tus::begin_upload))
        .routes(routes!(tus::get_upload, tus::head_upload, tus::append, tus::end_upload, tus::overridden))
        .routes(routes!(releases::promote))
        .routes(routes!(images::publish_stated_image))
        .routes(routes!(releases::recall))
        .routes(routes!(path::set_path))
        .routes(routes!(explain::explain))
        .routes(routes!(releases::list_releases))
        .routes(routes!(releases::get_release))
        .routes(routes!(describe::put_notes))
        .routes(routes!(describe::put_security, describe::delete_security))
        .routes(routes!(
            attachments::get_attachment,
            attachments::put_attachment,
            attachments::delete_attachment
        ))
        .routes(routes!(audit::audit))
        .routes(routes!(audit::audit_of_all))
        .routes(routes!(purges::list_purges))
        .routes(routes!(operations::status))
        .routes(routes!(operations::metrics))
        .routes(routes!(health::livez))
        .routes(routes!(health::readyz))
}

/// This listener's OpenAPI document.
pub fn openapi() -> Document {
    routes().into_openapi()
}

/// This listener's routes.
pub fn router(state: PublisherState) -> Router {
    let (router, document) = routes().split_for_parts();
    router
        .route("/openapi.json", get(move || std::future::ready(Json(document))))
        .layer(DefaultBodyLimit::max(LARGEST_JSON))
        .layer(middleware::from_fn_with_state(Arc::clone(&state.metrics), front::publisher))
        .with_state(state)
}

/// A JSON body as the object that it should be, or a problem that says what is wrong with it. Whatever its
/// Content-Type, as curl's `-d` says it is a form. (Read as a value first: serde takes an array for a struct.)
fn json<T: DeserializeOwned>(body: Result<Bytes, BytesRejection>) -> Result<T, HttpError> {
    let body = body.map_err(|rejection| {
        let too_large = rejection.status() == StatusCode::PAYLOAD_TOO_LARGE;
        let kind = if too_large { Kind::TooLarge } else { Kind::Interrupted };
        let why = rejection.body_text();
        Error::new(
            kind,
            "body-unread",
            format!("the body cannot be read ({why}): send at most {LARGEST_JSON} bytes"),
        )
    })?;
    let value: Value = serde_json::from_slice(&body)
        .map_err(|error| malformed(format!("the body is no JSON ({error}): send an object such as {{}}")))?;
    if !value.is_object() {
        return Err(malformed("the body is JSON, but no object: send {…}").into());
    }
    fitted(value)
}

/// A JSON value as one of the API's types, or a problem that says what does not fit.
fn fitted<T: DeserializeOwned>(value: Value) -> Result<T, HttpError> {
    serde_json::from_value(value)
        .map_err(|error| HttpError(malformed(format!("the body does not fit: {error}; see /openapi.json"))))
}

/// Parses a name or version that the request's path or body holds.
fn parsed<T, E: std::fmt::Display>(result: Result<T, E>) -> Result<T, Error> {
    result.map_err(|error| malformed(error.to_string()))
}
