"""What the doctor says of the language worker: where it listens, who may ask it, and what it asks."""

from __future__ import annotations

import errno
import socket
from contextlib import closing

from ourvidz_worker.backend.health import Finding, check_qwen
from ourvidz_worker.backend.language.openai import OpenAILanguageModel
from ourvidz_worker.errors import WorkerError
from ourvidz_worker.settings import QWEN_CURE, QwenSettings


async def language_findings(settings: QwenSettings) -> list[Finding]:
    """Nothing where the environment names neither a language worker nor a language model."""
    findings = []
    token = settings.qwen_token.get_secret_value() if settings.qwen_token else None
    if "qwen" in settings.workers:
        findings += [await _door(settings, token), _key(settings)]
    if settings.language_model_url is not None:
        findings.append(await _model(settings, settings.language_model_url))
    if settings.enhancer_url is not None:
        findings.append(await check_qwen(url=settings.enhancer_url, token=token))
    return findings


async def _door(settings: QwenSettings, token: str | None) -> Finding:
    """A pod that runs already has its own worker there, perhaps with a token that the orchestrator drew."""
    where = f"port {settings.qwen_port} on {settings.qwen_host}"
    try:
        address = socket.getaddrinfo(settings.qwen_host, settings.qwen_port, type=socket.SOCK_STREAM)[0]
        with closing(socket.socket(address[0], socket.SOCK_STREAM)) as door:
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            door.bind(address[4])
            door.listen(1)
    except OSError as error:
        running = await check_qwen(url=settings.qwen_address, token=None)
        if running.ok:
            return running if token is None else await check_qwen(url=settings.qwen_address, token=token)
        if error.errno == errno.EADDRINUSE:
            cure = "stop what listens there, or set OURVIDZ_QWEN_PORT to another port"
        else:
            cure = "set OURVIDZ_QWEN_HOST to an address of this machine, or to 0.0.0.0 for all of them"
        return Finding(ok=False, sentence=f"{where} cannot be listened on ({error.strerror or error})", cure=cure)
    return Finding(ok=True, sentence=f"{where} is free for the qwen worker")


def _key(settings: QwenSettings) -> Finding:
    if settings.qwen_token is not None:
        return Finding(ok=True, sentence="OURVIDZ_QWEN_TOKEN is set")
    if settings.qwen_alone:
        return Finding(ok=False, sentence="OURVIDZ_QWEN_TOKEN is not set", cure=QWEN_CURE)
    return Finding(
        ok=True,
        sentence="OURVIDZ_QWEN_TOKEN is not set: the orchestrator draws one, which only its own workers know",
    )


async def _model(settings: QwenSettings, url: str) -> Finding:
    key = settings.language_model_key
    model = OpenAILanguageModel(
        url=url, key=key.get_secret_value() if key else None, model_name=settings.language_model_name
    )
    try:
        await model.load()
    except WorkerError as error:
        cure = "start the server, or correct OURVIDZ_LANGUAGE_MODEL_URL, _KEY and _NAME"
        return Finding(ok=False, sentence=str(error), cure=cure)
    finally:
        await model.close()
    return Finding(ok=True, sentence=f"the language model server has {model.model_name}")
