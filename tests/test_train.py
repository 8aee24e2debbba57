"""The training command as a user runs it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

SMALL = ["--fine_tune_steps=5", "--start=random", "--num_filters=8", "--patch_size=32", "--batch_size=2", "--arithmetic=float32"]


def command(directory, *flags):
    return [
        sys.executable, "-m", "balle2017.train", "--name=small",
        f"--models_dir={directory}/models", f"--run_dir={directory}/run", *SMALL, *flags,
    ]


def train(directory, *flags):
    return subprocess.run(command(directory, *flags), capture_output=True, text=True, timeout=500)


def test_training_that_was_killed_goes_on(tmp_path):
    flags = ["--steps=60", "--steps_per_epoch=10", "--optimizer=soap"]
    process = subprocess.Popen(
        command(tmp_path, *flags), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    deadline = time.time() + 400
    while not os.path.exists(tmp_path / "run" / "backup" / "chief" / "checkpoint"):
        assert process.poll() is None and time.time() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not os.path.exists(tmp_path / "models" / "small")

    result = train(tmp_path, *flags)
    assert result.returncode == 0, result.stderr
    assert "going on from step" in result.stdout
    assert "Epoch 1/6" not in result.stdout and "Epoch 6/6" in result.stdout
    with open(tmp_path / "models" / "small" / "model.json") as file:
        info = json.load(file)
    assert info["num_filters"] == 8 and info["num_classes"] == 16
    for half in ("encoder", "decoder"):
        assert os.path.exists(tmp_path / "models" / "small" / half / "1" / "saved_model.pb")

    start = ["--steps=10", "--steps_per_epoch=10", f"--init_from={tmp_path}/models/small", "--lmbda=0.02"]
    continued = train(tmp_path / "next", *start, "--optimizer=adam", "--ema=0.9", "--gdn_share=0.1", "--schedule=constant")
    assert continued.returncode == 0, continued.stderr
    other = train(tmp_path / "other", *start[:-1], "--num_filters=16")
    assert other.returncode == 1 and "8 filters" in other.stderr and "Traceback" not in other.stderr


@pytest.mark.parametrize(
    "flags, sentence",
    [
        (["--data=/no/such/folder"], "no images match '/no/such/folder'"),
        (["--patch_size=40"], "multiple of 16"),
        (["--init_from=/no/such/model"], "/no/such/model"),
        (["--distortion=ms_ssim"], "at least 176"),
    ],
)
def test_wrong_settings_end_in_a_sentence(tmp_path, flags, sentence):
    result = train(tmp_path, *flags)
    assert result.returncode == 1
    assert sentence in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


def test_help_documents_every_flag():
    result = subprocess.run(
        [sys.executable, "-m", "balle2017.train", "--help"], capture_output=True, text=True
    )
    for flag in ("--data", "--lmbda", "--init_from", "--strategy", "--optimizer", "--ema"):
        assert flag in result.stdout


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


WORKER = """
import sys
import numpy as np, tensorflow as tf
strategy = tf.distribute.MultiWorkerMirroredStrategy() if sys.argv[1] == "two" else tf.distribute.get_strategy()
from balle2017.model.objective import RateDistortionModel
tf.keras.utils.set_random_seed(0)
with strategy.scope():
    model = RateDistortionModel(0.01, num_filters=8)
    # Rounding in place of noise, so that both runs see the same numbers.
    model.compile(optimizer=tf.keras.optimizers.Adam(1e-3))
    bottleneck = model.bottleneck
    model.bottleneck = lambda latents, training: (latents, bottleneck(latents, training=False)[1])
images = np.random.default_rng(0).integers(0, 256, [24, 32, 32, 3], np.uint8)
data = tf.data.Dataset.from_tensor_slices(images).batch(8)
options = tf.data.Options()
options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
history = model.fit(data.with_options(options), epochs=2, verbose=0, shuffle=False)
print("LOSS", *history.history["loss"])
"""


@pytest.mark.slow
def test_two_workers_train_as_one_with_the_same_global_batch():
    ports = [free_port(), free_port()]
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    workers = []
    for index in range(2):
        config = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
        workers.append(
            subprocess.Popen(
                [sys.executable, "-c", WORKER, "two"],
                env={**os.environ, "TF_CONFIG": config}, stdout=subprocess.PIPE, text=True,
            )
        )
    alone = subprocess.run([sys.executable, "-c", WORKER, "one"], stdout=subprocess.PIPE, text=True, check=True)
    outputs = [worker.communicate(timeout=300)[0] for worker in workers] + [alone.stdout]
    losses = [
        [float(v) for v in line.split()[1:]]
        for output in outputs for line in output.splitlines() if line.startswith("LOSS")
    ]
    assert len(losses) == 3
    np.testing.assert_allclose(losses[0], losses[2], rtol=1e-4)
    np.testing.assert_allclose(losses[1], losses[2], rtol=1e-4)


@pytest.mark.slow
def test_two_workers_run_the_command(tmp_path):
    ports = [free_port(), free_port()]
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    workers = []
    for index in range(2):
        config = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
        flags = ["--strategy=multi_worker", "--steps=10", "--steps_per_epoch=5"]
        workers.append(
            subprocess.Popen(
                command(tmp_path, *flags), env={**os.environ, "TF_CONFIG": config},
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )
        )
    outputs = [worker.communicate(timeout=500)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], "\n".join(outputs)
    assert os.path.exists(tmp_path / "models" / "small" / "model.json")


def test_tensorflow_datasets_by_name(monkeypatch):
    import types

    import tensorflow as tf
    from absl import flags

    from balle2017.training import loop

    images = np.random.default_rng(0).integers(0, 256, [5, 48, 64, 3], np.uint8)
    examples = tf.data.Dataset.from_tensor_slices({"image": images})
    fake = types.SimpleNamespace(load=lambda name, split: {("photos", "train"): examples}[name, split])
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", fake)
    flags.FLAGS(["train", "--tfds=photos", "--patch_size=32", "--validation_fraction=0.2"])
    training, validation = loop.load_photographs()
    assert (len(training), len(validation)) == (4, 1)
    flags.FLAGS.unparse_flags()
