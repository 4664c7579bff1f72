-- The requests that were counted lately, so that a log line which is delivered twice counts once, whichever file, pass or
-- replica meets it again (`src/catalogue/downloads.rs`). Bounded by `cdn.logs.duplicates_within`.
create table download_requests (
    -- 64 bits of the SHA-256 of the request's id and time.
    request bigint not null,
    -- When the log object that told of it was written.
    logged_at timestamptz not null,
    constraint download_requests_pkey primary key (request)
);

-- What is old is forgotten. All requests of a log have one time, so this index holds each time once.
create index download_requests_logged_idx on download_requests (logged_at);
