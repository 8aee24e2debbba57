"""Pictures to files and back on a TensorFlow Serving that runs the stock export, over gRPC or REST."""

import base64
import http.client
import itertools
import json
import re
import socket
import urllib.error
import urllib.request

from balle2017.codec.quiet import import_tensorflow
from balle2017.container.bitstream import read_header

# Of a request and of an answer: a picture may be larger than gRPC's usual 4 MB.
_MAX_MESSAGE = 2**31 - 1
# How a decoder refuses the files of another one.
_OTHER_MODEL = "not made by this model"


class ServerError(Exception):
    """The server refused, or is not there; the message is one sentence."""


def predict_grpc(server, servable, inputs, timeout=60, version=None):
    """Calls `serving_default` over gRPC.

    Args:
      server: "HOST:PORT".
      servable: Name of the model on the server.
      inputs: Dict of lists of bytes.
      timeout: Seconds.
      version: Of the model, if it is not the newest.

    Returns:
      Dict of lists of bytes.

    Raises:
      ServerError: Whatever goes wrong.
    """
    try:
        import grpc

        tf = import_tensorflow()
        from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
    except ImportError as error:
        raise ServerError(
            f"gRPC needs {error.name}: pip install 'balle2017[serving]', or --rest, which does without."
        ) from None
    request = predict_pb2.PredictRequest()
    request.model_spec.name = servable
    request.model_spec.signature_name = "serving_default"
    if version is not None:
        request.model_spec.version.value = version
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
            if code == "DEADLINE_EXCEEDED":
                raise _no_answer(server, timeout) from None
            raise ServerError(_refusal(code, error.details())) from None
    return {name: list(tensor.string_val) for name, tensor in response.outputs.items()}


def predict_rest(server, servable, inputs, timeout=60, version=None):
    """Calls `serving_default` over REST; see `predict_grpc`."""
    columns = {name: [{"b64": base64.b64encode(v).decode()} for v in values] for name, values in inputs.items()}
    body = {"signature_name": "serving_default", "inputs": columns}
    request = urllib.request.Request(
        f"http://{server}/v1/models/{servable}{'' if version is None else f'/versions/{version}'}:predict",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            outputs = json.load(response)["outputs"]
    except urllib.error.HTTPError as error:
        raise ServerError(_refusal(error.code, _rest_error(error.read()))) from None
    except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException) as error:
        is_foreign = isinstance(error, http.client.BadStatusLine) and not isinstance(error, OSError)
        reason = "what answers there speaks no HTTP" if is_foreign else getattr(error, "reason", error)
        # They are the same from Python 3.10 on.
        if isinstance(reason, (TimeoutError, socket.timeout)):
            raise _no_answer(server, timeout) from None
        raise ServerError(f"There is no TensorFlow Serving at {server} ({reason}).") from None
    if isinstance(outputs, list):
        # The server leaves the name out if there is one output only, and so does not tell it.
        outputs = {"": outputs}
    try:
        return {name: [base64.b64decode(v["b64"]) for v in values] for name, values in outputs.items()}
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ServerError(f"The model {servable} at {server} answers with something else than files.") from None


def compress(predict, server, model, images):
    """PNG or JPEG files to `.tfci` files, with a function such as `predict_grpc`."""
    return _only(predict(server, f"{model}-encoder", {"image_bytes": images}))


def decompress(predict, server, files):
    """`.tfci` files of one model to PNG files, with a function such as `predict_grpc`."""
    servable, inputs = f"{read_header(files[0]).model}-decoder", {"bitstream_bytes": files}
    try:
        return _only(predict(server, servable, inputs))
    except ServerError as error:
        if _OTHER_MODEL not in str(error):
            raise
        newest = error
    # An older version's files, perhaps: they are numbered from 1, and the server knows no more than there are.
    for version in itertools.count(1):
        try:
            return _only(predict(server, servable, inputs, version=version))
        except ServerError as error:
            if _OTHER_MODEL not in str(error):
                raise newest from None


def _no_answer(server, timeout):
    return ServerError(f"The server at {server} has not answered in {timeout} seconds.")


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
