-- What the devices of private products are known by; see migrations/postgres.

alter table products add column device_secrets blob not null default x'' check (length(device_secrets) in (0, 32, 64));
