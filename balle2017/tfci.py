"""Compresses photographs to `.tfci` files and back: `python -m balle2017.tfci --help`."""

import os
import signal
import sys

from balle2017 import __version__, codec
from balle2017.commands import completion, hints, subcommands, web
from balle2017.commands.arguments import make_parser
from balle2017.files import streams, writing
from balle2017.pictures import images

_COMMANDS = {
    "compress": subcommands.compress,
    "decompress": subcommands.decompress,
    "info": subcommands.describe,
    "models": subcommands.models,
    "web": web.serve,
}


def main(argv=None):
    """Runs the command line; returns the exit status."""
    parser = make_parser(__version__)
    if "_ARGCOMPLETE" in os.environ:
        # A shell asks for what could stand here, which ends the program.
        completion.answer(parser)
    args = parser.parse_args(argv)
    images.set_limit(args.max_pixels)
    try:
        # Ended by another program is like ended by the user.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        status = _COMMANDS[args.command](args)
        # Now, so that a pipe without a reader is noticed here; nothing where there is no output at all.
        print(end="", flush=True)
        return status
    except (subcommands.UsageError, codec.ModelError) as error:
        return subcommands.complain(hints.of_error(error), subcommands.USAGE)
    except BrokenPipeError:
        # Whoever reads the output has seen enough.
        streams.drop_standard_output()
        return subcommands.FAILED
    except OSError as error:
        if error.filename is not None:
            raise
        # Files have names: it is what a command prints.
        streams.drop_standard_output()
        return subcommands.complain(subcommands.explain(error), subcommands.FAILED, "standard output")
    except KeyboardInterrupt:
        print("balle2017: interrupted", file=sys.stderr)
        sys.stderr.flush()
        # Threads may still be at work: without waiting for them, but for a file being written.
        with writing.lock:
            os._exit(subcommands.INTERRUPTED)


def run():
    """The installed command `balle2017`."""
    sys.exit(main())


if __name__ == "__main__":
    run()
