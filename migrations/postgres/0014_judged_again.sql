-- A promotion that waits is judged again when it is to be offered: what the publisher has confirmed is kept with it.
alter table pending_promotions
    add column allow_stranding boolean not null default false,
    add column reason text,
    -- Set: it was refused then, as `last_error` says, and waits no longer. The row stays to be seen.
    add column refused_at timestamptz;
-- What waits already was judged with the publisher's consent, which was not kept.
update pending_promotions set allow_stranding = true;
