-- Which replica does a duty that one of them is to do at a time, and until when nobody else may take it over.
create table leads (
    duty text collate "C" not null,
    holder uuid not null,
    expires_at timestamptz not null,
    constraint leads_pkey primary key (duty)
);
