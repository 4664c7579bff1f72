-- What images say of themselves, how devices come to a release, and what channels offered once.

alter table releases
    add column floor boolean not null default false,
    -- The lowest version that can take it; null = any.
    add column upgrade_from text collate "C",
    -- Where devices that run it should go.
    add column recall_replacement text collate "C",
    add constraint releases_replacement_is_of_a_recall check (recall_replacement is null or recalled_at is not null);

alter table images
    -- Null = stored before images were inspected.
    add column facts jsonb,
    -- The detached signature over the whole file, in base64.
    add column signature text;

-- A promotion that a downgrade overrides is withdrawn and not deleted: devices may still run what it offered.
alter table promotions add column withdrawn_at timestamptz;

-- Until now it was deleted, and the audit log kept which.
insert into promotions (product_id, channel, image_id, promoted_at, withdrawn_at)
select audit.product_id, audit.channel, images.id, images.created_at, audit.at
from audit
cross join lateral jsonb_array_elements_text(
    case when jsonb_typeof(audit.details -> 'withdrawn') = 'array' then audit.details -> 'withdrawn' else '[]' end
) as withdrawn (id)
join images on images.product_id = audit.product_id and images.id = withdrawn.id::uuid
where audit.channel is not null
on conflict on constraint promotions_pkey do nothing;
