"""Uploads a file with tuspy: URL TOKEN FILE CHUNK_BYTES KEY=VALUE..."""

import sys
import time

from tusclient import client
from tusclient.exceptions import TusCommunicationError

url, token, path, chunk, *pairs = sys.argv[1:]
tus = client.TusClient(url, headers={"Authorization": f"Bearer {token}"})
metadata = dict(pair.split("=", 1) for pair in pairs)

# A link that drops may drop the creation too, which tuspy does not repeat.
for attempt in range(20):
    try:
        uploader = tus.uploader(
            path,
            chunk_size=int(chunk),
            # Counted for a chunk, which may be larger than what the link carries at once.
            retries=200,
            retry_delay=0.5,
            metadata=metadata,
            upload_checksum=int(chunk) <= 2 * 1024 * 1024,
        )
        uploader.set_url(uploader.create_url())
        uploader.offset = 0
        break
    except TusCommunicationError as error:
        print(f"creation: {error}", file=sys.stderr)
        time.sleep(0.5)
else:
    sys.exit("the upload could not be begun")
uploader.upload()
print(uploader.url)
