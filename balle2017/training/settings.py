"""The settings of a training, as flags."""

import os

from absl import flags

from balle2017.entropy.tables import CodingTables
from balle2017.model.objective import DISTORTIONS, PRIORS, RELAXATIONS

EXAMPLE_IMAGES = os.path.join(os.path.dirname(os.path.dirname(__file__)), "examples")

FLAGS = flags.FLAGS
flags.DEFINE_multi_string(
    "data", [], "Training photographs: a folder (searched recursively), a glob or a file. May be repeated."
)
flags.DEFINE_string("tfds", None, "Name of a TensorFlow Datasets image data set to train on instead of --data.")
flags.DEFINE_float("validation_fraction", 0.05, "Part of the photographs that is held out, by image.", 0, 0.9)
flags.DEFINE_string("name", "bls2017-mse-example", "Name of the rate point; files that it writes carry it.")
flags.DEFINE_string("models_dir", "runs/models", "Where the rate point is exported: MODELS_DIR/NAME.")
flags.DEFINE_string(
    "run_dir", None, "Checkpoints and TensorBoard logs. A run that was stopped goes on from here. [runs/NAME]"
)
flags.DEFINE_float("lmbda", 0.013, "λ of rate [bits per pixel] + λ · distortion.", 0)
flags.DEFINE_enum(
    "distortion", "mse", DISTORTIONS, "mse: squared error on the 0–255 scale. ms_ssim: 1 − MS-SSIM (crops of 176 at least)."
)
flags.DEFINE_enum(
    "relaxation", "noise", RELAXATIONS,
    "Stand-in for rounding: noise (the paper), or mixed: noise in the rate, rounding in the distortion.",
)
flags.DEFINE_enum(
    "prior", "competing", PRIORS,
    "Density model of the latents: NUM_CLASSES densities a channel that compete, as the coder's tables do, or one (the paper).",
)
flags.DEFINE_integer("num_filters", 128, "Filters of the stages that GDN follows.", 1)
flags.DEFINE_integer(
    "num_latents", None,
    "Filters of the last stage, the channels of the latents; the more, the higher the rate. [NUM_FILTERS]", 1,
)
flags.DEFINE_enum("channels", "3", ["1", "3"], "Colour channels: 3 for RGB, 1 for grayscale.")
flags.DEFINE_integer("num_gdns", 3, "3, one in each stage (the paper), or 2: none at the latents.", 2, 3)
flags.DEFINE_enum("gdn", "paper", ["paper", "simplified"], "Exponents of GDN: α = 2, ε = ½ or α = ε = 1.")
flags.DEFINE_integer("slice_length", 32, "Latent positions in each independently coded slice.", 1, 65535)
flags.DEFINE_integer(
    "num_classes", 16, "Sets of coding tables that compete for each latent position; 1 for a single one.",
    1, CodingTables.MAX_CLASSES,
)
flags.DEFINE_enum(
    "start", "klt", ["klt", "random"], "Weights to start from: the optimal linear transform code, or random ones."
)
flags.DEFINE_string("init_from", None, "Directory of an exported rate point to start from instead.")
flags.DEFINE_float(
    "gdn_share", 0.0,
    "With --init_from: raise GDN's weights so that all filters together make at least this share of each pool.", 0, 1,
)
flags.DEFINE_integer("steps", 20000, "Training steps.", 1)
flags.DEFINE_integer("steps_per_epoch", 250, "Steps between two validations and checkpoints.", 1)
flags.DEFINE_integer("batch_size", 16, "Crops in a (global) batch.", 1)
flags.DEFINE_integer("patch_size", 128, "Side of the crops in pixels, a multiple of 16.", 16)
flags.DEFINE_float("min_scale", 0.6, "Crops are shrunk by a random factor between this and 1.", 0.1, 1)
flags.DEFINE_enum("optimizer", "soap", ["soap", "adam"], "Adam is the paper's; SOAP needs fewer steps from random weights.")
flags.DEFINE_float("learning_rate", 1e-2, "Peak learning rate, with SOAP relative to the size of the kernels; it rises for --warmup steps.", 0)
flags.DEFINE_enum(
    "schedule", "cosine", ["cosine", "constant"],
    "How the learning rate goes on: down to 0, or constant, for a long run that shorter ones go on from with --init_from.",
)
flags.DEFINE_integer("warmup", 200, "Steps in which the learning rate rises from 0.", 0)
flags.DEFINE_float("ema", 0.0, "Momentum of averaged weights, which are what is exported; 0 turns averaging off.", 0, 1)
flags.DEFINE_integer(
    "fine_tune_steps", 1000,
    "Steps after the training in which the synthesis transform alone learns from truly rounded latents.", 0,
)
flags.DEFINE_enum(
    "arithmetic", "auto", ["auto", "float32", "bfloat16"],
    "Type of the factors of matrix products in training; auto takes bfloat16 where the processor has it.",
)
flags.DEFINE_enum(
    "strategy", "one", ["one", "mirrored", "multi_worker"],
    "One device, all GPUs of this machine, or the machines that TF_CONFIG names.",
)
flags.DEFINE_integer("seed", 0, "Seed of weights, crops and noise.")
