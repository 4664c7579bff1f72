-- What the backup has of each image; see migrations/postgres.
create table copies (
    image_id text not null primary key references images (id) on delete cascade,
    copied_at integer,
    verified_at integer,
    primary_damage text,
    backup_damage text,
    error text,
    tried_at integer,
    removed_at integer,
    dropped_at integer
) strict;
create index copies_to_make_idx on copies (image_id) where copied_at is null and removed_at is null;
-- NULL comes first.
create index copies_to_read_idx on copies (verified_at, image_id) where copied_at is not null and removed_at is null;
create index copies_damaged_idx on copies (image_id)
    where (primary_damage is not null or backup_damage is not null) and removed_at is null;
create index copies_to_drop_idx on copies (removed_at) where removed_at is not null and dropped_at is null;

insert into copies (image_id) select id from images;

create trigger images_want_a_copy after insert on images
begin
    insert into copies (image_id) values (new.id);
end;

create table backup_state (
    only_row integer not null primary key default 1 check (only_row = 1),
    place text,
    succeeded_at integer,
    failed_at integer,
    error text,
    deep_since integer,
    primary_gone text
) strict;
insert into backup_state default values;
