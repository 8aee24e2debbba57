"""Client of a TensorFlow Serving that runs the stock export (see `serving/README.md`).

    python -m balle2017.client compress --server HOST:PORT --model NAME INPUT [OUTPUT]
    python -m balle2017.client decompress --server HOST:PORT INPUT [OUTPUT]

Over gRPC, for which the package `tensorflow-serving-api` is needed, or with
`--rest` over REST, for which nothing is. The server listens for the two on two
ports, by default 8500 and 8501.
"""

import argparse
import io
import sys

from balle2017.commands import serving_client
from balle2017.container.bitstream import BitstreamError
from balle2017.files import writing


def main(argv=None):
    """Runs the command; returns the exit status."""
    args = _parser().parse_args(argv)
    predict = serving_client.predict_rest if args.rest else serving_client.predict_grpc
    try:
        with open(args.input, "rb") as file:
            data = file.read()
        if args.command == "compress":
            (result,) = serving_client.compress(predict, args.server, args.model, [data])
            output = args.output or args.input + ".tfci"
        else:
            (result,) = serving_client.decompress(predict, args.server, [data])
            output = args.output or args.input + ".png"
        writing.write(output, io.BytesIO(result))
    except (serving_client.ServerError, BitstreamError) as error:
        return _complain(error)
    except OSError as error:
        return _complain(f"{error.filename}: {error.strerror}.")
    return 0


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m balle2017.client",
        description="Compresses and decompresses pictures on a TensorFlow Serving.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, help in (("compress", "PNG or JPEG to .tfci"), ("decompress", ".tfci to PNG")):
        command = commands.add_parser(name, help=help)
        command.add_argument("--server", metavar="HOST:PORT", required=True)
        command.add_argument("--rest", action="store_true", help="REST in place of gRPC")
        if name == "compress":
            command.add_argument(
                "--model", metavar="NAME", default="bls2017-mse-4", help="(%(default)s)"
            )
        command.add_argument("input", metavar="INPUT")
        command.add_argument("output", metavar="OUTPUT", nargs="?")
    return parser


def _complain(sentence):
    print(f"balle2017: {sentence}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
