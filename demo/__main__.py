"""Serve the demo.

python -m demo                                # then open http://127.0.0.1:5000
python -m demo --host 0.0.0.0 --port 8000     # for other machines too
"""

import argparse

from demo import create_app
from demo.server import serve
from hypersphere import errors
from hypersphere.runs import positive_int

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--host", default="127.0.0.1", help="address to listen on, %(default)s: this machine alone")
parser.add_argument("--port", type=positive_int, default=5000, help="%(default)s")
args = parser.parse_args()
errors.show_in_one_line()
serve(create_app(), args.host, args.port)
