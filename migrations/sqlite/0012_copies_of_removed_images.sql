-- A removal reaches the backup by its time; see migrations/postgres.
update copies set removed_at = (select images.removed_at from images where images.id = copies.image_id);

drop trigger images_want_a_copy;
create trigger images_want_a_copy after insert on images
begin
    insert into copies (image_id, removed_at) values (new.id, new.removed_at);
end;

create trigger removed_images_hold_their_copy after update of removed_at on images
when old.removed_at is not new.removed_at
begin
    update copies set removed_at = new.removed_at where image_id = new.id;
end;
