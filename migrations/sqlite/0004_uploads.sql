-- Uploads that may be resumed; see migrations/postgres.
create table uploads (
    id text not null primary key references reservations (id) on delete cascade,
    kind text not null,
    created_at integer not null,
    declared text not null check (json_valid(declared)),
    stored text not null check (json_valid(stored)),
    size integer,
    received integer not null,
    locked_by text,
    locked_until integer,
    check (received >= 0 and (size is null or received <= size)),
    check ((locked_by is null) = (locked_until is null))
) strict;
