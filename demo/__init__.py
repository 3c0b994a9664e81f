"""The demo: a web page and an HTTP interface that name a drawn digit, or reject the drawing."""

from common import cli

cli.start()  # before its modules import Keras
