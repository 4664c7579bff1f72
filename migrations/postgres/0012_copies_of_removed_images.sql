-- A removal reaches the backup by its time: the copy is held from then on.
update copies set removed_at = images.removed_at
from images where images.id = copies.image_id and images.removed_at is not null;

-- An image that comes back from a manifest may have been removed before.
create or replace function images_want_a_copy() returns trigger language plpgsql as $$
begin
    insert into copies (image_id, removed_at) values (new.id, new.removed_at);
    return new;
end
$$;

create function removed_images_hold_their_copy() returns trigger language plpgsql as $$
begin
    update copies set removed_at = new.removed_at where image_id = new.id;
    return new;
end
$$;
create trigger removed_images_hold_their_copy after update of removed_at on images
    for each row when (old.removed_at is distinct from new.removed_at)
    execute function removed_images_hold_their_copy();
