"""The subcommands of `balle2017`, each from its parsed arguments to an exit status."""

import contextlib
import dataclasses
import functools
import io
import json
import os
import shlex
import sys

from balle2017 import codec
from balle2017.commands import convert, folders, hints, info, measured, names, single
from balle2017.commands.ending import DONE, FAILED, INCOMPLETE, complain
from balle2017.commands.progress import Progress
from balle2017.commands.single import UsageError
from balle2017.commands.sizes import size
from balle2017.container import bitstream
from balle2017.files import streams, writing
from balle2017.pictures import formats, images

# From so many files on, `--runtime auto` is TensorFlow (docs/measurements.md: two runtimes).
_MANY_FILES = 32
# In the words of people, what models are trained for.
_DISTORTIONS = {"mse": "MSE", "ms_ssim": "MS-SSIM"}


def compress(args):
    """`compress`, of one file or many."""
    effort = codec.default_effort(args.target_bpp) if args.effort is None else args.effort
    if args.bpp_strict and args.target_bpp is None:
        raise UsageError("--bpp_strict needs --target_bpp.")
    if args.lmbda is not None and (effort == 0 or args.target_bpp is not None):
        raise UsageError("--lambda needs an --effort above 0, and no --target_bpp.")
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
    _check_model(args, options)
    if args.out:
        return _run_folder(
            args,
            options,
            lambda source, _, options: convert.compress(source, options),
            formats.extensions(),
            names.compressed,
        )

    def convert_source(source, _, progress):
        # By its path, as a large picture's file need not be in memory as a whole.
        file = io.BytesIO(streams.read_standard_input()) if source == "-" else source
        return convert.compress(file, options, progress)

    source, target = single.paths(args.paths, names.compressed, True)
    return _run_one(args, source, target, convert_source, " steps" if effort else " bands")


def decompress(args):
    """`decompress`, of one file or many."""
    options = _options(args, salvage=args.salvage)
    codec.check_runtime(options.models_dir, options.arithmetic, options.runtime)
    extension = "." + args.format.lower().lstrip(".") if args.format else ".png"
    if args.format:
        _check_format(extension)

    def default(path, **how):
        return names.decompressed(path, extension, **how)

    def convert_path(source, target, progress=None, options=options):
        data = streams.read_standard_input() if source == "-" else streams.read(source)
        return convert.decompress(data, options, _format_of(target, args.format and extension), progress)

    if args.out:
        return _run_folder(args, options, convert_path, {".tfci"}, default)
    _check_no_model(args)
    source, target = single.paths(args.paths, default, False)
    try:
        _format_of(target, args.format and extension)
    except images.ImageError as error:
        return complain(error, FAILED, target)
    return _run_one(args, source, target, convert_path, " rows")


def models(args):
    """`models`."""
    infos, problems = codec.scan_models(args.models_dir)
    for problem in problems:
        complain(problem, FAILED)
    if not infos:
        return complain(f"No models are installed in {codec.models_dir(args.models_dir)}.", FAILED)
    print(
        f"{'model':<20} {'lambda':>8} {'for':>8} {'filters':>8} {'latents':>8} {'versions':>9}"
        f" {'bpp':>8} {'PSNR':>9} {'MS-SSIM':>8}   (on Kodak)"
    )
    for found in infos:
        figures = found.get("kodak") or {}
        bpp = f"{figures['bpp']:8.4f}" if "bpp" in figures else f"{'':8}"
        psnr = f"{figures['psnr']:6.2f} dB" if "psnr" in figures else f"{'':9}"
        similarity = f"{figures['ms_ssim']:8.4f}" if "ms_ssim" in figures else ""
        versions = ", ".join(map(str, found["versions"]))
        # What it was trained for; exports that do not say are of squared error.
        aim = _DISTORTIONS.get(found.get("distortion", "mse"), "")
        sizes = f"{found.get('num_filters', ''):8} {found['num_latents']:8}"
        line = f"{found['name']:<20} {found['lambda']:8g} {aim:>8} {sizes} {versions:>9} {bpp} {psnr} {similarity}"
        print(line.rstrip())
    return FAILED if problems else DONE


def describe(args):
    """`info`."""
    results, status = [], DONE
    for path in args.paths:
        try:
            data = streams.read_standard_input() if path == "-" else streams.read(path)
        except OSError as error:
            found = {"problem": explain(error), "whole": False}
        else:
            found = info.describe(data)
        results.append({"file": path, **found})
        if not found["whole"]:
            status = FAILED
        if not args.json and "bytes" in found:
            print(f"{path}\n{info.text(found)}")
        elif not args.json:
            complain(found["problem"], FAILED, path)
    if args.json:
        print(json.dumps(results, indent=2))
    return status


def explain(error):
    """One sentence for what a user can do something about; `None` for a bug."""
    if isinstance(error, (images.ImageError, bitstream.BitstreamError, codec.ModelError)):
        return hints.of_error(error)
    if isinstance(error, MemoryError):
        return "There is not enough memory for it."
    if isinstance(error, writing.OutputError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.strerror or error}".rstrip(".") + "."
    return None


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


def _check_model(args, options):
    """Refuses what is no model, and what looks as if there were none on the command line."""
    name = args.model
    try:
        convert.candidates(options)
    except codec.ModelError:
        if name != "-" and not os.path.isfile(name) and not formats.is_named_as_picture(name):
            raise
    else:
        if args.paths:
            return
        raise UsageError(f"Name a picture to compress after the model {name}.")
    what, first, rate = "MODEL", codec.example_model(args.models_dir), []
    if args.target_bpp is not None:
        what, first, rate = "A family of models", first.rpartition("-")[0], ["--target_bpp", f"{args.target_bpp:g}"]
    rest = [name, *args.paths]
    line = shlex.join(["balle2017", "compress", *rate, first, *rest[:3]]) + (" …" if len(rest) > 3 else "")
    raise UsageError(f"{what} comes first, such as {first}: {line}.")


def _check_no_model(args):
    first = args.paths[0]
    if len(args.paths) > 1 and not os.path.exists(first):
        if first in [found["name"] for found in codec.list_models(args.models_dir)]:
            raise UsageError(f"decompress takes no MODEL, as each file names its own: leave {first} out.")


def _check_format(extension):
    try:
        images.format_of(extension)
    except images.ImageError as error:
        raise UsageError(str(error)) from None


def _format_of(target, extension):
    """Pillow's name of the format of a picture file to be written, in which an extension may stand for it."""
    if extension:
        return images.format_of(extension)
    if target == "-" or streams.is_stream(target) and formats.writer(target) is None:
        return "PNG"
    return images.format_of(target)


def _run_one(args, source, target, convert_source, unit):
    if not single.may_write(target, args.overwrite, args.command == "compress"):
        return complain(single.skipped(target), DONE, source)
    try:
        with Progress(unit=unit, leave=False) as bar:
            result = convert_source(source, target, bar.at_first_step)
        if args.verbose:
            aside = target == "-" or streams.is_stream(target)
            print(measured.report(result, args.models_dir, args.max_pixels), file=sys.stderr if aside else sys.stdout)
        if target == "-":
            writing.write_standard_output(result.file)
        else:
            writing.write(target, result.file)
            if args.keep_times:
                single.copy_times(source, target)
    except BrokenPipeError:
        raise
    except Exception as error:
        sentence = explain(error)
        if sentence is None:
            raise
        return complain(sentence, FAILED, None if isinstance(error, writing.OutputError) else source)
    for notice in result.notices:
        complain(notice, DONE, source)
    return INCOMPLETE if result.damaged else DONE


def _run_folder(args, options, convert_path, extensions, name):
    if args.verbose:
        raise UsageError("--verbose is for a single file.")
    found = folders.find(args.paths, extensions, args.out, name)
    left_out = formats.describe_left_out(found.left_out)
    if not found.files and not found.errors:
        but = f"; left out are {left_out}" if left_out else ""
        raise UsageError(f"There are no files to {args.command} in {', '.join(args.paths)}{but}.")
    convert_file = functools.partial(convert_path, options=_for_many(options, len(found.files)))
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(writing.folder(args.out))
        except OSError as error:
            raise UsageError(explain(error)) from None
        summary = folders.run(found.files, convert_file, explain, args)
    summary.failures += [(error.filename, explain(error)) for error in found.errors]
    for path, notice in summary.notices:
        complain(notice, DONE, path)
    files = "file" if summary.done == 1 else "files"
    became = f"{size(summary.bytes_in)} to {size(summary.bytes_out)}"
    print(f"{summary.done} {files} {args.command}ed into {args.out}, {became}.")
    if summary.skipped:
        print(f"{summary.skipped} skipped: their outputs exist (--overwrite replaces them).")
    if left_out:
        print(f"Left out: {left_out}.")
    if summary.failures:
        print(f"{len(summary.failures)} failed:", file=sys.stderr)
        for path, sentence in summary.failures:
            complain(sentence, FAILED, path)
        return FAILED
    return INCOMPLETE if summary.damaged else DONE
