"""A folder in one process against one process for each picture.

    python benchmarks/folder.py bls2017-mse-4

Prints pictures per second of both ways, in both directions, and their ratio.
"""

import argparse
import glob
import os
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PHOTOGRAPHS = os.path.join(ROOT, "..", "shared", "images", "train", "*", "*")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--models_dir", help="folder of models")
    parser.add_argument("--photographs", default=PHOTOGRAPHS, help="glob of pictures")
    parser.add_argument("--number", type=int, default=120, help="pictures in the folder")
    parser.add_argument("--single", type=int, default=6, help="pictures with a process of their own")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="files at once")
    args = parser.parse_args()
    found = sorted(glob.glob(args.photographs))
    found = found[:: max(1, len(found) // args.number)][: args.number]
    options = ["--models_dir", args.models_dir] if args.models_dir else []
    with tempfile.TemporaryDirectory() as folder:
        pictures, packed = os.path.join(folder, "in"), os.path.join(folder, "packed")
        os.mkdir(pictures)
        for path in found:
            shutil.copy(path, pictures)
        jobs = ["--jobs", str(args.jobs)]
        for command, source in ((["compress", args.model], pictures), (["decompress"], packed)):
            name, *model = command
            out = packed if name == "compress" else os.path.join(folder, "back")
            seconds = run([name, *options, *jobs, *model, source, "--out", out])
            together = len(found) / seconds
            # Evenly over the folder, so that both ways see the same mixture of sizes.
            names = sorted(os.listdir(source))
            names = names[:: max(1, len(names) // args.single)][: args.single]
            one = os.path.join(folder, "one.png" if name == "decompress" else "one.tfci")
            seconds = sum(
                run([name, *options, "--overwrite", *model, os.path.join(source, file), one]) for file in names
            )
            alone = len(names) / seconds
            print(
                f"{name:10}  folder {together:6.2f}/s   one process each {alone:6.2f}/s   ratio {together / alone:.1f}",
                flush=True,
            )


def run(command):
    """Runs a command of balle2017; returns seconds."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "balle2017.tfci", *command],
        env={**os.environ, "PYTHONPATH": ROOT},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
