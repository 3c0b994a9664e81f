"""Serve the demo.

python -m demo                                # then open http://127.0.0.1:8000
python -m demo --host 0.0.0.0 --port 8080     # for other machines of a network that you trust
"""

import argparse

from common import cli
from demo.app import create_app
from demo.server import listen, serve


def port_number(text):
    """The type of --port."""
    if not text.isdecimal() or not 1 <= int(text) < 2**16:
        raise argparse.ArgumentTypeError(f"{text} is not a port, a number from 1 to {2**16 - 1}")
    return int(text)


parser = cli.Parser(__doc__)
parser.add_argument("--host", default="127.0.0.1", help="address to listen on, %(default)s: this machine alone")
parser.add_argument("--port", type=port_number, default=8000, help="%(default)s")
args = parser.parse_args()
cli.install_error_hook()
listener = listen(args.host, args.port)  # before the detector is fitted
serve(create_app(hosts=[args.host.lower()]), listener)
