"""The subcommands of `balle2017`, each from its parsed arguments to an exit status."""

import dataclasses
import functools
import io
import os
import shutil
import sys

import numpy as np
from tqdm import tqdm

from balle2017 import codec
from balle2017.commands import convert, folders
from balle2017.container import bitstream
from balle2017.files import streams, writing
from balle2017.pictures import formats, images

# From so many files on, `--runtime auto` is TensorFlow.
_MANY_FILES = 50

DONE, FAILED, USAGE, INCOMPLETE, INTERRUPTED = 0, 1, 2, 3, 130


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
        return _complain("--bpp_strict needs --target_bpp.", USAGE)
    if args.lmbda is not None and (effort == 0 or args.target_bpp is not None):
        return _complain("--lambda needs an --effort above 0, and no --target_bpp.", USAGE)
    try:
        convert.candidates(options)
    except codec.ModelError as error:
        return _complain(error, USAGE)
    if args.out:
        return _run_folder(
            args,
            options,
            lambda source, _, options: convert.compress(source, options),
            formats.extensions(),
            ".tfci",
        )
    source, target, status = _source_and_target(args, ".tfci")
    if status:
        return status
    written_over = os.path.isfile(target) and not streams.is_stream(target)
    if written_over and not args.overwrite and not _is_bitstream(target):
        return _complain(
            f"{target} exists and is no .tfci file; --overwrite replaces it, and several inputs"
            " need --out.",
            USAGE,
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

    def convert_path(source, target, options=options):
        data = sys.stdin.buffer.read() if source == "-" else streams.read(source)
        return convert.decompress(data, options, _format_of(target))

    if args.out:
        return _run_folder(args, options, convert_path, {".tfci"}, ".png")
    source, target, status = _source_and_target(args, ".png")
    if status:
        return status
    try:
        _format_of(target)
    except images.ImageError as error:
        return _complain(error, FAILED, target)
    return _run_one(source, target, lambda path: convert_path(path, target), args)


def models(args):
    """`models`."""
    try:
        infos = codec.list_models(args.models_dir)
        folder = codec.models_dir(args.models_dir)
    except codec.ModelError as error:
        return _complain(error, USAGE)
    if not infos:
        return _complain(f"No models are installed in {folder}.", FAILED)
    print(f"{'model':<20} {'lambda':>8} {'filters':>8} {'latents':>8} {'bpp':>8} {'PSNR':>9}   (on Kodak)")
    for info in infos:
        figures = info.get("kodak") or {}
        bpp = f"{figures['bpp']:8.4f}" if "bpp" in figures else f"{'':8}"
        psnr = f"{figures['psnr']:6.2f} dB" if "psnr" in figures else ""
        line = f"{info['name']:<20} {info['lambda']:8g} {info['num_filters']:8} {info['num_latents']:8} {bpp} {psnr}"
        print(line.rstrip())
    return DONE


def _options(args, **options):
    return convert.Options(
        models_dir=args.models_dir,
        max_pixels=args.max_pixels,
        arithmetic=args.arithmetic,
        runtime=args.runtime,
        **options,
    )


def _for_many(options, number):
    """The options for a number of files: with many, what is quicker for each makes up for a longer start."""
    if options.runtime != "auto" or number < _MANY_FILES:
        return options
    if not codec.has_tensorflow(codec.list_models(options.models_dir)):
        return options
    return dataclasses.replace(options, runtime="tensorflow")


def _source_and_target(args, suffix):
    """The two paths of a single conversion, and an exit status if there are none."""
    if len(args.paths) > 2:
        return (
            None,
            None,
            _complain("Several inputs need --out, the folder of the outputs.", USAGE),
        )
    # /dev/stdin and /dev/stdout are longer names of -.
    source, *target = (
        "-" if streams.descriptor(path) == number else path for number, path in enumerate(args.paths)
    )
    if os.path.isdir(source):
        return None, None, _complain("A folder needs --out, the folder of the outputs.", USAGE)
    without_name = source == "-" or streams.is_stream(source)
    target = target[0] if target else "-" if without_name else source + suffix
    if target != "-" and streams.descriptor(target) is None:
        if os.path.isdir(target):
            return None, None, _complain(f"{target} is a folder, which needs --out.", USAGE)
        if os.path.exists(target) and os.path.exists(source) and os.path.samefile(source, target):
            return None, None, _complain("Input and output are the same file.", USAGE)
        if not os.path.isdir(os.path.dirname(target) or "."):
            return None, None, _complain(f"There is no folder {os.path.dirname(target)}.", USAGE)
    elif target == "-" and sys.stdout.isatty():
        return None, None, _complain("The output is no text and not for a terminal.", USAGE)
    return source, target, None


def _format_of(target):
    """Pillow's name of the format of a picture file to be written."""
    if target == "-" or streams.is_stream(target) and formats.writer(target) is None:
        return "PNG"
    return images.format_of(target)


def _is_bitstream(path):
    try:
        with open(path, "rb") as file:
            return file.read(4) in (bitstream.MAGIC, b"")
    except OSError:
        return False


def _run_one(source, target, convert_source, args):
    try:
        result = convert_source(source)
        if args.verbose:
            _report(result, args, sys.stderr if target == "-" or streams.is_stream(target) else sys.stdout)
        if target == "-":
            shutil.copyfileobj(result.file, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        else:
            writing.write(target, result.file)
    except Exception as error:
        sentence = _explain(error)
        if sentence is None:
            raise
        return _complain(sentence, FAILED, None if isinstance(error, writing.OutputError) else source)
    for notice in result.notices:
        _complain(notice, DONE, source)
    return INCOMPLETE if result.damaged else DONE


def _run_folder(args, options, convert_path, extensions, suffix):
    if args.verbose:
        return _complain("--verbose is for a single file.", USAGE)
    found = folders.find(args.paths, extensions, args.out, suffix)
    left_out = _describe_left_out(found.left_out)
    if not found.files and not found.errors:
        but = f"; left out are {left_out}" if left_out else ""
        return _complain(f"There are no files to {args.command} in {', '.join(args.paths)}{but}.", USAGE)
    try:
        writing.make_folder(args.out)
    except OSError as error:
        return _complain(_explain(error), USAGE)
    convert_file = functools.partial(convert_path, options=_for_many(options, len(found.files)))
    summary = folders.run(found.files, convert_file, args.jobs, args.overwrite, _explain, args.command)
    summary.failures += [(error.filename, _explain(error)) for error in found.errors]
    for path, notice in summary.notices:
        _complain(notice, DONE, path)
    size = f"{summary.bytes_in / 1e6:.1f} MB to {summary.bytes_out / 1e6:.1f} MB"
    files = "file" if summary.done == 1 else "files"
    print(f"{summary.done} {files} {args.command}ed into {args.out}, {size}.")
    if summary.skipped:
        print(f"{summary.skipped} skipped: their outputs exist (--overwrite replaces them).")
    if left_out:
        print(f"Left out: {left_out}.")
    if summary.failures:
        print(f"{len(summary.failures)} failed:", file=sys.stderr)
        for path, sentence in summary.failures:
            _complain(sentence, FAILED, path)
        return FAILED
    return INCOMPLETE if summary.damaged else DONE


def _describe_left_out(kinds):
    """How many files of each kind, and what could be installed to read them."""
    described = []
    for kind, count in sorted(kinds.items()):
        package = formats.missing_package(kind)
        described.append(f"{count} {kind}" + (f" (needs the package {package})" if package else ""))
    return ", ".join(described)


def _report(result, args, file):
    """Prints rate and distortion of a compressed picture, by decoding it."""
    from balle2017.evaluation import metrics

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
    if isinstance(error, writing.OutputError):
        return f"{error.filename}: {error.strerror}."
    if isinstance(error, OSError):
        return f"{error.strerror or error}".rstrip(".") + "."
    return None


def _complain(sentence, status, path=None):
    where = f"{path}: " if path else ""
    print(f"balle2017: {where}{sentence}", file=sys.stderr)
    return status
