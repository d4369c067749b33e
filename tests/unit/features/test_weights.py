"""Published weights: where they come from, that their hash is checked, and what a user without internet is told."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
import torchvision
from PIL import Image
from repository import REPOSITORY

from stratamil.core.errors import UserError
from stratamil.features import download, encoder_registry, torchvision_networks

SCRIPTS = REPOSITORY / "scripts"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """torch's cache of downloaded files, empty."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    (tmp_path / "hub/checkpoints").mkdir(parents=True)
    return tmp_path / "hub/checkpoints"


def test_lite0_is_the_pinned_file(tmp_path, monkeypatch):
    assert download.fetch("efficientnet_lite0", "default", tmp_path / "a.pth") == download.LITE0_SHA256
    with pytest.raises(UserError, match=f"its sha256 is {download.LITE0_SHA256}, not {'0' * 64}"):
        download.fetch("efficientnet_lite0", "default", tmp_path / "b.pth", "0" * 64)
    monkeypatch.setattr(download, "LITE0_SHA256", "1" * 64)
    with pytest.raises(UserError, match=f"not {'1' * 64}: delete it and run again"):
        download.fetch("efficientnet_lite0", "default", tmp_path / "b.pth")
    assert [path.name for path in tmp_path.iterdir()] == ["a.pth"]


def test_torchvision_s_file_is_checked_by_the_hash_in_its_name_also_from_the_cache(tmp_path, cache, monkeypatch):
    name = Path(torchvision_networks.published("resnet18", "default").url).name
    cached = cache / name
    cached.write_bytes(b"cut short")
    found = hashlib.sha256(b"cut short").hexdigest()
    with pytest.raises(UserError, match=rf"{name}: its sha256 is {found}, not f37072fd: delete it"):
        download.fetch("resnet18", "default", tmp_path / "r.pth")
    right = cached.with_name(f"resnet18-{found[:8]}.pth")
    cached.rename(right)

    class Published:
        url = f"https://example.org/{right.name}"

    monkeypatch.setattr(torchvision_networks, "published", lambda *_: Published)
    assert download.fetch("resnet18", "default", tmp_path / "r.pth") == found
    assert (tmp_path / "r.pth").read_bytes() == b"cut short"


def test_without_internet_one_line_says_what_to_copy_where(tmp_path, cache, monkeypatch):
    def refuse(*_, **__):
        raise OSError("no route")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    with pytest.raises(
        UserError, match=r"https://.*resnet18-.*\.pth: .*no route.*copy it to .*resnet18-.*set embed\.w"
    ):
        download.fetch("resnet18", "default", tmp_path / "r.pth")
    with pytest.raises(UserError, match=r"set default, none, IMAGENET1K_V1 or a \.pth file"):
        download.fetch("resnet18", "IMAGENET1K_V9", tmp_path / "r.pth")
    with pytest.raises(UserError, match=r"kimianet needs your consent.*set embed\.weights to its path"):
        download.fetch("kimianet", "default", tmp_path / "r.pth")
    assert not list(tmp_path.glob("r.pth"))


def embed_script(folder, encoder, *flags):
    """Run scripts/embed.py on two patches, with every socket refused."""
    (folder / "patches").mkdir(exist_ok=True)
    for patch in (0, 1):
        Image.new("RGB", (40, 40), (200, 90 * patch, 160)).save(folder / f"patches/{patch}.png")
    rows = {"case_id": "1", "stain": "h&e", "slice_id": "match_1", "patch": [0, 1], "path": ["0.png", "1.png"]}
    pd.DataFrame(rows).to_parquet(folder / "patches.parquet")
    pd.DataFrame({"case_id": ["1"], "status": ["used"]}).to_csv(folder / "cases.csv", index=False)
    (folder / "sitecustomize.py").write_text(
        "import socket\n"
        "def refuse(*_, **__):\n"
        "    raise SystemExit('the network was asked for')\n"
        "socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse\n"
    )
    command = [
        sys.executable, SCRIPTS / "embed.py", "--encoder", encoder, *flags, "--shard", "0", "--shards", "1",
        "--patches-table", "patches.parquet", "--cases", "cases.csv", "--patches", "patches",
        "--output", "out.h5", "--cache", "cache/out.h5",
    ]  # fmt: skip
    path = {"PYTHONPATH": str(folder), "TORCH_HOME": str(folder / "none"), "HF_HOME": str(folder / "none")}
    return subprocess.run(command, cwd=folder, env=os.environ | path, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.long
def test_embedding_never_uses_the_network(tmp_path):
    download.fetch("efficientnet_lite0", "default", tmp_path / "lite0.pth")
    torch.save(torchvision.models.squeezenet1_1(weights=None).state_dict(), tmp_path / "s.pth")
    runs = [("efficientnet_lite0", "lite0.pth"), ("squeezenet1_1", "s.pth"), ("stain_stats", None)]
    for encoder, file in runs:
        done = embed_script(tmp_path, encoder, *(["--weights-file", file] if file else []))
        assert done.returncode == 0, done.stderr
    absent = embed_script(tmp_path, "resnet18", "--weights-file", "none.pth")
    assert absent.returncode == 1 and absent.stderr.count("\n") == 1 and "none.pth: no such file" in absent.stderr


@pytest.mark.slow
@pytest.mark.long
def test_embedding_with_timm_never_uses_the_network(tmp_path):
    timm = pytest.importorskip("timm")
    torch.save(timm.create_model("resnet18").state_dict(), tmp_path / "r.pth")
    done = embed_script(tmp_path, "timm:resnet18", "--weights-file", "r.pth", "--input-size", "64")
    assert done.returncode == 0, done.stderr


def test_names_of_fetched_files_are_safe_and_of_their_own():
    names = [("densenet121", "default"), ("hf-hub:MahmoodLab/UNI", "default"), ("uni", "default"), ("resnet18", "V2")]
    found = [encoder_registry.fetched(*name) for name in names]
    assert found == [
        "densenet121_default.pth", "hf_hub_mahmoodlab_uni_default.weights", "uni_default.weights", "resnet18_V2.pth",
    ]  # fmt: skip
    assert encoder_registry.fetched("uni", "x.bin") is encoder_registry.fetched("uni", "none") is None


@pytest.mark.parametrize(
    "encoder, weights, said",
    [
        ("resnet34", "resnet34_default.pth", "pretrained on ImageNet"),
        ("densenet121", "densenet121_IMAGENET1K_V1.pth", "pretrained on ImageNet"),
        ("densenet121", "densenet121_of_our_own.pth", "own weights"),
        ("kimianet", "KimiaNetPyTorchWeights.pth", "own weights"),
        ("timm:resnet18", "timm_resnet18_default.weights", "pretrained, weights of timm"),
        ("densenet121", "none", "random weights"),
        ("stain_stats", "none", ""),
        ("densenet121", None, ""),
    ],
)
def test_what_the_weights_are_is_told_where_it_is_known(encoder, weights, said):
    assert encoder_registry.pretraining(encoder, weights) == said
