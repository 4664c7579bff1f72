-- Images that were removed for good (`src/catalogue/removal.rs`). Their rows stay: a key is never used again, and the
-- audit log and the rules on counters and versions go on knowing them.
alter table images
    -- The change that removed it; from then on it is offered to nobody.
    add column removed_at timestamptz,
    -- Its object is gone from the bucket.
    add column object_removed_at timestamptz,
    add constraint images_object_goes_after_its_image
        check (object_removed_at is null or removed_at is not null);

-- What the reconciler of removals looks for.
create index images_removed_idx on images (removed_at, id) where removed_at is not null and object_removed_at is null;
