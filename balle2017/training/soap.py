"""SOAP: Adam in the eigenbasis of Shampoo's statistics (Vyas et al. 2024, algorithm 3).

Each convolution kernel `[rows, taps, columns]` is rotated into the slowly changing eigenbases of its
gradients' input and output covariance, where Adam's per-coordinate scaling fits the curvature. From
random weights it needs less than half of Adam's steps here; how much it gains from other starts,
`experiments/recipes.py` shows. GDN's γ are left to plain Adam: they must not be negative, each for
itself, and rotating them gained nothing.
"""

import tensorflow as tf

# Fewer channels than this (the colours') have no eigenbasis worth turning to.
MIN_FACTOR = 8
# The scale of everything but kernels: about that of GDN's parameters.
SCALE = 0.3


class SOAP(tf.keras.optimizers.Optimizer):
    """The SOAP optimizer of two groups of variables: kernels, and everything else, which gets plain Adam.

    The learning rate is the size of a step relative to the scale of a variable. That of a kernel is
    its root mean square, as for Adafactor: with the same step for all, the wide kernels of the inner
    stages shake long before GDN has begun to move. That of everything else is `SCALE`.

    Args:
      learning_rate: A float or a schedule.
      kernels: The variables `[rows, taps, columns]` that are kernels, all of whose rows and columns
        are channels; a kernel from or to fewer than `MIN_FACTOR` channels is not rotated.
      beta_1, beta_2: Decay of the first and second moments.
      shampoo_beta: Decay of the covariance statistics.
      epsilon: Added to the root of the second moment.
      refresh: Steps between two updates of the eigenbases.
      matrix_dtype: Type of the factors of the rotations: `bfloat16` where that is faster.
    """

    def __init__(
        self,
        learning_rate=1e-2,
        kernels=(),
        beta_1=0.95,
        beta_2=0.95,
        shampoo_beta=0.95,
        epsilon=1e-8,
        refresh=10,
        matrix_dtype="float32",
        name="SOAP",
        **kwargs,
    ):
        super().__init__(name=name, jit_compile=False, **kwargs)
        self._kernels = {self._var_key(variable) for variable in kernels}
        self._learning_rate = self._build_learning_rate(learning_rate)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.shampoo_beta = shampoo_beta
        self.epsilon = epsilon
        self.refresh = refresh
        self.matrix_dtype = matrix_dtype

    def build(self, var_list):
        super().build(var_list)
        if getattr(self, "_built", False):
            return
        self._built = True
        self._moments, self._factors = [], []
        for variable in var_list:
            self._moments.append([self.add_variable_from_reference(variable, name) for name in ("m", "v")])
            self._factors.append(
                [
                    [
                        self.add_variable_from_reference(variable, f"{name}_{axis}", shape=[variable.shape[axis]] * 2)
                        for name in ("covariance", "basis")
                    ]
                    for axis in self._rotated_axes(variable)
                ]
            )

    def _is_kernel(self, variable):
        return self._var_key(variable) in self._kernels

    def _rotated_axes(self, variable):
        """The axes of a kernel that hold channels, first and last, if it is rotated."""
        shape = variable.shape
        if not self._is_kernel(variable) or min(shape[0], shape[-1]) < MIN_FACTOR:
            return []
        return [0, len(shape) - 1]

    def _matmul(self, a, b, **transpose):
        product = tf.matmul(tf.cast(a, self.matrix_dtype), tf.cast(b, self.matrix_dtype), **transpose)
        return tf.cast(product, tf.float32)

    def _rotate(self, value, axis, basis, back=False):
        """Multiplies the first or last axis of `value` with an orthogonal matrix."""
        size = value.shape[axis]
        if axis == 0:
            turned = self._matmul(basis, tf.reshape(value, [size, -1]), transpose_a=not back)
        else:
            turned = self._matmul(tf.reshape(value, [-1, size]), basis, transpose_b=back)
        return tf.reshape(turned, value.shape)

    def _covariance(self, gradient, axis):
        size = gradient.shape[axis]
        if axis == 0:
            rows = tf.reshape(gradient, [size, -1])
            return self._matmul(rows, rows, transpose_b=True)
        rows = tf.reshape(gradient, [-1, size])
        return self._matmul(rows, rows, transpose_a=True)

    def _refreshed_basis(self, covariance, basis, moment, axis):
        """One step of orthogonal iteration; the first time, a full eigendecomposition."""

        def first():
            return tf.linalg.eigh(covariance)[1][:, ::-1]

        def next_basis():
            return tf.linalg.qr(tf.matmul(covariance, basis))[0]

        fresh = tf.cond(self.iterations == 0, first, next_basis)
        return fresh, self._rotate(self._rotate(moment, axis, basis, back=True), axis, fresh)

    def update_step(self, gradient, variable):
        index = self._index_dict[self._var_key(variable)]
        moment, second = self._moments[index]
        step = tf.cast(self.iterations + 1, tf.float32)
        learning_rate = tf.cast(self.learning_rate, tf.float32)

        rotated = gradient
        factors = list(zip(self._rotated_axes(variable), self._factors[index]))
        for axis, (covariance, basis) in factors:
            covariance.assign_add((1 - self.shampoo_beta) * (self._covariance(gradient, axis) - covariance))

            def refresh(covariance=covariance, basis=basis, axis=axis):
                fresh, turned = self._refreshed_basis(covariance, basis, moment, axis)
                basis.assign(fresh)
                moment.assign(turned)
                return True

            tf.cond(self.iterations % self.refresh == 0, refresh, lambda: False)
            rotated = self._rotate(rotated, axis, basis)

        moment.assign_add((1 - self.beta_1) * (rotated - moment))
        second.assign_add((1 - self.beta_2) * (tf.square(rotated) - second))
        direction = moment / (1 - self.beta_1**step)
        direction /= tf.sqrt(second / (1 - self.beta_2**step)) + self.epsilon
        for axis, (_, basis) in factors:
            direction = self._rotate(direction, axis, basis, back=True)
        scale = tf.sqrt(tf.reduce_mean(tf.square(variable))) if self._is_kernel(variable) else SCALE
        variable.assign_sub(learning_rate * scale * direction)

    def get_config(self):
        config = super().get_config()
        config.update(
            learning_rate=self._serialize_hyperparameter(self._learning_rate),
            beta_1=self.beta_1,
            beta_2=self.beta_2,
            shampoo_beta=self.shampoo_beta,
            epsilon=self.epsilon,
            refresh=self.refresh,
            matrix_dtype=self.matrix_dtype,
        )
        return config
