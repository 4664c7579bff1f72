-- The audit log becomes a chain, and releases carry documents; see migrations/postgres/0002_audit_and_attachments.sql.

alter table audit add column remote text;
alter table audit add column before text not null default 'null' check (json_valid(before));
alter table audit add column after text not null default 'null' check (json_valid(after));
alter table audit add column verdict text not null default '[]' check (json_valid(verdict));
alter table audit add column previous blob check (length(previous) = 32);
alter table audit add column hash blob
    check (length(hash) = 32)
    check ((hash is null) = (previous is null));

create unique index audit_previous_key on audit (previous);
create index audit_unlinked_idx on audit (revision) where hash is null;

create trigger audit_entries_stay before delete on audit
begin
    select raise(abort, 'the audit log is append-only');
end;

-- The one change that an entry may see: it becomes part of the chain.
create trigger audit_entries_do_not_change before update on audit
when old.hash is not null
    or new.hash is null
    or (new.revision, new.at, new.product_id, new.actor, new.remote, new.action, new.version, new.channel,
        new.details, new.before, new.after, new.verdict)
    is not
       (old.revision, old.at, old.product_id, old.actor, old.remote, old.action, old.version, old.channel,
        old.details, old.before, old.after, old.verdict)
begin
    select raise(abort, 'the audit log is append-only');
end;

alter table releases add column security text check (json_valid(security));

create table attachments (
    id text not null primary key,
    product_id text not null,
    release_id text not null,
    name text not null,
    kind text not null,
    specification text not null,
    size integer not null check (size = length(content)),
    sha256 blob not null check (length(sha256) = 32),
    created_at integer not null,
    content blob not null,
    unique (release_id, name),
    foreign key (product_id, release_id) references releases (product_id, id)
) strict;
create index attachments_product_idx on attachments (product_id);
