"""The application: the page and its HTTP interface around a `Predictor`."""

import base64
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor, wait

from flask import Flask, abort, jsonify, make_response, render_template, request
from werkzeug.exceptions import BadRequest, HTTPException, ServiceUnavailable

from demo import images
from demo.predictor import Predictor
from demo.server import MAX_BODY
from demo.signs import read_signs
from hypersphere.errors import InputError
from hypersphere.pictures import PictureError, UnknownFormat, read_image

MAX_LISTS = 500  # of a request's JSON, and objects; a drawing with ten signs has 101
HEADERS = {  # so that a browser loads nothing from elsewhere
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def create_app(predictor=None, seconds=5, hosts=()):
    """The WSGI application.

    predictor : a `Predictor`, by default the committed one, which may fit its detector while the page is served;
    seconds : that a request waits for others at most, as one is answered at a time; hosts : names, besides this
    machine's, that requests may be sent to.
    """
    predictor = predictor or Predictor(wait=False)
    worker = ThreadPoolExecutor(1)  # one thread, as each that decodes pictures keeps memory of its own
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.json.sort_keys = False
    app.before_request(lambda: refuse_strangers(hosts))
    for kind in [HTTPException, InputError, PictureError]:
        app.register_error_handler(kind, error_in_json)
    app.add_url_rule("/healthz", "health", lambda: {"status": "ok"})

    @app.after_request
    def protect(response):
        response.headers.update(HEADERS)
        return response

    @app.get("/")
    def page():
        return render_template("index.html", detector=predictor.key)

    @app.get("/api/model")
    def model():
        require_ready(predictor)
        return predictor.about()

    @app.get("/api/map")
    def points():
        return jsonify(place=predictor.map["place"].round(3).tolist(), label=predictor.map["label"].tolist())

    @app.post("/api/predict")
    def predict():
        require_ready(predictor)
        content, signs = sent_content()  # a slow sender keeps nobody else waiting
        if signs is not None:
            signs = read_signs(signs, predictor.sign_namer.width)
        job = worker.submit(answer_to, predictor, content, request.args, signs)
        wait([job], seconds)
        if job.cancel():  # it has not begun
            raise ServiceUnavailable(f"no answer within {seconds} seconds; try again", retry_after=1)
        answer, milliseconds = job.result()
        return jsonify(answer), {"Server-Timing": f"predict;dur={milliseconds:.2f}"}

    return app


def answer_to(predictor, content, wanted, signs):
    """What a picture file or a list of pixels is taken for, and the milliseconds that took."""
    started = time.perf_counter()
    image = images.read_array(content) if isinstance(content, list) else images.prepare(read_image(content))
    answer = {"empty": True} if image is None else predictor.predict(image, wanted, signs)
    return answer, 1000 * (time.perf_counter() - started)


def refuse_strangers(hosts):
    """403 for requests to a host name that is not this server's, and for pages elsewhere that use the interface.

    A web page elsewhere can make its own name resolve to this machine, but not an address: addresses are fine, and of
    names localhost, this machine's and those in `hosts`.
    """
    name = re.sub(r":\d*$", "", request.host).lower().rstrip(".")
    is_address = re.fullmatch(r"[\d.]+|\[.*\]", name)
    if not is_address and name not in {"localhost", socket.gethostname().lower(), *hosts}:
        abort(403, "this server does not answer to that host name; open it by its address")
    is_elsewhere = request.headers.get("Sec-Fetch-Site", "none") not in ["none", "same-origin"]
    origin = request.headers.get("Origin", request.host_url.rstrip("/")).partition("://")[2]
    if request.path.startswith("/api") and (is_elsewhere or origin != request.host):
        abort(403, "a page elsewhere may not use this server; open its own page")


def error_in_json(error):
    """The response to an error, {"error": a sentence}."""
    if not isinstance(error, HTTPException):
        return jsonify(error=str(error)), 415 if isinstance(error, UnknownFormat) else 400
    sentence = "more than 1 MB; send a smaller picture" if error.code == 413 else error.description
    headers = dict(error.get_headers()) | {"Content-Type": "application/json"}  # Allow and Retry-After, too
    return jsonify(error=sentence), error.code, headers


def require_ready(predictor):
    """503 while the detector is being fitted, 500 if that failed."""
    if predictor.state == "failed":
        abort(500, "the detector could not be fitted; what went wrong stands where the server was started")
    if predictor.state == "fitting":
        error = "the detector is being fitted (only once), which takes about a minute"
        abort(make_response(jsonify(error=error, fitting=True), 503, {"Retry-After": "2"}))


def sent_content():
    """What the request holds: a picture file's bytes, or the list that is the JSON's "pixels"; and signs or None."""
    if not request.is_json:
        return request.get_data(), None
    content = request.get_data()
    if content.count(b"[") + content.count(b"{") > MAX_LISTS:
        abort(400, "the JSON has too many lists")
    try:
        sent = request.get_json()
        if isinstance(sent.get("pixels"), list):
            return sent["pixels"], sent.get("signs")
        text = "".join(sent["picture"].rpartition(";base64,")[2].split())  # some encoders break the lines
        return base64.b64decode(text, validate=True), sent.get("signs")
    except BadRequest:
        abort(400, "the JSON is damaged")
    except (AttributeError, KeyError, TypeError):
        abort(400, 'send a picture file as the body, or the JSON {"pixels": [[...], ...]}')
    except ValueError:
        abort(400, "picture is not base64")
