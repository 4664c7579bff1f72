-- How often images were downloaded; see migrations/postgres. Days are texts such as 2026-11-24.
create table download_counts (
    product_id text not null references products (id),
    version text not null,
    filename text not null,
    day text not null,
    completed integer not null,
    partial integer not null,
    bytes integer not null,
    edge_bytes integer not null,
    primary key (product_id, day, version, filename)
) strict;

create table download_logs (
    key text not null primary key,
    modified_at integer not null
) strict;

create index download_logs_modified_idx on download_logs (modified_at);
