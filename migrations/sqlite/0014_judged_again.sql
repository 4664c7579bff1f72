-- What a promotion that waits is judged by again, and whether it was refused then; see migrations/postgres.
alter table pending_promotions add column allow_stranding integer not null default 0;
alter table pending_promotions add column reason text;
alter table pending_promotions add column refused_at integer;
-- What waits already was judged with the publisher's consent, which was not kept.
update pending_promotions set allow_stranding = 1;
