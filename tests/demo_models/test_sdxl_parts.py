"""What is made by hand in the demo SDXL is exact, and what is published is what the engine loads."""

from __future__ import annotations

from pathlib import Path
from random import Random

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional
from transformers import CLIPTokenizer

from ourvidz_worker.engines.demo.models import WEIGHTS
from ourvidz_worker.engines.sdxl.controlnets import CANNY
from ourvidz_worker.engines.sdxl.ip_adapters import load_ip_adapter
from scripts.demo_models.patches import Patches, principal_patches
from scripts.demo_models.sdxl import controlnet
from scripts.demo_models.sdxl.controlnet import Draughtsman
from scripts.demo_models.sdxl.ip_adapters import CharacterSpeaker, MoodSpeaker, Speaker, frozen_pipeline
from scripts.demo_models.sdxl.shapes import IMAGE_ENCODER, LATENT_CHANNELS
from scripts.demo_models.sdxl.text import new_tokenizer
from scripts.demo_models.sdxl.unet import new_unet
from scripts.demo_models.sdxl.vae import Core, LastLevels, new_vae, painted


@pytest.fixture(scope="module")
def patches() -> Patches:
    return principal_patches(painted(Random("a test"), 60)[0], LATENT_CHANNELS)


def test_the_tokenizer_learned_anew_is_the_one_that_ships() -> None:
    """Else whoever trains on gives every word another's number."""
    learned = new_tokenizer()
    for name in ("tokenizer", "tokenizer_2"):
        assert CLIPTokenizer.from_pretrained(WEIGHTS / "sdxl" / name).get_vocab() == learned.get_vocab()


@torch.no_grad()
def test_the_encoder_gives_the_very_latents_that_were_learned_from(patches: Patches) -> None:
    pictures, _ = painted(Random(1), 1, 512)
    vae = new_vae(patches)

    encoded = vae.encode(pictures).latent_dist.mode()

    expected = patches.latents(functional.avg_pool2d(pictures, 8))
    assert encoded.shape == (1, LATENT_CHANNELS, 8, 8)
    assert torch.allclose(encoded, expected, atol=0.02)


@torch.no_grad()
def test_latents_alone_tell_nearly_all_of_a_picture(patches: Patches) -> None:
    pictures, _ = painted(Random(2), 4)

    again = patches.pictures(patches.latents(pictures))

    assert float((again - pictures).abs().mean()) < 0.03


@torch.no_grad()
def test_both_parts_of_the_decoder_together_are_the_decoder(patches: Patches) -> None:
    vae = new_vae(patches)
    latents = torch.randn(1, LATENT_CHANNELS, 4, 4, generator=torch.Generator().manual_seed(1))

    core = Core(vae, patches)
    assert torch.equal(LastLevels(vae)(core(latents)), vae.decode(latents).sample)


@torch.no_grad()
def test_the_last_levels_begin_by_enlarging_smoothly(patches: Patches) -> None:
    vae = new_vae(patches)
    states = Core(vae, patches)(patches.latents(painted(Random(3), 1)[0]))[:, :, :64, :64]

    large = LastLevels(vae)(states)

    assert large.shape == (1, 3, 512, 512)
    assert float((functional.avg_pool2d(large, 8) - states[:, :3]).abs().mean()) < 0.02


@pytest.mark.parametrize("kind", [MoodSpeaker, CharacterSpeaker])
def test_an_ip_adapter_is_published_as_the_engine_reads_it(
    kind: type[Speaker], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pipe = frozen_pipeline(new_unet())
    trained = kind(pipe)  # type: ignore[call-arg]  # both take the pipeline alone
    for _, value in trained.adapter.layers.values():
        torch.nn.init.normal_(value.weight)

    trained.save(tmp_path / "adapter.safetensors")
    loaded = load_ip_adapter(pipe, tmp_path / "adapter.safetensors")

    assert loaded.reads_hidden_states == trained.adapter.reads_hidden_states
    assert loaded.image_width == trained.adapter.image_width
    seen = torch.randn(1, 65, IMAGE_ENCODER["hidden_size"]) if loaded.reads_hidden_states else torch.randn(1, 64)
    with torch.no_grad():
        assert torch.allclose(loaded.projection(seen).float(), trained.projection(seen), atol=0.01)
    for name, (_, value) in trained.adapter.layers.items():
        assert torch.allclose(loaded.layers[name][1].weight.float(), value.weight, atol=0.01)


@torch.no_grad()
def test_the_eye_of_the_controlnet_sees_edges_as_it_learned_to_see_them() -> None:
    net = Draughtsman(new_unet()).controlnet
    eye = net.controlnet_cond_embedding
    torch.nn.init.normal_(eye.conv_out.weight)
    picture = ((painted(Random(4), 1, 512)[0][0].permute(1, 2, 0).numpy() + 1) * 127.5).astype(np.uint8)
    lines = cv2.Canny(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), *CANNY)

    whole = eye(torch.from_numpy(lines)[None, None].expand(1, 3, -1, -1) / 255)

    small = torch.from_numpy(controlnet.edges(picture))[None, None] / 255
    with controlnet.looking_at(net, small):
        assert torch.allclose(net.controlnet_cond_embedding(small), whole, atol=0.05)
    assert float(whole.abs().mean()) > 0.01
