-- What images say of themselves, how devices come to a release, and what channels offered once; see
-- migrations/postgres.

alter table releases add column floor integer not null default 0 check (floor in (0, 1));
alter table releases add column upgrade_from text;
alter table releases add column recall_replacement text
    check (recall_replacement is null or recalled_at is not null);

alter table images add column facts text check (facts is null or json_valid(facts));
alter table images add column signature text;

alter table promotions add column withdrawn_at integer;

-- Until now a withdrawn promotion was deleted, and the audit log kept which.
insert into promotions (product_id, channel, image_id, promoted_at, withdrawn_at)
select audit.product_id, audit.channel, images.id, images.created_at, audit.at
from audit, json_each(audit.details, '$.withdrawn') as withdrawn
join images on images.product_id = audit.product_id and images.id = withdrawn.value
where audit.channel is not null
on conflict (product_id, channel, image_id) do nothing;
