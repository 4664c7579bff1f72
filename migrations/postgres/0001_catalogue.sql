-- The catalogue: what has been published. `src/catalogue/mod.rs` states the rules that these tables keep.
--
-- Names are compared byte by byte (collate "C"), as the program and SQLite do: an order or an equality that
-- depended on the server's locale would differ between two installations.

-- The revision of the whole catalogue. One row: every change updates it first, so its row lock puts all changes in
-- one line, and whoever sees revision N committed sees every change up to N.
create table catalogue_state (
    singleton boolean not null default true,
    revision bigint not null,
    constraint catalogue_state_pkey primary key (singleton),
    constraint catalogue_state_is_one_row check (singleton),
    constraint catalogue_state_revision_counts check (revision >= 0)
);
insert into catalogue_state (revision) values (0);

create table products (
    id uuid not null,
    name text collate "C" not null,
    settings jsonb not null,
    created_at timestamptz not null,
    -- The catalogue's revision at this product's last change. A writer names the one it has judged.
    revision bigint not null,
    constraint products_pkey primary key (id),
    constraint products_name_key unique (name),
    -- Also the index that `changes` walks.
    constraint products_revision_key unique (revision)
);

create table releases (
    id uuid not null,
    product_id uuid not null,
    version text collate "C" not null,
    notes text,
    created_at timestamptz not null,
    recalled_at timestamptz,
    recall_reason text,
    constraint releases_pkey primary key (id),
    constraint releases_product_fkey foreign key (product_id) references products (id),
    constraint releases_version_key unique (product_id, version),
    -- What images refer to: an image cannot name the release of another product.
    constraint releases_of_product_key unique (product_id, id),
    constraint releases_recall_is_whole check ((recalled_at is null) = (recall_reason is null))
);

create table images (
    -- The id of the reservation under which it was uploaded.
    id uuid not null,
    -- Repeated from the release, so that a page of products loads its images by one index.
    product_id uuid not null,
    release_id uuid not null,
    -- product/version/filename, as it is in the bucket; asked for when orphans are looked for.
    key text collate "C" not null,
    filename text collate "C" not null,
    -- Empty = runs on all.
    hardware text[] collate "C" not null,
    size bigint not null,
    sha256 bytea not null,
    sha1 bytea not null,
    md5 bytea not null,
    etag text not null,
    created_at timestamptz not null,
    constraint images_pkey primary key (id),
    constraint images_release_fkey foreign key (product_id, release_id) references releases (product_id, id),
    constraint images_key_key unique (key),
    constraint images_filename_key unique (release_id, filename),
    -- What promotions refer to, and the index by product.
    constraint images_of_product_key unique (product_id, id),
    constraint images_size_counts check (size >= 0),
    constraint images_digests_are_whole check (
        octet_length(sha256) = 32 and octet_length(sha1) = 20 and octet_length(md5) = 16
    )
);

create table promotions (
    product_id uuid not null,
    channel text collate "C" not null,
    image_id uuid not null,
    promoted_at timestamptz not null,
    constraint promotions_pkey primary key (product_id, channel, image_id),
    constraint promotions_image_fkey foreign key (product_id, image_id) references images (product_id, id)
);

create table reservations (
    id uuid not null,
    product_id uuid not null,
    version text collate "C" not null,
    filename text collate "C" not null,
    hardware text[] collate "C" not null,
    holder uuid not null,
    expires_at timestamptz not null,
    constraint reservations_pkey primary key (id),
    constraint reservations_product_fkey foreign key (product_id) references products (id)
);

-- What a reservation covers, one row each, so that the unique constraint is what decides a race:
-- `file:NAME`, and `hardware:H` for each named hardware or `hardware:*` when it names none. An image for all and one
-- for a named hardware may be uploaded at the same time: they differ, and a device takes the named one.
create table reservation_slots (
    reservation_id uuid not null,
    product_id uuid not null,
    version text collate "C" not null,
    slot text collate "C" not null,
    constraint reservation_slots_key unique (product_id, version, slot),
    constraint reservation_slots_reservation_fkey foreign key (reservation_id)
        references reservations (id) on delete cascade
);
-- The cascade looks here.
create index reservation_slots_reservation_idx on reservation_slots (reservation_id);

-- Who changed what. Every change makes one revision and one entry, so the revision is the key.
create table audit (
    revision bigint not null,
    at timestamptz not null,
    product_id uuid not null,
    actor text not null,
    action text not null,
    version text,
    channel text,
    details jsonb not null,
    constraint audit_pkey primary key (revision),
    constraint audit_product_fkey foreign key (product_id) references products (id)
);
create index audit_product_idx on audit (product_id, revision desc);
