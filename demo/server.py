"""Serving with waitress."""

import logging
import socket

import waitress

from hypersphere.errors import InputError

THREADS = 16  # requests that are received, or wait for a prediction, at a time
MEMORY = 2**22  # bytes of a request that are held in memory; a longer one is refused before the application sees it


def listen(host, port):
    """A socket on the address; raises InputError if it cannot be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise InputError(f"{host}:{port}: cannot listen there ({error}); choose another --port") from None


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
