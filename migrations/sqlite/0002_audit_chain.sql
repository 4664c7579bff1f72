-- The audit log becomes a chain; see migrations/postgres/0002_audit_chain.sql.

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
