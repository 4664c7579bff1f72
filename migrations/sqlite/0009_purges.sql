-- What the CDN is to forget, and what waits until it was fetched back through the CDN; see migrations/postgres.
create table purge_cursor (
    singleton integer not null primary key default 1 check (singleton = 1),
    revision integer not null
) strict;
insert into purge_cursor (revision) select revision from catalogue_state;

create table purges (
    id text not null primary key,
    revision integer not null,
    product text not null,
    version text,
    action text not null,
    kind text not null,
    object text not null,
    state text not null default 'asked',
    attempts integer not null default 0,
    purge_id text,
    support_id text,
    asked_at integer not null,
    accepted_at integer,
    estimated_done_at integer,
    next_at integer not null,
    last_error text,
    unique (revision, action, kind, object),
    check ((state = 'accepted') = (accepted_at is not null) and (state = 'accepted') = (estimated_done_at is not null))
) strict;
create index purges_due_idx on purges (next_at) where state <> 'accepted';
create index purges_product_idx on purges (product, revision desc);

create table pending_promotions (
    product_id text not null,
    channel text not null,
    image_id text not null,
    withdraw text not null check (json_valid(withdraw)),
    asked_at integer not null,
    attempts integer not null default 0,
    last_error text,
    next_at integer not null,
    primary key (product_id, channel, image_id),
    foreign key (product_id, image_id) references images (product_id, id)
) strict;
