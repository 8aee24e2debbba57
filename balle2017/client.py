"""Client of a TensorFlow Serving that runs the stock export (see `serving/README.md`).

    python -m balle2017.client compress --server HOST:PORT --model NAME INPUT [OUTPUT]
    python -m balle2017.client decompress --server HOST:PORT INPUT [OUTPUT]

Over gRPC, for which the package `tensorflow-serving-api` is needed (the extra `balle2017[serving]`), or
with `--rest` over REST, for which nothing is. The server listens for the two on two ports, by default
8500 and 8501. - is standard input or output.
"""

import io

from balle2017.commands import ending, names, serving_client, single
from balle2017.commands.ending import complain
from balle2017.commands.parser import Parser
from balle2017.container.bitstream import BitstreamError
from balle2017.files import streams, writing
from balle2017.pictures import formats, images
from balle2017.pictures.images import ImageError
from balle2017.pictures.plain import plain


def main(argv=None):
    """Runs the command; returns the exit status."""
    args = _parser().parse_args(argv)
    images.set_limit(images.MAX_PIXELS)
    compress = args.command == "compress"
    given = [args.input] + ([args.output] if args.output else [])
    try:
        source, target = single.paths(given, names.compressed if compress else names.decompressed, compress, False)
        if not compress and formats.is_named_as_picture(target) and not target.lower().endswith(".png"):
            raise single.UsageError(f"A server sends PNG files, and {target} is named as another one.")
        if not single.may_write(target, args.overwrite, compress, False):
            return complain(f"{source}: {single.skipped(target)}", 0)
        _convert(args, source, target)
    except single.UsageError as error:
        return complain(error, 2)
    except ImageError as error:
        return complain(f"{source}: {error}", 1)
    except (serving_client.ServerError, BitstreamError) as error:
        return complain(error, 1)
    except BrokenPipeError:
        return 1
    except OSError as error:
        return complain(f"{error.filename or source}: {error.strerror or error}.", 1)
    return 0


def _convert(args, source, target):
    data, notices = streams.read_standard_input() if source == "-" else streams.read(source), []
    predict = serving_client.predict_rest if args.rest else serving_client.predict_grpc
    if args.command == "compress":
        # A server's graph sees neither orientation, colours and transparency, nor other formats.
        data, notices = plain(data)
        (result,) = serving_client.compress(predict, args.server, args.model, [data])
    else:
        (result,) = serving_client.decompress(predict, args.server, [data])
    if target == "-":
        writing.write_standard_output(io.BytesIO(result))
    else:
        writing.write(target, io.BytesIO(result))
    for notice in notices:
        complain(f"{source}: {notice}", 0)


def _parser():
    parser = Parser(
        prog="python -m balle2017.client",
        description="Compresses and decompresses pictures on a TensorFlow Serving.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, what in (("compress", "pictures to .tfci"), ("decompress", ".tfci to PNG")):
        command = commands.add_parser(name, help=what)
        command.add_argument("--server", metavar="HOST:PORT", required=True, help="where it listens")
        command.add_argument("--rest", action="store_true", help="REST in place of gRPC")
        command.add_argument("--overwrite", action="store_true", help="replace an output that exists")
        if name == "compress":
            command.add_argument("--model", metavar="NAME", default="bls2017-mse-4", help="(%(default)s)")
        command.add_argument("input", metavar="INPUT")
        command.add_argument("output", metavar="OUTPUT", nargs="?")
    return parser


if __name__ == "__main__":
    ending.run(main)
