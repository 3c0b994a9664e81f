"""Serving with waitress."""

import json
import logging
import socket

import waitress
from waitress.utilities import RequestEntityTooLarge

from demo.app import TOO_LARGE
from hypersphere.errors import InputError

THREADS = 16  # more than may wait for their turn, so that the others hear at once that they may not
MEMORY = 2**22  # bytes of a request that are held in memory; a longer one is refused before the application sees it


def listen(host, port):
    """A socket on the address; raises InputError if it cannot be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise InputError(f"{host}:{port}: cannot listen there ({error.strerror}); choose another --port") from None


def _in_json(error, ident=None):
    return (
        f"{error.code} {error.reason}",
        [("Content-Type", "application/json")],
        json.dumps({"error": TOO_LARGE}).encode(),
    )


# What waitress itself refuses, before the application sees it, is answered as the application does.
RequestEntityTooLarge.to_response = _in_json


def serve(app, listener):
    """Serve on a socket until Ctrl-C or SIGTERM; requests that run then have five seconds to finish."""
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # that requests wait is no news
    server = waitress.create_server(
        app,
        sockets=[listener],
        threads=THREADS,
        max_request_body_size=MEMORY,
        inbuf_overflow=MEMORY,
        connection_limit=200,
        channel_timeout=20,
        ident=None,
    )
    host, port = listener.getsockname()[:2]
    host = "localhost" if host in ["0.0.0.0", "::"] else f"[{host}]" if ":" in host else host
    print(f"Open http://{host}:{port} in a browser; Ctrl-C ends the demo", flush=True)
    server.run()
