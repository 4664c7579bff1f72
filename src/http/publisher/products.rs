//! Products.

use axum::{
    Json,
    extract::{Path, State, rejection::BytesRejection},
    http::StatusCode,
};
use bytes::Bytes;

use super::{PublisherState, fitted, json, parsed, view};
use crate::{
    api::{Problem, ProductBody, ProductDetail, ProductList, ProductView},
    catalogue::Audit,
    config::Scope,
    domain::{Hardware, Policy, ProductName, ProductSettings, Retention, Rhythm},
    http::{
        authentication::{Authenticated, Caller},
        problem::HttpError,
        query::malformed,
    },
    version_check::{Reason, policy, rule, similar::nearly_same},
};

/// Creates a product, or replaces what is set on it.
#[utoipa::path(
    put, path = "/v1/products/{product}", tag = "publish",
    params(("product" = String, Path, description = "The slug: [a-z0-9][a-z0-9._-]{0,62}; a new one is not v1 nor d")),
    request_body = ProductBody,
    responses(
        (status = 201, description = "Created", body = ProductView),
        (status = 200, description = "Updated, or equal already", body = ProductView),
        (status = 400, description = "Malformed", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No token, or not a known one", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token lacks the scope", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The service cannot keep its images private", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "The catalogue is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn put_product(
    State(state): State<PublisherState>,
    Authenticated(caller): Authenticated,
    Path(product): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<ProductView>), HttpError> {
    let name = parsed(ProductName::parse(&product))?;
    caller.authorize(Scope::Admin, Some(&name))?;
    let body: serde_json::Value = json(body)?;
    if let Some(key) = body.get("policy").and_then(Policy::unknown_key) {
        return Err(
            malformed(format!("{key} is not known: see docs/version-check.md, or /openapi.json")).into()
        );
    }
    if let Some(key) = body.get("retention").and_then(Retention::unknown_key) {
        return Err(
            malformed(format!("{key} is not known: there are keep_newest and keep_security_for")).into()
        );
    }
    let body: ProductBody = fitted(body)?;
    policy::check(&body.policy).map_err(malformed)?;
    if body.max_image_bytes == Some(0) {
        return Err(malformed(
            "max_image_bytes is 0: nothing could be published; leave it out for no limit of its own",
        )
        .into());
    }
    let settings = ProductSettings {
        hardware: parsed(
            body.hardware.iter().map(|hardware| Hardware::parse(hardware)).collect::<Result<_, _>>(),
        )?,
        max_image_bytes: body.max_image_bytes,
        policy: body.policy,
        support_end: body.support_end,
        rhythm: Rhythm { poll_interval: body.poll_interval, cache_lifetime: body.cache_lifetime },
        channels: (body.channel_settings.into_iter())
            .map(|(channel, settings)| (channel, settings.into()))
            .collect(),
        delivery: body.delivery,
        retention: body.retention,
    };
    let broken = state.publishing.judge_delivery(&name, &settings).await?;
    let audit = Audit {
        actor: caller.actor(),
        details: serde_json::to_value(&settings).map_err(crate::error::Error::internal)?,
        ..Audit::default()
    };
    let (product, created) = state.publishing.catalogue.put_product(&name, &settings, &audit).await?;
    state.publishing.changed.notify_one();
    let product = state.publishing.ensure_device_secret(product, &caller.actor()).await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    let mut view = view::product(&product);
    view.warnings = broken;
    if created {
        view.warnings.extend(similar_products(&state, &caller, &name).await);
    }
    Ok((status, Json(view)))
}

/// Warns of products of nearly the same name, as far as the caller may see them. The product is created already, so not
/// to learn of them is no failure.
async fn similar_products(state: &PublisherState, caller: &Caller, name: &ProductName) -> Vec<Reason> {
    let all = state.publishing.catalogue.products().await.unwrap_or_default();
    let near = all
        .iter()
        .filter(|other| caller.sees(&other.name) && nearly_same(other.name.as_str(), name.as_str()));
    near.take(5)
        .map(|other| {
            let message = format!("product {name} is nearly called {}: look whether it is meant", other.name);
            Reason::new(rule::PRODUCT_SIMILAR, message)
        })
        .collect()
}

/// All products that the token may see.
#[utoipa::path(
    get, path = "/v1/products", tag = "read",
    responses(
        (status = 200, description = "Products, by name", body = ProductList),
        (status = 401, description = "No token, or not a known one", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list_products(
    State(state): State<PublisherState>,
    Authenticated(caller): Authenticated,
) -> Result<Json<ProductList>, HttpError> {
    caller.authorize(Scope::Read, None)?;
    let all = state.publishing.catalogue.products().await?;
    let products = all.iter().filter(|product| caller.sees(&product.name)).map(view::product).collect();
    Ok(Json(ProductList { products }))
}

/// A product and what its channels offer.
#[utoipa::path(
    get, path = "/v1/products/{product}", tag = "read",
    params(("product" = String, Path, description = "The slug")),
    responses(
        (status = 200, description = "The product", body = ProductDetail),
        (status = 401, description = "No token, or not a known one", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Unknown product", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get_product(
    State(state): State<PublisherState>,
    Authenticated(caller): Authenticated,
    Path(product): Path<String>,
) -> Result<Json<ProductDetail>, HttpError> {
    let name = parsed(ProductName::parse(&product))?;
    caller.authorize(Scope::Read, Some(&name))?;
    let known = state.publishing.product(&name).await?;
    Ok(Json(view::product_detail(&state, &known)?))
}
