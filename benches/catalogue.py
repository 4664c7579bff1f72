"""A catalogue of any size, written as SQL into the embedded database, for benchmarks that need a large one.

No benchmark by itself. What is written is what publishing would have written, as far as a check or a start looks at it.
"""

import collections
import itertools
import json
import sqlite3
import subprocess
import time

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


def migrated(binary, data_dir):
    """An empty catalogue in a data directory."""
    subprocess.run([binary, "migrate", "--data-dir", str(data_dir)], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)


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
