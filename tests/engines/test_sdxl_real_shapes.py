"""What the tiny model cannot show: that style, layout and face reach the layers they should in SDXL's own UNet."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

import pytest
import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from diffusers.models.embeddings import ImageProjection
from torch import nn

from ourvidz_worker.contract.job import ReferenceRole
from ourvidz_worker.engines.sdxl.ip_adapters import IpAdapter, worn
from ourvidz_worker.engines.sdxl.methods import attention_scale, follow
from tests.engines.sdxl_studio import reference

SHAPE = Path(__file__).parents[2] / "configs" / "sdxl" / "unet" / "config.json"
ADAPTER = {"image_encoder", "ip_adapter", "ip_adapter_face"}


@pytest.fixture(scope="module")
def pipe() -> StableDiffusionXLPipeline:
    """SDXL's UNet in its own shape, without the 5 GB of weights."""
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(json.loads(SHAPE.read_text()))
    nothing = dict.fromkeys(("vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"))
    return StableDiffusionXLPipeline(unet=unet, scheduler=EulerDiscreteScheduler(), **nothing, add_watermarker=False)


@pytest.fixture(scope="module")
def adapter(pipe: StableDiffusionXLPipeline) -> IpAdapter:
    with torch.device("meta"):
        layers = {
            name: (nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
            for name in pipe.unet.attn_processors
            if "attn2" in name
        }
        return IpAdapter(layers, ImageProjection(1024, 2048), 4, 1024, reads_hidden_states=False)


@pytest.mark.parametrize(
    ("role", "present", "where", "layers"),
    [
        ("style", ADAPTER, "up_blocks.0.attentions.1.", 10),
        ("composition", ADAPTER, "down_blocks.2.attentions.1.", 10),
        ("character", ADAPTER, "", 70),
    ],
)
def test_an_adapter_speaks_where_its_method_says_and_nowhere_else(
    pipe: StableDiffusionXLPipeline,
    adapter: IpAdapter,
    role: ReferenceRole,
    present: Collection[str],
    where: str,
    layers: int,
) -> None:
    before = pipe.unet.attn_processors
    (followed,) = follow([reference(role, 0.6)], present)
    with worn(pipe, [(adapter, attention_scale(followed))]):
        scales = {name: pipe.unet.attn_processors[name].scale for name in adapter.layers}
    assert len(scales) == 70
    speaking = {name for name, scale in scales.items() if scale == [0.6]}
    assert all(name.startswith(where) for name in speaking)
    assert len(speaking) == layers
    assert all(scales[name] == [0.0] for name in scales.keys() - speaking)
    assert pipe.unet.attn_processors == before, "the very processors that were there"
    assert pipe.unet.encoder_hid_proj is None


def test_two_adapters_share_each_layer_in_their_order(pipe: StableDiffusionXLPipeline, adapter: IpAdapter) -> None:
    style, face = follow([reference("style", 0.4), reference("character", 0.9)], ADAPTER)
    with worn(pipe, [(adapter, attention_scale(style)), (adapter, attention_scale(face))]):
        processors = pipe.unet.attn_processors
        name = "up_blocks.0.attentions.1.transformer_blocks.0.attn2.processor"
        assert processors[name].scale == [0.4, 0.9]
        assert processors[name].to_k_ip[1] is adapter.layers[name][0], "shared, not copied"
        assert processors[name.replace("attentions.1", "attentions.0")].scale == [0.0, 0.9]
