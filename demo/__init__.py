"""The demo: a web page and an HTTP interface that name a drawn digit, or reject the drawing."""
