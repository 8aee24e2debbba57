"""`balle2017 web`: from its parsed arguments to an exit status."""

import sys
import webbrowser

from balle2017 import codec
from balle2017.web.server import address, make_server
from balle2017.web.site import Site

_DONE, _FAILED, _USAGE = 0, 1, 2


def serve(args):
    """Serves the page until it is interrupted, or writes it as files."""
    try:
        site = Site(args.models_dir)
    except codec.ModelError as error:
        return _complain(error, _USAGE)
    if args.out:
        try:
            site.write(args.out)
        except OSError as error:
            return _complain(f"{error.strerror}.", _USAGE)
        print(f"{args.out} holds the page and {len(site.index['models'])} models, for any host of static files.")
        return _DONE
    try:
        server = make_server(site, args.port)
    except OSError as error:
        return _complain(f"Port {args.port} cannot be used ({error.strerror}); --port names another.", _FAILED)
    with server:
        print(f"The page is at {address(server)} until you press Ctrl-C.", flush=True)
        if not args.no_browser:
            webbrowser.open(address(server))
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            # That is how it is meant to end.
            print()
    return _DONE


def _complain(sentence, status):
    print(f"balle2017: {sentence}", file=sys.stderr)
    return status
