//! The device listener: public, no credentials, no catalogue.
//!
//! All routes:
//!
//! | route | what |
//! |---|---|
//! | `GET /v1/check` | is there newer firmware? |
//! | `GET /v1/download/{product}/{version}/{filename}` | an image, in the embedded default only |
//! | `GET /livez`, `/readyz` | health |
//! | `GET /openapi.json` | this listener's OpenAPI document |

use std::sync::Arc;

use axum::{Json, Router, extract::FromRef, middleware, routing::get};
use tokio::sync::Semaphore;
use utoipa::{OpenApi, openapi::OpenApi as Document};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{front, health, health::Readiness};
use crate::{bucket::ObjectReader, cdn::Links, jobs::snapshot::Current, telemetry::Metrics};

pub mod check;
mod download;
pub mod pace;
mod question;

/// All that device code can reach. Shared whole: a request then counts one reference, not one per part, on a cache line
/// that all cores write to.
pub struct DeviceState {
    /// The snapshot that answers checks.
    pub current: Arc<Current>,
    /// Makes the links.
    pub links: Arc<Links>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// For `/readyz`.
    pub readiness: Readiness,
    /// When devices and caches should ask again.
    pub pace: pace::Pace,
    /// The template of the cache tag that answers carry for a CDN that caches them; `None` = no such CDN.
    pub check_tag: Option<Box<str>>,
    /// Reads images of a directory bucket; `None` = they are served elsewhere.
    pub reader: Option<Arc<ObjectReader>>,
    /// Bounds downloads.
    pub downloads: Arc<Semaphore>,
}

impl FromRef<Arc<DeviceState>> for Readiness {
    fn from_ref(state: &Arc<DeviceState>) -> Self {
        state.readiness.clone()
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Firmament: device listener",
        description = "What devices ask: is there newer firmware, and where is it? No authentication. Errors are problem documents (RFC 9457)."
    ),
    tags((name = "device", description = "For devices"), (name = "health", description = "For load balancers"))
)]
struct Description;

fn routes() -> OpenApiRouter<Arc<DeviceState>> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(check::check))
        .routes(routes!(download::download))
        .routes(routes!(health::livez))
        .routes(routes!(health::readyz))
}

/// This listener's OpenAPI document.
pub fn openapi() -> Document {
    routes().into_openapi()
}

/// This listener's routes.
pub fn router(state: Arc<DeviceState>) -> Router {
    let (router, document) = routes().split_for_parts();
    router
        .route("/openapi.json", get(move || std::future::ready(Json(document))))
        .layer(middleware::from_fn(front::device))
        .with_state(state)
}
