"""Which method follows which reference, given the weights on the volume."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ourvidz_worker.contract.job import ReferenceRole
from ourvidz_worker.engines.steering import Followed
from ourvidz_worker.errors import BadJob
from ourvidz_worker.ports import ReferenceImage

IMG2IMG = "img2img"


@dataclass(frozen=True, slots=True)
class Method:
    """`needs` are keys of the table [sdxl] in `models.toml`, the adapter itself first."""

    name: str
    needs: tuple[str, ...]


IP_ADAPTER_STYLE = Method("ip_adapter_style", ("ip_adapter", "image_encoder"))
IP_ADAPTER_LAYOUT = Method("ip_adapter_layout", ("ip_adapter", "image_encoder"))
IP_ADAPTER_FACE = Method("ip_adapter_face", ("ip_adapter_face", "image_encoder"))
CONTROLNET = Method("controlnet", ("controlnet",))

BEST_FIRST: Mapping[ReferenceRole, tuple[Method, ...]] = {
    "style": (IP_ADAPTER_STYLE,),
    "composition": (CONTROLNET, IP_ADAPTER_LAYOUT),
    "character": (IP_ADAPTER_FACE,),
}
METHODS = {method.name: method for method in (IP_ADAPTER_STYLE, IP_ADAPTER_LAYOUT, IP_ADAPTER_FACE, CONTROLNET)}


def follow(references: Sequence[ReferenceImage], present: Collection[str]) -> tuple[Followed, ...]:
    """Each reference with the best method whose weights are `present`, else with img2img.

    Raises `BadJob` when img2img, which begins with one picture, would have to follow two.
    """
    followed = tuple(Followed(image, _method(image, present)) for image in references)
    repainted = [each for each in followed if each.method == IMG2IMG]
    if len(repainted) > 1:
        *others, last = (each.image.reference.role for each in repainted)
        roles = f"{', '.join(others)} and {last}"
        missing = dict.fromkeys(
            need for each in repainted for need in BEST_FIRST[each.image.reference.role][0].needs if need not in present
        )
        raise BadJob(
            f"the job asks for {roles} references, and this pod has the weights to follow only one of them; send one, "
            f"or put {', '.join(missing)} of [sdxl] in models.toml on the volume",
            field=repainted[1].image.reference.field,
        )
    return followed


def adapters_of(followed: Sequence[Followed]) -> frozenset[str]:
    """The adapters that a generation with these references holds on to."""
    return frozenset(METHODS[each.method].needs[0] for each in followed if each.method != IMG2IMG)


def attention_scale(followed: Followed, *, style_everywhere: bool = False) -> Any:
    """How strongly each of an IP-Adapter's layers speaks.

    SDXL's style is decided in one layer and its layout in another, so these two leave the rest of the picture to the
    prompt (InstantStyle, arXiv 2404.02733); a face goes through all of them, and so does a style `style_everywhere`.
    """
    strength = followed.strength
    match followed.method:
        case IP_ADAPTER_STYLE.name if not style_everywhere:
            return {"up": {"block_0": [0.0, strength, 0.0]}}
        case IP_ADAPTER_LAYOUT.name:
            return {"down": {"block_2": [0.0, strength]}}
    return strength


def _method(image: ReferenceImage, present: Collection[str]) -> str:
    for method in BEST_FIRST[image.reference.role]:
        if all(need in present for need in method.needs):
            return method.name
    return IMG2IMG
