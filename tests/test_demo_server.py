"""The demo as a process of its own: start, limits, end."""

import contextlib
import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import pytest

from conftest import PROJECT, assert_one_line_error, run_script
from demo.server import listen

pytestmark = pytest.mark.slow
SLOW = """
import time
from demo.app import create_app
from demo.server import listen, serve
from common import cli

class Slow:
    state = "ready"

    def predict(self, image, *wanted):
        print("running", flush=True)
        time.sleep(1)
        return {"digit": 7}

cli.install_error_hook()
serve(create_app(Slow()), listen("127.0.0.1", 0))
"""

FITTING = """
from common import cli
from demo import app, predictor, server

cli.install_error_hook()
predictor.VERSION = 0  # of which no detector is kept
predictor.FIT = "print('fitting', flush=True)" + predictor.FIT
server.serve(app.create_app(), server.listen("127.0.0.1", 0))
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
    """Post a drawing; returns the status and the body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    body = json.dumps({"pixels": [[200] * 28] * 28})
    connection.request("POST", "/api/predict", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    return response.status, response.read()


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_a_running_request_is_finished(slow_server, kind):
    process, port = slow_server
    answers = []
    thread = threading.Thread(target=lambda: answers.append(post_pixels(port)))
    thread.start()
    assert process.stdout.readline() == "running\n"
    process.send_signal(kind)
    thread.join()
    assert answers == [(200, b'{"digit":7}\n')]
    assert process.wait(10) == 0
    assert "Traceback" not in process.stderr.read()
    with pytest.raises(ConnectionRefusedError):
        post_pixels(port)


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_process_that_fits_ends_with_the_server(kind):
    with start("-c", FITTING) as process:
        while process.stdout.readline() != "fitting\n":
            assert process.poll() is None
        process.send_signal(kind)
        _, errors = process.communicate(timeout=8)  # the output ends with the last process that has it
        assert "Traceback" not in errors


def test_a_request_beyond_the_limits_is_refused(slow_server):
    _, port = slow_server
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST", "/api/predict", b"x" * 1_500_000)
    response = connection.getresponse()
    assert response.status == 413 and b'"error"' in response.read()
    with socket.create_connection(("127.0.0.1", port)) as raw:  # the length alone is enough
        raw.sendall(b"POST /api/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
        answer = raw.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 413")


def test_an_address_that_cannot_be_had_is_named():
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert_one_line_error(run_script("demo", "--port", port), port, "--port")
    for flags in [["--host", "nosuch.invalid"], ["--port", 99999], ["--port", "x"]]:
        assert_one_line_error(run_script("demo", *flags), flags[1])


def test_the_commands_serve_the_page(predictor):
    """`python -m demo`, and Flask's own server."""
    with listen("127.0.0.1", 0) as probe:
        port = probe.getsockname()[1]
    for command in [["demo", "--port", port], ["flask", "--app", "demo.app", "run", "--port", port]]:
        process = start("-m", *command)
        try:
            status = 503
            while status == 503:
                assert process.poll() is None
                time.sleep(0.5)
                with contextlib.suppress(ConnectionRefusedError):
                    status, _ = post_pixels(port)
            page = urllib.request.urlopen(f"http://127.0.0.1:{port}/").read()
            assert status == 200 and b"A digit, or none?" in page
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=20)
