"""What keeps a long training from being lost: checkpoints of good states, and the way back to the last of them."""

import os
import time

import tensorflow as tf


class Schedule(tf.keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises for some steps, then falls to 0 along a cosine, or stays.

    Attributes:
      factor: What all of it is multiplied with, a variable: 1, and less after a loss that was not finite.
    """

    def __init__(self, peak, steps, warmup, constant=False):
        self._rates = tf.keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=0.0,
            decay_steps=max(1, steps - warmup),
            warmup_target=peak,
            warmup_steps=warmup,
            alpha=1.0 if constant else 0.0,
        )
        self.factor = tf.Variable(1.0, trainable=False, name="learning_rate_factor")

    def __call__(self, step):
        return self.factor * self._rates(step)

    def get_config(self):
        return self._rates.get_config()


class Checkpoints(tf.keras.callbacks.Callback):
    """Saves after each epoch, unless the loss or a weight is not finite; then training stops.

    Attributes:
      step: Training steps that have been made.
      seconds: What they took, over all processes of the run.
      diverged: Whether training stopped for that reason.

    Args:
      model: A compiled model whose optimizer has been built.
      schedule: Its `Schedule`.
      folder: Of the run; each worker has its own subfolder, and all go on from the chief's.
      worker: Name of this one.
    """

    def __init__(self, model, schedule, folder, worker="chief"):
        super().__init__()
        self._factor = schedule.factor
        self._seconds = tf.Variable(0.0, trainable=False, dtype=tf.float64)
        self._state = tf.train.Checkpoint(
            model=model, optimizer=model.optimizer, factor=schedule.factor, seconds=self._seconds
        )
        self._optimizer = model.optimizer
        self._chief = os.path.join(folder, "backup", "chief")
        own = os.path.join(folder, "backup", worker)
        self._manager = tf.train.CheckpointManager(self._state, own, max_to_keep=2)
        self.diverged = False

    @property
    def step(self):
        return int(self._optimizer.iterations.numpy())

    @property
    def seconds(self):
        return float(self._seconds.numpy())

    def restore(self):
        """Goes to the last good state; returns whether there is one."""
        newest = tf.train.latest_checkpoint(self._chief)
        if newest is not None:
            self._state.restore(newest).expect_partial()
        return newest is not None

    def slow_down(self):
        """Halves the learning rate from now on."""
        self._factor.assign(self._factor / 2)
        return float(self._factor.numpy())

    def on_train_begin(self, logs=None):
        self.diverged = False
        self._begin = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        now = time.monotonic()
        self._seconds.assign_add(now - self._begin)
        self._begin = now
        logs.update(step=self.step, seconds=round(self.seconds, 1))
        weights = [tf.reduce_all(tf.math.is_finite(v)) for v in self.model.trainable_variables]
        if tf.reduce_all(tf.math.is_finite([logs["loss"], logs.get("val_loss", 0.0)])) and tf.reduce_all(weights):
            self._manager.save(checkpoint_number=self.step)
        else:
            self.diverged = self.model.stop_training = True


class StopAt(tf.keras.callbacks.Callback):
    """Ends training at a step, also in the middle of an epoch."""

    def __init__(self, steps):
        super().__init__()
        self._steps = steps

    def on_train_begin(self, logs=None):
        self._done = int(self.model.optimizer.iterations.numpy())

    def on_train_batch_end(self, batch, logs=None):
        self._done += 1
        if self._done >= self._steps:
            self.model.stop_training = True


def has_checkpoint(folder):
    """Whether a run has a state to go on from."""
    return tf.train.latest_checkpoint(os.path.join(folder, "backup", "chief")) is not None
