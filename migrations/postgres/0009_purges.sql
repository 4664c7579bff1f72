-- What the CDN is to forget, and what waits until it was fetched back through the CDN.

-- The audit log is the outbox: a change that wants a purge is in it, or it did not happen. This is the revision up to
-- which its entries have been turned into rows of `purges`; both change in one transaction.
create table purge_cursor (
    singleton boolean not null default true,
    revision bigint not null,
    constraint purge_cursor_pkey primary key (singleton),
    constraint purge_cursor_is_one_row check (singleton)
);
-- What was changed before purges were known was purged by nobody, or by hand.
insert into purge_cursor (revision) select revision from catalogue_state;

create table purges (
    id uuid not null,
    -- The change that wants it.
    revision bigint not null,
    product text collate "C" not null,
    version text collate "C",
    action text collate "C" not null,
    kind text collate "C" not null,
    object text collate "C" not null,
    -- `asked`, `accepted` or `failed`; that it is done is told by the time.
    state text collate "C" not null default 'asked',
    attempts integer not null default 0,
    purge_id text,
    support_id text,
    asked_at timestamptz not null,
    accepted_at timestamptz,
    estimated_done_at timestamptz,
    next_at timestamptz not null,
    last_error text,
    constraint purges_pkey primary key (id),
    -- Turning an entry into rows again makes no second ones.
    constraint purges_object_key unique (revision, action, kind, object),
    constraint purges_accepted_is_whole check (
        (state = 'accepted') = (accepted_at is not null) and (state = 'accepted') = (estimated_done_at is not null)
    )
);
create index purges_due_idx on purges (next_at) where state <> 'accepted';
create index purges_product_idx on purges (product, revision desc);

-- Promotions that no device is told of yet.
create table pending_promotions (
    product_id uuid not null,
    channel text collate "C" not null,
    image_id uuid not null,
    -- The images whose promotions end with it.
    withdraw uuid[] not null,
    asked_at timestamptz not null,
    attempts integer not null default 0,
    last_error text,
    next_at timestamptz not null,
    constraint pending_promotions_pkey primary key (product_id, channel, image_id),
    constraint pending_promotions_image_fkey foreign key (product_id, image_id) references images (product_id, id)
);
