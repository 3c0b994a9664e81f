"""The demo as a process of its own: start, limits, end."""

import contextlib
import http.client
import json
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import pytest

from conftest import PROJECT, assert_one_line_error, megabytes, run_script, spent
from demo.server import listen
from picture_files import costly, png, with_metadata

pytestmark = pytest.mark.slow
SLOW = """
import time
from common import cli
from demo import server
from demo.app import create_app

class Slow:
    state = "ready"

    def predict(self, image, *wanted):
        print("running", flush=True)
        time.sleep(1)
        return {"digit": 7}

cli.install_error_hook()
server.MAX_SECONDS = 3
server.serve(create_app(Slow()), server.listen("127.0.0.1", 0))
"""


def start(*command):
    """Start Python in a process of its own that Ctrl-C ends, also where the tests run in the background."""
    command = [sys.executable, *map(str, command)]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": PROJECT}
    return subprocess.Popen(command, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), **options)


@pytest.fixture
def slow_server():
    """A server whose predictions take a second: its process and its port."""
    with start("-c", SLOW) as process:
        _, address, *_ = process.stdout.readline().split()  # Open http://127.0.0.1:PORT in a browser
        yield process, int(address.rpartition(":")[2])
        process.kill()


def post_pixels(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=100)
    body = json.dumps({"pixels": [[200] * 28] * 28})
    connection.request("POST", "/api/predict", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    return response.status, response.read()


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_a_running_request_is_finished(slow_server, kind):
    process, port = slow_server
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(post_pixels, port)
        assert process.stdout.readline() == "running\n"
        process.send_signal(kind)
    assert answer.result() == (200, b'{"digit":7}\n')
    assert process.wait(10) == 0 and "Traceback" not in process.stderr.read()
    with pytest.raises(ConnectionRefusedError):
        post_pixels(port)


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_process_that_fits_ends_with_the_server(kind):
    code = """
from common import cli
from demo import app, predictor, server
cli.install_error_hook()
predictor.VERSION = 0  # of which no detector is kept
predictor.FIT = "print('fitting', flush=True)" + predictor.FIT
server.serve(app.create_app(), server.listen("127.0.0.1", 0))
"""
    with start("-c", code) as process:
        while process.stdout.readline() != "fitting\n":
            assert process.poll() is None
        process.send_signal(kind)
        _, errors = process.communicate(timeout=8)  # the output ends with the last process that has it
        assert "Traceback" not in errors


def test_who_sends_slowly_keeps_nobody_waiting_and_is_shut_out(slow_server):
    _, port = slow_server
    with contextlib.ExitStack() as stack:
        senders = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(250)]
        for sender in senders:
            sender.sendall(b"POST /api/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\n")
        assert post_pixels(port)[0] == 200
        deadline = time.monotonic() + 60
        while senders and time.monotonic() < deadline:
            time.sleep(0.5)
            for sender in senders.copy():
                try:
                    sender.send(b"x")
                except OSError:
                    senders.remove(sender)
        assert not senders
    with socket.create_connection(("127.0.0.1", port)) as greedy, contextlib.suppress(ConnectionResetError):
        greedy.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 180)
        assert greedy.makefile("rb").read().count(b"200 OK") < 180


def test_an_address_that_cannot_be_had_is_named_before_tensorflow_is_loaded():
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert_one_line_error(run_script("demo", "--port", port), port, "another --port")
    for host in ["nosuch.invalid", "192.0.2.1", "a..b"]:
        assert_one_line_error(run_script("demo", "--host", host), host, "another --host")
    for port in [99999, "x"]:
        assert_one_line_error(run_script("demo", "--port", port), port)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 6, "seconds, for six processes"


@contextlib.contextmanager
def served(*command):
    """Serve by a command, until the page is there and questions are answered: the process and its port."""
    with listen("127.0.0.1", 0) as probe:
        port = probe.getsockname()[1]
    process = start("-m", *command, "--port", port)
    try:
        status = 503
        while status == 503:
            assert process.poll() is None
            time.sleep(0.5)
            with contextlib.suppress(ConnectionRefusedError):
                status, _ = post_pixels(port)
        assert status == 200 and b"A digit, or none?" in urllib.request.urlopen(f"http://127.0.0.1:{port}/").read()
        yield process, port
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)


def test_flask_serves_the_page_too(predictor):
    with served("flask", "--app", "demo.app", "run"):
        pass


def request(body, *headers):
    lines = ["POST /api/predict HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def odd_requests():
    """Requests made to hold a server, by name, each with the statuses that may answer it."""
    thin = [("1 x 4,000,000", png((1, 4 * 10**6), 8, 0, bytes(8 * 10**6)))]
    thin += [("4,000,000 x 1", png((4 * 10**6, 1), 8, 0, bytes(4 * 10**6 + 1)))]
    for name, content in chain(with_metadata(), costly(), thin):
        yield name, request(content), [200, 400]
    inside = {
        "lists": "[]," * 299_000 + "[]",
        "nested lists": "[" * 440_000 + "]" * 440_000,
        "objects": '{"a":0},' * 110_000 + "{}",
        "numbers": "0.1," * 220_000 + "1",
        "long numbers": ",".join(["9" * 4000] * 220),
    }
    for name, text in inside.items():
        for start, end in [("[", "]"), ('{"pixels":[', "]}"), ('{"pixels":[],"signs":[', "]}")]:
            content = (start + text + end).encode()
            yield f"JSON {start} {name}", request(content, "Content-Type: application/json"), [400]
    for header in ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nExpect: 100-continue"]:
        message = request(b"").replace(b"Content-Length: 0", header.encode()) + b"1\r\nx\r\n" * 690_000
        yield header, message + b"0\r\n\r\n", [400]
    yield "another encoding", request(b"", "Transfer-Encoding: gzip"), [400]
    for name in ["Content-Length: " + "9" * 5000, "Host: [", "a: " + "x" * 300_000, "a:\r\n" * 50_000]:
        yield name[:20], request(b"").replace(b"Content-Length: 0", name.encode()), [400, 403, 431]
    yield "1.5 MB", request(bytes(1_500_000)), [413]
    yield "a length alone", request(b"").replace(b": 0", b": 99999999999"), [413]


def status_of(port, message):
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        with contextlib.suppress(OSError):  # refused before it is sent
            connection.sendall(message)
        return int(connection.recv(9999).split()[1])


@pytest.mark.skipif(sys.platform != "linux", reason="measures in /proc")
def test_no_request_takes_long_or_much_memory(predictor):
    with served("demo") as (process, port):
        for name, message, statuses in odd_requests():
            status, seconds, growth = spent(process.pid, lambda message=message: status_of(port, message))
            assert status in statuses and seconds < 0.3 and growth < 50, (name, status, seconds, growth)
        assert post_pixels(port)[0] == 200 and megabytes(process.pid) < 1500  # with PyTorch, where it is installed
