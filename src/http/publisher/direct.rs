//! Direct uploads: the parts of an image go from the client to the bucket, by URLs that are signed here.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, StatusCode},
};

use super::{PublisherState, images, tus, view};
use crate::{
    api::{DirectView, ImageView, PartView, Problem},
    bucket::PART_SIZE,
    error::{Error, Result},
    http::{
        authentication::Authenticated,
        problem::HttpError,
        query::{Query, malformed},
    },
    publishing::{Published, resumable::DirectBegun},
};

/// Beside those of an upload in one request.
const MORE: [&str; 2] = ["size", "sha256"];

/// Begins a direct upload: answers with a URL for each part, which the client PUTs to the bucket itself.
///
/// Each part has `part_size` bytes, the last one what is left, and its URL takes just so many. The same request again, with the same
/// `sha256`, answers with new URLs for what is missing. After the last part: `POST /v1/uploads/{id}/complete`. Only
/// with an S3 bucket.
#[utoipa::path(
    post, path = "/v1/products/{product}/releases/{version}/images/direct", tag = "publish",
    params(
        ("product" = String, Path, description = "The slug"),
        ("version" = String, Path, description = "SemVer 2.0 without build metadata"),
        ("filename" = String, Query, description = "The last part of the key"),
        ("size" = u64, Query, description = "The image's size in bytes"),
        ("sha256" = Option<String>, Query, description = "Hexadecimal or Base64; verified; needed to go on after an interruption. `Repr-Digest` does as well"),
        ("hardware" = Option<Vec<String>>, Query, description = "The hardware it runs on; repeat it; none = all"),
        ("channel" = Option<String>, Query, description = "Offer it there at once"),
        ("notes" = Option<String>, Query, description = "Release notes"),
        ("allow_downgrade" = Option<bool>, Query, description = "The channel may go back to a lower version; needs `reason`"),
        ("allow_same_bytes" = Option<bool>, Query, description = "The bytes of another version are meant"),
        ("reason" = Option<String>, Query, description = "Why; kept in the audit log"),
    ),
    responses(
        (status = 201, description = "Send the missing parts, then complete it", body = DirectView),
        (status = 200, description = "This very image is there already", body = DirectView),
        (status = 400, description = "Malformed", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No token, or not a known one", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token lacks the scope", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Unknown product", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Other bytes are there or on their way, or the bucket is a directory", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "Too large", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The version check refuses it; see reasons", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too busy, or catalogue or bucket are away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn begin_direct(
    State(state): State<PublisherState>,
    Authenticated(caller): Authenticated,
    Path((product, version)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<(StatusCode, Json<DirectView>), HttpError> {
    let query = Query::parse(query.as_deref());
    let mut request = images::declared(&caller, &product, Some(&version), &query)?;
    query.only(&[&images::PARAMETERS[..], &MORE].concat())?;
    let size = query.optional("size")?.map(str::parse).transpose();
    request.candidate.size = size.map_err(|_| malformed("parameter \"size\" is no number of bytes"))?;
    request.candidate.sha256 = tus::digest_of(&query, &headers)?;
    let publishing = Arc::clone(&state.publishing);
    let begun = tus::in_task(&state, async move { publishing.begin_direct(&request).await }).await?;
    Ok(match begun {
        DirectBegun::Done(published) => {
            let image = image(&state, &published)?;
            let view = DirectView {
                id: published.image,
                part_size: PART_SIZE as u64,
                parts: 0,
                missing: Vec::new(),
                expires_at: None,
                image: Some(image),
            };
            (StatusCode::OK, Json(view))
        }
        DirectBegun::Open(direct) => {
            let missing = direct.missing.into_iter();
            let view = DirectView {
                id: direct.upload.reservation.id,
                part_size: PART_SIZE as u64,
                parts: direct.parts,
                missing: missing
                    .map(|part| PartView { number: part.number, size: part.size, url: part.url })
                    .collect(),
                expires_at: Some(direct.upload.expires_at),
                image: None,
            };
            (StatusCode::CREATED, Json(view))
        }
    })
}

/// Completes a direct upload: the parts become the image, which is read back, checked and published.
///
/// A retry is safe; one that comes while the image is still being read is answered 429.
#[utoipa::path(
    post, path = "/v1/uploads/{id}/complete", tag = "publish",
    params(("id" = uuid::Uuid, Path, description = "Of the upload")),
    responses(
        (status = 201, description = "Stored, and offered on `channel` if given", body = ImageView),
        (status = 200, description = "It was complete already", body = ImageView),
        (status = 401, description = "No token, or not a known one", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token lacks the scope", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such upload", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Parts are missing", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "Too large", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The version check refuses the image, and the upload has ended; see reasons", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too busy, or catalogue or bucket are away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn complete_direct(
    State(state): State<PublisherState>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<ImageView>), HttpError> {
    let id = tus::id(&id)?;
    tus::authorize(&state.publishing, &caller, id).await?;
    let (publishing, actor) = (Arc::clone(&state.publishing), caller.actor());
    let result = tus::in_task(&state, async move { publishing.complete_direct(id, &actor).await }).await;
    images::count(&state, &result.as_ref());
    let published = result?;
    let status = if published.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(image(&state, &published)?)))
}

fn image(state: &PublisherState, published: &Published) -> Result<ImageView> {
    let known = published.state.image(published.image);
    let (release, stored) = known.ok_or_else(|| Error::internal("a published image is not there"))?;
    view::image(state, &published.state, release, stored)
}
