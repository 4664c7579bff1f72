-- What the backup has of each image. A row is made with the image, by a trigger, so that what is to be copied is found by
-- an index of that alone, and not by comparing all images with all copies.
create table copies (
    image_id uuid not null,
    -- Absent: the backup does not have it.
    copied_at timestamptz,
    -- When both objects were last read to their ends and were right. Absent: not since the copy was made.
    verified_at timestamptz,
    -- What is wrong with the object in the bucket, and with the one in the backup. Absent: nothing is known to be.
    primary_damage text,
    backup_damage text,
    -- Why it could not be copied when that was last tried, and when.
    error text,
    tried_at timestamptz,
    -- When its image was removed for good. The copy stays for a hold time; then it is deleted, and this says when.
    removed_at timestamptz,
    dropped_at timestamptz,
    constraint copies_pkey primary key (image_id),
    constraint copies_image_fkey foreign key (image_id) references images (id) on delete cascade
);
create index copies_to_make_idx on copies (image_id) where copied_at is null and removed_at is null;
create index copies_to_read_idx on copies (verified_at nulls first, image_id)
    where copied_at is not null and removed_at is null;
create index copies_damaged_idx on copies (image_id)
    where (primary_damage is not null or backup_damage is not null) and removed_at is null;
create index copies_to_drop_idx on copies (removed_at) where removed_at is not null and dropped_at is null;

insert into copies (image_id) select id from images;

create function images_want_a_copy() returns trigger language plpgsql as $$
begin
    insert into copies (image_id) values (new.id);
    return new;
end
$$;
create trigger images_want_a_copy after insert on images
    for each row execute function images_want_a_copy();

-- The backup as a whole.
create table backup_state (
    only_row boolean not null default true,
    -- Which place it is. Another place has no copies yet.
    place text,
    -- When a pass last ended well, and why the last one did not.
    succeeded_at timestamptz,
    failed_at timestamptz,
    error text,
    -- When the verification by reading that is under way was begun.
    deep_since timestamptz,
    -- Why the bucket as a whole is held to be gone; absent: it is there.
    primary_gone text,
    constraint backup_state_pkey primary key (only_row),
    constraint backup_state_is_one check (only_row)
);
insert into backup_state default values;
