-- The audit log becomes a chain: each entry carries the hash of the one before it and its own, and says from where a
-- change came, what it replaced, and which rules were overridden. `src/domain/audit.rs` states what is hashed.
--
-- An entry of an older program has no hash yet. It is given one by the next change of a newer program, in the order of
-- the revisions, so the chain covers everything from the first entry on.
alter table audit
    -- The peer's address and port, as the listener saw them.
    add column remote text,
    add column before jsonb not null default 'null',
    add column after jsonb not null default 'null',
    -- The codes of the rules that were overridden, or that warned.
    add column verdict jsonb not null default '[]',
    add column previous bytea,
    add column hash bytea,
    add constraint audit_link_is_whole check ((previous is null) = (hash is null)),
    add constraint audit_hashes_are_whole check (octet_length(previous) = 32 and octet_length(hash) = 32),
    -- No entry has two successors.
    add constraint audit_previous_key unique (previous);

-- Whether there are entries without a hash is asked at every change.
create index audit_unlinked_idx on audit (revision) where hash is null;

create function audit_is_append_only() returns trigger language plpgsql as $$
begin
    -- The one change that an entry may see: it becomes part of the chain.
    if tg_op = 'UPDATE' and old.hash is null and new.hash is not null
        and to_jsonb(new) - 'hash' - 'previous' = to_jsonb(old) - 'hash' - 'previous'
    then
        return new;
    end if;
    raise exception 'the audit log is append-only' using errcode = 'restrict_violation';
end
$$;

create trigger audit_is_append_only before update or delete on audit
    for each row execute function audit_is_append_only();
create trigger audit_is_never_emptied before truncate on audit
    for each statement execute function audit_is_append_only();

-- What a release says of security: {"severity": …, "cves": […]}.
alter table releases add column security jsonb;

-- Documents of a release, such as its bill of materials. They are here and not in the bucket: what lies in the bucket
-- under a product can be had by every device and is mirrored by CDNs, and these are for the publisher's side alone;
-- here they change in one transaction with their audit entry, and are in the database's backup.
create table attachments (
    id uuid not null,
    product_id uuid not null,
    release_id uuid not null,
    name text collate "C" not null,
    kind text not null,
    specification text not null,
    size bigint not null,
    sha256 bytea not null,
    created_at timestamptz not null,
    content bytea not null,
    constraint attachments_pkey primary key (id),
    constraint attachments_release_fkey foreign key (product_id, release_id) references releases (product_id, id),
    constraint attachments_name_key unique (release_id, name),
    constraint attachments_size_is_true check (size = octet_length(content)),
    constraint attachments_digest_is_whole check (octet_length(sha256) = 32)
);
create index attachments_product_idx on attachments (product_id);
