"""`scripts/bench/options`: what each way of steering a generation does, with one seed and one prompt, on one sheet.

With tiny models the pictures show that an option has an effect and which method made it, not what it is worth.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench/options", description=__doc__)
    parser.add_argument(
        "--models", choices=("tiny", "demo", "real"), default="tiny", help="which weights (default tiny)"
    )
    parser.add_argument("--models-dir", type=Path, default=Path("/workspace/models"), help="where real weights lie")
    parser.add_argument("--sheet", type=Path, default=Path("options.jpg"), metavar="FILE", help="the picture to write")
    arguments = parser.parse_args()
    from ourvidz_worker.engines.threads import let_threads_sleep

    if arguments.models != "real":
        let_threads_sleep()
    from ourvidz_worker.engines.quiet import quieten_model_libraries

    quieten_model_libraries()
    from tests.bench.contact_sheet import contact_sheet
    from tests.bench.option_rows import option_rows

    with tempfile.TemporaryDirectory(prefix="ourvidz-options-") as scratch:
        rows = option_rows(arguments.models, Path(scratch) if arguments.models == "tiny" else arguments.models_dir)
    sheet = contact_sheet(f"Ways of steering a generation ({arguments.models} models, one seed)", rows)
    sheet.save(arguments.sheet, quality=88)
    print(f"{arguments.sheet}: {len(rows)} rows")  # noqa: T201


if __name__ == "__main__":
    main()
