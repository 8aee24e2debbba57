"""The command line of `balle2017`."""

import argparse
import os

from balle2017 import codec
from balle2017.commands import completion
from balle2017.commands.parser import Parser
from balle2017.pictures import images

_STATUS = """\
exit status:
  0    done
  1    a file, or one of several, could not be read, converted or written
  2    the command line or the model is wrong; nothing was done
"""
_SALVAGED = """\
  3    with --salvage: decoded, but parts of a picture are lost
"""
_INTERRUPTED = """\
  130  interrupted; what has been written is complete, and the same command goes on from there
"""
_MODELS = """
Models are looked for in --models_dir, else in $BALLE2017_MODELS, else in the package itself.
"""
_COMPRESS = """\
Compresses pictures.

  balle2017 compress MODEL INPUT [OUTPUT]
  balle2017 compress MODEL INPUT [OUTPUT] --effort N [--lambda L]
  balle2017 compress --target_bpp B [--bpp_strict] [--effort N] FAMILY INPUT [OUTPUT]
  balle2017 compress MODEL FOLDER_OR_GLOB... --out DIR [--jobs N]

Reads all that Pillow reads, and HEIC and JPEG XL where pillow-heif and pillow-jxl-plugin are installed.
EXIF orientation is applied, colours become sRGB, transparency becomes white, 16 bits become 8, of
animations the first frame is taken. OUTPUT is INPUT.tfci by default; - is standard input or output.
Outputs that exist are left as they are, unless --overwrite is given.

With --effort the latents are chosen for the picture at hand: the file is smaller at equal quality,
takes longer to make, and decodes as fast as any other. What counts as quality is what the model was
trained for, squared error or MS-SSIM. Efforts 1 to 4 take 2, 14, 62 and 158 steps.
"""
_DECOMPRESS = """\
Decompresses .tfci files, with the model that each names.

  balle2017 decompress INPUT [OUTPUT]
  balle2017 decompress FOLDER_OR_GLOB... --out DIR [--format F] [--jobs N]

OUTPUT is by default INPUT with .png in place of .tfci and of what was a picture's extension:
a.jpg.tfci becomes a.png. Where two files of a run would have the same name so, both keep the longer
one, a.jpg.png. The extension of OUTPUT says the format, or --format; - is standard input or output
(as PNG). Outputs that exist are left as they are, unless --overwrite is given.
"""
_WEB = """\
Serves a page that compresses photographs and shows .tfci files, on this machine and for it only.

  balle2017 web [--port N] [--no_browser]
  balle2017 web --out DIR

The codec runs in the browser. With --out the page becomes files that any web server can serve.
"""
_INFO = """\
Says what .tfci files are, without decoding them: model, size, bits per pixel, slices, metadata, and
whether they are whole. Exit status 1 if one is not.
"""
_FORMATTER = argparse.RawDescriptionHelpFormatter


def make_parser(version=""):
    """The parser of `balle2017`, which is of a version; `command` names the subcommand."""
    parser = Parser(
        prog="balle2017",
        description="A learned image codec (Ballé, Laparra & Simoncelli, 2017).",
        epilog="balle2017 COMMAND --help says more.",
        formatter_class=_FORMATTER,
    )
    parser.add_argument("--version", action="version", version=f"balle2017 {version}", help="print the version")
    parser.set_defaults(max_pixels=images.MAX_PIXELS)
    commands = parser.add_subparsers(title="commands", dest="command", required=True)

    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--models_dir", metavar="DIR", help="folder of models")
    files = _files_parser(common)
    _add_compress(commands, files)
    _add_decompress(commands, files)
    _add_info(commands)
    _add_models(commands, common)
    _add_web(commands, common)
    return parser


def _files_parser(common):
    """What compress and decompress have in common."""
    files = argparse.ArgumentParser(add_help=False, parents=[common])
    files.add_argument("--out", metavar="DIR", help="where the outputs of several inputs go")
    files.add_argument(
        "--jobs",
        metavar="N",
        type=_positive,
        default=os.cpu_count() or 1,
        help="pictures that are worked on at the same time (default: the processor's cores)",
    )
    files.add_argument(
        "--overwrite",
        action="store_true",
        help="replace outputs that exist (default: they are skipped)",
    )
    files.add_argument(
        "--max_pixels",
        metavar="N",
        type=_positive,
        default=images.MAX_PIXELS,
        help="refuse larger pictures (default: %(default)s)",
    )
    files.add_argument(
        "--keep_times", action="store_true", help="give outputs the times of modification of their inputs"
    )
    files.add_argument(
        "--arithmetic",
        choices=list(codec.ARITHMETIC),
        default="float32",
        help="what the transforms' products are computed in; bfloat16 is about twice as fast on processors"
        " that multiply it, and a little less exact (default: %(default)s)",
    )
    files.add_argument(
        "--runtime",
        choices=codec.RUNTIMES,
        default="auto",
        help="onnx runs without TensorFlow and starts at once, tensorflow is quicker with many pictures;"
        " the files are the same (default: the quicker of those that are installed)",
    )
    return files


def _add_compress(commands, files):
    sub = commands.add_parser(
        "compress",
        parents=[files],
        help="pictures to .tfci files",
        usage="balle2017 compress [options] MODEL INPUT... [OUTPUT]",
        description=_COMPRESS,
        epilog=_STATUS + _INTERRUPTED + _MODELS,
        formatter_class=_FORMATTER,
    )
    model = sub.add_argument("model", metavar="MODEL", help="such as bls2017-mse-4, see `balle2017 models`")
    model.completer = completion.models
    sub.add_argument("paths", metavar="INPUT", nargs="*", help="file, or with --out folders and globs")
    sub.add_argument(
        "--target_bpp",
        metavar="B",
        type=_positive_float,
        help="B bits per pixel to within 1 %%, of the family MODEL, by λ around the nearest model"
        " (with --effort 0 as near as one of the models comes)",
    )
    sub.add_argument("--bpp_strict", action="store_true", help="stay below --target_bpp, or fail")
    sub.add_argument(
        "--effort",
        metavar="N",
        type=int,
        choices=codec.EFFORTS,
        help=f"0 (quickest) to {codec.MAX_EFFORT} (smallest) (default: 0, and 1 with"
        " --target_bpp where there is TensorFlow, which efforts above 0 need)",
    )
    sub.add_argument(
        "--lambda",
        "--lmbda",
        dest="lmbda",
        metavar="L",
        type=_positive_float,
        help="with --effort: weight of the distortion, in bits per pixel for a squared error, or 1 - MS-SSIM, of 1"
        " (default: the model's, see `balle2017 models`)",
    )
    sub.add_argument("--verbose", action="store_true", help="print bpp, PSNR and MS-SSIM of the result")
    sub.add_argument(
        "--keep_metadata",
        action="store_true",
        help="keep the ICC profile (without it, colours become sRGB), and of EXIF and XMP what is neither"
        " position nor thumbnail nor a maker's note",
    )
    sub.add_argument("--keep_gps", action="store_true", help="like --keep_metadata, and keep positions too")


def _add_decompress(commands, files):
    sub = commands.add_parser(
        "decompress",
        parents=[files],
        help=".tfci files to pictures",
        usage="balle2017 decompress [options] INPUT... [OUTPUT]",
        description=_DECOMPRESS,
        epilog=_STATUS + _SALVAGED + _INTERRUPTED + _MODELS,
        formatter_class=_FORMATTER,
    )
    sub.add_argument("paths", metavar="INPUT", nargs="+", help="file, or with --out folders and globs")
    sub.add_argument(
        "--format", metavar="F", help="png, jpg, webp or whatever else Pillow writes (default: as OUTPUT says, or png)"
    )
    sub.add_argument("--salvage", action="store_true", help="decode what is left of damaged files")
    sub.set_defaults(verbose=False)


def _add_info(commands):
    sub = commands.add_parser(
        "info",
        help="what .tfci files are",
        description=_INFO,
        epilog=_STATUS,
        formatter_class=_FORMATTER,
    )
    sub.add_argument("paths", metavar="FILE", nargs="+", help="a .tfci file; - is standard input")
    sub.add_argument("--json", action="store_true", help="as a JSON list, for programs")


def _add_models(commands, common):
    commands.add_parser(
        "models",
        parents=[common],
        help="what is installed",
        description="Lists the models that are installed. Exit status 1 if one cannot be used.",
        epilog=_STATUS + _MODELS,
        formatter_class=_FORMATTER,
    )


def _add_web(commands, common):
    sub = commands.add_parser(
        "web",
        parents=[common],
        help="the codec as a page in the browser",
        description=_WEB,
        epilog=_STATUS + _MODELS,
        formatter_class=_FORMATTER,
    )
    sub.add_argument("--port", type=_port, default=2017, help="port on 127.0.0.1; 0 takes any (default: %(default)s)")
    sub.add_argument("--no_browser", action="store_true", help="do not open the browser")
    sub.add_argument("--out", metavar="DIR", help="write the page and the models there, and serve nothing")


def _positive(text):
    value = int(text)
    if value < 1:
        raise ValueError
    return value


_positive.__name__ = "positive number"


def _port(text):
    value = int(text)
    if not 0 <= value < 2**16:
        raise ValueError
    return value


_port.__name__ = "port number"


def _positive_float(text):
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError
    return value


_positive_float.__name__ = "positive number"
