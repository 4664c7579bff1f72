-- The requests that were counted lately; see migrations/postgres. The primary key is the table itself. Seconds, and not
-- microseconds as elsewhere, as there are many of them.
create table download_requests (
    request integer not null primary key,
    logged_at integer not null
) strict;

create index download_requests_logged_idx on download_requests (logged_at);
