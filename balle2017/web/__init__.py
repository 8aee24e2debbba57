"""The codec as a web page: `balle2017 web` serves it; what is in `static/` is built from the folder `web/`."""
