"""A server with the official protos, for tests: what TensorFlow Serving does, in Python.

Requests that arrive together are merged into one batch, as with its batching.
"""

import base64
import concurrent.futures
import http.server
import json
import queue
import threading

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc


class Servable:
    """A SavedModel whose requests are merged.

    Attributes:
      batches: Sizes of the batches that have run.
    """

    def __init__(self, directory, delay=0.05):
        self._model = tf.saved_model.load(str(directory))
        self._delay = delay
        self._queue = queue.Queue()
        self.batches = []
        threading.Thread(target=self._run, daemon=True).start()

    def predict(self, signature, inputs):
        """Dict of arrays to dict of arrays; raises what TensorFlow raises."""
        if signature != "serving_default":
            outputs = self._model.signatures[signature](**{k: tf.constant(v) for k, v in inputs.items()})
            return {name: value.numpy() for name, value in outputs.items()}
        future = concurrent.futures.Future()
        self._queue.put((inputs, future))
        return future.result()

    def _run(self):
        while True:
            tasks = [self._queue.get()]
            try:
                while len(tasks) < 8:
                    tasks.append(self._queue.get(timeout=self._delay))
            except queue.Empty:
                pass
            sizes = [len(next(iter(inputs.values()))) for inputs, _ in tasks]
            merged = {name: tf.constant(np.concatenate([inputs[name] for inputs, _ in tasks])) for name in tasks[0][0]}
            self.batches.append(sum(sizes))
            try:
                outputs = self._model.signatures["serving_default"](**merged)
            except Exception as error:
                for _, future in tasks:
                    future.set_exception(error)
                continue
            ends = np.cumsum(sizes)
            for size, end, (_, future) in zip(sizes, ends, tasks):
                future.set_result({n: v.numpy()[end - size : end] for n, v in outputs.items()})


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, servables):
        self._servables = servables

    def Predict(self, request, context):
        spec = request.model_spec
        # An older version is named as in the path of REST.
        name = spec.name + (f"/versions/{spec.version.value}" if spec.HasField("version") else "")
        if name not in self._servables:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: Latest({name})")
        inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        try:
            outputs = self._servables[name].predict(spec.signature_name or "serving_default", inputs)
        except tf.errors.InvalidArgumentError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, error.message)
        response = predict_pb2.PredictResponse()
        for name, value in outputs.items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return response


def make_rest_handler(servables):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            name = self.path.removeprefix("/v1/models/").removesuffix(":predict")
            if name not in servables:
                return self.answer(404, {"error": f"Servable not found for request: Latest({name})"})
            inputs = {
                key: np.array([base64.b64decode(value["b64"]) for value in values], object)
                for key, values in body["inputs"].items()
            }
            try:
                outputs = servables[name].predict(body.get("signature_name", "serving_default"), inputs)
            except tf.errors.InvalidArgumentError as error:
                return self.answer(400, {"error": error.message})
            # A single output goes without its name.
            (values,) = outputs.values()
            self.answer(200, {"outputs": [{"b64": base64.b64encode(v).decode()} for v in values]})

        def answer(self, status, content):
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    return Handler


class Server:
    """Serves `{name: Servable}` on the loopback until `stop`.

    Attributes:
      grpc_address, rest_address: "HOST:PORT".
    """

    def __init__(self, servables):
        self._grpc = grpc.server(concurrent.futures.ThreadPoolExecutor(8))
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(PredictionService(servables), self._grpc)
        self.grpc_address = f"127.0.0.1:{self._grpc.add_insecure_port('127.0.0.1:0')}"
        self._grpc.start()
        self._rest = http.server.ThreadingHTTPServer(("127.0.0.1", 0), make_rest_handler(servables))
        self.rest_address = f"127.0.0.1:{self._rest.server_address[1]}"
        threading.Thread(target=self._rest.serve_forever, daemon=True).start()

    def stop(self):
        self._grpc.stop(None)
        self._rest.shutdown()
        self._rest.server_close()
