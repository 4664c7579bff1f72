"""Akamai's Fast Purge API, version 3, over the cache of nginx.

Every request is judged by Akamai's own library (EdgeGrid), by its clock and by its nonce. What is asked for is done
before the answer: `delete` removes the cached files, `invalidate` lets them be stale, so that the next request makes
the edge ask its origin whether they still hold. Settings are those of `tests/services/edge`, from the environment.

https://techdocs.akamai.com/purge-cache/reference/api
"""

import calendar
import json
import os
import pathlib
import re
import struct
import threading
import time
import urllib.parse
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests
from akamai.edgegrid import EdgeGridAuth

HERE = pathlib.Path(os.environ["EDGE_DIR"])
PORT = int(os.environ["EDGE_PORT"])
CPCODE = int(os.environ["EDGE_CPCODE"])
AHEAD = float(os.environ["EDGE_PURGE_CLOCK"])
HOSTS = {f"127.0.0.1:{PORT}", *os.environ["EDGE_PURGE_HOSTS"].split(",")}
ACCOUNT = EdgeGridAuth.from_edgerc(str(HERE / "edgerc"))

ROUTE = re.compile(r"/ccu/v3/(invalidate|delete)/(url|tag|cpcode)(?:/(staging|production))?")
AUTHORIZATION = re.compile(r"EG1-HMAC-SHA256 .*;timestamp=(?P<time>[^;]+);nonce=(?P<nonce>[^;]+);signature=.*")
TAG = re.compile(r"[A-Za-z0-9&'^$!`#%.+~_|-]{1,128}")
LARGEST_BODY = 50_000
SKEW = 30

# Name -> burst, and how many come back each second.
BUCKETS = {"request": (100, 50), "url": (10_000, 200), "tag": (5_000, 500 / 60), "cpcode": (300, 30 / 60)}
for setting in filter(None, os.environ["EDGE_PURGE_RATE"].split(",")):
    which, burst = setting.split("=")
    BUCKETS[which] = (int(burst), BUCKETS[which][1] * int(burst) / BUCKETS[which][0])


class Problem(Exception):
    """An answer that is not 201."""

    def __init__(self, status, title, detail, more=None, headers=None):
        super().__init__(title)
        self.status = status
        self.document = {"title": title, "detail": detail} | (more or {})
        self.headers = headers or {}


class Account:
    """The token buckets and the nonces that were seen."""

    def __init__(self):
        self.lock = threading.Lock()
        self.left = {name: burst for name, (burst, _) in BUCKETS.items()}
        self.at = time.monotonic()
        self.nonces = {}

    def take(self, kind, count):
        """Takes one request and so many objects, or nothing."""
        now = time.monotonic()
        for name, (burst, refill) in BUCKETS.items():
            self.left[name] = min(burst, self.left[name] + refill * (now - self.at))
        self.at = now
        wanted = {"request": 1, kind: count}
        for name, number in wanted.items():
            if self.left[name] < number:
                burst, refill = BUCKETS[name]
                missing = (min(number, burst) - self.left[name]) / refill
                suffix = "" if name == "request" else "-Objects"
                raise Problem(
                    429,
                    "Rate Limit exceeded",
                    f"too many: {name}",
                    {"rateLimit": burst, "rateLimitRemaining": int(self.left[name]),
                     "rateLimitCurrentRequestSize": number},
                    {f"X-Ratelimit-Seconds-To-Refresh-Limit{suffix}": str(int(missing) + 1)},
                )
        for name, number in wanted.items():
            self.left[name] -= number

    def use(self, nonce, now):
        self.nonces = {known: at for known, at in self.nonces.items() if now - at < 2 * SKEW}
        if nonce in self.nonces:
            raise Problem(400, "Bad request", "Duplicate nonce")
        self.nonces[nonce] = now


account = Account()


def authenticate(headers, path, body):
    given = headers.get("Authorization", "")
    parts = AUTHORIZATION.fullmatch(given)
    if parts is None:
        raise Problem(401, "Not authorized", "there is no EdgeGrid authorization")
    request = requests.Request("POST", f"http://{headers['Host']}{path}", data=body).prepare()
    # The path is judged as it came: `requests` would normalise it.
    request.url = f"http://{headers['Host']}{path}"
    expected = ACCOUNT.ah.make_auth_header(request, parts["time"], parts["nonce"])
    if expected != given:
        raise Problem(401, "Not authorized", "The signature does not match")
    now = time.time() + AHEAD
    signed_at = calendar.timegm(time.strptime(parts["time"], "%Y%m%dT%H:%M:%S+0000"))
    if abs(now - signed_at) > SKEW:
        raise Problem(400, "Bad request", "Invalid timestamp")
    with account.lock:
        account.use(parts["nonce"], now)
    if (HERE / "ungranted").exists():
        raise Problem(
            403, "Forbidden", "The client does not have the grant needed for the request",
            {"type": "https://problems.purge.akamaiapis.net/-/pep-authz/deny"},
        )


def objects_of(kind, body):
    """The objects that a body names; a bad one fails the whole request."""
    try:
        objects = json.loads(body)["objects"]
    except (ValueError, KeyError, TypeError):
        raise Problem(400, "Bad request", "the body is no JSON with objects") from None
    wanted = int if kind == "cpcode" else str
    if not objects or not all(isinstance(entry, wanted) for entry in objects):
        raise Problem(400, "Bad request", f"objects have to be a list of {wanted.__name__}")
    for entry in objects:
        if kind == "cpcode" and entry != CPCODE:
            raise Problem(403, "unauthorized cpcode", str(entry))
        if kind == "tag" and not TAG.fullmatch(entry):
            raise Problem(400, "Bad request", f"bad tag {entry}")
        if kind == "url":
            url = urllib.parse.urlsplit(entry)
            if not entry.isascii() or url.scheme not in ("http", "https"):
                raise Problem(400, "Bad request", f"bad URL {entry}")
            if url.netloc not in HOSTS:
                raise Problem(403, "unauthorized arl", entry)
    return objects


def means(kind, objects, path, tags):
    """Whether the objects name what is cached at this path with these tags."""
    if kind == "cpcode":
        return True
    if kind == "tag":
        return not tags.isdisjoint(objects)
    for entry in objects:
        url = urllib.parse.urlsplit(entry)
        # An object's path has no query in the cache's key; that of a check is all of its question.
        asked = f"{url.path}?{url.query}" if path.startswith("/v1/") and url.query else url.path
        if urllib.parse.unquote(asked) == urllib.parse.unquote(path):
            return True
    return False


def tags_of(path, header):
    """The tags of a cached answer: the service's own word, or what a property makes of an object's path."""
    named = re.search(rb"\r\nEdge-Cache-Tag: *([^\r]*)\r\n", header, re.IGNORECASE)
    if named:
        return set(re.split(r"[, ]+", named[1].decode()))
    parts = path.split("/")
    if path.startswith(("/v1/", "/d/")) or len(parts) < 4:
        return set()
    return {f"p-{parts[1]}", f"r-{parts[1]}-{parts[2]}"}


def purge(action, kind, objects):
    """Does it to every cached file that is meant; says how many there were."""
    count = 0
    # A dot: it is still being written.
    for file in (file for file in (HERE / "cache").glob("*/*") if "." not in file.name):
        try:
            with file.open("r+b") as cached:
                head = cached.read(16_384)
                key = re.search(rb"\nKEY: ([^\n]*) [^ \n]*\n", head)
                if key is None or not means(kind, objects, key[1].decode(), tags_of(key[1].decode(), head)):
                    continue
                count += 1
                if action == "delete":
                    file.unlink()
                else:
                    # ngx_http_file_cache_header_t begins with its version and the time until when it is fresh.
                    cached.seek(struct.calcsize("N"))
                    cached.write(struct.pack("l", 1))
        except FileNotFoundError:
            pass
    return count


def limit(kind, objects):
    """The file `limited` says for how many seconds the account is used up, however many there are left here."""
    try:
        seconds = (HERE / "limited").read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    raise Problem(
        429, "Rate Limit exceeded", f"too many: {kind}",
        {"rateLimit": BUCKETS[kind][0], "rateLimitRemaining": 0, "rateLimitCurrentRequestSize": len(objects)},
        {"X-Ratelimit-Seconds-To-Refresh-Limit-Objects": seconds},
    )


def note(file, line):
    with (HERE / file).open("a", encoding="utf-8") as log:
        log.write(json.dumps({"time": time.time()} | line) + "\n")


def note_refusal(problem, body):
    try:
        objects = json.loads(body)["objects"]
    except (ValueError, KeyError, TypeError):
        objects = None
    with account.lock:
        note("refusal.jsonl", {"status": problem.status, "objects": objects} | problem.document)


def accept(headers, path, body):
    authenticate(headers, path, body)
    route = ROUTE.fullmatch(path)
    if route is None:
        raise Problem(404, "Not Found", path)
    action, kind, network = route[1], route[2], route[3] or "production"
    if headers.get_content_type() != "application/json":
        raise Problem(415, "Unsupported Media Type", "only application/json")
    if len(body) > LARGEST_BODY:
        raise Problem(413, "Request Entity Too Large", f"more than {LARGEST_BODY} bytes")
    objects = objects_of(kind, body)
    limit(kind, objects)
    with account.lock:
        account.take(kind, len(objects))
        count = purge(action, kind, objects) if network == "production" else 0
        note("purge.jsonl", {"action": action, "type": kind, "network": network, "objects": objects, "files": count})
    return {"detail": "Request accepted", "estimatedSeconds": 5}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def date_time_string(self, timestamp=None):
        return super().date_time_string(time.time() + AHEAD if timestamp is None else timestamp)

    def do_GET(self):
        self.say(405, {"title": "Method Not Allowed", "detail": "POST only"}, {"Allow": "POST"})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            self.say(201, accept(self.headers, self.path, body), {})
        except Problem as problem:
            note_refusal(problem, body)
            self.say(problem.status, problem.document, problem.headers)

    def say(self, status, document, headers):
        support = f"edcp-{uuid.uuid4()}"
        document = {"httpStatus": status, "supportId": support} | document
        if status == 201:
            document["purgeId"] = support
        body = json.dumps(document).encode()
        self.send_response(status)
        kind = "application/json" if status == 201 else "application/api-problem+json"
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True


Server(("127.0.0.1", PORT + 1), Handler).serve_forever()
