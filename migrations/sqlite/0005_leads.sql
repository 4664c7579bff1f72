-- Which replica does a duty; see migrations/postgres.
create table leads (
    duty text not null primary key,
    holder text not null,
    expires_at integer not null
) strict;
