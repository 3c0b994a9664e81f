"""Serving with waitress."""

from hypersphere.errors import InputError

import waitress

THREADS = 16  # more than may wait for their turn, so that the others hear at once that they may not
MEMORY = 2**24  # bytes of a request that are held in memory; a longer one is refused before the application sees it


def serve(app, host, port):
    """Serve until Ctrl-C or SIGTERM; requests that run then are finished first.

    Raises InputError if the address cannot be listened on.
    """
    limits = {"max_request_body_size": MEMORY, "inbuf_overflow": MEMORY, "threads": THREADS}
    try:
        server = waitress.create_server(app, host=host, port=port, ident=None, **limits)
    except OSError as error:
        raise InputError(f"{host}:{port}: cannot listen there ({error.strerror}); choose another --port") from None
    print(f"Open http://{host}:{port} in a browser; Ctrl-C ends the demo", flush=True)
    server.run()
