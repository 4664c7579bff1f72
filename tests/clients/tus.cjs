// Uploads a file with tus-js-client: MODULES URL TOKEN FILE KEY=VALUE...
const fs = require("node:fs");
const path = require("node:path");

const [modules, endpoint, token, file, ...pairs] = process.argv.slice(2);
const tus = require(path.join(modules, "tus-js-client"));

const upload = new tus.Upload(fs.createReadStream(file), {
  endpoint,
  headers: { Authorization: `Bearer ${token}` },
  metadata: Object.fromEntries(pairs.map((pair) => pair.split(/=(.*)/s).slice(0, 2))),
  uploadSize: fs.statSync(file).size,
  // What a stream has sent can be sent again only from what is in memory.
  chunkSize: 16 * 1024 * 1024,
  retryDelays: Array(60).fill(500),
  onShouldRetry: (error) => {
    const status = error.originalResponse ? error.originalResponse.getStatus() : 0;
    return status === 0 || status === 409 || status === 423 || status === 429 || status >= 500;
  },
  onError: (error) => {
    console.error(String(error));
    process.exit(1);
  },
  onSuccess: () => console.log(upload.url),
});
upload.start();
