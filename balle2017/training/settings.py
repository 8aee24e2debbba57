"""The settings of a training: one object, checked as a whole, that can be kept beside the run's checkpoint."""

import dataclasses
import json
import os
from typing import Optional

from balle2017.entropy.tables import CodingTables
from balle2017.files import writing
from balle2017.model.ms_ssim_scales import MIN_SIDE
from balle2017.model.network import STAGES, STRIDE
from balle2017.model.objective import DISTORTIONS, PRIORS, RELAXATIONS
from balle2017.saved_model.folder import check_name

EXAMPLE_IMAGES = os.path.join(os.path.dirname(os.path.dirname(__file__)), "examples")
# What a run that goes on from its checkpoint may change.
_FREE = ("models_dir", "run_dir")
_FILE = "settings.json"


class SettingsError(ValueError):
    """Settings that no training can have; the message is one sentence."""


def _setting(default, text, choices=None, lower=None, upper=None):
    metadata = {"help": text, "choices": choices, "lower": lower, "upper": upper}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Settings:
    """All settings of a training. `python -m balle2017.train --help` says what each is; the defaults are its own.

    Raises:
      SettingsError: If one is out of its range, or does not go with another.
    """

    data: tuple[str, ...] = _setting(
        (), "Training photographs: a folder (searched recursively), a glob or a file. May be repeated."
    )
    tfds: Optional[str] = _setting(None, "Name of a TensorFlow Datasets image data set to train on instead of --data.")
    validation_fraction: float = _setting(
        0.05, "Part of the photographs that is held out, by image.", lower=0, upper=0.9
    )
    name: str = _setting("bls2017-mse-example", "Name of the rate point; files that it writes carry it.")
    models_dir: str = _setting("runs/models", "Where the rate point is exported: MODELS_DIR/NAME.")
    run_dir: Optional[str] = _setting(
        None, "Checkpoints and TensorBoard logs. A run that was stopped goes on from here. [runs/NAME]"
    )
    lmbda: float = _setting(0.013, "λ of rate [bits per pixel] + λ · distortion.", lower=0)
    distortion: str = _setting(
        "mse", "mse: squared error on the 0–255 scale. ms_ssim: 1 − MS-SSIM (crops of 176 at least).", DISTORTIONS
    )
    ms_ssim_weight: float = _setting(
        0.0,
        "With mse: what one unit of 1 − MS-SSIM adds to the distortion in training, in squared levels. Some hundreds"
        " keep texture at hardly more of the rate (crops of 176 at least).",
        lower=0,
    )
    relaxation: str = _setting(
        "noise",
        "Stand-in for rounding: noise (the paper), or mixed: noise in the rate, rounding in the distortion.",
        RELAXATIONS,
    )
    prior: str = _setting(
        "competing",
        "Density model of the latents: NUM_CLASSES densities a channel that compete, as the coder's tables do, or"
        " one (the paper).",
        PRIORS,
    )
    num_filters: int = _setting(128, "Filters of all stages but the one at the latents.", lower=1)
    num_latents: Optional[int] = _setting(
        None,
        "Filters of the stage at the latents, their channels; the more, the higher the rate. [NUM_FILTERS]",
        lower=1,
    )
    channels: int = _setting(3, "Colour channels: 3 for RGB, 1 for grayscale.", (3, 1))
    num_gdns: int = _setting(
        len(STAGES), "3, one in each stage (the paper), or 2: none at the latents.", (len(STAGES), len(STAGES) - 1)
    )
    gdn: str = _setting("paper", "Exponents of GDN: α = 2, ε = ½ or α = ε = 1.", ("paper", "simplified"))
    slice_length: int = _setting(32, "Latent positions in each independently coded slice.", lower=1, upper=65535)
    num_classes: int = _setting(
        16,
        "Sets of coding tables that compete for each latent position; 1 for a single one.",
        lower=1,
        upper=CodingTables.MAX_CLASSES,
    )
    start: str = _setting(
        "klt", "Weights to start from: the optimal linear transform code, or random ones.", ("klt", "random")
    )
    init_from: Optional[str] = _setting(
        None,
        "Directory of an exported rate point to start from instead. With --channels=1 also one for RGB, of which a"
        " grayscale one is made.",
    )
    gdn_share: float = _setting(
        0.0,
        "With --init_from: raise GDN's weights so that all filters together make at least this share of each pool.",
        lower=0,
        upper=1,
    )
    steps: int = _setting(
        20000,
        "Training steps; 0 takes the weights of --init_from, whose λ then stays, as another would rescale the latents:"
        " with --fine_tune_steps=0 only coding tables are made.",
        lower=0,
    )
    steps_per_epoch: int = _setting(250, "Steps between two validations and checkpoints.", lower=1)
    batch_size: int = _setting(16, "Crops in a (global) batch.", lower=1)
    patch_size: int = _setting(128, "Side of the crops in pixels, a multiple of 16.", lower=16)
    min_scale: float = _setting(0.6, "Crops are shrunk by a random factor between this and 1.", lower=0.1, upper=1)
    optimizer: str = _setting(
        "soap", "Adam is the paper's; SOAP needs fewer steps from random weights.", ("soap", "adam")
    )
    learning_rate: float = _setting(
        1e-2,
        "Peak learning rate; it rises for --warmup steps. With SOAP a step is this part of a parameter's scale.",
        lower=0,
    )
    schedule: str = _setting(
        "cosine",
        "How the learning rate goes on: down to 0, or constant, for a long run that shorter ones go on from with"
        " --init_from.",
        ("cosine", "constant"),
    )
    warmup: int = _setting(200, "Steps in which the learning rate rises from 0.", lower=0)
    ema: float = _setting(
        0.0, "Momentum of averaged weights, which are what is exported; 0 turns averaging off.", lower=0, upper=1
    )
    fine_tune_steps: int = _setting(
        1000,
        "Steps after the training in which the synthesis transform alone learns from truly rounded latents.",
        lower=0,
    )
    arithmetic: str = _setting(
        "auto",
        "Type of the factors of matrix products in training; auto takes bfloat16 where the processor has it.",
        ("auto", "float32", "bfloat16"),
    )
    strategy: str = _setting(
        "one",
        "One device, all GPUs of this machine, or the machines that TF_CONFIG names.",
        ("one", "mirrored", "multi_worker"),
    )
    seed: int = _setting(0, "Seed of weights, crops and noise.")

    def __post_init__(self):
        object.__setattr__(self, "data", tuple(self.data))
        for field in dataclasses.fields(self):
            value, limits = getattr(self, field.name), field.metadata
            if value is None:
                continue
            if limits["choices"] and value not in limits["choices"]:
                choices = " or ".join(map(str, limits["choices"]))
                raise SettingsError(f"{field.name} is {choices}, not {value}")
            if limits["lower"] is not None and not value >= limits["lower"]:
                raise SettingsError(f"{field.name} is at least {limits['lower']}, not {value}")
            if limits["upper"] is not None and value > limits["upper"]:
                raise SettingsError(f"{field.name} is at most {limits['upper']}, not {value}")
        try:
            # Now, and not after hours.
            check_name(self.name)
        except ValueError as error:
            raise SettingsError(str(error)) from None
        if self.patch_size % STRIDE:
            raise SettingsError(f"patch_size is a multiple of {STRIDE}, not {self.patch_size}")
        if self.ms_ssim_weight and self.distortion != "mse":
            raise SettingsError("ms_ssim_weight is for distortion=mse")
        if (self.distortion == "ms_ssim" or self.ms_ssim_weight) and self.patch_size < MIN_SIDE:
            least = -(-MIN_SIDE // STRIDE) * STRIDE
            raise SettingsError(f"MS-SSIM needs a patch_size of at least {least}, not {self.patch_size}")
        if not self.steps and not self.init_from:
            raise SettingsError("steps=0 trains nothing: name with init_from the rate point whose weights are taken")
        if self.prior == "competing" and self.num_classes == 1:
            raise SettingsError("a single class has nothing to compete with: num_classes=1 takes prior=factorized")

    @property
    def latents(self):
        """M, also where `num_latents` is left to `num_filters`."""
        return self.num_latents or self.num_filters

    @property
    def exponents(self):
        """α and ε of GDN."""
        return (2, 0.5) if self.gdn == "paper" else (1, 1)

    @property
    def folder(self):
        """Where checkpoints and logs go, also where `run_dir` is left to the name."""
        return self.run_dir or os.path.join("runs", self.name)

    def gigapixels(self):
        """What the training sees, fine-tuning included."""
        return (self.steps + self.fine_tune_steps) * self.batch_size * self.patch_size**2 / 1e9

    def public(self):
        """A dictionary of JSON types without the paths of a machine, for those who get the rate point."""

        def last(path):
            return os.path.basename(os.path.normpath(path))

        values = {key: value for key, value in dataclasses.asdict(self).items() if key not in _FREE}
        values["data"] = [last(path) for path in self.data or [EXAMPLE_IMAGES]] if not self.tfds else []
        values["init_from"] = last(self.init_from) if self.init_from else None
        return values


def keep(settings, ancestors):
    """Writes the settings of a run, and the runs that it goes on from, beside where its checkpoints go."""
    writing.make_folder(settings.folder)
    text = json.dumps({"settings": dataclasses.asdict(settings), "ancestors": ancestors}, indent=2)
    writing.write_text(os.path.join(settings.folder, _FILE), text + "\n")


def check_exported(settings, directory):
    """Refuses to replace an exported rate point that is of another run, or of nobody knows which.

    Raises:
      SettingsError: Which says what to do.
    """
    path = os.path.join(directory, "model.json")
    if os.path.abspath(directory) == os.path.abspath(settings.folder):
        raise SettingsError(f"{directory} is where the run is kept: give another models_dir or run_dir")
    if not os.path.lexists(path):
        if os.path.lexists(directory):
            raise SettingsError(
                f"{directory} exists and is no exported model: give another name or models_dir, or move it away"
            )
        return
    try:
        with open(path, encoding="utf-8") as file:
            run = json.load(file)["runs"][-1]
        asked = json.loads(json.dumps(settings.public()))
        # Settings that came later are not in it.
        same = run["name"] == settings.name and all(asked[key] == run["settings"].get(key, asked[key]) for key in asked)
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError):
        same = False
    if not same:
        raise SettingsError(
            f"{directory} holds the rate point of another run, which a training would replace: give another name or"
            " models_dir, or move it away"
        )


def check_kept(settings):
    """Refuses to go on with a run by other settings than its own.

    Returns:
      The runs that it goes on from, as `keep` was told.

    Raises:
      SettingsError: Which says what is different.
    """
    try:
        with open(os.path.join(settings.folder, _FILE), encoding="utf-8") as file:
            run = json.load(file)
        kept, ancestors = dict(run["settings"]), run["ancestors"]
    except (OSError, ValueError, KeyError, TypeError):
        raise SettingsError(
            f"{settings.folder} holds a checkpoint, but not the settings that it was made with: name another run_dir"
        ) from None
    # A setting that came later was as its default is: one that is added has what runs did before as its default.
    asked, before = (json.loads(json.dumps(dataclasses.asdict(of))) for of in (settings, Settings()))
    kept = {**before, **kept}
    other = [key for key in asked if key not in _FREE and asked[key] != kept[key]]
    if other:
        differences = ", ".join(f"{key} {kept[key]} (not {asked[key]})" for key in other)
        raise SettingsError(
            f"the run in {settings.folder} has {differences}: go on with the same settings, or give another name or"
            " run_dir"
        )
    return ancestors
