"""A folder's compression and decompression, by this commit and by an older one in turns.

    python benchmarks/against.py COMMIT [--model bls2017-mse-4] [--same_weights]

The older commit is checked out into a temporary folder, with the models that it had: each side decodes
its own files. With --same_weights this commit takes the older one's model, exported anew: what the code alone
brings. Prints pictures a second of both and their ratio.
"""

import argparse
import contextlib
import functools
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

from tqdm import tqdm

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def main():
    from rounds import BackgroundLoad, take_turns

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("commit", help="what git calls the older commit")
    parser.add_argument("--model", default="bls2017-mse-4", help="name of a rate point of both")
    parser.add_argument("--same_weights", action="store_true", help="both with the older commit's rate point")
    parser.add_argument("--image", default=os.path.join(ROOT, "examples", "kodak-23.png"), help="picture")
    parser.add_argument("--number", type=int, default=24, help="pictures in the folder")
    parser.add_argument("--rounds", type=int, default=5, help="how often each side runs")
    args = parser.parse_args()
    load = BackgroundLoad()
    with tempfile.TemporaryDirectory() as folder, checked_out(args.commit, os.path.join(folder, "code")) as older:
        pictures = os.path.join(folder, "in")
        os.mkdir(pictures)
        for index in range(args.number):
            shutil.copy(args.image, os.path.join(pictures, f"{index}.png"))
        models = {"new": os.path.join(ROOT, "saved_models"), "old": os.path.join(older, "saved_models")}
        if args.same_weights:
            source, models["new"] = os.path.join(models["old"], args.model), os.path.join(folder, "models")
            export = [sys.executable, "-m", "balle2017.export", "--runtime", "tfc", source, models["new"]]
            subprocess.run(export, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
        tasks = {}
        for side, code in (("new", ROOT), ("old", older)):
            convert = functools.partial(run, code, models[side])
            packed, back = (os.path.join(folder, f"{side}-{name}") for name in ("packed", "back"))
            tasks[f"compress|{side}"] = functools.partial(convert, ["compress", args.model, pictures], packed)
            tasks[f"decompress|{side}"] = functools.partial(convert, ["decompress", packed], back)
        with tqdm(desc="benchmark", unit=" runs", disable=None) as progress:
            seconds = take_turns(tasks, args.rounds, progress, warm_up=1)
    for command in ("compress", "decompress"):
        new, old = (args.number / statistics.median(seconds[f"{command}|{side}"]) for side in ("new", "old"))
        print(f"{command:10}  {args.commit} {old:6.2f}/s   now {new:6.2f}/s   ratio {new / old:.2f}")
    if load.cores() is not None:
        print(f"Others kept {load.cores():.2f} cores busy.")


@contextlib.contextmanager
def checked_out(commit, path):
    """Files of a commit in the folder `path`, as a worktree that is given back at the end."""
    git = ["git", "-C", ROOT, "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", path, commit], check=True)
    try:
        yield path
    finally:
        subprocess.run([*git, "remove", "--force", path], check=True)


def run(code, models, command, out):
    """Runs a command of the package in the folder `code`, with the models of another."""
    shutil.rmtree(out, ignore_errors=True)
    subprocess.run(
        [sys.executable, "-m", "balle2017.tfci", command[0], "--models_dir", models, *command[1:], "--out", out],
        cwd=code,
        env={**os.environ, "PYTHONPATH": code},
        stdout=subprocess.DEVNULL,
        check=True,
    )


if __name__ == "__main__":
    main()
