-- When a purge is sent once more; see migrations/postgres.
alter table purges add column again_at integer;
create index purges_again_idx on purges (again_at) where again_at is not null;
