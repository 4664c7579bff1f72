//! `POST …/images`: the upload.
//!
//! The use case runs in a task of its own: when the client's connection goes, hyper drops the handler, but what was
//! begun must still be cleaned up, or committed if the last byte had arrived.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Json,
    body::Body,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{
    Stream, StreamExt,
    stream::{self, BoxStream},
};
use tokio::sync::oneshot;

use super::{
    PublisherState, describe,
    headers::{content_length, refuse_wrapped_bodies, repr_digest},
    parsed, path, releases, stated, view,
};
use crate::{
    api::{ImageView, Problem, VerdictView},
    config::Scope,
    domain::{ChannelName, FileName, Hardware, ProductName, UpgradePath, Version, VersionError},
    error::{Error, Result},
    http::{
        authentication::{Authenticated, Caller},
        problem::HttpError,
        query::{Query, malformed},
    },
    publishing::{Publication, Published, crash},
    version_check::{Candidate, Consent, Reason, detached::Detached, rule},
};

/// How long a body that is no longer needed is read on, so that a client that is still sending sees the answer and not
/// a reset: after a refusal, and after "it is there already", where a client may insist on sending all of it.
pub(super) const LINGER_REFUSED: Duration = Duration::from_secs(10);
pub(super) const LINGER_SAME: Duration = Duration::from_secs(300);

pub(super) const PARAMETERS: [&str; 11] = [
    "filename",
    "hardware",
    "channel",
    "notes",
    "floor",
    "upgrade_from",
    "signature",
    "allow_downgrade",
    "allow_same_bytes",
    "allow_stranding",
    "reason",
];

/// Publishes an image: stores it, and offers it on `channel` at once if given.
///
/// The body is the image, raw. A retry of the same request is safe. `Expect: 100-continue` saves the transfer of
/// what is refused.
#[utoipa::path(
    post, path = "/v1/products/{product}/releases/{version}/images", tag = "publish",
    params(
        ("product" = String, Path, description = "The slug"),
        ("version" = String, Path, description = "SemVer 2.0 without build metadata"),
        ("filename" = String, Query, description = "The last part of the key: [A-Za-z0-9][A-Za-z0-9._-]{0,99}"),
        ("hardware" = Option<Vec<String>>, Query, description = "The hardware it runs on; repeat it; none = all"),
        ("channel" = Option<String>, Query, description = "Offer it there at once"),
        ("notes" = Option<String>, Query, description = "Release notes"),
        ("floor" = Option<bool>, Query, description = "Devices below it must pass through it"),
        ("upgrade_from" = Option<String>, Query, description = "The lowest version that can take it"),
        ("signature" = Option<String>, Query, description = "A detached signature over the image, in base64: Ed25519, or a minisign file"),
        ("allow_downgrade" = Option<bool>, Query, description = "The channel may go back to a lower version; needs `reason`"),
        ("allow_same_bytes" = Option<bool>, Query, description = "The bytes of another version are meant"),
        ("allow_stranding" = Option<bool>, Query, description = "Devices may be left without a way to the highest offer"),
        ("reason" = Option<String>, Query, description = "Why; kept in the audit log"),
        ("dry_run" = Option<bool>, Query, description = "Store nothing: answer 200 with a verdict (VerdictView); without a body, on what is declared"),
        ("Repr-Digest" = Option<String>, Header, description = "`sha-256=:BASE64:` (RFC 9530); verified"),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 201, description = "Stored, and offered on `channel` if given", body = ImageView),
        (status = 200, description = "This very image is there already", body = ImageView),
        (status = 400, description = "Malformed, or the body ended early", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No token, or not a known one", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token lacks the scope", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Unknown product", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The same file name or hardware exists with other bytes", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "Larger than the product or the server allows", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The version check refuses it; see reasons", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too busy, or catalogue or bucket are away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn publish_image(
    State(state): State<PublisherState>,
    Authenticated(caller): Authenticated,
    Path((product, version)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, HttpError> {
    let request = Request::read(&caller, &product, Some(&version), query.as_deref(), &headers);
    answer(&state, request, body.into_data_stream().boxed(), &headers).await
}

/// Publishes an image under the version that it states itself.
///
/// The same as with a version in the path, which is taken from the image's first 4 MiB instead.
#[utoipa::path(
    post, path = "/v1/products/{product}/images", tag = "publish",
    params(
        ("product" = String, Path, description = "The slug"),
        ("filename" = String, Query, description = "The last part of the key; all other parameters as with a version in the path"),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 201, description = "Stored, and offered on `channel` if given", body = ImageView),
        (status = 200, description = "This very image is there already", body = ImageView),
        (status = 400, description = "Malformed, or the body ended early", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The version check refuses it, or it states no version; see reasons", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too busy, or catalogue or bucket are away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn publish_stated_image(
    State(state): State<PublisherState>,
    Authenticated(caller): Authenticated,
    Path(product): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, HttpError> {
    let read = |version: Option<&str>| Request::read(&caller, &product, version, query.as_deref(), &headers);
    let name = match read(None) {
        Ok(request) => request.publication.product,
        Err(error) => return answer(&state, Err(error), body.into_data_stream().boxed(), &headers).await,
    };
    let known = state.publishing.product(&name).await?;
    let (mut body, mut held) = (body.into_data_stream(), Vec::new());
    let stated = stated::version(&known.product.settings.policy, &mut body, &mut held).await;
    let (request, _permit) = match stated {
        Ok((version, permit)) => (read(Some(&version.to_string())), Some(permit)),
        Err(error) => (Err(error), None),
    };
    let body = stream::iter(held.into_iter().map(Ok)).chain(body);
    answer(&state, request, body.boxed(), &headers).await
}

async fn answer(
    state: &PublisherState,
    request: Result<Request>,
    body: Incoming,
    headers: &HeaderMap,
) -> Result<Response, HttpError> {
    let request = match request {
        Ok(request) => request,
        Err(error) => {
            if !expects_continue(headers) {
                state.publishing.tasks.spawn(linger(body, LINGER_REFUSED));
            }
            count(state, &Err(&error));
            return Err(error.into());
        }
    };
    if request.dry_run {
        return Ok(Json(try_out(state, request.publication, headers, body).await?).into_response());
    }
    let result = run(state, request.publication, headers, body).await;
    count(state, &result.as_ref());
    let published = result?;
    let (release, image) = published
        .state
        .image(published.image)
        .ok_or_else(|| Error::internal("a published image is not there"))?;
    let status = if published.created { StatusCode::CREATED } else { StatusCode::OK };
    let view = view::image(state, &published.state, release, image)?;
    crash::point("answered");
    Ok((status, Json(ImageView { warnings: published.warnings, ..view })).into_response())
}

/// What a publish would be answered with. Without a body, only what is declared is judged.
async fn try_out(
    state: &PublisherState,
    mut publication: Publication,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<VerdictView> {
    let sends = headers.contains_key(header::TRANSFER_ENCODING)
        || publication.candidate.size.is_some_and(|size| size > 0);
    if !sends {
        publication.candidate.size = None;
    }
    let (mut body, begun) = watched(body);
    let verdict = state.publishing.try_out(&publication, sends.then_some(&mut body)).await;
    if begun.load(Ordering::Relaxed) || !expects_continue(headers) {
        state.publishing.tasks.spawn(linger(body, LINGER_REFUSED));
    }
    Ok(view::verdict(&publication, verdict?))
}

/// The image's bytes, on their way.
type Incoming = BoxStream<'static, Result<Bytes, axum::Error>>;

async fn run(
    state: &PublisherState,
    publication: Publication,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<Published> {
    let publishing = Arc::clone(&state.publishing);
    let expects_continue = expects_continue(headers);
    let (mut body, begun) = watched(body);
    let (answer, answered) = oneshot::channel();
    let task = async move {
        publishing.metrics.uploads.inc();
        let result = publishing.publish(&publication, &mut body).await;
        publishing.metrics.uploads.dec();
        let patience = if result.is_ok() { LINGER_SAME } else { LINGER_REFUSED };
        if let Err(Err(error)) = answer.send(result) {
            tracing::debug!(
                code = error.code(),
                cause = error.cause(),
                "publish failed after its client had gone"
            );
        }
        // A client that waits for `100 Continue` sends nothing; reading would invite it to. One that was told to go on is
        // in the middle of it.
        if !expects_continue || begun.load(Ordering::Relaxed) {
            linger(body, patience).await;
        }
    };
    state.publishing.tasks.spawn(tracing::Instrument::in_current_span(task));
    answered.await.map_err(|_| Error::internal("the upload's task ended without an answer"))?
}

/// The bytes, and whether any were read.
fn watched(body: Incoming) -> (Incoming, Arc<AtomicBool>) {
    let begun = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&begun);
    (body.inspect(move |_| flag.store(true, Ordering::Relaxed)).boxed(), begun)
}

/// Reads what a client is still sending, and throws it away.
pub(super) async fn linger<E>(mut body: impl Stream<Item = Result<Bytes, E>> + Unpin, patience: Duration) {
    let drained = async { while let Some(Ok(_)) = body.next().await {} };
    let _ = tokio::time::timeout(patience, drained).await;
}

fn expects_continue(headers: &HeaderMap) -> bool {
    headers.get(header::EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

pub(super) fn count(state: &PublisherState, result: &Result<&Published, &Error>) {
    match result {
        Ok(published) => state.metrics.publish(if published.created { "created" } else { "same" }),
        Err(error) if error.reasons().is_empty() => state.metrics.publish(error.code()),
        Err(error) => error.reasons().iter().for_each(|reason| state.metrics.publish(&reason.code)),
    }
}

/// A request to publish, or to tell what would become of it.
struct Request {
    publication: Publication,
    dry_run: bool,
}

impl Request {
    /// Reads path, query and headers. Without a version, it is one that is still to be found in the image.
    fn read(
        caller: &Caller,
        product: &str,
        version: Option<&str>,
        query: Option<&str>,
        headers: &HeaderMap,
    ) -> Result<Self> {
        let publication = publication(caller, product, version, query, headers)?;
        Ok(Self { publication, dry_run: Query::parse(query).flag("dry_run")? })
    }
}

fn publication(
    caller: &Caller,
    product: &str,
    version: Option<&str>,
    query: Option<&str>,
    headers: &HeaderMap,
) -> Result<Publication> {
    let query = Query::parse(query);
    let mut publication = declared(caller, product, version, &query)?;
    query.only(&[&PARAMETERS[..], &["dry_run"]].concat())?;
    refuse_wrapped_bodies(headers)?;
    publication.candidate.size = content_length(headers)?;
    publication.candidate.sha256 = repr_digest(headers)?;
    Ok(publication)
}

/// What the parameters declare of an image, but for its size and digest; also whether the caller may publish it.
pub(super) fn declared(
    caller: &Caller,
    product: &str,
    version: Option<&str>,
    query: &Query<'_>,
) -> Result<Publication> {
    let product = parsed(ProductName::parse(product))?;
    caller.authorize(Scope::Publish, Some(&product))?;
    let is_stated = version.is_none();
    let version = Version::parse(version.unwrap_or("0.0.0")).map_err(|error| match error {
        VersionError::BuildMetadata { .. } => {
            Error::refused(vec![Reason::new(rule::VERSION_BUILD_METADATA, error.to_string())])
        }
        VersionError::Malformed { .. } => malformed(error.to_string()),
    })?;
    let channel = query.optional("channel")?.map(ChannelName::parse).transpose();
    let hardware = query.all("hardware").map(Hardware::parse).collect::<Result<_, _>>();
    let notes = query.optional("notes")?.map(describe::notes).transpose()?;
    let reason =
        query.optional("reason")?.map(releases::reason).transpose().map_err(|HttpError(error)| error)?;
    let floor = query.flag("floor")?;
    let upgrade_from = query.optional("upgrade_from")?;
    let path = match upgrade_from {
        Some(_) if is_stated => UpgradePath::default(),
        _ => path::upgrade_path(&version, floor, upgrade_from)?,
    };
    let signature = query.optional("signature")?.map(Detached::parse).transpose().map_err(malformed)?;
    Ok(Publication {
        product,
        candidate: Candidate {
            version,
            filename: parsed(FileName::parse(query.required("filename", "app.bin")?))?,
            hardware: parsed(hardware)?,
            channel: parsed(channel)?,
            size: None,
            sha256: None,
            path,
            signature,
            consent: Consent {
                allow_stranding: query.flag("allow_stranding")?,
                allow_downgrade: query.flag("allow_downgrade")?,
                allow_same_bytes: query.flag("allow_same_bytes")?,
                reason,
            },
        },
        notes,
        actor: caller.actor(),
    })
}
