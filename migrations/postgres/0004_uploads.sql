-- Uploads that may be resumed. An upload lives exactly as long as its reservation, whose id is its own and whose lease
-- is its expiry: a publish ends both in its one transaction, and so does whoever cleans up.
create table uploads (
    id uuid not null,
    kind text collate "C" not null,
    -- When it was begun; also the time that the object will carry.
    created_at timestamptz not null,
    -- What was declared, and where its bytes are. Written and read by the program alone.
    declared jsonb not null,
    stored jsonb not null,
    -- Absent: not said yet.
    size bigint,
    received bigint not null,
    -- Who is writing, and until when nobody else may.
    locked_by uuid,
    locked_until timestamptz,
    constraint uploads_pkey primary key (id),
    constraint uploads_reservation_fkey foreign key (id) references reservations (id) on delete cascade,
    constraint uploads_received_counts check (received >= 0 and (size is null or received <= size)),
    constraint uploads_lock_is_whole check ((locked_by is null) = (locked_until is null))
);
