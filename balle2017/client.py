"""Client of a TensorFlow Serving that runs the stock export (see `serving/README.md`).

    python -m balle2017.client compress --server HOST:PORT --model NAME INPUT [OUTPUT]
    python -m balle2017.client decompress --server HOST:PORT INPUT [OUTPUT]

Over gRPC, for which the package `tensorflow-serving-api` is needed, or with
`--rest` over REST, for which nothing is. The server listens for the two on two
ports, by default 8500 and 8501.
"""

import argparse
import base64
import io
import json
import os
import re
import sys
import urllib.error
import urllib.request

from balle2017 import folders
from balle2017.bitstream import BitstreamError, read_header

# Of a request and of an answer: a picture may be larger than gRPC's usual 4 MB.
_MAX_MESSAGE = 2**31 - 1


class ServerError(Exception):
    """The server refused, or is not there; the message is one sentence."""


def predict_grpc(server, servable, inputs, timeout=60):
    """Calls `serving_default` over gRPC.

    Args:
      server: "HOST:PORT".
      servable: Name of the model on the server.
      inputs: Dict of lists of bytes.
      timeout: Seconds.

    Returns:
      Dict of lists of bytes.

    Raises:
      ServerError: Whatever goes wrong.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        import grpc
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
    except ImportError as error:
        raise ServerError(
            f"gRPC needs the package tensorflow-serving-api (no {error.name}); --rest does without."
        ) from None
    request = predict_pb2.PredictRequest()
    request.model_spec.name = servable
    request.model_spec.signature_name = "serving_default"
    for name, values in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(values, tf.string))
    options = [
        ("grpc.max_send_message_length", _MAX_MESSAGE),
        ("grpc.max_receive_message_length", _MAX_MESSAGE),
    ]
    with grpc.insecure_channel(server, options) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        try:
            response = stub.Predict(request, timeout)
        except grpc.RpcError as error:
            code = error.code().name
            if code == "UNAVAILABLE":
                raise ServerError(f"There is no server at {server}.") from None
            raise ServerError(_refusal(code, error.details())) from None
    return {name: list(tensor.string_val) for name, tensor in response.outputs.items()}


def predict_rest(server, servable, inputs, timeout=60):
    """Calls `serving_default` over REST; see `predict_grpc`."""
    columns = {
        name: [{"b64": base64.b64encode(v).decode()} for v in values]
        for name, values in inputs.items()
    }
    body = {"signature_name": "serving_default", "inputs": columns}
    request = urllib.request.Request(
        f"http://{server}/v1/models/{servable}:predict",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            outputs = json.load(response)["outputs"]
    except urllib.error.HTTPError as error:
        raise ServerError(_refusal(error.code, _rest_error(error.read()))) from None
    except (OSError, ValueError, KeyError) as error:
        reason = getattr(error, "reason", error)
        raise ServerError(f"There is no TensorFlow Serving at {server} ({reason}).") from None
    if isinstance(outputs, list):
        # The server leaves the name out if there is one output only, and so does not tell it.
        outputs = {"": outputs}
    return {name: [base64.b64decode(v["b64"]) for v in values] for name, values in outputs.items()}


def compress(predict, server, model, images):
    """PNG or JPEG files to `.tfci` files, with a function such as `predict_grpc`."""
    return _only(predict(server, f"{model}-encoder", {"image_bytes": images}))


def decompress(predict, server, files):
    """`.tfci` files of one model to PNG files, with a function such as `predict_grpc`."""
    model = read_header(files[0]).model
    return _only(predict(server, f"{model}-decoder", {"bitstream_bytes": files}))


def main(argv=None):
    """Runs the command; returns the exit status."""
    args = _parser().parse_args(argv)
    predict = predict_rest if args.rest else predict_grpc
    try:
        with open(args.input, "rb") as file:
            data = file.read()
        if args.command == "compress":
            (result,) = compress(predict, args.server, args.model, [data])
            output = args.output or args.input + ".tfci"
        else:
            (result,) = decompress(predict, args.server, [data])
            output = args.output or args.input + ".png"
        folders.write(output, io.BytesIO(result))
    except (ServerError, BitstreamError) as error:
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


def _only(outputs):
    (values,) = outputs.values()
    return values


def _rest_error(body):
    try:
        return json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")


def _refusal(code, details):
    details = details or "it does not say why"
    # What a graph asserts stands in brackets, what an op says in front of the name of its node.
    found = re.search(r"assertion failed: \[([^\]]*)\]", details)
    found = found or re.search(r"([^\n]+)\n\s*\[\[\{\{node", details)
    sentence = found[1] if found else details.strip().splitlines()[0]
    return f"The server refuses ({code}): {sentence.strip()}"


def _complain(sentence):
    print(f"balle2017: {sentence}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
