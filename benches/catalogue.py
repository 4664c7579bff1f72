"""A catalogue of any size, written as SQL into the embedded database or PostgreSQL, for benchmarks that need a large one.

No benchmark by itself. What is written is what publishing would have written, as far as a check or a start looks at it.
"""

import collections
import itertools
import json
import os
import shutil
import sqlite3
import subprocess
import time
from pathlib import Path

import stage

HARDWARE = ["rev-a", "rev-b", "rev-c", "rev-d"]


def load(data_dir, products, releases, hardware):
    """A catalogue as if it had been published: every release has an image for each hardware, promoted to stable."""
    database = sqlite3.connect(data_dir / "catalogue.sqlite")
    database.execute("pragma foreign_keys = off")
    # Python's SQLite may be one that takes null for invalid JSON.
    database.execute("pragma ignore_check_constraints = on")
    database.execute("pragma synchronous = off")
    database.execute("pragma journal_mode = off")
    at = 1_700_000_000_000_000
    numbers = itertools.count(1)

    def identifier():
        number = next(numbers)
        return f"00000000-0000-7000-8000-{number:012x}", number.to_bytes(16, "big")

    def rows():
        for index in range(products):
            name, (product, _) = f"product-{index:05}", identifier()
            yield "products", (product, name, "{}", at, index + 1)
            for minor in range(1, releases + 1):
                version, (release, _) = f"1.{minor}.0", identifier()
                yield "releases", (release, product, version, None, at, None, None)
                for board in hardware:
                    image, digest = identifier()
                    yield "images", (
                        image, product, release, f"{name}/{version}/{board}.bin", f"{board}.bin", f'["{board}"]',
                        1_048_576, digest * 2, digest + b"sha1", digest, "etag", at
                    )
                    yield "promotions", (product, "stable", image, at)

    columns = {"products": "id, name, settings, created_at, revision",
               "releases": "id, product_id, version, notes, created_at, recalled_at, recall_reason",
               "images": "id, product_id, release_id, key, filename, hardware, size, sha256, sha1, md5, etag, created_at",
               "promotions": "product_id, channel, image_id, promoted_at"}
    statements = {table: f"insert into {table} ({names}) values ({', '.join('?' * (names.count(',') + 1))})"
                  for table, names in columns.items()}
    for batch in iter(lambda all_rows=rows(): list(itertools.islice(all_rows, 200_000)), []):
        tables = collections.defaultdict(list)
        for table, row in batch:
            tables[table].append(row)
        for table, of_table in tables.items():
            database.executemany(statements[table], of_table)
    # A start goes on from the snapshot on disk only if the log has an entry with a hash at its revision.
    product = database.execute("select id from products where revision = ?", (products,)).fetchone()[0]
    database.execute(
        "insert into audit (revision, at, product_id, actor, action, details, previous, hash) values (?, ?, ?, ?, ?, ?, ?, ?)",
        (products, at, product, "benchmark", "product.create", "{}", bytes(32), bytes([7]) * 32),
    )
    database.execute("update catalogue_state set revision = ?", (products,))
    database.commit()
    database.close()


def psql(url, statements):
    """Runs SQL with the client that comes with the server."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/psql"), key=lambda path: int(path.parts[-3]))
    client = shutil.which("psql") or next(iter(map(str, reversed(found))), None)
    if not client:
        stage.die("psql is missing, type: sudo apt-get install -y --no-install-recommends postgresql-client")
    told = subprocess.run([client, "--no-psqlrc", "-q", "-At", "-v", "ON_ERROR_STOP=1", url], input=statements, text=True,
                          stdout=subprocess.PIPE, check=False)
    if told.returncode:
        stage.die("psql failed")
    return told.stdout


def load_postgres(url, products, releases, hardware):
    """The same in PostgreSQL, by a superuser: without triggers and foreign keys' checks, which would take minutes."""
    boards = "array[" + ", ".join(f"'{board}'" for board in hardware) + "]"
    psql(url, f"""
        begin;
        set local session_replication_role = replica;
        set local synchronous_commit = off;
        create function pg_temp.id(kind int, number bigint) returns uuid language sql immutable as
            $$ select ('00000000-0000-7' || lpad(kind::text, 3, '0') || '-8000-' || lpad(to_hex(number), 12, '0'))::uuid $$;
        create temporary table r as
            select p, v, p::bigint * {releases} + v as number, 'product-' || lpad(p::text, 5, '0') as name, '1.' || v || '.0' as version
            from generate_series(0, {products - 1}) p, generate_series(1, {releases}) v;
        insert into products (id, name, settings, created_at, revision)
            select pg_temp.id(1, p), 'product-' || lpad(p::text, 5, '0'), '{{}}', now(), p + 1 from generate_series(0, {products - 1}) p;
        insert into releases (id, product_id, version, created_at)
            select pg_temp.id(2, number), pg_temp.id(1, p), version, now() from r;
        insert into images (id, product_id, release_id, key, filename, hardware, size, sha256, sha1, md5, etag, created_at)
            select pg_temp.id(3, number * {len(hardware)} + b), pg_temp.id(1, p), pg_temp.id(2, number),
                name || '/' || version || '/' || board || '.bin', board || '.bin', array[board], 1048576,
                digest, substring(digest for 20), substring(digest for 16), 'etag', now()
            from r, unnest({boards}) with ordinality as boards (board, b),
                sha256(int8send(number * {len(hardware)} + b)) as digest;
        insert into copies (image_id) select id from images;
        insert into promotions (product_id, channel, image_id, promoted_at) select product_id, 'stable', id, now() from images;
        insert into audit (revision, at, product_id, actor, action, details, previous, hash)
            values ({products}, now(), pg_temp.id(1, {products - 1}), 'benchmark', 'product.create', '{{}}', '\\x{bytes(32).hex()}',
                '\\x{(bytes([7]) * 32).hex()}');
        update catalogue_state set revision = {products};
        commit;
        vacuum analyze;
    """)


def migrated(binary, data_dir, url=None):
    """An empty catalogue in a data directory, or in PostgreSQL."""
    environment = {**os.environ, "FIRMAMENT__CATALOGUE__URL": url} if url else None
    subprocess.run([binary, "migrate", "--data-dir", str(data_dir)], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, env=environment)


def settled(process):
    """Waits until all of the catalogue is read: until then checks are answered, but beside that work."""
    while json.loads(stage.ask(process.device, "/readyz")[2]).get("snapshot_source") != "catalogue":
        time.sleep(0.02)


def at_rest(process):
    """Waits until each product has its manifest, too, which a catalogue that grew by publishes never has to write at once."""
    settled(process)
    written = 'firmament_reconciler_runs_total{job="manifests",outcome="ok"}'
    while written not in stage.ask(process.publisher, "/metrics")[2].decode():
        time.sleep(0.5)


def metric(process, name):
    """The value of a metric without labels."""
    lines = stage.ask(process.publisher, "/metrics")[2].decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))
