"""What the benchmarks share: the programs that are measured, what the kernel says of them, and the printed result.

No benchmark by itself; backup, checks, publish and propagation use it. Python 3, standard library only.

Environment: FIRMAMENT_BIN and BASELINE_BIN name programs that were built before; without them the release build of
this checkout is made. All state is kept in target/bench; everything that was started is stopped at the end.
"""

import atexit
import contextlib
import http.client
import json
import os
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / "target" / "bench"
SERVICES = ROOT / "tests" / "services"
TOKEN = "a-token-for-benchmarks"
TICKS = os.sysconf("SC_CLK_TCK")

_stoppers = []


def say(text):
    """Progress; only the result goes to standard output."""
    print(f"{Path(sys.argv[0]).name}: {text}", file=sys.stderr, flush=True)


def die(text):
    say(text)
    sys.exit(1)


def need(program, package):
    if not shutil.which(program):
        die(f"{program} is missing, type: sudo apt-get install -y --no-install-recommends {package}")


def at_end(stop):
    """Has something stopped at the end, the last first, also after a signal."""
    _stoppers.append(stop)


def _stop_all():
    while _stoppers:
        _stoppers.pop()()


atexit.register(_stop_all)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def program(variable, *arguments):
    """The program that an environment variable names, or the one that cargo builds."""
    if named := os.environ.get(variable):
        return named
    command = ["cargo", "build", "--release", "--locked", "--message-format=json", *arguments]
    say(" ".join(command))
    built = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if built.returncode:
        die("the build failed")
    messages = [json.loads(line) for line in built.stdout.splitlines()]
    # Benches are built with the binary beside them, in no certain order. The name is the last argument.
    named = [message for message in messages if message.get("target", {}).get("name") == arguments[-1]]
    return [message["executable"] for message in named if message.get("executable")][-1]


def firmament():
    return program("FIRMAMENT_BIN", "--bin", "firmament")


def folder(name):
    """An empty folder for state."""
    path = STATE / name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Process:
    """A program in the background, and what the kernel says of it."""

    def __init__(self, command, log, environment=None, stdin=subprocess.DEVNULL):
        with open(log, "wb") as output:
            # pylint: disable=consider-using-with
            self.process = subprocess.Popen(
                command, cwd=log.parent, env=environment, stdin=stdin, stdout=output, stderr=output
            )
        self.log = log
        at_end(self.stop)

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def wait_for(self, port, path="/readyz", seconds=60):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.process.poll() is not None:
                die(f"a program ended, see {self.log}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                if ask(port, path)[0] in (200, 204):
                    return
            time.sleep(0.05)
        die(f"a program did not become ready, see {self.log}")

    def cpu_seconds(self):
        """Of all threads, in user and kernel mode (proc_pid_stat(5), fields 14 and 15)."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def resident_mebibytes(self):
        """The memory that is resident now (VmRSS)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024

    def peak_mebibytes(self):
        """The most memory that was resident at once (VmHWM)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


class Server(Process):
    """A replica of Firmament on free ports. Settings are environment variables without their prefix."""

    def __init__(self, binary, data_dir, settings):
        self.publisher, self.device = free_port(), free_port()
        environment = {key: value for key, value in os.environ.items() if not key.startswith("FIRMAMENT_")}
        settings = {
            "PUBLISHER__TOKEN": TOKEN,
            "PUBLISHER__LISTEN": f"127.0.0.1:{self.publisher}",
            "DEVICE__LISTEN": f"127.0.0.1:{self.device}",
            **settings,
        }
        environment.update({f"FIRMAMENT__{key}": value for key, value in settings.items()})
        super().__init__([binary, "serve", "--data-dir", str(data_dir)], data_dir / "server.log", environment)
        # What is asked of a device listener with TLS is not of a kind that `ask` can ask.
        if "DEVICE__TLS__CERTIFICATE" not in settings:
            self.wait_for(self.device)
        self.wait_for(self.publisher)

    def create_product(self, name):
        answer = ask(self.publisher, f"/v1/products/{name}", "PUT", b"{}", {"Content-Type": "application/json"})
        if answer[0] != 201:
            die(f"a product was not created: {answer}")


def ask(port, path, method="GET", body=None, headers=None):
    """One request on a connection of its own: status, headers, body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        connection.request(method, path, body, {"Authorization": f"Bearer {TOKEN}", **(headers or {})})
        response = connection.getresponse()
        return response.status, response.headers, response.read()


def services_environment():
    """What the scripts of tests/services need to work on our state, not on that of the tests."""
    return {**os.environ, "SERVICES_DIR": str(STATE / "services")}


def service(name):
    """Starts one of tests/services, anew and with state of its own, and returns where it is."""
    script, environment = str(SERVICES / name), services_environment()
    Path(environment["SERVICES_DIR"]).mkdir(parents=True, exist_ok=True)
    for action in ("clean", "start"):
        if subprocess.run([script, action], env=environment, check=False).returncode:
            die(f"{script} {action} failed")
    at_end(lambda: subprocess.run([script, "clean"], env=environment, check=False))
    told = subprocess.run(
        ["bash", "-c", f'eval "$("{script}" env)"; env -0'],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return dict(line.split("=", 1) for line in told.stdout.split("\0") if "=" in line)


def bucket_settings(where):
    """A bucket of tests/services/rgw as settings of a server."""
    return {
        "BUCKET__ENDPOINT": where["FIRMAMENT_TEST_S3_ENDPOINT"],
        "BUCKET__REGION": where["FIRMAMENT_TEST_S3_REGION"],
        "BUCKET__NAME": where["FIRMAMENT_TEST_S3_BUCKET"],
        "BUCKET__ACCESS_KEY_ID": where["FIRMAMENT_TEST_S3_ACCESS_KEY_ID"],
        "BUCKET__SECRET_ACCESS_KEY": where["FIRMAMENT_TEST_S3_SECRET_ACCESS_KEY"],
    }


def print_machine():
    cpu = next(
        (line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8") if "model name" in line),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    rustc = subprocess.run(["rustc", "--version"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False).stdout
    print(f"machine: {os.cpu_count()} cores, {cpu}, {memory:.0f} GiB memory, Linux {platform.release()}")
    print(f"         {rustc.strip()}; load before the first run {LOAD[0]:.2f}")


LOAD = os.getloadavg()


def print_table(headings, rows):
    rows = [headings, *rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(headings))]
    for index, row in enumerate(rows):
        cells = [text.ljust(width) if not column else text.rjust(width)
                 for column, (text, width) in enumerate(zip(row, widths))]
        print("  ".join(cells).rstrip())
        if not index:
            print("  ".join("-" * width for width in widths))


def middle(values):
    return statistics.median(values)


def spread(values, form="{:.2f}"):
    """The median with the lowest and the highest."""
    return f"{form} ({form}-{form})".format(middle(values), min(values), max(values))
