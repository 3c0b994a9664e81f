"""The application: the page and its HTTP interface, around a `Predictor`.

python -m demo                           # http://127.0.0.1:8000
python -m flask --app demo.app run       # http://127.0.0.1:5000, by Flask's own server
"""

import base64
import contextlib
import ipaddress
import json
import re
import socket
import threading
import time

from flask import Flask, abort, jsonify, make_response, render_template, request
from werkzeug.exceptions import BadRequest, HTTPException, ServiceUnavailable

from common.cli import PROJECT
from demo import images
from demo.predictor import Predictor
from demo.signs import read_signs
from hypersphere import pictures

MAX_BODY = 10**6  # bytes
FITTING = "the detector is being fitted (only once), which takes up to a minute"
FAILED = "the detector could not be fitted; what went wrong stands where the server was started"
TOO_LARGE = f"more than {MAX_BODY // 10**6} MB; send a smaller picture"
ORIGIN = re.compile(
    r'\[remote "origin"\][^[]*?\surl = (?:https://|git@)(git(?:hub|lab)\.com)[:/]([\w./-]+?)(?:\.git)?/?\n'
)
DATA_URL = re.compile(r"\A\s*data:[\w/+.-]*;base64,")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def is_served(host, named=()):
    """Whether a request's Host header, (name or address)[:port], is one that this server is meant to answer to.

    A web page elsewhere can make its own name resolve to this machine, but not an address: addresses are fine, and of
    names localhost, this machine's and those in `named`.
    """
    name = host.rsplit(":", 1)[0] if host.rpartition(":")[2].isdecimal() else host
    with contextlib.suppress(ValueError):
        return bool(ipaddress.ip_address(name.strip("[]")))
    return name.lower().rstrip(".") in {"localhost", socket.gethostname().lower(), *named}


def public_address(folder=PROJECT):
    """Where the code can be read: the page on GitHub or GitLab that a clone came from; "" if from elsewhere."""
    with contextlib.suppress(OSError):
        found = ORIGIN.search((folder / ".git" / "config").read_text(encoding="utf-8", errors="replace"))
        return f"https://{found[1]}/{found[2]}" if found else ""
    return ""


class Queue:
    """One prediction at a time: some requests wait, for so many seconds, and the others are told to come back."""

    def __init__(self, waiting, seconds):
        self.places, self.lock = threading.BoundedSemaphore(1 + waiting), threading.Lock()
        self.seconds = seconds

    @contextlib.contextmanager
    def place(self):
        """Wait in the queue; 503 if too many wait already, or it takes too long."""
        if not self.places.acquire(blocking=False):
            raise ServiceUnavailable("too many requests at once; try again in a second", retry_after=1)
        try:
            if not self.lock.acquire(timeout=self.seconds):
                raise ServiceUnavailable(f"no answer within {self.seconds} seconds; try again", retry_after=1)
            try:
                yield
            finally:
                self.lock.release()
        finally:
            self.places.release()


def create_app(predictor=None, waiting=12, seconds=5, hosts=()):
    """The WSGI application.

    predictor : a `Predictor`, by default the committed one, which may fit its detector while the page is served
    already; waiting, seconds : see `Queue`; hosts : names, besides this machine's, that requests may be sent to.
    """
    predictor = predictor or Predictor(wait=False)
    queue, repository = Queue(waiting, seconds), public_address()
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.json.sort_keys = False
    app.before_request(lambda: refuse_strangers(hosts))
    app.after_request(protect)
    for kind in [HTTPException, images.BadImage, pictures.PictureError]:
        app.register_error_handler(kind, error_in_json)

    @app.get("/")
    def page():
        return render_template("index.html", detector=predictor.key, repository=repository)

    @app.get("/healthz")
    def health():
        return jsonify(status="ok")

    @app.get("/api/model")
    def model():
        require_ready(predictor)
        return jsonify(predictor.about())

    @app.get("/api/map")
    def points():
        return jsonify(place=predictor.map["place"].round(3).tolist(), label=predictor.map["label"].tolist())

    @app.post("/api/predict")
    def predict():
        require_ready(predictor)
        content, signs = sent_content()  # a slow sender keeps nobody else waiting
        if signs is not None:
            signs = read_signs(signs, predictor.sign_namer.width)
        wanted = ["explain" in request.args, "features" in request.args]
        with queue.place():
            started = time.perf_counter()
            image = read_image(content)
            answer = {"empty": True} if image is None else predictor.predict(image, *wanted, signs)
            milliseconds = 1000 * (time.perf_counter() - started)
        return jsonify(answer), {"Server-Timing": f"predict;dur={milliseconds:.2f}"}

    return app


def refuse_strangers(hosts):
    """403 for requests to a host name that is not this server's, and for pages elsewhere that use the interface."""
    if not is_served(request.host, hosts):
        abort(403, "this server does not answer to that host name; open it by its address")
    is_elsewhere = request.headers.get("Sec-Fetch-Site", "none") not in ["none", "same-origin"]
    origin = request.headers.get("Origin", request.host_url.rstrip("/")).partition("://")[2]
    if request.path.startswith("/api") and (is_elsewhere or origin != request.host):
        abort(403, "a page elsewhere may not use this server; open its own page")


def protect(response):
    """The response with headers that keep a browser from loading anything from elsewhere."""
    caching = "no-store" if request.path.startswith("/api") else "no-cache"
    response.headers.update(HEADERS | {"Cache-Control": caching})
    return response


def error_in_json(error):
    """The response to an error, {"error": a sentence}."""
    if not isinstance(error, HTTPException):
        return jsonify(error=str(error)), 415 if isinstance(error, pictures.UnknownFormat) else 400
    response = error.get_response()
    response.data = json.dumps({"error": TOO_LARGE if error.code == 413 else error.description})
    response.content_type = "application/json"
    return response


def require_ready(predictor):
    """503 while the detector is being fitted, 500 if that failed."""
    if predictor.state == "failed":
        abort(500, FAILED)
    if predictor.state == "fitting":
        abort(make_response(jsonify(error=FITTING, fitting=True), 503, {"Retry-After": "2"}))


def sent_content():
    """What the request holds, and its signs or None.

    A picture file's bytes as the body or, in base64 or as a data URL, as the JSON's "picture"; or the list that is its
    "pixels".
    """
    if not request.is_json:
        return request.get_data(), None
    try:
        sent = request.get_json()
        if isinstance(sent.get("pixels"), list):
            return sent["pixels"], sent.get("signs")
        text = "".join(DATA_URL.sub("", sent["picture"], count=1).split())  # some encoders break the lines
        return base64.b64decode(text, validate=True), sent.get("signs")
    except (BadRequest, RecursionError):
        abort(400, "the JSON is damaged or nested too deeply")
    except (AttributeError, KeyError, TypeError):
        abort(400, 'send a picture file as the body, or the JSON {"pixels": [[...], ...]}')
    except ValueError:
        abort(400, "picture is not base64")


def read_image(content):
    """The image for the network, (28, 28), of what was sent; None if nothing is drawn."""
    return images.read_array(content) if isinstance(content, list) else images.prepare(pictures.read_image(content))
