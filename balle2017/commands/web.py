"""`balle2017 web`: from its parsed arguments to an exit status."""

from balle2017 import codec
from balle2017.commands.ending import DONE, FAILED, USAGE, complain


def serve(args):
    """Serves the page until it is interrupted, or writes it as files."""
    # Late, as the other commands would wait for Python's servers, too.
    import webbrowser

    from balle2017.web.server import address, make_server
    from balle2017.web.site import Site

    try:
        site = Site(args.models_dir)
    except codec.ModelError as error:
        return complain(error, USAGE)
    if args.out:
        try:
            site.write(args.out)
        except OSError as error:
            return complain(f"{error.strerror}.", USAGE, error.filename)
        print(f"{args.out} holds the page and {len(site.index['models'])} models, for any host of static files.")
        return DONE
    try:
        server = make_server(site, args.port)
    except OSError as error:
        return complain(f"Port {args.port} cannot be used ({error.strerror}); --port names another.", FAILED)
    with server:
        print(f"The page is at {address(server)} until you press Ctrl-C.", flush=True)
        if not args.no_browser:
            webbrowser.open(address(server))
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            # That is how it is meant to end.
            print()
    return DONE
