-- What the devices of private products are known by: no secret, one of 32 bytes, or two while they are changed.

alter table products
    add column device_secrets bytea not null default '',
    add constraint products_device_secrets_are_whole check (octet_length(device_secrets) in (0, 32, 64));
