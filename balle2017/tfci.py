"""Compresses photographs to `.tfci` files and back: `python -m balle2017.tfci --help`."""

import argparse
import io
import os
import shutil
import signal
import sys

import numpy as np
from tqdm import tqdm

from balle2017 import bitstream, codec, convert, folders, images

_DONE, _FAILED, _USAGE, _INCOMPLETE, _INTERRUPTED = 0, 1, 2, 3, 130

_EPILOG = """\
exit status:
  0    done
  1    a file, or one of several, could not be read, converted or written
  2    the command line or the model is wrong; nothing was done
  3    with --salvage: decoded, but parts of a picture are lost
  130  interrupted; what has been written is complete, and the same command goes on from there

Models are looked for in --models_dir, else in $BALLE2017_MODELS, else in the package itself.
"""

_COMPRESS = """\
Compresses pictures.

  balle2017 compress MODEL INPUT [OUTPUT]
  balle2017 compress MODEL INPUT [OUTPUT] --effort N [--lambda L]
  balle2017 compress --target_bpp B [--bpp_strict] [--effort N] FAMILY INPUT [OUTPUT]
  balle2017 compress MODEL FOLDER_OR_GLOB... --out DIR [--jobs N]

Reads all that Pillow reads. EXIF orientation is applied, transparency becomes white, 16 bits become
8, of animations the first frame is taken. OUTPUT is INPUT.tfci by default; - is standard input or
output.

With --effort the latents are chosen for the picture at hand: the file is smaller at equal quality,
takes longer to make, and decodes as fast as any other.
"""

_DECOMPRESS = """\
Decompresses .tfci files, with the model that each names.

  balle2017 decompress INPUT [OUTPUT]
  balle2017 decompress FOLDER_OR_GLOB... --out DIR [--jobs N]

OUTPUT is INPUT.png by default, and its extension says the format; - is standard input or output
(as PNG).
"""


def main(argv=None):
    """Runs the command line; returns the exit status."""
    args = _parser().parse_args(argv)
    images.set_limit(args.max_pixels)
    try:
        # Ended by another program is like ended by the user.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        status = args.run(args)
        # Now, so that a pipe without a reader is noticed here; nothing where there is no output at all.
        print(end="", flush=True)
        return status
    except BrokenPipeError:
        # Whoever reads the output has seen enough; what is left of it must not complain at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _FAILED
    except KeyboardInterrupt:
        print("balle2017: interrupted", file=sys.stderr)
        sys.stderr.flush()
        # Threads may still be at work: without waiting for them, but for a file being written.
        with folders.write_lock:
            os._exit(_INTERRUPTED)


def run():
    """The installed command `balle2017`."""
    sys.exit(main())


def compress(args):
    """`compress`, of one file or many."""
    effort = args.effort
    if effort is None:
        # The rates between those of the models take some effort.
        effort = 0 if args.target_bpp is None else 1
    options = _options(
        args,
        model=args.model,
        target_bpp=args.target_bpp,
        bpp_strict=args.bpp_strict,
        effort=effort,
        lmbda=args.lmbda,
        keep_metadata=args.keep_metadata,
        keep_gps=args.keep_gps,
    )
    if args.bpp_strict and args.target_bpp is None:
        return _complain("--bpp_strict needs --target_bpp.", _USAGE)
    if args.lmbda is not None and (effort == 0 or args.target_bpp is not None):
        return _complain("--lambda needs an --effort above 0, and no --target_bpp.", _USAGE)
    try:
        convert.candidates(options)
    except codec.ModelError as error:
        return _complain(error, _USAGE)
    if args.out:
        return _run_folder(
            args,
            lambda source, _: convert.compress(source, options),
            folders.picture_extensions(),
            ".tfci",
        )
    source, target, status = _source_and_target(args, ".tfci")
    if status:
        return status
    if os.path.isfile(target) and not args.overwrite and not _is_bitstream(target):
        return _complain(
            f"{target} exists and is no .tfci file; --overwrite replaces it, and several inputs"
            " need --out.",
            _USAGE,
        )

    def convert_source(path):
        # By its path, as a large picture's file need not be in memory as a whole.
        file = io.BytesIO(sys.stdin.buffer.read()) if path == "-" else path
        with tqdm(unit=" steps", disable=None if effort else True, leave=False) as bar:
            return convert.compress(file, options, lambda *picture: _progress(bar, effort, *picture))

    return _run_one(source, target, convert_source, args)


def _progress(bar, effort, model, pixels):
    """The `progress` of `codec.Model.compress` that moves a bar and shows the Lagrangian."""
    bar.reset(model.count_steps(pixels, effort))
    bar.set_description(model.name)

    def progress(steps, lagrangian):
        bar.set_postfix_str(f"bpp + λ·MSE = {lagrangian:.4f}", refresh=False)
        bar.update(steps)

    return progress


def decompress(args):
    """`decompress`, of one file or many."""
    options = _options(args, salvage=args.salvage)

    def convert_path(source, target):
        format = "PNG" if target == "-" else images.format_of(target)
        if source == "-":
            return convert.decompress(sys.stdin.buffer.read(), options, format)
        with open(source, "rb") as file:
            return convert.decompress(file.read(), options, format)

    if args.out:
        return _run_folder(args, convert_path, {".tfci"}, ".png")
    source, target, status = _source_and_target(args, ".png")
    if status:
        return status
    return _run_one(source, target, lambda path: convert_path(path, target), args)


def models(args):
    """`models`."""
    try:
        infos = codec.list_models(args.models_dir)
        folder = codec.models_dir(args.models_dir)
    except codec.ModelError as error:
        return _complain(error, _USAGE)
    if not infos:
        return _complain(f"No models are installed in {folder}.", _FAILED)
    print(f"{'model':<20} {'lambda':>8} {'filters':>8} {'latents':>8} {'bpp':>8} {'PSNR':>9}   (on Kodak)")
    for info in infos:
        figures = info.get("kodak") or {}
        bpp = f"{figures['bpp']:8.4f}" if "bpp" in figures else f"{'':8}"
        psnr = f"{figures['psnr']:6.2f} dB" if "psnr" in figures else ""
        line = f"{info['name']:<20} {info['lambda']:8g} {info['num_filters']:8} {info['num_latents']:8} {bpp} {psnr}"
        print(line.rstrip())
    return _DONE


def _parser():
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="balle2017",
        description="A learned image codec (Ballé, Laparra & Simoncelli, 2017).",
        epilog=_EPILOG,
        formatter_class=formatter,
    )
    commands = parser.add_subparsers(title="commands", dest="command", required=True)

    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--models_dir", metavar="DIR", help="folder of models")

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
        help="replace outputs that exist (default: with --out they are skipped)",
    )
    files.add_argument(
        "--max_pixels",
        metavar="N",
        type=_positive,
        default=images.MAX_PIXELS,
        help="refuse larger pictures (default: %(default)s)",
    )

    files.add_argument(
        "--arithmetic",
        choices=list(codec.ARITHMETIC),
        default="float32",
        help="factors of the transforms' products; bfloat16 is about twice as fast on processors"
        " that multiply it, and a little less exact (default: %(default)s)",
    )

    sub = commands.add_parser(
        "compress",
        parents=[files],
        help="pictures to .tfci files",
        usage="balle2017 compress [options] MODEL INPUT... [OUTPUT]",
        description=_COMPRESS,
        epilog=_EPILOG,
        formatter_class=formatter,
    )
    sub.add_argument("model", metavar="MODEL", help="such as bls2017-mse-4, see `balle2017 models`")
    sub.add_argument(
        "paths", metavar="INPUT", nargs="+", help="file, or with --out folders and globs"
    )
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
        choices=range(codec.MAX_EFFORT + 1),
        help="0 (quickest) to %d (smallest) (default: 0, and 1 with --target_bpp)"
        % codec.MAX_EFFORT,
    )
    sub.add_argument(
        "--lambda",
        dest="lmbda",
        metavar="L",
        type=_positive_float,
        help="with --effort: weight of the distortion, in bits per pixel for a squared error of 1"
        " (default: the model's, see `balle2017 models`)",
    )
    sub.add_argument(
        "--verbose", action="store_true", help="print bpp, PSNR and MS-SSIM of the result"
    )
    sub.add_argument(
        "--keep_metadata",
        action="store_true",
        help="keep EXIF, ICC profile and XMP, but for positions, maker notes and thumbnails",
    )
    sub.add_argument(
        "--keep_gps", action="store_true", help="like --keep_metadata, and keep positions too"
    )
    sub.set_defaults(run=compress)

    sub = commands.add_parser(
        "decompress",
        parents=[files],
        help=".tfci files to pictures",
        usage="balle2017 decompress [options] INPUT... [OUTPUT]",
        description=_DECOMPRESS,
        epilog=_EPILOG,
        formatter_class=formatter,
    )
    sub.add_argument(
        "paths", metavar="INPUT", nargs="+", help="file, or with --out folders and globs"
    )
    sub.add_argument("--salvage", action="store_true", help="decode what is left of damaged files")
    sub.set_defaults(run=decompress, verbose=False)

    sub = commands.add_parser(
        "models",
        parents=[common],
        help="what is installed",
        epilog=_EPILOG,
        formatter_class=formatter,
    )
    sub.set_defaults(run=models, max_pixels=images.MAX_PIXELS)
    return parser


def _positive(text):
    value = int(text)
    if value < 1:
        raise ValueError
    return value


_positive.__name__ = "positive number"


def _positive_float(text):
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError
    return value


_positive_float.__name__ = "positive number"


def _options(args, **options):
    return convert.Options(
        models_dir=args.models_dir,
        max_pixels=args.max_pixels,
        arithmetic=args.arithmetic,
        **options,
    )


def _source_and_target(args, suffix):
    """The two paths of a single conversion, and an exit status if there are none."""
    if len(args.paths) > 2:
        return (
            None,
            None,
            _complain("Several inputs need --out, the folder of the outputs.", _USAGE),
        )
    source = args.paths[0]
    if os.path.isdir(source):
        return None, None, _complain("A folder needs --out, the folder of the outputs.", _USAGE)
    target = args.paths[1] if len(args.paths) == 2 else "-" if source == "-" else source + suffix
    if target != "-":
        if os.path.isdir(target):
            return None, None, _complain(f"{target} is a folder, which needs --out.", _USAGE)
        if os.path.exists(target) and os.path.exists(source) and os.path.samefile(source, target):
            return None, None, _complain("Input and output are the same file.", _USAGE)
        if not os.path.isdir(os.path.dirname(target) or "."):
            return None, None, _complain(f"There is no folder {os.path.dirname(target)}.", _USAGE)
    elif sys.stdout.isatty():
        return None, None, _complain("The output is no text and not for a terminal.", _USAGE)
    return source, target, None


def _is_bitstream(path):
    with open(path, "rb") as file:
        return file.read(4) in (bitstream.MAGIC, b"")


def _run_one(source, target, convert_source, args):
    try:
        result = convert_source(source)
        if args.verbose:
            _report(result, args, sys.stderr if target == "-" else sys.stdout)
        if target == "-":
            shutil.copyfileobj(result.file, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        else:
            folders.write(target, result.file)
    except Exception as error:
        sentence = _explain(error)
        if sentence is None:
            raise
        return _complain(sentence, _FAILED, source)
    for notice in result.notices:
        _complain(notice, _DONE, source)
    return _INCOMPLETE if result.damaged else _DONE


def _run_folder(args, convert_path, extensions, suffix):
    if args.verbose:
        return _complain("--verbose is for a single file.", _USAGE)
    files = folders.find(args.paths, extensions, args.out, suffix)
    if not files:
        return _complain(
            f"There are no files to {args.command} in {', '.join(args.paths)}.", _USAGE
        )
    try:
        os.makedirs(args.out, exist_ok=True)
    except OSError as error:
        return _complain(_explain(error), _USAGE, args.out)
    summary = folders.run(files, convert_path, args.jobs, args.overwrite, _explain, args.command)
    for path, notice in summary.notices:
        _complain(notice, _DONE, path)
    size = f"{summary.bytes_in / 1e6:.1f} MB to {summary.bytes_out / 1e6:.1f} MB"
    files = "file" if summary.done == 1 else "files"
    print(f"{summary.done} {files} {args.command}ed into {args.out}, {size}.")
    if summary.skipped:
        print(f"{summary.skipped} skipped: their outputs exist (--overwrite replaces them).")
    if summary.failures:
        print(f"{len(summary.failures)} failed:", file=sys.stderr)
        for path, sentence in summary.failures:
            _complain(sentence, _FAILED, path)
        return _FAILED
    return _INCOMPLETE if summary.damaged else _DONE


def _report(result, args, file):
    """Prints rate and distortion of a compressed picture, by decoding it."""
    from balle2017 import metrics

    decoded = codec.decompress(result.file.getvalue(), args.models_dir, args.max_pixels).pixels
    pixels = np.asarray(result.pixels)
    height, width = decoded.shape[:2]
    lines = [
        f"model    {result.model}",
        f"size     {result.size} bytes for {width}×{height} pixels",
        f"bpp      {8 * result.size / (width * height):.4f}",
        f"PSNR     {metrics.psnr(pixels, decoded):.2f} dB",
    ]
    similarity = metrics.ms_ssim(pixels, decoded)
    if similarity is None:
        lines.append(f"MS-SSIM  not defined for sides below {metrics.MS_SSIM_MIN_SIDE} pixels")
    else:
        lines.append(f"MS-SSIM  {similarity:.4f} ({metrics.decibels(similarity):.2f} dB)")
    print("\n".join(lines), file=file)


def _explain(error):
    """One sentence for what a user can do something about; `None` for a bug."""
    if isinstance(error, (images.ImageError, bitstream.BitstreamError, codec.ModelError)):
        return str(error)
    if isinstance(error, MemoryError):
        return "There is not enough memory for it."
    if isinstance(error, OSError):
        return f"{error.strerror or error}".rstrip(".") + "."
    return None


def _complain(sentence, status, path=None):
    where = f"{path}: " if path else ""
    print(f"balle2017: {where}{sentence}", file=sys.stderr)
    return status


if __name__ == "__main__":
    run()
