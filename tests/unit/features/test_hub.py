"""The Hugging Face Hub by its own client, against a server on loopback that answers as the Hub does."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hub_server import COMMIT, LARGE, Hub, described
from PIL import Image
from repository import REPOSITORY

from stratamil.core.errors import UserError
from stratamil.features import download, hub, networks
from stratamil.workflow import doctor

huggingface_hub = pytest.importorskip("huggingface_hub", reason="needs the extra of requirements-timm.txt")
from huggingface_hub import constants, file_download  # noqa: E402 - only where the extra is

pytestmark = pytest.mark.slow

NAME = "lab/tiny-uni"
WEIGHTS = bytes(range(256)) * 64
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()
FILES = {"config.json": described("vit_tiny_patch16_224"), "pytorch_model.bin": WEIGHTS}
# What UNI's card gives timm, in a network of 0.3 million parameters.
UNI = {
    "img_size": 32, "patch_size": 16, "embed_dim": 64, "depth": 2, "num_heads": 2, "init_values": 1e-5,
    "reg_tokens": 2, "num_classes": 0, "dynamic_img_size": True,
}  # fmt: skip


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A Hub with NAME, gated for those without the token `right`; the client asks it, has no login and no cache."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(file_download.time, "sleep", lambda seconds: None)
    with Hub(
        {NAME: dict(FILES), "lab/gated": dict(FILES)}, {"lab/gated"}, {"right": {"lab/gated"}, "other": set()}
    ) as it:
        monkeypatch.setattr(constants, "ENDPOINT", it.site)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", it.site + "/{repo_id}/resolve/{revision}/{filename}"
        )
        yield it


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out/x.weights"


def refused(out, name=NAME, **settings):
    """The one line of a fetch that fails; nothing is left of it."""
    with pytest.raises(UserError) as error:
        download.fetch(f"hf-hub:{name}", "default", out, **settings)
    (line,) = error.value.problems
    assert "\n" not in line and not out.exists() and not list(out.parent.glob(".hub_*"))
    return line


def test_a_file_is_fetched_byte_for_byte_at_one_commit_and_the_login_stays_at_the_hub(served, out, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "right")
    assert download.fetch("hf-hub:lab/gated", "default", out) == SHA256
    assert out.read_bytes() == WEIGHTS and json.loads(out.with_suffix(".json").read_text())["architecture"]
    assert sorted(path.name for path in out.parent.iterdir()) == ["x.json", "x.weights"]
    # of main is asked once; then the commit that it was
    assert [each.path.split("/")[4] for each in served.of("pytorch_model.bin")] == ["main", COMMIT]
    assert {each.path.split("/")[4] for each in served.of("resolve/" + COMMIT + "/config.json")} <= {COMMIT}
    (storage,) = served.of(SHA256)
    assert not storage.login and all(each.login for each in served.of("pytorch_model.bin"))


def test_safetensors_are_taken_first_and_a_repository_without_weights_is_one_line(served, out):
    served.repositories[NAME]["model.safetensors"] = b"safe" * LARGE
    download.fetch(f"hf-hub:{NAME}", "default", out)
    assert out.read_bytes() == b"safe" * LARGE
    served.repositories[NAME] = {"config.json": FILES["config.json"]}
    assert "has no model.safetensors or pytorch_model.bin: download" in refused(out.with_name("y.weights"))


def test_a_cut_connection_is_resumed_where_it_ended(served, out, monkeypatch):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)  # what it keeps of a file is a multiple of this
    served.cuts = [5000, 2000]
    assert download.fetch(f"hf-hub:{NAME}", "default", out) == SHA256
    assert [each.range for each in served.of(SHA256)] == [None, "bytes=5000-", "bytes=7000-"]


def test_a_connection_that_is_cut_again_and_again(served, out):
    served.cuts, served.forever = [5000, 0], True
    line = refused(out)
    assert f"https://huggingface.co/{NAME}: could not be downloaded (" in line
    assert f"copy it to {out.parent}/x.safetensors (and config.json to {out.parent}/x.json)" in line
    assert 2 < len(served.of(SHA256)) < 10


def test_what_is_not_what_the_hub_states_is_refused(served, out):
    served.changed = True
    line = refused(out)
    assert (
        f"not {SHA256}: run again; if it stays so, a proxy changes it" in line and f"/tree/{COMMIT}: its sha256" in line
    )
    served.changed = False
    assert f"its sha256 is {SHA256}, not {'0' * 64}: correct embed.weights_sha256" in refused(out, sha256="0" * 64)


@pytest.mark.parametrize(
    ("token", "said"),
    [
        (None, "gated, and there is no login here: accept its licence on that page, log in with `hf auth login`"),
        ("other", "gated, and your login has no access: accept its licence on that page with the same account"),
        ("wrong", "the Hub does not accept your login: renew it with `hf auth login`, or correct HF_TOKEN"),
    ],
)
def test_gated(served, out, monkeypatch, token, said):
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    assert f"https://huggingface.co/lab/gated: {said}" in refused(out, "lab/gated")
    assert (said in hub.refusal("hf-hub:lab/gated") and hub.refusal(f"hf-hub:{NAME}") is None) or token == "wrong"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("lab/none", "lab/none: no such repository, or a private one that your login does not see: correct embed.enc"),
        (f"{NAME}@v9", f"{NAME}: no revision v9: correct what follows the @ in embed.encoder"),
        ("a--b/c", "a--b/c: no such repository"),
    ],
)
def test_what_is_not_there(served, out, name, said):
    assert said in refused(out, name)


@pytest.mark.parametrize("encoder", ["uni", "timm:vit_tiny_patch16_224"])
def test_without_the_hub_a_known_network_needs_its_weights_alone(served, out, encoder):
    served.close()
    with pytest.raises(UserError) as error:
        download.fetch(encoder, "default", out)
    (line,) = error.value.problems
    assert "could not be downloaded (" in line and "config.json" not in line
    assert line.endswith(f"copy it to {out.parent}/x.safetensors and set embed.weights to that path")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_hub_that_is_down_for_a_while(served, out, status):
    served.status = status
    assert f"{NAME}: the Hub answers {status}: run again later, or download it" in refused(out)


def test_offline_afterwards_what_the_client_has_cached_is_used(served, out, monkeypatch):
    cached = [huggingface_hub.hf_hub_download(NAME, name) for name in FILES][1]
    served.asked.clear()
    download.fetch(f"hf-hub:{NAME}", "default", out)  # on line: not fetched again
    assert not served.of(SHA256) and Path(cached).read_bytes() == out.read_bytes() == WEIGHTS
    served.close()
    again = out.with_name("again.weights")
    assert download.fetch(f"hf-hub:{NAME}", "default", again) == SHA256
    assert Path(cached).is_file() and again.with_suffix(".json").is_file()
    assert "lab/other: could not be downloaded" in refused(out.with_name("z.weights"), "lab/other")
    Path(cached).resolve().write_bytes(b"damaged")
    line = refused(out.with_name("z.weights"))
    assert line.startswith(cached) and f"not {SHA256}: delete it and run again" in line


def test_the_doctor_says_what_the_first_run_would_run_into(served, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_ENDPOINT", served.site)
    encoders = [("hf-hub:lab/gated", "default"), (f"hf-hub:{NAME}", "default")]
    gated, there = doctor.weights(doctor.Study(encoders=encoders))
    assert gated.state == "wrong" and "gated, and there is no login here" in gated.what
    assert there.state == "note" and "the first run fetches them" in there.what


def test_the_whole_way_from_the_hub_to_features_without_it(tmp_path):
    """scripts/weights.py with HF_ENDPOINT; then the Hub is gone, and the features are those of timm's own network."""
    timm = pytest.importorskip("timm")
    torch.manual_seed(3)
    network = timm.create_model("vit_large_patch16_224", **UNI).eval()
    (tmp_path / "w").mkdir()
    safetensors.torch.save_file(network.state_dict(), tmp_path / "model.safetensors")
    made = {name: value for name, value in UNI.items() if name not in ("num_classes", "dynamic_img_size")}
    given = {"mean": [0.7, 0.6, 0.5], "std": [0.2, 0.3, 0.4], "input_size": [3, 32, 32]}
    config = described("vit_large_patch16_224", model_args=made, pretrained_cfg=given)
    with Hub({NAME: {"config.json": config, "model.safetensors": (tmp_path / "model.safetensors").read_bytes()}}) as it:
        it.cuts = [100_000]
        command = [
            sys.executable,
            REPOSITORY / "scripts/weights.py",
            "--encoder",
            f"hf-hub:{NAME}",
            "--weights",
            "default",
        ]
        asks = os.environ | {"HF_ENDPOINT": it.site, "NO_PROXY": "127.0.0.1", "HF_HOME": str(tmp_path / "hf")}
        done = subprocess.run(
            [*command, "--output", tmp_path / "w/tiny.weights"], env=asks, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "hf/hub").exists()  # a home folder may have little room
    encoder = networks.load(f"hf-hub:{NAME}", tmp_path / "w/tiny.weights", precision="fp32", device="cpu")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    pixels = torch.from_numpy(np.asarray(Image.open(tmp_path / "a.png")).copy())[None]
    normed = (pixels.permute(0, 3, 1, 2) / 255 - torch.tensor(given["mean"]).view(3, 1, 1)) / torch.tensor(
        given["std"]
    ).view(3, 1, 1)
    with torch.inference_mode():
        torch.testing.assert_close(encoder(pixels), network(normed), rtol=1e-4, atol=1e-5)
    assert (
        encoder.identity["weights_sha256"] == hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest()
    )
    (tmp_path / "w/tiny.json").unlink()
    with pytest.raises(UserError, match=rf"tiny\.json: not the description.*copy config\.json of https://hugg.*{NAME}"):
        networks.load(f"hf-hub:{NAME}", tmp_path / "w/tiny.weights")
