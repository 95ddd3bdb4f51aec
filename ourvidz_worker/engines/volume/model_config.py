"""`configs/models.toml` as frozen data: where each model's weights lie and how they are held."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Literal, TypeVar, cast, get_args, get_type_hints

from ourvidz_worker.engines.volume.shipped import ShippedFile, build_shipped, shipped_problems
from ourvidz_worker.engines.volume.sources import Source, build_sources, source_problems
from ourvidz_worker.engines.volume.tiers import (
    ATTENTIONS,
    COMPILES,
    EXACT,
    Attention,
    Compile,
    Tier,
    Tiered,
    build_tier,
    tier_problems,
)
from ourvidz_worker.errors import ConfigurationError

Part = Literal["sdxl", "wan", "qwen"]

DTYPES = ("float32", "float16", "bfloat16")
DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")

Table = TypeVar("Table")


@dataclass(frozen=True, slots=True)
class SdxlModel:
    """An SDXL checkpoint; every path is relative to the models folder.

    `config` is a Diffusers folder that needs no weights; it says what a single file leaves out.
    `ip_adapter` and `ip_adapter_face` are IP-Adapter files for the ViT-H `image_encoder`, and `controlnet` a
    Diffusers folder; a method whose weights are not there is replaced by image-to-image. With `style_everywhere`, a
    style speaks in every layer, as one may of an IP-Adapter that has learned nothing but style.
    """

    model_name: str
    path: str
    dtype: str
    vae_dtype: str
    device: str = "auto"
    config: str | None = None
    vae: str | None = None
    adult_capable: bool = False
    image_encoder: str | None = None
    ip_adapter: str | None = None
    ip_adapter_face: str | None = None
    controlnet: str | None = None
    style_everywhere: bool = False
    attention: Attention = "auto"
    compile: Compile = "auto"
    tier: Tier = EXACT


@dataclass(frozen=True, slots=True)
class WanModel:
    """A WAN text-to-video model in the Diffusers or the original layout; paths are relative to the models folder.

    `config` is what the original layout does not say about itself: a folder with a `config.json` per model.
    `vace` is a VACE model of the same size; without its weights fewer references can be followed. On a CUDA device
    the VAE decodes in `vae_decode_dtype`; it encodes, and decodes elsewhere, in `vae_dtype`.
    """

    model_name: str
    path: str
    dtype: str
    vae_dtype: str
    device: str = "auto"
    config: str | None = None
    adult_capable: bool = False
    vace: str | None = None
    vae_decode_dtype: str = "bfloat16"
    attention: Attention = "auto"
    compile: Compile = "auto"
    tier: Tier = EXACT


@dataclass(frozen=True, slots=True)
class QwenModel:
    """The language model that rewrites prompts; `path` is relative to the models folder."""

    model_name: str
    path: str
    dtype: str
    device: str = "auto"
    max_new_tokens: int = 256
    temperature: float = 0.7
    top_p: float = 0.9


@dataclass(frozen=True, slots=True)
class CardBudget:
    """What all workers of a pod may hold on the card together, in GB (10**9 bytes); None for what the card has."""

    budget_gb: float | None = None

    @property
    def bytes(self) -> int | None:
        return None if self.budget_gb is None else int(self.budget_gb * 10**9)


@dataclass(frozen=True, slots=True)
class DemoModels:
    """The small trained models that ship with this package; paths are relative to the folder that has their `files`."""

    sdxl: SdxlModel
    wan: WanModel
    qwen: QwenModel
    files: tuple[ShippedFile, ...]


@dataclass(frozen=True, slots=True)
class ModelsConfig:
    """`demo` is None for a file that says nothing of the models that ship with the package."""

    sdxl: SdxlModel
    wan: WanModel
    qwen: QwenModel
    sources: tuple[Source, ...] = ()
    card: CardBudget = CardBudget()
    demo: DemoModels | None = None


def parse_models(text: str, *, configs: Mapping[Part, str] | None = None) -> ModelsConfig:
    """Read `configs/models.toml`; raises `ConfigurationError` naming the table and key of every finding.

    `configs` has the `config` of tables that name none.
    """
    shipped = configs or {}
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"models.toml is not valid TOML: {error}") from error
    sources = document.pop("sources", {})
    demo = document.pop("demo", None)
    document.setdefault("card", {})
    tables = {"sdxl": SdxlModel, "wan": WanModel, "qwen": QwenModel, "card": CardBudget}
    problems = [
        f"models.toml has an unknown table [{name}]; it may hold {', '.join(f'[{known}]' for known in tables)}"
        ", [demo.*] and [sources.*]"
        for name in document
        if name not in tables
    ]
    for name, table_type in tables.items():
        problems += _problems(name, document.get(name), table_type)
    problems += source_problems(sources)
    problems += [] if demo is None else _demo_problems(demo)
    if problems:
        raise ConfigurationError(problems)
    return ModelsConfig(
        sdxl=_build({"config": shipped.get("sdxl")} | _tiered(document["sdxl"]), SdxlModel),
        wan=_build({"config": shipped.get("wan")} | _tiered(document["wan"]), WanModel),
        qwen=_build(document["qwen"], QwenModel),
        sources=build_sources(sources),
        card=_build(document["card"], CardBudget),
        demo=None if demo is None else _build_demo(demo),
    )


def _demo_problems(demo: Any) -> list[str]:
    if not isinstance(demo, dict):
        return ["[demo] in models.toml must hold tables like [demo.sdxl]"]
    tables = {"sdxl": SdxlModel, "wan": WanModel, "qwen": QwenModel}
    known = ", ".join(f"[demo.{name}]" for name in (*tables, "files"))
    problems = [
        f"models.toml has an unknown table [demo.{name}]; below [demo] it may hold {known}"
        for name in demo
        if name not in (*tables, "files")
    ]
    for name, table_type in tables.items():
        problems += _problems(f"demo.{name}", demo.get(name), table_type)
    return [*problems, *shipped_problems(demo.get("files", {}))]


def _build_demo(demo: Mapping[str, Any]) -> DemoModels:
    return DemoModels(
        sdxl=_build(_tiered(demo["sdxl"]), SdxlModel),
        wan=_build(_tiered(demo["wan"]), WanModel),
        qwen=_build(demo["qwen"], QwenModel),
        files=build_shipped(demo.get("files", {})),
    )


def _problems(name: str, table: Any, table_type: type[Any]) -> list[str]:
    if not isinstance(table, dict):
        return [f"models.toml has no table [{name}]"]
    problems: list[str] = []
    hints = get_type_hints(table_type)
    if (part := name.rpartition(".")[2]) in get_args(Tiered):
        problems += tier_problems(name, cast(Tiered, part), table.get("tier", EXACT.name), table.get("tiers", {}))
        table = {key: value for key, value in table.items() if key not in ("tier", "tiers")}
    required = [field.name for field in fields(table_type) if field.default is MISSING]
    problems += [f"[{name}] {key} is missing in models.toml" for key in required if key not in table]
    for key, value in table.items():
        if key not in hints:
            problems.append(f"[{name}] {key} is unknown in models.toml; known are {', '.join(hints)}")
        elif expected := _mismatch(key, value, hints[key]):
            problems.append(f"[{name}] {key} = {value!r} in models.toml is wrong: it must be {expected}")
    return problems


def _mismatch(key: str, value: Any, hint: Any) -> str | None:
    """What the value should have been, or None when it is fine."""
    text = value if isinstance(value, str) else ""
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
    rules: Mapping[str, tuple[bool, str]] = {
        "dtype": (text in DTYPES, f"one of {', '.join(DTYPES)}"),
        "vae_dtype": (text in DTYPES, f"one of {', '.join(DTYPES)}"),
        "vae_decode_dtype": (text in DTYPES, f"one of {', '.join(DTYPES)}"),
        "attention": (text in ATTENTIONS, f"one of {', '.join(ATTENTIONS)}"),
        "compile": (text in COMPILES, f"one of {', '.join(COMPILES)}"),
        "device": (DEVICE.fullmatch(text) is not None, "auto, cpu, cuda or cuda:N"),
        "max_new_tokens": (isinstance(number, int) and 1 <= number <= 4096, "a whole number from 1 to 4096"),
        "budget_gb": (number is not None and 0 < number < 10_000, "a number of GB above 0"),
        "temperature": (number is not None and 0 < number <= 2, "a number above 0 and up to 2"),
        "top_p": (number is not None and 0 < number <= 1, "a number above 0 and up to 1"),
    }
    if key in rules:
        fine, expected = rules[key]
    elif hint is bool:
        fine, expected = isinstance(value, bool), "true or false"
    else:
        fine, expected = bool(text.strip()), "a text that is not empty"
    return None if fine else expected


def _tiered(table: Mapping[str, Any]) -> dict[str, Any]:
    """The tier that was chosen in the place of its name, and without the others."""
    own = {key: value for key, value in table.items() if key != "tiers"}
    return own | {"tier": build_tier(table.get("tier", EXACT.name), table.get("tiers", {}))}


def _build(table: Mapping[str, Any], table_type: type[Table]) -> Table:
    return table_type(**table)
