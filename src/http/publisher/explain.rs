//! `GET …/explain`: what a device is offered, and why.

use axum::{
    Json,
    extract::{Path, RawQuery, State},
};

use super::{PublisherState, parsed};
use crate::{
    api::{ConsideredView, ExplainView, Problem},
    config::Scope,
    domain::{
        ChannelName, Hardware, ProductName, Version,
        explain::{Considered, Finding, explain as explained},
    },
    http::{authentication::Authenticated, problem::HttpError, query::Query},
};

/// Explains a check: every release, and why a device is offered it or is not.
///
/// It tells what the catalogue has now; devices are told the same within a second.
#[utoipa::path(
    get, path = "/v1/products/{product}/explain", tag = "read",
    params(
        ("product" = String, Path, description = "The slug"),
        ("version" = String, Query, description = "The version that the device runs"),
        ("hardware" = Option<String>, Query, description = "Its hardware"),
        ("channel" = Option<String>, Query, description = "Its channel; default stable"),
    ),
    responses(
        (status = 200, description = "The explanation", body = ExplainView),
        (status = 400, description = "Malformed", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No token, or not a known one", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Unknown product", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn explain(
    State(state): State<PublisherState>,
    Authenticated(caller): Authenticated,
    Path(product): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<ExplainView>, HttpError> {
    let product = parsed(ProductName::parse(&product))?;
    caller.authorize(Scope::Read, Some(&product))?;
    let query = Query::parse(query.as_deref());
    query.only(&["version", "hardware", "channel"])?;
    let running = parsed(Version::parse_reported(query.required("version", "1.0.0")?))?;
    let hardware = parsed(query.optional("hardware")?.map(Hardware::parse).transpose())?;
    let channel = parsed(query.optional("channel")?.map(ChannelName::parse).transpose())?;
    let channel = channel.unwrap_or_else(ChannelName::stable);
    let known = state.publishing.product(&product).await?;
    let explanation = explained(&known, &channel, hardware.as_ref().map(Hardware::as_str), &running);
    let considered =
        explanation.considered.into_iter().map(|Considered { release, image, finding }| ConsideredView {
            version: release.version.to_string(),
            filename: image.map(|image| image.filename.to_string()),
            offered: matches!(finding, Finding::Offered | Finding::Replaces),
            code: finding.code().to_owned(),
            why: finding.sentence(&channel, hardware.as_ref(), &running),
        });
    Ok(Json(ExplainView {
        product: product.to_string(),
        considered: considered.collect(),
        version: running.to_string(),
        hardware: hardware.as_ref().map(Hardware::to_string),
        channel: channel.to_string(),
        offered: explanation.offered.map(|(release, _)| release.version.to_string()),
        filename: explanation.offered.map(|(_, image)| image.filename.to_string()),
    }))
}
