"""The content-addressed store: one digest a model, refusals, damage, a full disk."""

import hashlib
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serinus.engine.artifacts import ModelCorrupt, ModelStore, digest_of
from serinus.errors import InvalidParameterValue, ResourceDoesNotExist


@pytest.fixture
def model(tmp_path: Path) -> Path:
    directory = tmp_path / "model"
    (directory / "data").mkdir(parents=True)
    (directory / "MLmodel").write_text("flavors: {}\n")
    (directory / "data" / "weights.bin").write_bytes(b"\x00\x01")
    return directory


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "home")


def test_the_digest_is_the_documented_one(model):
    lines = b""
    for name, content in (("MLmodel", b"flavors: {}\n"), ("data/weights.bin", b"\x00\x01")):
        inner = hashlib.sha256(content).hexdigest()
        lines += f"{name}\0{len(content)}\0{inner}\n".encode()
    assert digest_of(model) == hashlib.sha256(lines).hexdigest()


def test_a_model_is_copied_read_only_and_found_by_its_digest(model, store):
    digest = store.add(model)
    path = store.path(digest)
    assert digest == digest_of(model) == digest_of(path)
    assert (path / "data" / "weights.bin").read_bytes() == b"\x00\x01"
    modes = {stat.S_IMODE(each.stat().st_mode) for each in path.rglob("*")}
    assert modes == {0o444, 0o555}
    store.verify(digest)


def test_a_later_change_of_the_source_does_not_reach_the_copy(model, store):
    digest = store.add(model)
    (model / "data" / "weights.bin").write_bytes(b"other")
    store.verify(digest)
    assert store.add(model) != digest


def test_adding_twice_is_adding_once(model, store):
    assert store.add(model) == store.add(model)
    assert len(list(store.root.iterdir())) == 1


def test_many_adding_at_once_agree(model, tmp_path):
    with ThreadPoolExecutor(8) as pool:
        digests = set(pool.map(lambda _: ModelStore(tmp_path / "home").add(model), range(16)))
    assert len(digests) == 1
    assert [each.name for each in (tmp_path / "home" / "models").iterdir()] == list(digests)


def test_what_does_not_belong_to_a_model_does_not_count(model):
    before = digest_of(model)
    (model / "registered_model_meta").write_text("model_version: '3'")
    (model / "data" / "__pycache__").mkdir()
    (model / "data" / "__pycache__" / "m.pyc").write_bytes(b"x")
    assert digest_of(model) == before


def test_names_and_contents_both_count(model):
    before = digest_of(model)
    (model / "data" / "weights.bin").rename(model / "data" / "w.bin")
    assert digest_of(model) != before


def test_damage_is_named_and_mended_by_adding_again(model, store):
    digest = store.add(model)
    damaged = store.path(digest) / "data" / "weights.bin"
    damaged.chmod(0o600)
    damaged.write_bytes(b"\x00\x02")
    with pytest.raises(ModelCorrupt, match="were changed"):
        store.verify(digest)
    assert store.add(model) == digest
    store.verify(digest)


@pytest.mark.parametrize("digest", ["", "..", "0" * 64, "../models", "Z" * 64])
def test_an_unknown_digest_is_said_to_be_unknown(store, digest):
    with pytest.raises(ResourceDoesNotExist, match="resolve its URI again"):
        store.path(digest)


def test_a_link_inside_the_model_becomes_the_file(model, store):
    (model / "alias.bin").symlink_to("data/weights.bin")
    copy = store.path(store.add(model)) / "alias.bin"
    assert not copy.is_symlink()
    assert copy.read_bytes() == b"\x00\x01"


def bad_absolute(model: Path) -> None:
    (model / "link").symlink_to("/etc/hostname")


def bad_relative(model: Path) -> None:
    (model.parent / "secret").write_text("x")
    (model / "data" / "link").symlink_to("../../secret")


def bad_directory(model: Path) -> None:
    (model / "link").symlink_to(model.parent, target_is_directory=True)


def bad_loop(model: Path) -> None:
    (model / "data" / "loop").symlink_to("..", target_is_directory=True)


def bad_dangling(model: Path) -> None:
    (model / "link").symlink_to("nothing")


def bad_fifo(model: Path) -> None:
    os.mkfifo(model / "pipe")


def bad_manifest(model: Path) -> None:
    (model / "MLmodel").unlink()


def bad_yaml(model: Path) -> None:
    (model / "MLmodel").write_text("a: [")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (bad_absolute, "leaves the model's directory"),
        (bad_relative, "leaves the model's directory"),
        (bad_directory, "leaves the model's directory"),
        (bad_loop, "its own parent"),
        (bad_dangling, "leads nowhere"),
        (bad_fifo, "neither a file nor a directory"),
        (bad_manifest, "no MLmodel file"),
        (bad_yaml, "not readable YAML"),
    ],
)
def test_what_is_no_safe_model_is_refused_and_leaves_nothing(model, store, spoil, words):
    spoil(model)
    with pytest.raises(InvalidParameterValue, match=words):
        store.add(model)
    assert list(store.root.iterdir()) == []


def test_a_model_that_holds_the_home_is_refused(model):
    with pytest.raises(InvalidParameterValue, match="another home"):
        ModelStore(model / ".serinus").add(model)


def test_a_full_disk_is_named_and_leaves_nothing(model, tmp_path):
    (model / "data" / "weights.bin").write_bytes(bytes(3_000_000))
    # A limit on the size of files stands in for a disk that is full.
    script = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from serinus.engine.artifacts import ModelStore, StoreFull\n"
        "store = ModelStore(Path(sys.argv[2]))\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n"
        "try:\n"
        "    store.add(Path(sys.argv[1]))\n"
        "except StoreFull as error:\n"
        "    print(error.message, list(store.root.iterdir()))\n"
    )
    home = tmp_path / "home"
    done = subprocess.run(
        [sys.executable, "-c", script, model, home], capture_output=True, text=True, check=True
    )
    assert str(home / "models") in done.stdout
    assert "free some space" in done.stdout
    assert done.stdout.strip().endswith("[]")
