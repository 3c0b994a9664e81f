"""Serve the demo.

python -m demo                                # then open http://127.0.0.1:8000
python -m demo --host 0.0.0.0 --port 8080     # for other machines of a network that you trust
"""

from common import cli
from demo.server import listen, serve

parser = cli.Parser(__doc__)
parser.add_argument("--host", default="127.0.0.1", help="address to listen on, %(default)s: this machine alone")
parser.add_argument("--port", type=int, default=8000, help="%(default)s")
args = parser.parse_args()
cli.install_error_hook()
listener = listen(args.host, args.port)  # before TensorFlow is loaded: a wrong address is told at once
cli.start()

from demo.app import create_app

serve(create_app(hosts=[args.host.lower()]), listener)
