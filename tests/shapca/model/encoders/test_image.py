"""Image encoders: one contract that every backbone joins by one line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import load, save, save_file
from torch import Tensor, nn
from torchvision.models import ConvNeXt, EfficientNet, SwinTransformer, VisionTransformer
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.efficientnet import MBConvConfig
from transformers import (
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    SiglipConfig,
    SiglipModel,
)

from shapca.config import ImageConfig
from shapca.config.image import TORCHVISION
from shapca.errors import InputError
from shapca.model.encoders import ImageEncoder, efficientnet, load_image_encoder
from shapca.model.encoders import image as image_module
from shapca.model.encoders.image import _read_weights
from shapca.model.encoders.processing import ImageProcessing, image_processing, image_size
from shapca.model.encoders.weights import torchvision_file
from tests.encoder_families import IMAGE_FAMILIES, save_image_encoder

SIZE = 64
Build = Callable[..., ImageEncoder]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ResNet-18's file and a small CLIP's folder, as their libraries save them."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    resnet = torchvision.models.resnet18(weights=None)
    torch.save(resnet.state_dict(), folder / "resnet18.pth")
    save_file(resnet.state_dict(), folder / "resnet18.safetensors")
    torch.save({"state_dict": resnet.state_dict(), "epoch": 3}, folder / "nested.pth")
    torch.save(published_lite(), folder / "efficientnet-lite0.pth")
    for family in IMAGE_FAMILIES:
        save_image_encoder(family, folder / family)
    vision = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=SIZE,
        patch_size=16,
    )
    CLIPVisionModel(vision).save_pretrained(folder / "clip")
    text = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1, "vocab_size": 50}
    CLIPModel(CLIPConfig(vision_config=vision.to_dict(), text_config=text)).save_pretrained(
        folder / "clip-with-text"
    )
    return folder


def published_lite() -> dict[str, Tensor]:
    """A random EfficientNet-Lite0 as its package publishes it: other names, and a classifier."""
    state = load_image_encoder("efficientnet-lite0", "random", size=SIZE).backbone.state_dict()
    published = {"_fc.weight": torch.zeros(1000, 1280), "_fc.bias": torch.zeros(1000)}
    at_top = {ours: theirs for theirs, ours in efficientnet.FILE_NAMES.items()}
    in_block = {ours: theirs for theirs, ours in efficientnet.FILE_NAMES_IN_BLOCK.items()}
    for name, value in state.items():
        layer, _, kind = name.rpartition(".")
        if layer in at_top:
            published[f"{at_top[layer]}.{kind}"] = value
        else:
            _, number, layer = layer.split(".", 2)
            published[f"_blocks.{number}.{in_block[layer]}.{kind}"] = value
    return published


def small_torchvision(architecture: str, *, weights: None, **options: Any) -> nn.Module:
    """A network of torchvision's class of that name, with few layers."""
    assert weights is None
    small: dict[str, Callable[[], nn.Module]] = {
        "convnext_tiny": lambda: ConvNeXt(
            [CNBlockConfig(8, 10, 2), CNBlockConfig(10, 12, 2), CNBlockConfig(12, None, 2)], 0.5
        ),
        "efficientnet_b0": lambda: EfficientNet(
            [MBConvConfig(4, 3, 2, 8, 8, 3, 1, 1), MBConvConfig(4, 3, 2, 8, 4, 2, 1, 1)],
            0.2, 0.5, last_channel=16,
        ),
        "vit_b_32": lambda: VisionTransformer(
            patch_size=32, num_layers=6, num_heads=2, hidden_dim=16, mlp_dim=512, **options
        ),
        "swin_t": lambda: SwinTransformer([4, 4], 8, [2, 2], [1, 2], [4, 4], 2.0, 0.0, 0.0, 0.5),
    }  # fmt: skip
    return small[architecture]()


SMALL = ("convnext_tiny", "efficientnet_b0", "vit_b_32", "swin_t")

# Architecture, weights, regions at SIZE, width.
ENCODERS = {
    "resnet18": ("resnet18", "random", 4, 512),
    "resnet18-file": ("resnet18", "resnet18.pth", 4, 512),
    "clip": ("clip-vit-b-32", "clip", 16, 32),
    "efficientnet-lite0": ("efficientnet-lite0", "random", 4, 1280),
    "efficientnet-lite0-file": ("efficientnet-lite0", "efficientnet-lite0.pth", 4, 1280),
    "efficientnet-lite2": ("efficientnet-lite2", "random", 4, 1280),
    "convnext_tiny": ("convnext_tiny", "random", 16, 12),
    "efficientnet_b0": ("efficientnet_b0", "random", 64, 16),
    "vit_b_32": ("vit_b_32", "random", 4, 16),
    "swin_t": ("swin_t", "random", 64, 16),
    **{
        family: (family, "pretrained", made.num_regions, made.width)
        for family, made in IMAGE_FAMILIES.items()
    },
}


@pytest.fixture(params=ENCODERS)
def build(request: pytest.FixtureRequest, weights: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    architecture, source, _, _ = ENCODERS[request.param]
    if architecture in SMALL:
        monkeypatch.setattr(torchvision.models, "get_model", small_torchvision)
    if architecture in IMAGE_FAMILIES:
        architecture = str(weights / architecture)
    elif source != "random":
        source = str(weights / source)

    def make(seed: int = 0, **options: bool) -> ImageEncoder:
        torch.manual_seed(seed)
        return load_image_encoder(architecture, source, size=SIZE, **options)

    make.expected = ENCODERS[request.param][2:]  # type: ignore[attr-defined]
    made = IMAGE_FAMILIES.get(request.param)
    make.checkpoints = made is None or made.checkpoints  # type: ignore[attr-defined]
    make.of_pooled = "none" if made is None else made.of_pooled  # type: ignore[attr-defined]
    return make


def images(batch: int = 4, size: int = SIZE) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8, generator=generator)


PRESENT = torch.tensor([True, False, True, True])


def test_shapes_and_zeros_where_an_image_is_missing(build: Build) -> None:
    encoder = build().eval()
    features = encoder(images(), PRESENT)
    num_regions, width = build.expected  # type: ignore[attr-defined]
    assert encoder.width == width
    assert features.regions.shape == (4, num_regions, width)
    assert features.pooled.shape == (4, width)
    for value in (features.regions, features.pooled):
        assert torch.equal(value.flatten(1).abs().sum(1) > 0, PRESENT)


def test_batch_mates_change_nothing_in_evaluation(build: Build) -> None:
    encoder = build().eval()
    together = encoder(images(), PRESENT)
    for row in (0, 2, 3):
        alone = encoder(images()[row : row + 1], torch.tensor([True]))
        torch.testing.assert_close(together.regions[row], alone.regions[0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(together.pooled[row], alone.pooled[0], atol=1e-5, rtol=1e-4)


def test_a_missing_image_costs_nothing_and_its_pixels_are_never_seen(build: Build) -> None:
    encoder, seen = build().train(), []
    encoder.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    first = encoder(images(), PRESENT)
    other = images()
    other[1] = 255
    encoder = build().train()
    encoder.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    second = encoder(other, PRESENT)
    assert seen == [3, 3]
    assert torch.equal(first.regions, second.regions)


def test_a_batch_without_any_image_trains(build: Build) -> None:
    encoder = build().train()
    features = encoder(images(), torch.zeros(4, dtype=torch.bool))
    num_regions, width = build.expected  # type: ignore[attr-defined]
    assert features.regions.shape == (4, num_regions, width)
    assert features.pooled.shape == (4, width)
    assert not features.regions.any()
    projection = nn.Linear(width, 2)
    projection(features.regions).sum().backward()
    assert all(parameter.grad is None for parameter in encoder.parameters())


def test_one_image_trains(build: Build) -> None:
    features = build().train()(images(), torch.tensor([False, True, False, False]))
    assert torch.isfinite(features.regions).all()


@pytest.mark.parametrize("read", ["regions", "pooled"])
def test_gradient_reaches_every_trainable_parameter(build: Build, read: str) -> None:
    encoder = build().train()
    for module in encoder.modules():  # zero residual branches hide what stands before them
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
    value = getattr(encoder(images(), PRESENT), read)
    (torch.tanh(value) * torch.linspace(-1, 1, value.shape[-1])).sum().backward()
    for name, parameter in encoder.named_parameters():
        if name.endswith("mask_token") or (read == "regions" and build.of_pooled in name):  # type: ignore[attr-defined]
            assert parameter.grad is None
            assert parameter.requires_grad != name.endswith("mask_token")
            continue
        assert parameter.requires_grad
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all()
        assert parameter.grad.any() or "k_proj.bias" in name, name


def test_saved_weights_give_the_same_features(build: Build) -> None:
    encoder = build().train()
    encoder(images(), PRESENT)  # moves batch statistics, which must be saved too
    encoder.eval()
    other = build(seed=7, pretrained=False).eval()
    wanted = encoder(images(), PRESENT).regions
    assert not torch.equal(other(images(), PRESENT).regions, wanted)
    other.load_state_dict(load(save(encoder.state_dict())))
    assert torch.equal(other(images(), PRESENT).regions, wanted)


def test_a_frozen_encoder_stays_as_it_is(build: Build) -> None:
    encoder = build(freeze=True).train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    features = encoder(images(), PRESENT)
    assert not features.regions.requires_grad
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_gradient_checkpointing_keeps_less_and_changes_no_bit(build: Build) -> None:
    if not build.checkpoints:  # type: ignore[attr-defined]
        with pytest.raises(
            InputError, match=r"image\.gradient_checkpointing: transformers has none"
        ):
            build(gradient_checkpointing=True)
        return
    gradients, buffers, kept = [], [], []
    for checkpointing in (False, True):
        encoder = build(gradient_checkpointing=checkpointing).train()
        num_bytes = 0

        def count(tensor: Tensor) -> Tensor:
            nonlocal num_bytes
            num_bytes += tensor.nbytes
            return tensor

        torch.manual_seed(4)  # the same layers dropped
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            features = encoder(images(), PRESENT)
        kept.append(num_bytes)
        (features.regions.square().sum() + features.pooled.sum()).backward()
        gradients.append({name: p.grad for name, p in encoder.named_parameters()})
        buffers.append({name: buffer.clone() for name, buffer in encoder.named_buffers()})
        with torch.no_grad():
            encoder(images(), PRESENT)  # nothing to recompute where nothing is learnt
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        assert (gradient is None) == (gradients[1][name] is None), name
        assert gradient is None or torch.equal(gradient, gradients[1][name]), name
    assert all(torch.equal(buffers[0][name], buffers[1][name]) for name in buffers[0])
    assert kept[1] < 0.6 * kept[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "num_regions", "width"),
    [
        ("convnext_tiny", 9, 768), ("efficientnet_b0", 9, 1280), ("efficientnet_v2_s", 9, 1280),
        ("vit_b_32", 9, 768), ("swin_t", 9, 768), ("swin_v2_t", 9, 768), ("resnet34", 9, 512),
    ],
)  # fmt: skip
def test_torchvisions_own_networks(architecture: str, num_regions: int, width: int) -> None:
    """Also that published files, classifier included, are read."""
    state = torchvision.models.get_model(architecture, weights=None).state_dict()
    encoder = load_image_encoder(architecture, "random", size=96).eval()
    features = encoder(images(2, 96), torch.tensor([True, True]))
    assert features.regions.shape == (2, num_regions, width)
    assert encoder.backbone.num_regions(96) == num_regions
    _read_weights(encoder.backbone, architecture, "weights", state)
    for name, value in encoder.backbone.state_dict().items():
        published = state[name.removeprefix("network.").removeprefix("resnet.")]
        assert torch.equal(value, published) or "pos_embedding" in name, name
    assert len(encoder.backbone.state_dict()) == len(state) - 2  # without the classifier's


def test_all_names_are_torchvisions() -> None:
    known = torchvision.models.list_models(torchvision.models)
    assert set(TORCHVISION) <= set(known)


def test_a_vits_positions_are_interpolated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.models, "get_model", small_torchvision)
    published = small_torchvision("vit_b_32", weights=None, image_size=64).state_dict()
    larger = load_image_encoder("vit_b_32", "random", size=96).backbone
    larger.read(published)
    places = larger.network.encoder.pos_embedding
    assert places.shape == (1, 10, 16)
    assert torch.equal(places[:, 0], published["encoder.pos_embedding"][:, 0])
    assert torch.equal(larger.network.class_token, published["class_token"])
    with pytest.raises(InputError, match=r"image\.size: vit_b_32: expected whole patches of 32"):
        load_image_encoder("vit_b_32", "random", size=80)


@pytest.mark.parametrize(
    ("architecture", "weights", "size", "mean"),
    [
        ("resnet152", "pretrained", 224, 0.485),
        ("resnet50", "IMAGENET1K_V2", 224, 0.485),
        ("efficientnet_b4", "pretrained", 380, 0.485),
        ("efficientnet_v2_l", "pretrained", 480, 0.5),
        ("swin_v2_t", "pretrained", 256, 0.485),
        ("vit_h_14", "pretrained", 518, 0.485),
        ("vit_b_16", "IMAGENET1K_SWAG_E2E_V1", 384, 0.485),
        ("convnext_tiny", "some/file.pth", 224, 0.485),
        ("efficientnet-lite2", "pretrained", 260, 127 / 255),
        ("clip-vit-b-32", "pretrained", 224, 0.48145466),
    ],
)
def test_each_encoder_has_its_own_pictures(
    architecture: str, weights: str, size: int, mean: float
) -> None:
    own = image_processing(architecture, weights)
    assert (own.size, own.mean[0]) == (size, mean)
    assert image_size(ImageConfig(encoder=architecture, weights=weights, size=None)) == size
    assert image_size(ImageConfig(encoder=architecture, weights=weights, size=128)) == 128


PROCESSORS = [
    ({"size": 384}, 384),
    ({"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}}, 224),
    ({"size": {"shortest_edge": 256}, "crop_size": 224, "do_center_crop": False}, 256),
    ({"do_normalize": False, "image_mean": None}, 64),
]


@pytest.mark.parametrize(("changes", "size"), PROCESSORS)
@pytest.mark.parametrize("nested", [False, True])
def test_a_processor_says_size_mean_and_deviation(
    tmp_path: Path, changes: dict[str, Any], size: int, nested: bool
) -> None:
    folder = save_image_encoder("vit", tmp_path / "vit")
    file = folder / "preprocessor_config.json"
    tree = json.loads(file.read_text()) | changes
    if nested:
        file.unlink()
        file, tree = folder / "processor_config.json", {"image_processor": tree}
    file.write_text(json.dumps(tree))
    own = image_processing(str(folder), "pretrained")
    plain = changes.get("do_normalize", True)
    assert (
        own == ImageProcessing(size, (0.5,) * 3, (0.5,) * 3)
        if plain
        else (ImageProcessing(size, (0.0,) * 3, (1.0,) * 3))
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"size": {"height": 64, "width": 32}}, "size: expected a square of 16 to 2,048 pixels"),
        ({"size": 10**6}, "size: expected a square"),
        ({"image_mean": [0.5]}, "image_mean: expected three numbers, got"),
        ({"image_std": [0.5, 0.5, 0.0]}, "image_std: expected three numbers above 0"),
        ({"rescale_factor": 1.0}, "rescale_factor: expected 1 / 255, got 1.0"),
    ],
)
def test_a_processor_of_no_use_is_refused(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    folder = save_image_encoder("vit", tmp_path / "vit")
    file = folder / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    message = rf"image\.encoder: .*vit: preprocessor_config\.json: {re.escape(said)}"
    with pytest.raises(InputError, match=message):
        load_image_encoder(str(folder), "pretrained", size=64)
    file.unlink()
    with pytest.raises(InputError, match=r"expected preprocessor_config\.json or processor_config"):
        load_image_encoder(str(folder), "pretrained", size=64)


def test_the_image_side_of_a_larger_model_is_read(tmp_path: Path) -> None:
    family = IMAGE_FAMILIES["siglip"]
    text = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1, "vocab_size": 50}
    whole = SiglipModel(SiglipConfig(vision_config=family.more, text_config=text)).eval()
    save_image_encoder("siglip", tmp_path)
    whole.save_pretrained(tmp_path)
    encoder = load_image_encoder(str(tmp_path), "pretrained", size=SIZE).eval()
    features = encoder(images(2), torch.tensor([True, True]))
    pixels = images(2) / 255 * 2 - 1
    with torch.no_grad():
        wanted = whole.vision_model(pixel_values=pixels)
    torch.testing.assert_close(features.pooled, wanted.pooler_output, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(features.regions, wanted.last_hidden_state, atol=1e-5, rtol=1e-4)
    assert encoder(images(2, 96), torch.tensor([True, True])).regions.shape == (2, 36, 32)


def test_pixels_are_normalised_as_imagenet_was() -> None:
    encoder, seen = load_image_encoder("resnet18", "random", size=SIZE), []
    encoder.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    image = images(2)
    encoder(image, torch.tensor([True, True]))
    wanted = torchvision.transforms.functional.normalize(
        image / 255, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    )
    torch.testing.assert_close(seen[0], wanted)


def test_pretrained_batch_norm_keeps_its_statistics_and_random_trains_them(weights: Path) -> None:
    for source, moves in (("random", True), (str(weights / "resnet18.pth"), False)):
        encoder = load_image_encoder("resnet18", source, size=SIZE).train()
        before = encoder.backbone.resnet.bn1.running_mean.clone()
        encoder(images(), PRESENT)
        assert torch.equal(encoder.backbone.resnet.bn1.running_mean, before) is not moves


def test_regions_of_a_resnet_are_its_last_feature_map(weights: Path) -> None:
    encoder = load_image_encoder("resnet18", str(weights / "resnet18.pth"), size=SIZE).eval()
    resnet = torchvision.models.resnet18(weights=None)
    resnet.load_state_dict(torch.load(weights / "resnet18.pth", weights_only=True))
    resnet.fc = nn.Identity()
    pixels = (images(2) / 255 - encoder.mean) / encoder.std
    wanted = resnet.eval()(pixels)
    features = encoder(images(2), torch.tensor([True, True]))
    torch.testing.assert_close(features.pooled, wanted)
    torch.testing.assert_close(features.regions.mean(1), wanted)


@pytest.mark.parametrize("file", ["resnet18.safetensors", "nested.pth"])
def test_other_files_of_the_same_weights_give_the_same(weights: Path, file: str) -> None:
    state = load_image_encoder("resnet18", str(weights / file), size=SIZE).state_dict()
    wanted = load_image_encoder("resnet18", str(weights / "resnet18.pth"), size=SIZE).state_dict()
    assert all(torch.equal(state[name], value) for name, value in wanted.items())


def test_pretrained_weights_are_read_from_torchs_cache(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cache = tmp_path / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    url = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.url
    (cache / url.rpartition("/")[2]).write_bytes((weights / "resnet18.pth").read_bytes())
    state = load_image_encoder("resnet18", "pretrained", size=SIZE).state_dict()
    wanted = load_image_encoder("resnet18", str(weights / "resnet18.pth"), size=SIZE).state_dict()
    assert all(torch.equal(state[name], value) for name, value in wanted.items())


def test_pretrained_weights_that_cannot_be_fetched_say_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def offline(*_: object, **__: object) -> None:
        raise torch.hub.URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(InputError, match=r"image\.weights: https://.*bring it here"):
        load_image_encoder("resnet18", "pretrained", size=SIZE)


@pytest.mark.parametrize("part", [0.0, 0.5])
def test_a_truncated_file_in_torchs_cache_is_named(
    part: float, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = torchvision_file(torchvision.models.ResNet18_Weights.IMAGENET1K_V1.url)
    file.parent.mkdir(parents=True)
    whole = (weights / "resnet18.pth").read_bytes()
    file.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(InputError, match=rf"^image\.weights: {file}: not a readable file of weig"):
        load_image_encoder("resnet18", "pretrained", size=SIZE)


def test_a_truncated_download_is_not_kept(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    half = tmp_path / "resnet18-f37072fd.pth"
    half.write_bytes((weights / "resnet18.pth").read_bytes()[:1000])
    known = type("Known", (), {"url": half.as_uri()})
    monkeypatch.setattr(image_module, "torchvision_weights", lambda *_: known)
    with pytest.raises(InputError, match=r"^image\.weights: file:.* could not be fetched .*hash"):
        load_image_encoder("resnet18", "pretrained", size=SIZE)
    assert not torchvision_file(known.url).exists()


@pytest.mark.parametrize("architecture", ["resnet50", "efficientnet-lite2"])
def test_a_deep_random_network_gives_features_of_ordinary_size(architecture: str) -> None:
    torch.manual_seed(0)
    encoder = load_image_encoder(architecture, "random", size=SIZE).eval()
    with torch.no_grad():
        assert 1e-3 < encoder(images(), PRESENT).regions[PRESENT].std() < 100


def test_clip_is_read_from_a_whole_clip_and_at_other_sizes(weights: Path) -> None:
    folder = str(weights / "clip-with-text")
    encoder = load_image_encoder("clip-vit-b-32", folder, size=SIZE).eval()
    clip = CLIPModel.from_pretrained(folder).vision_model.eval()
    pixels = (images(2) / 255 - encoder.mean) / encoder.std
    features = encoder(images(2), torch.tensor([True, True]))
    torch.testing.assert_close(features.pooled, clip(pixel_values=pixels).pooler_output)
    assert encoder(images(2, 96), torch.tensor([True, True])).regions.shape == (2, 36, 32)
    architecture = load_image_encoder("clip-vit-b-32", folder, size=SIZE, pretrained=False)
    assert architecture.state_dict().keys() == encoder.state_dict().keys()


def test_clip_vit_b_32_has_its_published_size() -> None:
    with torch.device("meta"):
        encoder = load_image_encoder("clip-vit-b-32", "pretrained", size=224, pretrained=False)
    assert sum(parameter.numel() for parameter in encoder.parameters()) == 87_456_000
    assert encoder.width == 768
    assert encoder.backbone.num_regions(224) == 49


def test_weights_that_do_not_fit_are_refused(weights: Path, tmp_path: Path) -> None:
    file = str(weights / "resnet18.pth")
    with pytest.raises(InputError, match="not weights of a resnet50"):
        load_image_encoder("resnet50", file, size=SIZE)
    with pytest.raises(InputError, match="not weights of a efficientnet-lite0"):
        load_image_encoder("efficientnet-lite0", file, size=SIZE)
    with pytest.raises(InputError, match="not weights of a efficientnet-lite2"):
        load_image_encoder("efficientnet-lite2", str(weights / "efficientnet-lite0.pth"), size=SIZE)
    with pytest.raises(InputError, match="expected a file of weights"):
        load_image_encoder("resnet18", str(tmp_path / "nowhere.pth"), size=SIZE)
    (tmp_path / "text.pth").write_text("not weights")
    (tmp_path / "text.safetensors").write_text("not weights")
    for name in ("text.pth", "text.safetensors"):
        with pytest.raises(InputError, match="not a readable file of weights"):
            load_image_encoder("resnet18", str(tmp_path / name), size=SIZE)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(InputError, match="named tensors"):
        load_image_encoder("resnet18", str(tmp_path / "list.pth"), size=SIZE)
    with pytest.raises(InputError, match="folder of a model saved by transformers"):
        load_image_encoder("clip-vit-b-32", file, size=SIZE)
    bert = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    BertModel(bert).save_pretrained(tmp_path / "bert")
    with pytest.raises(
        InputError, match="expected clip or clip_vision_model, found model_type 'bert'"
    ):
        load_image_encoder("clip-vit-b-32", str(tmp_path / "bert"), size=SIZE)
    with pytest.raises(InputError, match=r"image\.size: resnet18"):
        load_image_encoder("resnet18", "random", size=32)
