"""Training: the command as a user runs it, and the function that Python calls."""

import dataclasses
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time
import types

from absl import flags
import numpy as np
import pytest
import tensorflow as tf

from balle2017 import train as door
from balle2017.files.writing import OutputError
from balle2017.model.transforms import analyze
from balle2017.saved_model import reading
from balle2017.training import checkpoints, loop
from balle2017.training.settings import EXAMPLE_IMAGES, Settings, SettingsError, check_exported, check_kept, keep

ROOT = pathlib.Path(door.__file__).parents[1]
SMALL = [
    "--fine_tune_steps=5",
    "--start=random",
    "--num_filters=8",
    "--patch_size=32",
    "--batch_size=2",
    "--arithmetic=float32",
]


def command(directory, *flags):
    return [
        sys.executable,
        "-m",
        "balle2017.train",
        "--name=small",
        f"--models_dir={directory}/models",
        f"--run_dir={directory}/run",
        *SMALL,
        *flags,
    ]


def train(directory, *flags):
    return subprocess.run(command(directory, *flags), capture_output=True, text=True, timeout=500)


def test_training_that_was_killed_goes_on(tmp_path):
    flags = ["--steps=60", "--steps_per_epoch=10", "--optimizer=soap"]
    process = subprocess.Popen(command(tmp_path, *flags), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    deadline = time.time() + 400
    while not os.path.exists(tmp_path / "run" / "backup" / "chief" / "checkpoint"):
        assert process.poll() is None and time.time() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not os.path.exists(tmp_path / "models" / "small")

    other = train(tmp_path, *flags, "--lambda=0.05")
    assert other.returncode == 1 and "lmbda 0.013 (not 0.05)" in other.stderr and "Traceback" not in other.stderr
    result = train(tmp_path, *flags)
    assert result.returncode == 0, result.stderr
    assert "going on from step" in result.stdout
    assert "Epoch 1/6" not in result.stdout and "Epoch 6/6" in result.stdout
    # What was said, but for the photographs, is of this training alone.
    assert "cuda" not in result.stderr.lower() and "Assets written" not in result.stderr
    assert "photographs that were held out:" in result.stdout.splitlines()[-1]
    with open(tmp_path / "models" / "small" / "model.json") as file:
        info = json.load(file)
    assert info["num_filters"] == 8 and info["num_classes"] == 16
    (run,) = info["runs"]
    assert run["lambda"] == 0.013 and run["settings"]["steps"] == 60 and run["settings"]["data"] == ["examples"]
    assert run["gigapixels"] == info["gigapixels"] == round(65 * 2 * 32**2 / 1e9, 3) and info["hours"] >= 0
    assert str(tmp_path) not in json.dumps(info)
    for half in ("encoder", "decoder"):
        assert os.path.exists(tmp_path / "models" / "small" / half / "1" / "saved_model.pb")


@pytest.mark.parametrize(
    "flags, sentence",
    [
        (["--data=/no/such/folder"], "no images match '/no/such/folder'"),
        (["--patch_size=40"], "multiple of 16"),
        (["--init_from=/no/such/model"], "/no/such/model"),
        (["--distortion=ms_ssim"], "at least 176"),
        (["photograph.png"], "photographs are named with --data"),
    ],
)
def test_wrong_settings_end_in_a_sentence(tmp_path, flags, sentence):
    result = train(tmp_path, *flags)
    assert result.returncode == 1
    assert sentence in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


def test_help_documents_every_setting():
    result = subprocess.run([sys.executable, "-m", "balle2017.train", "-h"], capture_output=True, text=True)
    assert [
        f.name for f in dataclasses.fields(Settings) if not re.search(rf"--(\[no\])?{f.name}\b", result.stdout)
    ] == []


def test_short_help_is_short():
    done = subprocess.run([sys.executable, "-m", "balle2017.train", "--helpshort"], capture_output=True, text=True)
    assert done.returncode == 0 and "--lambda: " in done.stdout
    assert len(done.stdout.splitlines()) < 20 and not done.stderr


def test_flags_are_the_settings():
    values = flags.FlagValues()
    door.define_flags(values)
    values(["train", "--data=a", "--data=b", "--lambda=0.02", "--channels=1", "--num_latents=7", "--num_gdns=2"])
    expected = Settings(data=("a", "b"), lmbda=0.02, channels=1, num_latents=7, num_gdns=2)
    assert door.settings_of(values) == expected
    values.unparse_flags()
    values(["train"])
    assert door.settings_of(values) == Settings(data=(), steps=400, fine_tune_steps=100)


@pytest.mark.parametrize(
    "wrong, sentence",
    [
        (dict(patch_size=40), "patch_size is a multiple of 16"),
        (dict(lmbda=-1.0), "lmbda is at least 0"),
        (dict(lmbda=float("nan")), "lmbda is at least 0"),
        (dict(optimizer="sgd"), "optimizer is soap or adam, not sgd"),
        (dict(num_classes=1), "prior=factorized"),
        (dict(ms_ssim_weight=250.0), "MS-SSIM needs a patch_size of at least 176"),
        (dict(ms_ssim_weight=250.0, distortion="ms_ssim", patch_size=192), "ms_ssim_weight is for distortion=mse"),
        (dict(steps=0), "steps=0 trains nothing: name with init_from"),
        (dict(name="my point"), "'my point' is none"),
        (dict(name="a/b"), "'a/b' is none"),
    ],
)
def test_settings_are_checked(wrong, sentence):
    with pytest.raises(SettingsError, match=sentence):
        Settings(**wrong)


# Gray, so that the linear transform code takes few filters.
TINY = dict(
    name="tiny", channels=1, num_filters=16, num_classes=4, patch_size=32, batch_size=4, steps=30, steps_per_epoch=20,
    fine_tune_steps=3, arithmetic="float32", warmup=5,
)  # fmt: skip


def tiny(folder, **changes):
    return Settings(**{**TINY, "models_dir": str(folder / "models"), "run_dir": str(folder / "run"), **changes})


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a short training from the default start, and its result."""
    folder = tmp_path_factory.mktemp("trained")
    return folder, loop.train(tiny(folder))


def test_training_lowers_the_loss_and_ends_at_its_step(trained):
    _, result = trained
    # The steps are no multiple of the epoch.
    assert [row["step"] for row in result.history] == [20, 30]
    assert result.history[1]["val_loss"] < result.history[0]["val_loss"]
    assert reading.load_rate_point(result.directory).info["validation"] == result.figures


def test_an_exported_point_is_a_start(trained, tmp_path, capsys):
    folder, _ = trained
    start = dict(init_from=str(folder / "models/tiny"), lmbda=0.02, steps=5, steps_per_epoch=5)
    result = loop.train(
        tiny(tmp_path, name="next", optimizer="adam", ema=0.9, gdn_share=0.1, schedule="constant", **start)
    )
    first, second = reading.load_rate_point(result.directory).info["runs"]
    assert (first["name"], second["name"], second["settings"]["init_from"]) == ("tiny", "next", "tiny")
    with pytest.raises(SettingsError, match="tiny has num_filters=16"):
        loop.train(tiny(tmp_path, run_dir=str(tmp_path / "other"), **{**start, "num_filters": 24}))


def test_without_steps_only_coding_tables_are_made_anew(trained, tmp_path):
    folder, before = trained
    start = dict(init_from=str(folder / "models/tiny"), steps=0, fine_tune_steps=0, num_classes=6)
    after = loop.train(tiny(tmp_path, name="again", **start))
    assert after.figures["psnr"] == pytest.approx(before.figures["psnr"], abs=0.02)
    tables = [reading.load_rate_point(result.directory).tables.num_classes for result in (before, after)]
    assert tables == [4, 6]


@pytest.mark.slow
def test_between_a_training_and_its_start_both_ends_are_these_points(trained, tmp_path):
    init_from = trained[0] / "models/tiny"
    loop.train(tiny(tmp_path, name="next", init_from=str(init_from), steps=5, steps_per_epoch=5))
    points = []
    for share in (0, 1):
        arguments = [f"--trained={tmp_path}/models/next", f"--init_from={init_from}", f"--data={EXAMPLE_IMAGES}",
                     f"--share={share}", f"--models_dir={tmp_path}/{share}"]  # fmt: skip
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, ROOT / "experiments/average.py", *arguments],
            capture_output=True, text=True, env=environment, timeout=500,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        points.append(reading.load_rate_point(tmp_path / str(share) / "next"))
        info = points[-1].info
        assert info["validation"] == {} and [run["name"] for run in info["runs"]] == ["tiny", "next", "next (averaged)"]
        assert info["runs"][-1]["settings"] == dict(share=share, init_from="tiny", trained="next", num_classes=4)
    start, end = (reading.load_rate_point(folder) for folder in (init_from, tmp_path / "models/next"))
    for half in ("analysis", "synthesis"):
        for found, expected in zip(getattr(points[1], half).arrays(), getattr(end, half).arrays()):
            np.testing.assert_array_equal(found, expected)
    # Of the start, whose weights are in other units, what they make.
    crops = np.random.default_rng(0).integers(0, 256, [2, 64, 64, 1]).astype(np.float32)
    expected, found = (analyze(crops, point.analysis, 2, 0.5).numpy() for point in (start, points[0]))
    np.testing.assert_allclose(found, expected, atol=0.01 * np.abs(expected).max())


def test_a_run_refuses_other_settings(trained):
    folder, _ = trained
    with pytest.raises(SettingsError, match="lmbda 0.013 .not 0.05., num_filters 16 .not 24."):
        loop.train(tiny(folder, lmbda=0.05, num_filters=24))
    # It may be exported elsewhere.
    other = folder / "elsewhere"
    assert loop.train(tiny(folder, models_dir=str(other))).directory == str(other / "tiny")


def test_a_run_from_before_a_setting_came_goes_on(tmp_path):
    settings = tiny(tmp_path)
    keep(settings, ["an older run"])
    path = tmp_path / "run" / "settings.json"
    run = json.loads(path.read_text())
    del run["settings"]["schedule"], run["settings"]["gdn_share"]
    path.write_text(json.dumps(run))
    assert check_kept(settings) == ["an older run"]
    with pytest.raises(SettingsError, match="has schedule cosine .not constant.: go on"):
        check_kept(dataclasses.replace(settings, schedule="constant"))
    path.write_text(json.dumps({**run, "settings": None}))
    with pytest.raises(SettingsError, match="but not the settings"):
        check_kept(settings)


def test_released_versions_are_not_replaced(tmp_path):
    for version in "12":
        decoder = tmp_path / "models" / "tiny" / "decoder" / version
        decoder.mkdir(parents=True)
        (decoder / "model.json").write_text("{}")
    with pytest.raises(SettingsError, match="decoders of several versions"):
        loop.train(tiny(tmp_path))
    assert sorted(path.name for path in (tmp_path / "models" / "tiny" / "decoder").iterdir()) == ["1", "2"]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "changes", [None, {"runs": []}, {"settings": {"lmbda": 0.5}}, {"name": "other"}, {"settings": None}]
)
def test_the_rate_point_of_another_run_is_not_replaced(tmp_path, changes):
    settings, models = tiny(tmp_path), tmp_path / "models" / "tiny"
    models.mkdir(parents=True)
    run = {"name": "tiny", "settings": settings.public()}
    info = {"runs": [run]}
    (models / "model.json").write_text(json.dumps(info))
    check_exported(settings, str(models))
    if changes is None or "runs" in changes:
        info = changes or {}
    else:
        info = {"runs": [{**run, **changes}]}
    (models / "model.json").write_text(json.dumps(info))
    with pytest.raises(SettingsError, match="the rate point of another run"):
        loop.train(settings)
    assert json.loads((models / "model.json").read_text()) == info and not (tmp_path / "run").exists()


def test_where_nothing_can_be_exported_to_no_training_begins(tmp_path):
    (tmp_path / "models").write_text("a file")
    with pytest.raises(OutputError, match="models: It is a file and no folder"):
        loop.train(tiny(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["models"]
    with pytest.raises(SettingsError, match="is where the run is kept"):
        loop.train(tiny(tmp_path, models_dir=str(tmp_path), name="run"))
    (tmp_path / "models").unlink()
    # What is no model is not replaced by one.
    for make in (pathlib.Path.touch, pathlib.Path.mkdir):
        kept = tmp_path / make.__name__ / "tiny"
        kept.parent.mkdir()
        make(kept)
        with pytest.raises(SettingsError, match="exists and is no exported model"):
            loop.train(tiny(tmp_path, models_dir=str(kept.parent)))
        assert kept.exists()


def test_a_loss_that_is_not_finite_is_never_kept(tmp_path):
    with pytest.raises(loop.TrainingError, match="smaller learning_rate"):
        loop.train(tiny(tmp_path, learning_rate=1e30, optimizer="adam"), export=False)
    assert not checkpoints.has_checkpoint(str(tmp_path / "run"))
    # The advice can be followed.
    assert np.isfinite(loop.train(tiny(tmp_path, steps=5, steps_per_epoch=5), export=False).figures["loss"])


@pytest.mark.slow
def test_a_late_divergence_goes_back_to_the_last_good_state(tmp_path, monkeypatch, capsys):
    class Poisoned(tf.keras.callbacks.Callback):
        times = 1

        def on_train_batch_end(self, batch, logs=None):
            if Poisoned.times and int(self.model.optimizer.iterations.numpy()) == 7:
                Poisoned.times = 0
                self.model.synthesis.kernels[0].assign(np.nan * self.model.synthesis.kernels[0])

    monkeypatch.setattr(
        loop, "logs_of", lambda settings, validation, logs=loop.logs_of: [Poisoned(), *logs(settings, validation)]
    )
    result = loop.train(tiny(tmp_path, steps=10, steps_per_epoch=5, fine_tune_steps=0), export=False)
    assert "back to step 5, with 0.5 of the learning rate" in capsys.readouterr().out
    assert result.history[-1]["step"] == 10 and np.isfinite(result.figures["loss"])


@pytest.mark.slow
def test_mirrored_devices_train_from_the_default_start(tmp_path):
    """Fine-tuning included."""
    program = (
        "import tensorflow as tf\n"
        "cpu = tf.config.list_physical_devices('CPU')[0]\n"
        "tf.config.set_logical_device_configuration(cpu, 2 * [tf.config.LogicalDeviceConfiguration()])\n"
        "tf.distribute.MirroredStrategy = lambda make=tf.distribute.MirroredStrategy: make(['CPU:0', 'CPU:1'])\n"
        "from balle2017.training.loop import train\n"
        "from balle2017.training.settings import Settings\n"
        f"settings = {tiny(tmp_path, strategy='mirrored', steps=4, steps_per_epoch=2)!r}\n"
        "print('FIGURES', train(settings).figures)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    assert "fine-tuning" in done.stdout and "FIGURES" in done.stdout


def test_ms_ssim_is_trained_for(trained, tmp_path, capsys):
    """From squared error: λ is worth what it is at the start, and the loss falls."""
    folder, _ = trained
    settings = dict(
        distortion="ms_ssim", lmbda=30.0, patch_size=176, batch_size=2, steps=6, steps_per_epoch=3, fine_tune_steps=2
    )
    result = loop.train(tiny(tmp_path, init_from=str(folder / "models/tiny"), **settings))
    worth = float(re.search(r"worth ([\d.]+) in ms_ssim", capsys.readouterr().out)[1])
    # At a λ of 0.013 for squared error models have one of some tens for MS-SSIM.
    assert 5 < worth < 500
    assert result.history[1]["val_loss"] < result.history[0]["val_loss"] * 1.05
    assert reading.load_rate_point(result.directory).info["distortion"] == "ms_ssim"


@pytest.mark.slow
def test_the_linear_transform_code_starts_ms_ssim_at_a_sensible_rate(tmp_path):
    settings = dict(distortion="ms_ssim", patch_size=176, batch_size=2, steps=1, steps_per_epoch=1, fine_tune_steps=0)
    rates = [
        loop.train(tiny(tmp_path, run_dir=str(tmp_path / str(lmbda)), lmbda=lmbda, **settings), export=False).figures[
            "bpp"
        ]
        for lmbda in (5.0, 100.0)
    ]
    assert 0.02 < rates[0] < rates[1] < 4


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
                env={**os.environ, "TF_CONFIG": config},
                stdout=subprocess.PIPE,
                text=True,
            )
        )
    alone = subprocess.run([sys.executable, "-c", WORKER, "one"], stdout=subprocess.PIPE, text=True, check=True)
    outputs = [worker.communicate(timeout=300)[0] for worker in workers] + [alone.stdout]
    losses = [
        [float(v) for v in line.split()[1:]]
        for output in outputs
        for line in output.splitlines()
        if line.startswith("LOSS")
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
                command(tmp_path, *flags),
                env={**os.environ, "TF_CONFIG": config},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    outputs = [worker.communicate(timeout=500)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], "\n".join(outputs)
    assert os.path.exists(tmp_path / "models" / "small" / "model.json")


def test_tensorflow_datasets_by_name(monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, [5, 48, 64, 3], np.uint8)
    examples = tf.data.Dataset.from_tensor_slices({"image": images})
    fake = types.SimpleNamespace(load=lambda name, split: {("photos", "train"): examples}[name, split])
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", fake)
    training, validation = loop.load_photographs(Settings(tfds="photos", patch_size=32, validation_fraction=0.2))
    assert (len(training), len(validation)) == (4, 1)
