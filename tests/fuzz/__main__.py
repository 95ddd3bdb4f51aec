"""Feed the parser elements that coverage guides, and say what was reached: `scripts/fuzz`."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.parser_target import seeds, tokens

LONGEST_ELEMENT = 4096
SLOWEST_SECONDS = 10
BROKE = "broke"
_PROGRESS = re.compile(r"#(\d+)\s.*cov: (\d+) ft: (\d+) corp: (\d+)")
_EACH_FIND = re.compile(r"#\d+\s+(NEW|REDUCE|RELOAD) ")


def main() -> int:
    """The exit code of libFuzzer: 0 unless an element raised anything but `PayloadError`."""
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("--runs", type=int, default=200_000, help="elements to try (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the mutations (default: %(default)s)")
    parser.add_argument("--corpus", type=Path, help="a folder of elements to begin with and to add to")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="ourvidz-fuzz-"))
    status = fuzz(arguments.runs, arguments.seed, arguments.corpus or folder / "corpus", folder)
    broke = next((folder / BROKE).iterdir(), None)
    if broke is None:
        shutil.rmtree(folder)
    else:
        print(f"the element that broke the parser: {broke}", file=sys.stderr)  # noqa: T201 - for a person
    return status


def fuzz(runs: int, seed: int, corpus: Path, folder: Path) -> int:
    """Run libFuzzer in a process of its own, because it ends the process that it runs in."""
    corpus.mkdir(parents=True, exist_ok=True)
    (folder / BROKE).mkdir()
    for number, element in enumerate(seeds()):
        (corpus / f"seed-{number:03}").write_bytes(element)
    words = folder / "tokens.dict"
    words.write_text("".join(f'"{_quoted(token)}"\n' for token in tokens()), encoding="utf-8")
    options = {
        "runs": runs,
        "seed": seed,
        "max_len": LONGEST_ELEMENT,
        "timeout": SLOWEST_SECONDS,
        "dict": words,
        "artifact_prefix": f"{folder / BROKE}/",
    }
    command = [sys.executable, "-m", "tests.fuzz.fuzzer", *(f"-{name}={value}" for name, value in options.items())]
    began = time.monotonic()
    reached: re.Match[str] | None = None
    with subprocess.Popen([*command, str(corpus)], stderr=subprocess.PIPE, text=True, errors="replace") as fuzzer:
        for line in fuzzer.stderr or ():
            reached = _PROGRESS.match(line) or reached
            if not _EACH_FIND.match(line):
                sys.stderr.write(line)
    seconds = time.monotonic() - began
    if reached is None:
        print("the fuzzer did not come as far as its first figures", file=sys.stderr)  # noqa: T201 - for a person
        return fuzzer.returncode or 1
    executions, edges, features, kept = map(int, reached.groups())
    print(  # noqa: T201 - for a person
        f"{executions} executions in {seconds:.0f} s ({executions / seconds:.0f} a second), "
        f"{edges} edges and {features} features reached, {kept} elements in the corpus"
    )
    return fuzzer.returncode


def _quoted(token: str) -> str:
    return token.replace("\\", "\\\\").replace('"', '\\"')


if __name__ == "__main__":
    sys.exit(main())
