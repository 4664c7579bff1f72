//! `/v1/uploads`: resumable uploads by tus 1.0 (<https://tus.io/protocols/resumable-upload>).
//!
//! Core, and the extensions creation, creation-defer-length, creation-with-upload, expiration, checksum and termination.
//! What `POST …/images` takes as query parameters is taken here from `Upload-Metadata`, or from the query as well, with
//! `product` and `version` among them.
//!
//! Each use case runs in a task of its own, as in `images`: a client that goes away must not stop what keeps its bytes.
//!
//! - `headers`: the protocol's headers, in and out, and its statuses

use std::sync::Arc;

use axum::{
    Json,
    body::Body,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{PublisherState, images, view};
use crate::{
    api::{Problem, UploadView},
    catalogue::UploadKind,
    config::Scope,
    domain::ProductName,
    error::{Error, Result},
    http::{
        authentication::{Authenticated, Caller},
        problem::HttpError,
    },
    publishing::{
        Published, Publishing, crash,
        resumable::{Append, Appended, Begun, Found, metadata_of, shown_offset},
    },
};

mod headers;

use headers::{Answer, TusError};
pub(super) use headers::{digest_of, id};

/// Says which tus this is.
#[utoipa::path(
    options, path = "/v1/uploads", tag = "publish",
    responses(
        (status = 204, description = "Tus-Version, Tus-Extension, Tus-Max-Size, Tus-Checksum-Algorithm"),
        (status = 401, description = "No token, or not a known one", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn options(
    State(state): State<PublisherState>,
    Authenticated(_): Authenticated,
) -> Response {
    headers::capabilities(state.publishing.limits.max_image_bytes)
}

/// Begins a resumable upload (tus 1.0: creation, creation-with-upload, creation-defer-length).
///
/// `Upload-Metadata` carries what `POST …/images` takes as query parameters, and `product`, `version` and `sha256`; query
/// parameters do as well. `hardware` is a list with commas. The same image again, by its `sha256`, is answered with the
/// upload that is there, and `Upload-Offset` says where to go on.
#[utoipa::path(
    post, path = "/v1/uploads", tag = "publish",
    params(
        ("Tus-Resumable" = String, Header, description = "1.0.0"),
        ("Upload-Length" = Option<u64>, Header, description = "The image's size; or `Upload-Defer-Length: 1`"),
        ("Upload-Metadata" = Option<String>, Header, description = "product, version, filename, hardware, channel, notes, sha256, …, each with its value in Base64"),
    ),
    request_body(content = Vec<u8>, content_type = "application/offset+octet-stream"),
    responses(
        (status = 201, description = "Go on at Location, from Upload-Offset"),
        (status = 400, description = "Malformed", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No token, or not a known one", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token lacks the scope", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Unknown product", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Other bytes are there, or on their way", body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "Another version of tus", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "Too large", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The version check refuses it; see reasons", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too busy, or catalogue or bucket are away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn begin_upload(
    State(state): State<PublisherState>,
    Authenticated(caller): Authenticated,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, TusError> {
    headers::insist_on_version(&headers)?;
    let creation = headers::creation(&headers, query.as_deref())?;
    let mut request = images::declared(&caller, &creation.product, Some(&creation.version), &creation.query)?;
    request.candidate.size = creation.size;
    request.candidate.sha256 = creation.sha256;
    let publishing = &state.publishing;
    let begun = publishing.begin_upload(&request, creation.metadata.as_deref(), UploadKind::Tus).await;
    let (upload, there) = match begun {
        Ok(Begun::Open(upload, there)) => (upload, there),
        Ok(Begun::Done(published)) => {
            images::count(&state, &Ok(&published));
            let (id, size) = size_of(&published)?;
            return Ok(Answer::created(id).offset(size).into_response());
        }
        Err(error) => {
            publishing.tasks.spawn(images::linger(body.into_data_stream(), images::LINGER_REFUSED));
            return Err(error.into());
        }
    };
    let id = upload.reservation.id;
    let answer = Answer::created(id).expires(upload.expires_at);
    let length = headers::length(&headers)?;
    if there || !headers::has_piece(&headers, length) {
        publishing.tasks.spawn(images::linger(body.into_data_stream(), images::LINGER_SAME));
        return Ok(answer.offset(shown_offset(&upload.progress)).into_response());
    }
    let checksum = headers::checksum(&headers)?;
    let piece = Append { id, offset: 0, size: None, length, checksum, actor: caller.actor() };
    let appended = run(&state, piece, body).await?;
    Ok(answer.offset(appended.offset).into_response())
}

/// Adds bytes to an upload (tus 1.0). After the last one the image is checked and published.
#[utoipa::path(
    patch, path = "/v1/uploads/{id}", tag = "publish",
    params(
        ("id" = Uuid, Path, description = "From Location"),
        ("Tus-Resumable" = String, Header, description = "1.0.0"),
        ("Upload-Offset" = u64, Header, description = "Where these bytes begin"),
        ("Upload-Checksum" = Option<String>, Header, description = "Algorithm (sha1, sha256, md5) and digest in Base64"),
    ),
    request_body(content = Vec<u8>, content_type = "application/offset+octet-stream"),
    responses(
        (status = 204, description = "Upload-Offset says where to go on; at the end the image is published"),
        (status = 400, description = "Malformed", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No token, or not a known one", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token lacks the scope", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such upload", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Upload-Offset is not where to go on", body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "Another version of tus", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "Too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Another Content-Type", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The version check refuses the image, and the upload has ended; see reasons", body = Problem, content_type = "application/problem+json"),
        (status = 423, description = "Somebody else is writing", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too busy, or catalogue or bucket are away", body = Problem, content_type = "application/problem+json"),
        (status = 460, description = "The checksum is that of other bytes", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn append(
    State(state): State<PublisherState>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, TusError> {
    let piece = piece(&state, &caller, &id, &headers).await;
    let piece = match piece {
        Ok(piece) => piece,
        Err(error) => {
            state.publishing.tasks.spawn(images::linger(body.into_data_stream(), images::LINGER_REFUSED));
            return Err(error);
        }
    };
    let appended = run(&state, piece, body).await?;
    let mut answer = Answer::no_content().offset(appended.offset);
    if let Some(at) = appended.expires_at {
        answer = answer.expires(at);
    }
    if let Some(published) = &appended.published {
        let (release, _) = image_of(published)?;
        answer = answer
            .location(&format!("/v1/products/{}/releases/{}", published.state.product.name, release.version));
        crash::point("answered");
    }
    Ok(answer.into_response())
}

async fn piece(
    state: &PublisherState,
    caller: &Caller,
    id: &str,
    headers: &HeaderMap,
) -> Result<Append, TusError> {
    headers::insist_on_version(headers)?;
    let id = headers::id(id)?;
    authorize(&state.publishing, caller, id).await?;
    headers::insist_on_piece(headers)?;
    Ok(Append {
        id,
        offset: headers::number(headers, headers::UPLOAD_OFFSET)?
            .ok_or_else(|| headers::missing(headers::UPLOAD_OFFSET))?,
        size: headers::number(headers, headers::UPLOAD_LENGTH)?,
        length: headers::length(headers)?,
        checksum: headers::checksum(headers)?,
        actor: caller.actor(),
    })
}

/// Says where to go on (tus 1.0).
#[utoipa::path(
    head, path = "/v1/uploads/{id}", tag = "publish",
    params(("id" = Uuid, Path, description = "From Location"), ("Tus-Resumable" = String, Header, description = "1.0.0")),
    responses(
        (status = 200, description = "Upload-Offset and Upload-Length: equal once the image is published"),
        (status = 404, description = "No such upload", body = Problem, content_type = "application/problem+json"),
        (status = 423, description = "Somebody is writing", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn head_upload(
    State(state): State<PublisherState>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, TusError> {
    headers::insist_on_version(&headers)?;
    let id = headers::id(&id)?;
    authorize(&state.publishing, &caller, id).await?;
    let answer = Answer::new(StatusCode::OK);
    let answer = match state.publishing.settled_upload(id).await? {
        Found::Open(upload) => answer
            .offset(shown_offset(&upload.progress))
            .size(upload.progress.size)
            .expires(upload.expires_at)
            .metadata(metadata_of(&upload)?.as_deref()),
        Found::Published(known, id) => {
            let size = known.image(id).map(|(_, image)| image.size);
            answer.offset(size.unwrap_or_default()).size(size)
        }
    };
    Ok(answer.into_response())
}

/// Shows an upload, and the image that it has become.
#[utoipa::path(
    get, path = "/v1/uploads/{id}", tag = "publish",
    params(("id" = Uuid, Path, description = "From Location")),
    responses(
        (status = 200, description = "The upload", body = UploadView),
        (status = 401, description = "No token, or not a known one", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token lacks the scope", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such upload", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get_upload(
    State(state): State<PublisherState>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
) -> Result<Json<UploadView>, HttpError> {
    let id = headers::id(&id)?;
    let found = authorize(&state.publishing, &caller, id).await?;
    Ok(Json(view::upload(&state, &found)?))
}

/// Ends an upload and removes what came of it (tus 1.0: termination).
#[utoipa::path(
    delete, path = "/v1/uploads/{id}", tag = "publish",
    params(("id" = Uuid, Path, description = "From Location"), ("Tus-Resumable" = String, Header, description = "1.0.0")),
    responses(
        (status = 204, description = "It has ended"),
        (status = 404, description = "No such upload", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It has become an image", body = Problem, content_type = "application/problem+json"),
        (status = 423, description = "Somebody is writing", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn end_upload(
    State(state): State<PublisherState>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, TusError> {
    headers::insist_on_version(&headers)?;
    let id = headers::id(&id)?;
    authorize(&state.publishing, &caller, id).await?;
    let publishing = Arc::clone(&state.publishing);
    in_task(&state, async move { publishing.end_upload(id).await }).await?;
    Ok(Answer::no_content().into_response())
}

/// `PATCH` or `DELETE` for clients that cannot send them: `X-HTTP-Method-Override` names the method (tus 1.0).
#[utoipa::path(
    post, path = "/v1/uploads/{id}", tag = "publish",
    params(
        ("id" = Uuid, Path, description = "From Location"),
        ("X-HTTP-Method-Override" = String, Header, description = "PATCH or DELETE"),
    ),
    request_body(content = Vec<u8>, content_type = "application/offset+octet-stream"),
    responses(
        (status = 204, description = "As that method"),
        (status = 400, description = "Another method", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn overridden(
    state: State<PublisherState>,
    caller: Authenticated,
    id: Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, TusError> {
    match headers.get("x-http-method-override").map(|value| value.as_bytes()) {
        Some(b"PATCH") => append(state, caller, id, headers, body).await,
        Some(b"DELETE") => end_upload(state, caller, id, headers).await,
        _ => Err(headers::missing("X-HTTP-Method-Override").into()),
    }
}

/// Whether the caller may publish the upload's product.
pub(super) async fn authorize(publishing: &Publishing, caller: &Caller, id: Uuid) -> Result<Found> {
    let found = publishing.find_upload(id).await?;
    let product: &ProductName = match &found {
        Found::Open(upload) => &upload.reservation.product,
        Found::Published(known, _) => &known.product.name,
    };
    caller.authorize(Scope::Publish, Some(product))?;
    Ok(found)
}

/// Adds a piece, whatever becomes of the connection.
async fn run(state: &PublisherState, piece: Append, body: Body) -> Result<Appended> {
    let publishing = Arc::clone(&state.publishing);
    let (answer, answered) = oneshot::channel();
    let task = async move {
        publishing.metrics.uploads.inc();
        let mut body = body.into_data_stream();
        let result = publishing.append(&piece, &mut body).await;
        publishing.metrics.uploads.dec();
        let patience = if result.is_ok() { images::LINGER_SAME } else { images::LINGER_REFUSED };
        if let Err(Err(error)) = answer.send(result) {
            tracing::debug!(
                code = error.code(),
                cause = error.cause(),
                "a piece failed after its client had gone"
            );
        }
        // A replica that is to end waits for its tasks; what is still sent to it is lost with the connection.
        if !publishing.tasks.is_closed() {
            images::linger(body, patience).await;
        }
    };
    state.publishing.tasks.spawn(tracing::Instrument::in_current_span(task));
    let result = answered.await.map_err(|_| Error::internal("the upload's task ended without an answer"))?;
    match &result {
        Ok(Appended { published: Some(published), .. }) if published.created => {
            images::count(state, &Ok(published));
        }
        Err(error) if !error.reasons().is_empty() => {
            error.reasons().iter().for_each(|reason| state.metrics.publish(&reason.code));
        }
        _ => {}
    }
    result
}

/// Runs work that must not stop when its client goes away.
pub(super) async fn in_task<T: Send + 'static>(
    state: &PublisherState,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let task = state.publishing.tasks.spawn(tracing::Instrument::in_current_span(work));
    task.await.map_err(Error::internal)?
}

fn size_of(published: &Published) -> Result<(Uuid, u64)> {
    let (_, image) = image_of(published)?;
    Ok((image.id, image.size))
}

fn image_of(published: &Published) -> Result<(&crate::domain::Release, &crate::domain::Image)> {
    let image = published.state.image(published.image);
    image.ok_or_else(|| Error::internal("a published image is not there"))
}
