"""The pod's start script runs this file: `python orchestrator.py` supervises the SDXL and the WAN worker."""

from ourvidz_worker.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["orchestrator"]))
