"""The demo: a web page and an HTTP interface that name a drawn digit, or say that it is none.

python -m demo                       # http://127.0.0.1:5000
python -m flask --app demo run       # the same, by Flask's own server
"""

import contextlib
import io
import threading
import time

from demo import images
from demo.predictor import Predictor

from flask import Flask, Request, abort, jsonify, request
from werkzeug.exceptions import HTTPException

MAX_BODY = 10**6  # bytes
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


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
            abort(503, "too many requests at once; try again in a second")
        try:
            if not self.turn.acquire(timeout=self.seconds):
                abort(503, f"no turn within {self.seconds} seconds; try again")
            try:
                yield
            finally:
                self.turn.release()
        finally:
            self.places.release()


class InMemory(Request):
    """A request whose uploaded files never touch the disk."""

    max_content_length = MAX_BODY

    def _get_file_stream(self, *args, **kwargs):
        return io.BytesIO()


def create_app(predictor=None, waiting=12, seconds=5):
    """The WSGI application; predictor : a `Predictor`, by default the committed one; waiting, seconds : see `Turns`."""
    predictor = predictor or Predictor()
    turns = Turns(waiting, seconds)
    app = Flask(__name__)
    app.request_class = InMemory
    app.json.sort_keys = False

    @app.get("/")
    def page():
        return app.send_static_file("index.html")

    @app.get("/healthz")
    def health():
        return jsonify(status="ok")

    @app.get("/api/model")
    def model():
        return jsonify(predictor.about())

    @app.get("/api/map")
    def points():
        return jsonify(place=predictor.map["place"].round(3).tolist(), label=predictor.map["label"].tolist())

    @app.post("/api/predict")
    def predict():
        with turns.take():
            started = time.perf_counter()
            try:
                image = sent_image()
            except images.UnknownFormat as error:
                abort(415, str(error))
            except images.BadImage as error:
                abort(400, str(error))
            if image is None:
                answer = {"empty": True, "message": "nothing drawn yet"}
            else:
                answer = predictor.predict(image, explain="explain" in request.args)
            milliseconds = 1000 * (time.perf_counter() - started)
        return jsonify(answer), {"Server-Timing": f"predict;dur={milliseconds:.2f}"}

    @app.errorhandler(HTTPException)
    def in_json(error):
        return jsonify(error=error.description), error.code, {"Retry-After": "1"} if error.code == 503 else {}

    @app.after_request
    def protect(response):
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cache-Control"] = "no-store" if request.path.startswith("/api") else "no-cache"
        return response

    return app


def sent_image():
    """The request's image in MNIST's format, (28, 28), or None if nothing is drawn on it.

    It is the body, a form's file, or in JSON {"image": data URL} or {"pixels": 28x28 array}. Raises BadImage.
    """
    if request.files:
        return images.prepare(images.read_image(next(iter(request.files.values())).read()))
    content = request.get_data()
    if not request.is_json:
        if content.startswith(b"data:"):
            content = images.decode_data_url(content.decode("ascii", "replace").strip())
        return images.prepare(images.read_image(content))
    try:
        sent = request.get_json()
    except RecursionError:
        abort(400, "the JSON is nested too deeply")
    if isinstance(sent, dict) and isinstance(sent.get("image"), str):
        return images.prepare(images.read_image(images.decode_data_url(sent["image"])))
    if isinstance(sent, dict) and isinstance(sent.get("pixels"), list):
        return images.read_array(sent["pixels"])
    abort(400, 'send {"image": "data:image/png;base64,..."} or {"pixels": [[...], ...]}')
