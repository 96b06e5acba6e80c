"""The digest of files as they are now is the one they were pinned by."""

from pathlib import Path

from serinus.engine.artifacts import digest_of
from serinus.replica.inspector import Files
from serinus.replica.pinned import digest_now, looks


def _model(where: Path) -> Path:
    (where / "data" / "__pycache__").mkdir(parents=True)
    (where / "MLmodel").write_text("flavors: {}")
    (where / "data" / "model.pkl").write_bytes(b"\0" * 3_000_000)
    (where / "data" / "__pycache__" / "x.pyc").write_bytes(b"x")
    (where / "registered_model_meta").write_text("x")
    return where


def test_it_is_the_digest_of_the_model_store(tmp_path: Path) -> None:
    model = _model(tmp_path)
    before = digest_now(model)
    assert before == digest_of(model)
    (model / "data" / "model.pkl").write_bytes(b"\1" + b"\0" * 2_999_999)
    assert digest_now(model) == digest_of(model) != before


def test_what_was_touched_looks_different_without_being_read(tmp_path: Path) -> None:
    model = _model(tmp_path)
    files = Files(model)
    assert files.looks() == files.at_loading == looks(model)
    assert set(files.at_loading or ()) == {"MLmodel", "data/model.pkl"}
    (model / "MLmodel").write_text("flavors: {} ")
    assert files.looks() != files.at_loading
    (model / "extra").write_text("")
    assert files.digest() == digest_of(model)
    assert Files(tmp_path / "gone").looks() == {}
