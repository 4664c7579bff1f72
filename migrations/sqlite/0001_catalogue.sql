-- The catalogue in the embedded database; see migrations/postgres for what each table is for.
--
-- How values are stored, as SQLite has no types for them:
--   ids      hyphenated text: readable in its shell, sorts by time (version 7), and passes through json_each
--   times    integer microseconds since 1970, UTC: exact, and compared as numbers
--   lists    JSON text
--   digests  blobs

create table catalogue_state (
    singleton integer not null primary key default 1 check (singleton = 1),
    revision integer not null check (revision >= 0)
) strict;
insert into catalogue_state (revision) values (0);

create table products (
    id text not null primary key,
    name text not null unique,
    settings text not null check (json_valid(settings)),
    created_at integer not null,
    revision integer not null unique
) strict;

create table releases (
    id text not null primary key,
    product_id text not null references products (id),
    version text not null,
    notes text,
    created_at integer not null,
    recalled_at integer,
    recall_reason text,
    unique (product_id, version),
    unique (product_id, id),
    check ((recalled_at is null) = (recall_reason is null))
) strict;

create table images (
    id text not null primary key,
    product_id text not null,
    release_id text not null,
    key text not null unique,
    filename text not null,
    hardware text not null check (json_valid(hardware)),
    size integer not null check (size >= 0),
    sha256 blob not null check (length(sha256) = 32),
    sha1 blob not null check (length(sha1) = 20),
    md5 blob not null check (length(md5) = 16),
    etag text not null,
    created_at integer not null,
    unique (release_id, filename),
    unique (product_id, id),
    foreign key (product_id, release_id) references releases (product_id, id)
) strict;

create table promotions (
    product_id text not null,
    channel text not null,
    image_id text not null,
    promoted_at integer not null,
    primary key (product_id, channel, image_id),
    foreign key (product_id, image_id) references images (product_id, id)
) strict;

create table reservations (
    id text not null primary key,
    product_id text not null references products (id),
    version text not null,
    filename text not null,
    hardware text not null check (json_valid(hardware)),
    holder text not null,
    expires_at integer not null
) strict;

create table reservation_slots (
    reservation_id text not null references reservations (id) on delete cascade,
    product_id text not null,
    version text not null,
    slot text not null,
    unique (product_id, version, slot)
) strict;
create index reservation_slots_reservation_idx on reservation_slots (reservation_id);

create table audit (
    revision integer not null primary key,
    at integer not null,
    product_id text not null references products (id),
    actor text not null,
    action text not null,
    version text,
    channel text,
    details text not null check (json_valid(details))
) strict;
create index audit_product_idx on audit (product_id, revision desc);
