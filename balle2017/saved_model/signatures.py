"""The graphs of a rate point: the signatures of its encoder and of its decoder."""

import tensorflow as tf

from balle2017.container import container_graph
from balle2017.entropy.graph import require
from balle2017.model.network import STRIDE
from balle2017.model.operations import pad_to_multiple
from balle2017.model.transforms import analyze, synthesize
from balle2017.saved_model.arrays import transform_constants

# Larger latents do not occur; with this bound they are safe integers everywhere.
_MAX_LATENT = 2**20
# Smaller than zlib's default here, in less than half of its time.
_PNG_COMPRESSION = 3
_BYTES = tf.TensorSpec([None], tf.uint8)
_INTEGERS, _INTEGER = tf.TensorSpec([None], tf.int32), tf.TensorSpec([], tf.int32)


class _Half:
    """What both halves of a pair hold of a rate point.

    What several signatures do is a function of the graph, so that each of them
    stands there once: TensorFlow inlines it where it is called.
    """

    def __init__(self, rate_point, coder):
        self._alpha, self._epsilon = rate_point.gdn_alpha, rate_point.gdn_epsilon
        self._channels = rate_point.channels
        self._num_latents = rate_point.num_latents
        self._container = _container(rate_point)
        self._coder = coder
        self._latents_spec = tf.TensorSpec([None, self._num_latents], tf.int32)
        self._image_spec = tf.TensorSpec([None, None, None, self._channels], tf.uint8, "pixels")


class Encoder(_Half):
    """The encoder of a rate point; `signatures` are those of its SavedModel.

    Args:
      rate_point: A `RatePoint`.
      coder: A `coder.Coder` of its tables.
    """

    NAME, INPUT, OUTPUT = "encoder", "image_bytes", "bitstream_bytes"

    def __init__(self, rate_point, coder):
        super().__init__(rate_point, coder)
        self._slice_length = rate_point.slice_length
        self._weights = transform_constants("analysis", rate_point.analysis)
        self._latents = _function(self._analyze, [self._image_spec])
        self._encode = _function(coder.encode, [self._latents_spec, _INTEGERS])
        self._pack = _function(self._container.pack, [_BYTES, _INTEGERS] + 3 * [_INTEGER])

    def signatures(self):
        """Returns a dict of functions with input signatures."""
        strings = tf.TensorSpec([None], tf.string, "image_bytes")
        latents = tf.TensorSpec([None, self._num_latents], tf.int32, "latents")
        return {
            "serving_default": _function(self.compress_images, [strings]),
            "pixels": _function(self.compress_pixels, [self._image_spec]),
            "latents": _function(self.latents, [self._image_spec]),
            "latents_bfloat16": _function(self.latents_bfloat16, [self._image_spec]),
            "encode_slices": _function(self.encode_slices, [latents]),
        }

    def compress_images(self, image_bytes):
        """PNG or JPEG files `[batch]` to `.tfci` files `[batch]`."""
        return self._compress(
            lambda index: _decode_image(image_bytes[index], self._channels)[tf.newaxis],
            tf.size(image_bytes),
        )

    def compress_pixels(self, pixels):
        """uint8 `[batch, height, width, channels]` to `.tfci` files `[batch]`."""
        height, width = tf.shape(pixels)[1], tf.shape(pixels)[2]
        positive = (height > 0) & (width > 0)
        pixels = require(positive, "The image has no pixels.", pixels)
        pixels = container_graph.check_pixels(height, width, pixels)
        return self._compress(lambda index: pixels[index, tf.newaxis], tf.shape(pixels)[0])

    def latents(self, pixels):
        """uint8 `[batch, height, width, channels]` to int32 `[batch, ⌈h/16⌉, ⌈w/16⌉, N]`."""
        return {"latents": self._latents(pixels)}

    def latents_bfloat16(self, pixels):
        """Like `latents`, with the factors of all products and their sums rounded to bfloat16."""
        return {"latents": self._analyze(pixels, tf.bfloat16)}

    def encode_slices(self, latents):
        """int32 `[positions, N]` to the strings of their slices `[⌈positions/slice_length⌉]`."""
        positions = tf.shape(latents)[0]
        latents = require(positions > 0, "There are no latents to encode.", latents)
        small = tf.reduce_all((latents >= -_MAX_LATENT) & (latents <= _MAX_LATENT))
        latents = require(small, f"Latents go from {-_MAX_LATENT} to {_MAX_LATENT}.", latents)
        counts = container_graph.slice_counts(positions[tf.newaxis], [self._slice_length])
        return {"slices": self._coder.to_strings(*self._encode(latents, counts))}

    def _analyze(self, pixels, dtype=tf.float32):
        padded = tf.cast(pad_to_multiple(pixels, STRIDE), tf.float32)
        latents = tf.round(analyze(padded, self._weights(), self._alpha, self._epsilon, dtype))
        return tf.cast(tf.clip_by_value(latents, -_MAX_LATENT, _MAX_LATENT), tf.int32)

    def _compress(self, get_pixels, batch):
        batch = require(batch > 0, "The batch is empty.", batch)

        def analyze_one(index):
            pixels = get_pixels(index)
            latents = tf.reshape(self._latents(pixels), [-1, self._num_latents])
            return latents, tf.shape(pixels)[1], tf.shape(pixels)[2]

        latents, height, width = _map_ragged(
            analyze_one, batch, (tf.TensorSpec([None, self._num_latents], tf.int32),), 2
        )
        positions, numbers = container_graph.count_slices(height, width, self._slice_length)
        counts = container_graph.slice_counts(positions, tf.fill([batch], self._slice_length))
        # All slices of all images go through the coder at once.
        payload, lengths = self._coder.to_bytes(*self._encode(latents, counts))
        last = tf.cumsum(numbers)
        ends = tf.concat([[0], tf.cumsum(lengths)], 0)

        def pack_one(index):
            first_slice, last_slice = last[index] - numbers[index], last[index]
            return self._pack(
                payload[ends[first_slice] : ends[last_slice]],
                lengths[first_slice:last_slice],
                height[index],
                width[index],
                self._slice_length,
            )

        files = tf.map_fn(pack_one, tf.range(batch), fn_output_signature=tf.string, parallel_iterations=1)
        return {"bitstream_bytes": files}


class Decoder(_Half):
    """The decoder of a rate point; `signatures` are those of its SavedModel.

    Args:
      rate_point: A `RatePoint`.
      coder: A `coder.Coder` of its tables.
    """

    NAME, INPUT, OUTPUT = "decoder", "bitstream_bytes", "image_bytes"

    def __init__(self, rate_point, coder):
        super().__init__(rate_point, coder)
        self._slice_length = rate_point.slice_length
        self._weights = transform_constants("synthesis", rate_point.synthesis)
        latents = tf.TensorSpec([None, None, None, self._num_latents], tf.int32, "latents")
        self._pixels = _function(self._synthesize, [latents])
        self._decode = _function(coder.decode, [coder.SLICES, _INTEGERS])
        self._unpack = _function(self._container.unpack, [tf.TensorSpec([], tf.string)])
        self._decode_files = _function(self._read, [tf.TensorSpec([None], tf.string)])

    def signatures(self):
        """Returns a dict of functions with input signatures."""
        strings = tf.TensorSpec([None], tf.string, "bitstream_bytes")
        latents = tf.TensorSpec([None, None, None, self._num_latents], tf.int32, "latents")
        slices = [
            tf.TensorSpec([None], tf.string, "slices"),
            tf.TensorSpec([], tf.int32, "slice_length"),
            tf.TensorSpec([], tf.int32, "num_positions"),
        ]
        return {
            "serving_default": _function(self.decompress_images, [strings]),
            "pixels": _function(self.decompress_pixels, [strings]),
            "latents": _function(self.decompress_latents, [strings]),
            "decode_slices": _function(self.decode_slices, slices),
            "synthesize": _function(self.synthesize, [latents]),
            "synthesize_bfloat16": _function(self.synthesize_bfloat16, [latents]),
        }

    def decompress_images(self, bitstream_bytes):
        """`.tfci` files `[batch]` to PNG files `[batch]`."""
        get_latents, height, width, batch = self._get_latents(bitstream_bytes)

        def write_one(index):
            pixels = self._pixels(get_latents(index))[0, : height[index], : width[index]]
            return tf.io.encode_png(pixels, _PNG_COMPRESSION)

        images = tf.map_fn(write_one, tf.range(batch), fn_output_signature=tf.string, parallel_iterations=1)
        return {"image_bytes": images}

    def decompress_pixels(self, bitstream_bytes):
        """`.tfci` files `[batch]` of one size to uint8 `[batch, height, width, channels]`."""
        get_latents, height, width, batch = self._get_latents(bitstream_bytes)
        get_latents = self._require_one_size(get_latents, height, width)
        pixels = tf.map_fn(
            lambda index: self._pixels(get_latents(index))[0, : height[0], : width[0]],
            tf.range(batch),
            fn_output_signature=tf.TensorSpec([None, None, self._channels], tf.uint8),
            parallel_iterations=1,
        )
        return {"pixels": pixels}

    def decompress_latents(self, bitstream_bytes):
        """`.tfci` files `[batch]` of one size to int32 `[batch, ⌈h/16⌉, ⌈w/16⌉, N]`."""
        get_latents, height, width, batch = self._get_latents(bitstream_bytes)
        get_latents = self._require_one_size(get_latents, height, width)
        latents = tf.map_fn(
            lambda index: get_latents(index)[0],
            tf.range(batch),
            fn_output_signature=tf.TensorSpec([None, None, self._num_latents], tf.int32),
            parallel_iterations=1,
        )
        return {"latents": latents}

    def decode_slices(self, slices, slice_length, num_positions):
        """Strings `[n]` to latents int32 `[num_positions, N]`, and which are valid, bool `[n]`."""
        sizes = (slice_length, num_positions)
        positive = (slice_length > 0) & (num_positions > 0)
        sizes = require(positive, "The slices hold nothing.", sizes)
        slice_length, num_positions = sizes
        counts = container_graph.slice_counts(num_positions[tf.newaxis], slice_length[tf.newaxis])
        same = tf.equal(tf.size(counts), tf.size(slices))
        counts, slices = require(same, "The number of slices does not fit their length.", (counts, slices))
        latents, valid = self._decode(self._coder.of_strings(slices), counts)
        return {"latents": latents, "valid": valid}

    def synthesize(self, latents):
        """int32 `[batch, h, w, N]` to uint8 `[batch, 16 h, 16 w, channels]`."""
        return {"pixels": self._pixels(latents)}

    def synthesize_bfloat16(self, latents):
        """Like `synthesize`, with the factors of all products and their sums rounded to bfloat16."""
        return {"pixels": self._synthesize(latents, tf.bfloat16)}

    def _synthesize(self, latents, dtype=tf.float32):
        latents = tf.cast(latents, tf.float32)
        pixels = synthesize(latents, self._weights(), self._alpha, self._epsilon, dtype)
        return tf.saturate_cast(tf.round(pixels), tf.uint8)

    def _read(self, files):
        """Returns the latents of all files `[positions, N]`; positions, heights, widths of each."""
        batch = require(tf.size(files) > 0, "The batch is empty.", tf.size(files))
        payload, lengths, height, width, slice_lengths = _map_ragged(
            lambda index: self._unpack(files[index]),
            batch,
            (tf.TensorSpec([None], tf.uint8), tf.TensorSpec([None], tf.int32)),
            3,
        )
        # A longer slice would cost memory that the file's size has no part in.
        own = tf.reduce_all(tf.equal(slice_lengths, self._slice_length))
        message = f"The slices of the file are not of {self._slice_length} positions, as this model's are."
        slice_lengths = require(own, message, slice_lengths)
        positions, _ = container_graph.count_slices(height, width, slice_lengths)
        counts = container_graph.slice_counts(positions, slice_lengths)
        latents, valid = self._decode(self._coder.of_bytes(payload, lengths), counts)
        latents = require(tf.reduce_all(valid), "A slice of the file is damaged.", latents)
        return latents, positions, height, width

    def _get_latents(self, files):
        """Returns a function of the index that gives `[1, h, w, N]`; heights, widths, batch size."""
        latents, positions, height, width = self._decode_files(files)
        ends = tf.cumsum(positions)

        def get_latents(index):
            shape = tf.stack([1, -(-height[index] // STRIDE), -1, self._num_latents])
            return tf.reshape(latents[ends[index] - positions[index] : ends[index]], shape)

        return get_latents, height, width, tf.size(height)

    def _require_one_size(self, get_latents, height, width):
        same = tf.reduce_all(tf.equal(height, height[0]) & tf.equal(width, width[0]))
        message = "The images of a batch must have one size in this signature."
        check = tf.debugging.Assert(same, [message])

        def get_checked(index):
            with tf.control_dependencies([check]):
                return get_latents(tf.identity(index))

        return get_checked


def _function(function, signature):
    return tf.function(function, signature, autograph=False)


def _container(rate_point):
    return container_graph.Container(rate_point.name, rate_point.fingerprint(), rate_point.channels)


def _decode_image(data, channels):
    """A PNG or JPEG file, string `[]`, to uint8 `[height, width, channels]`."""
    is_png = tf.equal(tf.strings.substr(data, 0, 8), b"\x89PNG\r\n\x1a\n")
    is_jpeg = tf.equal(tf.strings.substr(data, 0, 3), b"\xff\xd8\xff")
    message = "The image is neither a PNG nor a JPEG file."
    data, is_png = require(is_png | is_jpeg, message, (data, is_png))

    def png_size():
        # The first chunk of a PNG file begins with its width and height.
        header = tf.pad(tf.io.decode_raw(tf.strings.substr(data, 0, 24), tf.uint8), [[0, 24]])
        width, height = (
            tf.reduce_sum(tf.bitwise.left_shift(tf.cast(header[at : at + 4], tf.int64), shifts)) for at in (16, 20)
        )
        return tf.stack([height, width])

    shifts = tf.constant([24, 16, 8, 0], tf.int64)
    size = tf.cond(
        is_png,
        png_size,
        lambda: tf.cast(tf.io.extract_jpeg_shape(data)[:2], tf.int64),
    )
    data = container_graph.check_pixels(size[0], size[1], data)
    pixels = tf.io.decode_image(data, channels, expand_animations=False)
    return tf.ensure_shape(pixels, [None, None, channels])


def _map_ragged(function, batch, specs, num_scalars):
    """Maps `function` over `range(batch)`, whose first results differ in length.

    Args:
      function: Index to a tuple of tensors.
      batch: int32 `[]`.
      specs: `TensorSpec`s of the first results.
      num_scalars: Number of int32 scalars that follow them.

    Returns:
      The first results of all indices concatenated, the scalars stacked.
    """
    arrays = [tf.TensorArray(spec.dtype, batch, infer_shape=False, element_shape=spec.shape) for spec in specs]
    arrays += [tf.TensorArray(tf.int32, batch, element_shape=[]) for _ in range(num_scalars)]

    def step(index, arrays):
        results = function(index)
        return index + 1, tuple(a.write(index, r) for a, r in zip(arrays, results))

    _, arrays = tf.while_loop(
        lambda index, arrays: index < batch,
        step,
        (tf.constant(0), tuple(arrays)),
        parallel_iterations=1,
    )
    count = len(specs)
    return [a.concat() for a in arrays[:count]] + [a.stack() for a in arrays[count:]]
