//! What devices of private products are known by: secrets are made and ended, credentials are made of them.

use axum::{
    Json,
    extract::{Path, State, rejection::BytesRejection},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;

use super::{PublisherState, json, parsed};
use crate::{
    api::{
        DeviceCredentialView, DeviceCredentialsBody, DeviceCredentialsView, DeviceSecretBody,
        DeviceSecretView, Problem,
    },
    config::Scope,
    domain::{ProductName, ProductState, credential},
    error::{Error, Kind},
    http::{authentication::Authenticated, device::LONGEST_DEVICE, problem::HttpError, query::malformed},
    publishing::SecretChange,
};

/// Makes a new device secret.
///
/// It makes credentials from now on, and is shown this once. The one that did until now still counts, until it is ended.
#[utoipa::path(
    post, path = "/v1/products/{product}/device-secret", tag = "publish",
    params(("product" = String, Path, description = "The slug")),
    request_body = DeviceSecretBody,
    responses(
        (status = 201, description = "Made", body = DeviceSecretView),
        (status = 400, description = "Malformed", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No token, or not a known one", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token lacks the scope", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Unknown product", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Two count already: end the old one first", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "The catalogue is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn make_device_secret(
    State(state): State<PublisherState>,
    Authenticated(caller): Authenticated,
    Path(product): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, HttpError> {
    let product = parsed(ProductName::parse(&product))?;
    caller.authorize(Scope::Admin, Some(&product))?;
    let body: DeviceSecretBody = json(body)?;
    let given = body.secret.as_deref().map(|hex| {
        let mut secret = [0; credential::SECRET_LENGTH];
        match hex::decode_to_slice(hex.trim(), &mut secret) {
            Ok(()) => Ok(secret),
            Err(_) => Err(malformed("secret: send 64 hex digits, or leave it out for a random one")),
        }
    });
    let change = SecretChange::Rotate(given.transpose()?);
    let known = state.publishing.change_secrets(&product, change, &caller.actor()).await?;
    let secret = known.product.device_secrets.signing().map(hex::encode);
    Ok(unkept(StatusCode::CREATED, Json(DeviceSecretView { secret, ..view(&known) })))
}

/// Ends the device secret of old: its credentials and sealed links count no longer.
#[utoipa::path(
    delete, path = "/v1/products/{product}/device-secret/old", tag = "publish",
    params(("product" = String, Path, description = "The slug")),
    responses(
        (status = 200, description = "Ended, or there was none", body = DeviceSecretView),
        (status = 401, description = "No token, or not a known one", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token lacks the scope", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Unknown product", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "The catalogue is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn end_old_device_secret(
    State(state): State<PublisherState>,
    Authenticated(caller): Authenticated,
    Path(product): Path<String>,
) -> Result<Json<DeviceSecretView>, HttpError> {
    let product = parsed(ProductName::parse(&product))?;
    caller.authorize(Scope::Admin, Some(&product))?;
    let known = state.publishing.change_secrets(&product, SecretChange::Retire, &caller.actor()).await?;
    Ok(Json(view(&known)))
}

/// Makes credentials of devices, for the factory that puts them in.
#[utoipa::path(
    post, path = "/v1/products/{product}/device-credentials", tag = "publish",
    params(("product" = String, Path, description = "The slug")),
    request_body = DeviceCredentialsBody,
    responses(
        (status = 200, description = "What these devices show", body = DeviceCredentialsView),
        (status = 400, description = "Malformed", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No token, or not a known one", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token lacks the scope", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Unknown product, or it has no device secret", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "The catalogue is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn make_device_credentials(
    State(state): State<PublisherState>,
    Authenticated(caller): Authenticated,
    Path(product): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, HttpError> {
    let product = parsed(ProductName::parse(&product))?;
    caller.authorize(Scope::Admin, Some(&product))?;
    let body: DeviceCredentialsBody = json(body)?;
    if let Some(device) =
        body.devices.iter().find(|device| device.is_empty() || device.len() > LONGEST_DEVICE)
    {
        let message =
            format!("the device {device:?} has not 1 to {LONGEST_DEVICE} bytes, as checks take them");
        return Err(malformed(message).into());
    }
    let known = state.publishing.product(&product).await?;
    let secret = known.product.device_secrets.signing().ok_or_else(|| {
        Error::new(
            Kind::NotFound,
            "no-device-secret",
            format!("product {product} has no device secret: `firmament product device-secret {product}` makes one"),
        )
    })?;
    tracing::info!(%product, devices = body.devices.len(), actor = %caller.actor(), "device credentials made");
    let credentials = body.devices.into_iter().map(|device| DeviceCredentialView {
        credential: credential::credential(secret, product.as_str(), &device),
        device,
    });
    let view = DeviceCredentialsView { product: product.to_string(), credentials: credentials.collect() };
    Ok(unkept(StatusCode::OK, Json(view)))
}

fn view(known: &ProductState) -> DeviceSecretView {
    DeviceSecretView {
        product: known.product.name.to_string(),
        secret: None,
        secrets: known.product.device_secrets.count(),
    }
}

/// Nobody on the way keeps a secret.
fn unkept(status: StatusCode, body: impl IntoResponse) -> Response {
    let mut response = (status, body).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
