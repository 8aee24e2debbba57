"""Compresses photographs to `.tfci` files and back: `python -m balle2017.tfci --help`."""

import os

from balle2017 import __version__, codec
from balle2017.commands import completion, ending, hints, subcommands, web
from balle2017.commands.arguments import make_parser
from balle2017.files import streams
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
        status = _COMMANDS[args.command](args)
        # Now, so that a pipe without a reader is noticed here; nothing where there is no output at all.
        print(end="", flush=True)
        return status
    except (subcommands.UsageError, codec.ModelError) as error:
        return ending.complain(hints.of_error(error), ending.USAGE)
    except BrokenPipeError:
        # Whoever reads the output has seen enough.
        streams.drop_standard_output()
        return ending.FAILED
    except OSError as error:
        if error.filename is not None:
            raise
        # Files have names: it is what a command prints.
        streams.drop_standard_output()
        return ending.complain(subcommands.explain(error), ending.FAILED, "standard output")


def run():
    """The installed command `balle2017`."""
    ending.run(main)


if __name__ == "__main__":
    run()
