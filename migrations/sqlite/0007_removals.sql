-- See migrations/postgres.
alter table images add column removed_at integer;
alter table images add column object_removed_at integer check (object_removed_at is null or removed_at is not null);

create index images_removed_idx on images (removed_at, id) where removed_at is not null and object_removed_at is null;
