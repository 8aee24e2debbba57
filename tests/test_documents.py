"""The documents: links lead somewhere, and commands name files and targets that exist and leave the clone clean."""

import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[1]


def git(*arguments):
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)


LISTED = git("ls-files", "--cached", "--others", "--exclude-standard", "*.md")
DOCUMENTS = sorted(LISTED.stdout.split()) if LISTED.returncode == 0 else []
pytestmark = pytest.mark.skipif(not DOCUMENTS, reason="needs git and a clone")


def is_ignored(path):
    """Whether git ignores a file or folder, also one that is not there yet."""
    return git("check-ignore", path, f"{path}/").returncode == 0


def commands(document):
    """Lines of the shell blocks of a document, continued ones joined, without comments."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / document).read_text(encoding="utf-8"), re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.partition(" #")[0].strip() for line in lines if line.strip() and not line.startswith("#")]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if re.match(r"\w+:", path):
            continue
        file = (ROOT / document).parent / path if path else ROOT / document
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            known = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in known, target


def test_the_readme_is_a_page():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 220


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_name_files_and_targets_that_exist(document):
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in commands(document):
        words = line.split()
        if words[0] == "make":
            assert words[1] in targets, line
        for word in words:
            word = word.partition("=")[2] or word
            inside = re.match(r"(examples|experiments|benchmarks|saved_models|serving|tests|balle2017)/[\w./-]+", word)
            if inside:
                assert (ROOT / inside[0]).exists() or is_ignored(inside[0]), line


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_leave_no_untracked_files(document):
    for line in commands(document):
        for word in re.findall(r"[\w./-]+\.(?:tfci|png|jpg)\b", line):
            assert word.startswith("/") or (ROOT / word).exists() or is_ignored(word), line
