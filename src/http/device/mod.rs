//! The device listener: public, no catalogue, no bucket to write to.
//!
//! Nobody needs a credential, but for devices of private products (`access`). The keys of CDN and bucket are inside what
//! makes links, which signs a GET of one object and gives nothing else away. What devices are known by is in the snapshot:
//! a secret for each private product that verifies its devices' credentials and seals its own links, and opens nothing
//! else (`domain::credential` says why no lesser key would do).
//!
//! All routes:
//!
//! | route | what |
//! |---|---|
//! | `GET /v1/check` | is there newer firmware? |
//! | `GET /v1/download/{product}/{version}/{filename}` | an image, in the embedded default only |
//! | `GET /d/{id}` | the way to an image, by its short link |
//! | `GET /livez`, `/readyz` | health |
//! | `GET /openapi.json` | this listener's OpenAPI document |

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{FromRef, Request, State},
    http::{HeaderValue, header},
    middleware::{self, Next},
    response::Response,
    routing::get,
};
use tokio::sync::Semaphore;
use utoipa::{OpenApi, openapi::OpenApi as Document};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{front, health, health::Readiness, problem};
use crate::{
    bucket::ObjectReader,
    cdn::{Links, ShortLinks},
    domain::Rhythm,
    error::{Error, Kind},
    jobs::snapshot::Current,
    telemetry::Metrics,
};

mod access;
pub mod check;
mod download;
pub mod pace;
mod question;
mod short;

pub use question::LONGEST_DEVICE;

/// All that device code can reach. Shared whole: a request then counts one reference, not one per part, on a cache line
/// that all cores write to.
pub struct DeviceState {
    /// The snapshot that answers checks.
    pub current: Arc<Current>,
    /// Makes the links.
    pub links: Arc<Links>,
    /// Makes those of this listener itself.
    pub short: Arc<ShortLinks>,
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

/// There is nothing yet to answer from.
fn no_snapshot(pace: &pace::Pace) -> Error {
    Error::new(
        Kind::Unavailable,
        "no-snapshot",
        "this server has just started and knows nothing yet: ask again",
    )
    .retry_after(pace.soon())
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Firmament: device listener",
        description = "What devices ask: is there newer firmware, and where is it? No authentication, but for private products' devices. Errors are problem documents (RFC 9457)."
    ),
    tags((name = "device", description = "For devices"), (name = "health", description = "For load balancers"))
)]
struct Description;

fn routes() -> OpenApiRouter<Arc<DeviceState>> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(check::check))
        .routes(routes!(download::download))
        .routes(routes!(short::short))
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
        .layer(middleware::from_fn_with_state(Arc::clone(&state), whole))
        .with_state(state)
}

/// What every request passes: no ids, no log line per request, no header that no device reads. Every error says when to ask
/// again, but for those of health, which no device asks.
async fn whole(State(state): State<Arc<DeviceState>>, request: Request, next: Next) -> Response {
    let is_health = health::PATHS.contains(&request.uri().path());
    let mut response = front::guarded(request, next).await;
    if !is_health && problem::is_timeless(&response) {
        let after = state.pace.after(Rhythm::default(), None);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs()));
    }
    problem::complete(response, None)
}
