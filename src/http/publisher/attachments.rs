//! The documents of a release: bills of materials. For publishers only; no device gets them.

use std::time::Duration;

use axum::{
    Json,
    body::Body,
    extract::{Path, RawQuery, State},
    http::{HeaderName, StatusCode, header},
    response::IntoResponse,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;

use super::{PublisherState, describe::named, parsed, view};
use crate::{
    api::{AttachmentView, Problem},
    config::Scope,
    domain::{FileName, ProductName, Version},
    error::{Error, Kind, Result},
    http::{authentication::Authenticated, problem::HttpError, query::Query},
    publishing::{Describing, Saying, release_of, unknown_attachment},
};

/// The largest document, in bytes. A bill of materials of a whole Linux image has some.
const LARGEST: usize = 16 * 1024 * 1024;
/// How long a document may take to arrive.
const PATIENCE: Duration = Duration::from_secs(120);

/// Attaches a bill of materials to a release: CycloneDX or SPDX, in JSON.
///
/// It is recognised by its content and refused if it lacks what its specification requires. A document stays as it is
/// unless `replace` is said.
#[utoipa::path(
    put, path = "/v1/products/{product}/releases/{version}/attachments/{name}", tag = "publish",
    params(
        ("product" = String, Path, description = "The slug"),
        ("version" = String, Path, description = "The release"),
        ("name" = String, Path, description = "[A-Za-z0-9][A-Za-z0-9._-]{0,99}"),
        ("replace" = Option<bool>, Query, description = "It may take the place of another document of this name"),
    ),
    request_body(content = Vec<u8>, content_type = "application/json"),
    responses(
        (status = 201, description = "Attached", body = AttachmentView),
        (status = 200, description = "Replaced, or there already", body = AttachmentView),
        (status = 400, description = "Malformed", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No token, or not a known one", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token lacks the scope", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Unknown product or release", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "The catalogue is away", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "There is another document of this name", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "Larger than 16 MiB", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "It is no whole bill of materials; see reasons", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn put_attachment(
    State(state): State<PublisherState>,
    Authenticated(caller): Authenticated,
    Path((product, version, name)): Path<(String, String, String)>,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<(StatusCode, Json<AttachmentView>), HttpError> {
    let (product, version) = named(&caller, &(product, version))?;
    let name = parsed(FileName::parse(&name))?;
    let query = Query::parse(query.as_deref());
    query.only(&["replace"])?;
    let replace = query.flag("replace")?;
    let change = Saying::Attach { name: name.clone(), content: content(body).await?, replace };
    let request = Describing { product, version, change, actor: caller.actor() };
    let described = state.publishing.describe(&request).await?;
    let release = release_of(&described.state, &request.version)?;
    let attachment = release.attachments.iter().find(|attachment| attachment.name == name);
    let attachment =
        attachment.ok_or_else(|| Error::internal("a document is not there that was attached"))?;
    let status = if described.was_there { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(view::attachment(attachment))))
}

/// A document of a release, as it was attached.
#[utoipa::path(
    get, path = "/v1/products/{product}/releases/{version}/attachments/{name}", tag = "read",
    params(
        ("product" = String, Path, description = "The slug"),
        ("version" = String, Path, description = "The release"),
        ("name" = String, Path, description = "[A-Za-z0-9][A-Za-z0-9._-]{0,99}"),
    ),
    responses(
        (status = 200, description = "The document; Repr-Digest has its SHA-256", body = Vec<u8>, content_type = "application/json"),
        (status = 400, description = "Malformed", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No token, or not a known one", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token lacks the scope", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Unknown product or release", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "The catalogue is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get_attachment(
    State(state): State<PublisherState>,
    Authenticated(caller): Authenticated,
    Path((product, version, name)): Path<(String, String, String)>,
) -> Result<impl IntoResponse, HttpError> {
    let product = parsed(ProductName::parse(&product))?;
    let version = parsed(Version::parse(&version))?;
    let name = parsed(FileName::parse(&name))?;
    caller.authorize(Scope::Read, Some(&product))?;
    let Some((attachment, content)) =
        state.publishing.catalogue.attachment(&product, &version, &name).await?
    else {
        let known = state.publishing.product(&product).await?;
        return Err(unknown_attachment(release_of(&known, &version)?, &name).into());
    };
    let digest = format!("sha-256=:{}:", BASE64_STANDARD.encode(attachment.sha256));
    let headers = [
        (header::CONTENT_TYPE, attachment.kind.media_type().to_owned()),
        (HeaderName::from_static("repr-digest"), digest),
    ];
    Ok((headers, content))
}

/// Removes a document of a release.
#[utoipa::path(
    delete, path = "/v1/products/{product}/releases/{version}/attachments/{name}", tag = "publish",
    params(
        ("product" = String, Path, description = "The slug"),
        ("version" = String, Path, description = "The release"),
        ("name" = String, Path, description = "[A-Za-z0-9][A-Za-z0-9._-]{0,99}"),
    ),
    responses(
        (status = 204, description = "Removed"),
        (status = 400, description = "Malformed", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No token, or not a known one", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token lacks the scope", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Unknown product or release", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "The catalogue is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn delete_attachment(
    State(state): State<PublisherState>,
    Authenticated(caller): Authenticated,
    Path((product, version, name)): Path<(String, String, String)>,
) -> Result<StatusCode, HttpError> {
    let (product, version) = named(&caller, &(product, version))?;
    let change = Saying::Detach(parsed(FileName::parse(&name))?);
    let request = Describing { product, version, change, actor: caller.actor() };
    state.publishing.describe(&request).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn content(body: Body) -> Result<Bytes> {
    let interrupted = || {
        Error::new(
            Kind::Interrupted,
            "body-interrupted",
            "the document did not arrive as a whole: send it again",
        )
    };
    let mut body = body.into_data_stream();
    let read = async {
        let mut content = BytesMut::new();
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|error| interrupted().caused_by(error))?;
            if content.len() + piece.len() > LARGEST {
                return Err(Error::new(
                    Kind::TooLarge,
                    "attachment-too-large",
                    format!(
                        "a document has at most {LARGEST} bytes: leave out what need not be known, such as single files"
                    ),
                ));
            }
            content.extend_from_slice(&piece);
        }
        Ok(content.freeze())
    };
    tokio::time::timeout(PATIENCE, read).await.unwrap_or_else(|elapsed| Err(interrupted().caused_by(elapsed)))
}
