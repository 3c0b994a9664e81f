"""The application: the page and its HTTP interface, around a `Predictor`.

python -m demo                           # http://127.0.0.1:8000
python -m flask --app demo.app run       # http://127.0.0.1:5000, by Flask's own server
"""

import base64
import binascii
import contextlib
import ipaddress
import json
import re
import socket
import subprocess
import threading
import time
from pathlib import Path

from flask import Flask, abort, jsonify, request
from markupsafe import escape
from werkzeug.exceptions import BadRequest, HTTPException, RequestEntityTooLarge, ServiceUnavailable

from common.cli import PROJECT
from demo import images
from demo.predictor import Predictor
from demo.signs import read_signs
from hypersphere import pictures

MAX_BODY = 10**6  # bytes
FITTING = "the detector is being fitted (only once), which takes up to a minute"
FAILED = "the detector could not be fitted; what went wrong stands where the server was started"
TOO_LARGE = f"more than {MAX_BODY // 10**6} MB; send a smaller picture"
PUBLIC = re.compile(r"(?:https://|git@)(git(?:hub|lab)\.com)[:/]([\w.-]+(?:/[\w.-]+)+)")
DATA_URL = re.compile(r"\A\s*data:[\w/+.-]*;base64,")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class NotReady(Exception):
    """The detector is still being fitted."""


class Turns:
    """One prediction at a time: some requests wait, for so many seconds, and the others are told to come back."""

    def __init__(self, waiting, seconds):
        self.places = threading.BoundedSemaphore(1 + waiting)
        self.turn = threading.Lock()
        self.seconds = seconds

    @contextlib.contextmanager
    def take(self):
        """Wait for the turn; 503 if too many wait already, or it takes too long."""
        if not self.places.acquire(blocking=False):
            raise ServiceUnavailable("too many requests at once; try again in a second", retry_after=1)
        try:
            if not self.turn.acquire(timeout=self.seconds):
                raise ServiceUnavailable(f"no turn within {self.seconds} seconds; try again", retry_after=1)
            try:
                yield
            finally:
                self.turn.release()
        finally:
            self.places.release()


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
    if not (folder / ".git").exists():
        return ""
    command = ["git", "-C", str(folder), "remote", "get-url", "origin"]
    try:
        origin = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", timeout=5).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
    found = PUBLIC.fullmatch(origin.strip().rstrip("/").removesuffix(".git"))
    return f"https://{found[1]}/{found[2]}" if found else ""


def create_app(predictor=None, waiting=12, seconds=5, hosts=()):
    """The WSGI application.

    predictor : a `Predictor`, by default the committed one, which may fit its detector while the page is served
    already; waiting, seconds : see `Turns`; hosts : names, besides this machine's, that requests may be sent to.
    """
    predictor = predictor or Predictor(wait=False)
    turns = Turns(waiting, seconds)
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.json.sort_keys = False
    repository = public_address()

    def require_detector():
        if predictor.state == "failed":
            abort(500, FAILED)
        if predictor.state == "fitting":
            raise NotReady

    @app.before_request
    def refuse_strangers():
        if not is_served(request.host, hosts):
            abort(403, "this server does not answer to that host name; open it by its address")
        elsewhere = request.headers.get("Sec-Fetch-Site", "none") not in ["none", "same-origin"]
        of_host = request.headers.get("Origin", request.host_url.rstrip("/")).partition("://")[2]
        if request.path.startswith("/api") and (elsewhere or of_host != request.host):
            abort(403, "a page elsewhere may not use this server; open its own page")

    @app.get("/")
    def page():
        html = (Path(app.static_folder) / "index.html").read_text(encoding="utf-8")
        html = html.replace("{{ repository }}", escape(repository))
        html = html.replace("{{ detector }}", predictor.key)  # what a taught sign holds good for
        return html.replace("{{ address }}", escape(request.host_url))  # previews of links need it whole

    @app.get("/healthz")
    def health():
        return jsonify(status="ok")

    @app.get("/api/model")
    def model():
        require_detector()
        return jsonify(predictor.about())

    @app.get("/api/map")
    def points():
        return jsonify(place=predictor.map["place"].round(3).tolist(), label=predictor.map["label"].tolist())

    @app.post("/api/predict")
    def predict():
        require_detector()
        content, sent_signs = sent_content()  # a slow sender keeps nobody else waiting
        wanted = {"with_features": True} if "features" in request.args else {}
        if sent_signs is not None:
            wanted["signs"] = read_signs(sent_signs, predictor.sign_namer.width)
        with turns.take():
            started = time.perf_counter()
            if isinstance(content, bytes):
                image = images.prepare(pictures.read_image(content))
            else:
                image = images.read_array(content)
            if image is None:
                answer = {"empty": True, "message": "nothing drawn yet"}
            else:
                answer = predictor.predict(image, explain="explain" in request.args, **wanted)
            milliseconds = 1000 * (time.perf_counter() - started)
        return jsonify(answer), {"Server-Timing": f"predict;dur={milliseconds:.2f}"}

    @app.errorhandler(NotReady)
    def not_ready(error):
        return jsonify(error=FITTING, fitting=True), 503, {"Retry-After": "2"}

    @app.errorhandler(images.BadImage)
    @app.errorhandler(pictures.PictureError)
    def bad_image(error):
        return jsonify(error=str(error)), 415 if isinstance(error, pictures.UnknownFormat) else 400

    @app.errorhandler(RequestEntityTooLarge)
    def too_large(error):
        return jsonify(error=TOO_LARGE), 413

    @app.errorhandler(HTTPException)
    def in_json(error):
        response = error.get_response()
        response.data = json.dumps({"error": error.description})
        response.content_type = "application/json"
        return response

    @app.after_request
    def protect(response):
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        response.headers["Cache-Control"] = "no-store" if request.path.startswith("/api") else "no-cache"
        return response

    return app


def sent_content():
    """What the request holds, and its signs or None.

    A picture file's bytes as the body or, in base64 or as a data URL, as the JSON's "picture"; or the list that is its
    "pixels".
    """
    if not request.is_json:
        return request.get_data(), None
    try:
        sent = request.get_json()
    except (BadRequest, RecursionError):
        abort(400, "the JSON is damaged or nested too deeply")
    if isinstance(sent, dict) and isinstance(sent.get("pixels"), list):
        return sent["pixels"], sent.get("signs")
    if isinstance(sent, dict) and isinstance(sent.get("picture"), str):
        try:
            text = "".join(DATA_URL.sub("", sent["picture"], count=1).split())  # some encoders break the lines
            return base64.b64decode(text, validate=True), sent.get("signs")
        except (binascii.Error, ValueError):
            abort(400, "picture is not base64")
    abort(400, 'send a picture file as the body, or the JSON {"pixels": [[...], ...]}')
