"""How waitress serves the demo: where it listens, and what it refuses before the application sees it."""

import errno
import logging
import socket

import waitress
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError, TransferEncodingNotImplemented

from hypersphere.errors import InputError

MAX_BODY = 10**6  # bytes
MAX_READ = 2**25  # bytes of a body that are read, so that who sends it gets an answer, and not kept beyond MAX_BODY
MAX_HEAD = 2**14  # bytes of a request's headers
MAX_SECONDS = 20  # that a connection may be idle, and a request take to arrive
MAX_CONNECTIONS = 500  # select takes no more on Windows
MAX_READS = 10**4  # parts that a request comes in, of which each costs 10 microseconds
MAX_AT_ONCE = 8  # requests that a connection sends without waiting for answers, which no browser does


class BoundedRequest(HTTPRequestParser):
    """A request that is not kept if it is too long, and refused, with 400, if it is damaged or sent in chunks.

    A chunk of one byte costs as much as one of a kilobyte.
    """

    def parse_header(self, header_plus):
        try:
            super().parse_header(header_plus)
            if self.chunked:
                raise ParsingError("send the body's Content-Length; no body in chunks is read")
        except (ParsingError, TransferEncodingNotImplemented, ValueError) as error:
            self.expect_continue = False  # else it is read all the same
            raise ParsingError(str(error)) from None
        if self.content_length > MAX_BODY:
            self.body_rcv.buf.append = lambda data: None


class BoundedConnection(HTTPChannel):
    """A connection that is closed if a request does not arrive in time, however many bytes come meanwhile.

    So it is if a request comes byte by byte, and if many come at once: their answers, which nobody may read, would fill
    the memory.
    """

    parser_class = BoundedRequest
    n_reads = 0  # of this request

    def handle_read(self):
        waiting, before = self.request is not None, self.last_activity
        super().handle_read()
        if waiting and self.request is not None:
            self.last_activity = before
        self.n_reads = self.n_reads + 1 if waiting else 0
        self.will_close |= self.n_reads > MAX_READS or len(self.requests) > MAX_AT_ONCE


def listen(host, port):
    """A socket on the address; raises InputError if it cannot be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError, UnicodeError) as error:
        is_host = isinstance(error, (socket.gaierror, UnicodeError)) or error.args[0] == errno.EADDRNOTAVAIL
        another = "--host" if is_host else "--port"
        raise InputError(f"{host}:{port}: cannot listen there ({error}); choose another {another}") from None


def serve(app, listener):
    """Serve on a socket until Ctrl-C or SIGTERM; requests that run then have five seconds to finish."""
    logging.getLogger("waitress").setLevel(logging.ERROR)  # that requests wait, or connections, is no news
    limits = {"max_request_body_size": MAX_READ, "inbuf_overflow": MAX_READ, "max_request_header_size": MAX_HEAD}
    limits |= {"connection_limit": MAX_CONNECTIONS, "channel_timeout": MAX_SECONDS, "cleanup_interval": 1}
    server = waitress.create_server(app, sockets=[listener], threads=16, ident=None, **limits)
    server.channel_class = BoundedConnection
    host, port = listener.getsockname()[:2]
    host = "localhost" if host in ["0.0.0.0", "::"] else f"[{host}]" if ":" in host else host
    print(f"Open http://{host}:{port} in a browser; Ctrl-C ends the demo", flush=True)
    server.run()
