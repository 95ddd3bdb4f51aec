"""RunPod Serverless runs this file: each job that comes to the endpoint goes through the worker of OURVIDZ_WORKERS.

The folder has no `__init__.py`, so that the SDK of the same name is found from here and from the repository's root.
"""

from ourvidz_worker.cli.serverless.door import run

if __name__ == "__main__":
    raise SystemExit(run())
