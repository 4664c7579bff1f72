-- When a purge is sent once more though the CDN has accepted it: an edge may have fetched anew, in between, what it was made
-- to forget. Absent: never, or not any more.
alter table purges add column again_at timestamptz;
create index purges_again_idx on purges (again_at) where again_at is not null;
