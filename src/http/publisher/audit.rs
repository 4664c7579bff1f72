//! The audit log: of one product, newest first, to be read; of all, oldest first, to be verified and kept elsewhere.

use axum::{
    Json,
    body::{Body, Bytes},
    extract::{Path, RawQuery, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use futures_util::{Stream, stream};

use super::{PublisherState, parsed};
use crate::{
    api::{AuditList, AuditPage, AuditView, Problem},
    config::Scope,
    domain::{ProductName, Revision},
    error::{Error, Result},
    http::{
        authentication::Authenticated,
        problem::HttpError,
        query::{Query, malformed},
    },
    publishing::Publishing,
};

/// How many entries of a product are given when the caller does not say.
const ENTRIES: u32 = 100;
/// How many at most; also how many of all are given, and read at once.
const MOST_ENTRIES: u32 = 1000;
/// <https://github.com/ndjson/ndjson-spec>
const JSON_LINES: &str = "application/x-ndjson";

/// The newest entries of a product's audit log.
#[utoipa::path(
    get, path = "/v1/products/{product}/audit", tag = "operations",
    params(
        ("product" = String, Path, description = "The slug"),
        ("limit" = Option<u32>, Query, description = "How many; default 100, at most 1000"),
    ),
    responses(
        (status = 200, description = "Entries, newest first", body = AuditList),
        (status = 401, description = "No token, or not a known one", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Unknown product", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn audit(
    State(state): State<PublisherState>,
    Authenticated(caller): Authenticated,
    Path(product): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<AuditList>, HttpError> {
    let product = parsed(ProductName::parse(&product))?;
    caller.authorize(Scope::Read, Some(&product))?;
    let query = Query::parse(query.as_deref());
    query.only(&["limit"])?;
    let limit = limit(&query)?.unwrap_or(ENTRIES);
    state.publishing.product(&product).await?;
    let entries = state.publishing.catalogue.audit(&product, limit).await?;
    Ok(Json(AuditList { entries: entries.into_iter().map(AuditView::from).collect() }))
}

/// The audit log of all products, oldest first.
///
/// Each entry carries the hash of the one before it and its own. With `Accept: application/x-ndjson` it is one JSON
/// object a line, and without `limit` the whole log.
#[utoipa::path(
    get, path = "/v1/audit", tag = "operations",
    params(
        ("after" = Option<u64>, Query, description = "Only entries behind this revision; default 0: from the first"),
        ("limit" = Option<u32>, Query, description = "How many; at most 1000, which is the default"),
    ),
    responses(
        (status = 200, description = "Entries, oldest first", body = AuditPage),
        (status = 400, description = "Malformed", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No token, or not a known one", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token may not see all products", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "The catalogue is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn audit_of_all(
    State(state): State<PublisherState>,
    Authenticated(caller): Authenticated,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    caller.authorize_everywhere(Scope::Read)?;
    let query = Query::parse(query.as_deref());
    query.only(&["after", "limit"])?;
    let after = match query.optional("after")? {
        None => Revision(0),
        Some(text) => match text.parse() {
            Ok(revision) => Revision(revision),
            Err(_) => return Err(malformed("parameter \"after\": use the number of a revision").into()),
        },
    };
    let limit = limit(&query)?;
    if headers.get(header::ACCEPT).is_some_and(|accept| accept.as_bytes() == JSON_LINES.as_bytes()) {
        let first = page(&state.publishing, after, limit.unwrap_or(MOST_ENTRIES)).await?;
        let body = Body::from_stream(lines(state, first, limit.is_none()));
        return Ok(([(header::CONTENT_TYPE, JSON_LINES)], body).into_response());
    }
    Ok(Json(page(&state.publishing, after, limit.unwrap_or(MOST_ENTRIES)).await?).into_response())
}

async fn page(publishing: &Publishing, after: Revision, limit: u32) -> Result<AuditPage> {
    let page = publishing.catalogue.audit_after(after, limit).await?;
    Ok(AuditPage {
        entries: page.entries.into_iter().map(AuditView::from).collect(),
        revision: page.revision.0,
        more: page.more,
    })
}

/// The page and, with `on`, all after it, page by page as the client reads. A failure in its middle breaks the
/// connection, so that nobody takes a part for the whole.
fn lines(state: PublisherState, first: AuditPage, on: bool) -> impl Stream<Item = Result<Bytes>> {
    stream::try_unfold((state, Some(first)), move |(state, page_now)| async move {
        let Some(now) = page_now else { return Ok(None) };
        let mut text = Vec::new();
        for entry in &now.entries {
            serde_json::to_writer(&mut text, entry).map_err(Error::internal)?;
            text.push(b'\n');
        }
        let next = match now.entries.last() {
            Some(last) if on && now.more => {
                let next = page(&state.publishing, Revision(last.revision), MOST_ENTRIES).await;
                let next = next.inspect_err(|error| {
                    tracing::warn!(cause = error.cause(), "an export of the audit log broke off: {error}");
                });
                Some(next?)
            }
            _ => None,
        };
        Ok(Some((Bytes::from(text), (state, next))))
    })
}

fn limit(query: &Query<'_>) -> Result<Option<u32>> {
    match query.optional("limit")? {
        None => Ok(None),
        Some(text) => match text.parse() {
            Ok(limit @ 1..=MOST_ENTRIES) => Ok(Some(limit)),
            _ => Err(malformed(format!("parameter \"limit\": use 1 to {MOST_ENTRIES}"))),
        },
    }
}
