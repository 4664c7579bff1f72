//! `POST …/images`: the upload.
//!
//! The use case runs in a task of its own: when the client's connection goes, hyper drops the handler, but what was
//! begun must still be cleaned up, or committed if the last byte had arrived.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    body::{Body, BodyDataStream},
    extract::{Path, RawQuery, State},
    http::{HeaderMap, StatusCode, header},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use futures_util::StreamExt;
use tokio::sync::oneshot;

use super::{PublisherState, parsed, releases, view};
use crate::{
    api::{ImageView, Problem},
    config::Scope,
    domain::{ChannelName, FileName, Hardware, ProductName, Version, VersionError},
    error::{Error, Result},
    http::{
        authentication::{Authenticated, Caller},
        problem::HttpError,
        query::{Query, malformed},
    },
    publishing::{Publication, Published, crash},
    version_check::{Candidate, Consent, Reason, rule},
};

/// How long a body that is no longer needed is read on, so that a client that is still sending sees the answer and not
/// a reset: after a refusal, and after "it is there already", where a client may insist on sending all of it.
pub(super) const LINGER_REFUSED: Duration = Duration::from_secs(10);
pub(super) const LINGER_SAME: Duration = Duration::from_secs(300);
/// The longest release notes, in bytes.
const LONGEST_NOTES: usize = 8000;

pub(super) const PARAMETERS: [&str; 7] =
    ["filename", "hardware", "channel", "notes", "allow_downgrade", "allow_same_bytes", "reason"];

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
        ("allow_downgrade" = Option<bool>, Query, description = "The channel may go back to a lower version; needs `reason`"),
        ("allow_same_bytes" = Option<bool>, Query, description = "The bytes of another version are meant"),
        ("reason" = Option<String>, Query, description = "Why; kept in the audit log"),
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
) -> Result<(StatusCode, Json<ImageView>), HttpError> {
    let publication = publication(&caller, &product, &version, query.as_deref(), &headers);
    let result = match publication {
        Ok(publication) => run(&state, publication, &headers, body).await,
        Err(error) => {
            if !expects_continue(&headers) {
                state.publishing.tasks.spawn(linger(body.into_data_stream(), LINGER_REFUSED));
            }
            Err(error)
        }
    };
    count(&state, &result);
    let published = result?;
    let (release, image) = published
        .state
        .image(published.image)
        .ok_or_else(|| Error::internal("a published image is not there"))?;
    let status = if published.created { StatusCode::CREATED } else { StatusCode::OK };
    crash::point("answered");
    Ok((status, Json(view::image(&state, &published.state, release, image)?)))
}

async fn run(
    state: &PublisherState,
    publication: Publication,
    headers: &HeaderMap,
    body: Body,
) -> Result<Published> {
    let publishing = Arc::clone(&state.publishing);
    let expects_continue = expects_continue(headers);
    let (answer, answered) = oneshot::channel();
    let task = async move {
        publishing.metrics.uploads.inc();
        let mut body = body.into_data_stream();
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
        // A client that waits for `100 Continue` sends nothing; reading would invite it to.
        if !expects_continue {
            linger(body, patience).await;
        }
    };
    state.publishing.tasks.spawn(tracing::Instrument::in_current_span(task));
    answered.await.map_err(|_| Error::internal("the upload's task ended without an answer"))?
}

/// Reads what a client is still sending, and throws it away.
pub(super) async fn linger(mut body: BodyDataStream, patience: Duration) {
    let drained = async { while let Some(Ok(_)) = body.next().await {} };
    let _ = tokio::time::timeout(patience, drained).await;
}

fn expects_continue(headers: &HeaderMap) -> bool {
    headers.get(header::EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

pub(super) fn count(state: &PublisherState, result: &Result<Published>) {
    match result {
        Ok(published) => state.metrics.publish(if published.created { "created" } else { "same" }),
        Err(error) if error.reasons().is_empty() => state.metrics.publish(error.code()),
        Err(error) => error.reasons().iter().for_each(|reason| state.metrics.publish(&reason.code)),
    }
}

fn publication(
    caller: &Caller,
    product: &str,
    version: &str,
    query: Option<&str>,
    headers: &HeaderMap,
) -> Result<Publication> {
    let query = Query::parse(query);
    let mut publication = declared(caller, product, version, &query)?;
    query.only(&PARAMETERS)?;
    refuse_wrapped_bodies(headers)?;
    publication.candidate.size = content_length(headers)?;
    publication.candidate.sha256 = repr_digest(headers)?;
    Ok(publication)
}

/// What the parameters declare of an image, but for its size and digest; also whether the caller may publish it.
pub(super) fn declared(
    caller: &Caller,
    product: &str,
    version: &str,
    query: &Query<'_>,
) -> Result<Publication> {
    let product = parsed(ProductName::parse(product))?;
    caller.authorize(Scope::Publish, Some(&product))?;
    let version = Version::parse(version).map_err(|error| match error {
        VersionError::BuildMetadata { .. } => {
            Error::refused(vec![Reason::new(rule::VERSION_BUILD_METADATA, error.to_string())])
        }
        VersionError::Malformed { .. } => malformed(error.to_string()),
    })?;
    let channel = query.optional("channel")?.map(ChannelName::parse).transpose();
    let hardware = query.all("hardware").map(Hardware::parse).collect::<Result<_, _>>();
    let notes = query.optional("notes")?;
    if notes.is_some_and(|notes| notes.len() > LONGEST_NOTES || notes.contains('\0')) {
        return Err(malformed(format!(
            "the notes have a NUL character or are longer than {LONGEST_NOTES} bytes: keep them short and link to more"
        )));
    }
    let reason =
        query.optional("reason")?.map(releases::reason).transpose().map_err(|HttpError(error)| error)?;
    Ok(Publication {
        product,
        candidate: Candidate {
            version,
            filename: parsed(FileName::parse(query.required("filename", "app.bin")?))?,
            hardware: parsed(hardware)?,
            channel: parsed(channel)?,
            size: None,
            sha256: None,
            consent: Consent {
                allow_downgrade: query.flag("allow_downgrade")?,
                allow_same_bytes: query.flag("allow_same_bytes")?,
                reason,
            },
        },
        notes: notes.map(str::to_owned),
        actor: caller.name.clone(),
    })
}

/// A body that is not the image itself would be stored as if it were.
fn refuse_wrapped_bodies(headers: &HeaderMap) -> Result<()> {
    let is = |name, prefix: &[u8]| {
        headers.get(name).is_some_and(|value| value.as_bytes().to_ascii_lowercase().starts_with(prefix))
    };
    if is(header::CONTENT_TYPE, b"multipart/") {
        return Err(malformed("the body is a form: send the image raw (curl: --data-binary @FILE, not -F)"));
    }
    if headers.contains_key(header::CONTENT_ENCODING) && !is(header::CONTENT_ENCODING, b"identity") {
        return Err(malformed(
            "the body has a Content-Encoding: send the image as devices are to get it, without one",
        ));
    }
    if headers.contains_key(header::CONTENT_RANGE) {
        return Err(malformed("the body is a range: send the whole image in one request"));
    }
    Ok(())
}

fn content_length(headers: &HeaderMap) -> Result<Option<u64>> {
    let Some(value) = headers.get(header::CONTENT_LENGTH) else { return Ok(None) };
    let length = value.to_str().ok().and_then(|text| text.parse().ok());
    length.map(Some).ok_or_else(|| malformed("Content-Length is no number"))
}

/// `Repr-Digest` (RFC 9530, section 3): a dictionary of algorithms; those that we do not know are ignored.
pub(super) fn repr_digest(headers: &HeaderMap) -> Result<Option<[u8; 32]>> {
    let wrong = || malformed("Repr-Digest is not of the form sha-256=:BASE64: (RFC 9530)");
    let mut found = None;
    for value in headers.get_all("repr-digest") {
        for entry in value.to_str().map_err(|_| wrong())?.split(',') {
            let (algorithm, rest) = entry.trim().split_once('=').ok_or_else(wrong)?;
            if algorithm != "sha-256" {
                continue;
            }
            let item = rest.split(';').next().unwrap_or_default().trim();
            let text = item.strip_prefix(':').and_then(|text| text.strip_suffix(':')).ok_or_else(wrong)?;
            let bytes = BASE64_STANDARD.decode(text).map_err(|_| wrong())?;
            let digest = <[u8; 32]>::try_from(bytes).map_err(|_| wrong())?;
            if found.replace(digest).is_some_and(|before| before != digest) {
                return Err(malformed("Repr-Digest gives two different sha-256 digests: give one"));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn digest(values: &[&'static str]) -> Result<Option<[u8; 32]>> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("repr-digest", HeaderValue::from_static(value));
        }
        repr_digest(&headers)
    }

    #[test]
    fn repr_digest_is_read_as_rfc_9530_has_it() {
        let known = "sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:";
        let expected =
            hex::decode("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad").expect("hex");
        assert_eq!(digest(&[known]).expect("fine").expect("there").as_slice(), expected);
        assert!(
            digest(&["sha-512=:AAAA:, sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:;p=1"])
                .expect("fine")
                .is_some()
        );
        assert!(digest(&["sha-512=:AAAA:", known]).expect("fine").is_some());
        assert_eq!(digest(&[]).expect("fine"), None);
        assert_eq!(digest(&["md5=:AAAA:"]).expect("fine"), None);
        for wrong in ["sha-256", "sha-256=abc", "sha-256=:abc:", "sha-256=:AAAA:", "sha-256=\"x\""] {
            assert!(digest(&[wrong]).is_err(), "{wrong}");
        }
    }
}
