-- How often images were downloaded, as the CDN's logs tell. Not for billing: logs are delivered at best effort.
--
-- By name and not by image: what was downloaded stays known when an image is removed.
create table download_counts (
    product_id uuid not null,
    version text collate "C" not null,
    filename text collate "C" not null,
    -- UTC.
    day date not null,
    -- Responses that delivered the object's last byte, and those that did not.
    completed bigint not null,
    partial bigint not null,
    bytes bigint not null,
    -- Of these, those that the edge had in its cache.
    edge_bytes bigint not null,
    constraint download_counts_pkey primary key (product_id, day, version, filename),
    constraint download_counts_product_fkey foreign key (product_id) references products (id)
);

-- The log objects whose lines are in the counts; forgotten after the logs' retention, when they are counted no more.
create table download_logs (
    key text collate "C" not null,
    modified_at timestamptz not null,
    constraint download_logs_pkey primary key (key)
);

create index download_logs_modified_idx on download_logs (modified_at);
