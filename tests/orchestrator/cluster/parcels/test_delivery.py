"""Data and weights for nodes that have none: packaged by content, received once, put in place."""

from __future__ import annotations

import shutil
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orchestrator.cluster.parcels.blobs import pack, unpack
from orchestrator.cluster.parcels.delivery import (
    Delivery,
    delivered,
    find_data_root,
    is_here,
    package,
    wanted,
)
from orchestrator.config.sweep import SweepConfig
from orchestrator.store.cell_factory import CellFactory
from orchestrator.store.cells import Cell
from shapca.config import RuntimeConfig
from shapca.data.manifest import hash_file
from shapca.data.prepared import PreparedData
from shapca.errors import InputError
from shapca.storage import FolderStore
from tests.encoder_families import save_image_encoder
from tests.factories import tiny_config
from tests.stores import MemoryStore


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SHAPCA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def sweep_of(task: str = "mner", **overrides: object) -> SweepConfig:
    experiment = tiny_config(task, **overrides).model_dump(mode="json", exclude_defaults=True)  # type: ignore[arg-type]
    rate = {"type": "float", "low": 1e-4, "high": 1e-2, "log": True}
    return SweepConfig.model_validate(
        {"name": "sent", "experiment": experiment, "space": {"optimisation.learning_rate": rate}}
    )


def test_a_file_comes_back_from_its_pieces(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(range(256)) * 40)
    digest, store = hash_file(file), MemoryStore()
    assert pack(store, file, digest, piece_bytes=1000) == 10240
    assert pack(store, file, digest, piece_bytes=1000) == 0  # it is there
    assert len([name for name in store.list() if not name.endswith("json")]) == 11
    received = unpack(store, digest, tmp_path)
    assert received.read_bytes() == file.read_bytes()
    assert stat.S_IMODE(received.stat().st_mode) == 0o600


def test_a_file_is_fetched_once_however_many_ask(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 5000)
    digest = hash_file(file)
    store = MemoryStore()
    pack(store, file, digest, piece_bytes=1000)
    reads: list[str] = []

    class Counting(MemoryStore):
        def get(self, name: str) -> bytes | None:
            reads.append(name)
            return store.get(name)

    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: unpack(Counting(), digest, tmp_path), range(8)))
    assert len(set(paths)) == 1
    assert len(reads) == len(set(reads)) == 6


def test_what_was_cut_off_or_damaged_is_not_taken(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 5000)
    digest, store = hash_file(file), MemoryStore()
    with pytest.raises(InputError, match="changed while it was packaged"):
        pack(store, file, "0" * 64, piece_bytes=1000)
    with pytest.raises(InputError, match="not in the storage"):  # nothing was committed
        unpack(store, "0" * 64, tmp_path)
    pack(store, file, digest, piece_bytes=1000)
    store.objects[f"parcels/{digest}/000002"] = b"y" * 1000
    with pytest.raises(InputError, match="damaged"):
        unpack(store, digest, tmp_path)
    del store.objects[f"parcels/{digest}/000002"]
    with pytest.raises(InputError, match="piece 2"):
        unpack(store, digest, tmp_path)
    store.objects[f"parcels/{digest}/whole.json"] = b'{"size": 5000}'
    with pytest.raises(InputError, match=r"whole\.json is damaged: pieces: Field required"):
        unpack(store, digest, tmp_path)
    assert not list((tmp_path / "blobs").glob(".tmp-*"))


def test_only_what_cells_read_is_packaged(tiny_root: Path) -> None:
    whole = wanted(sweep_of(), tiny_root)
    text = wanted(sweep_of(**{"image.encoder": "none"}), tiny_root)
    splits = {"manifest.json", "train.jsonl", "valid.jsonl", "test.jsonl"}
    assert set(text.data["tiny-mner"]) == splits | {"contexts/captions.jsonl"}
    assert set(whole.data["tiny-mner"]) == {
        *splits, "contexts/captions.jsonl", "images.npy", "images.json",
    }  # fmt: skip
    assert not whole.weights


def test_pairs_of_choices_are_packaged_in_a_large_space(tiny_root: Path, tmp_path: Path) -> None:
    """The images of a data set that is not the first one are read by encoders that are not."""
    shutil.copytree(tiny_root / "tiny-mner", tmp_path / "other")
    (tmp_path / "tiny-mner").symlink_to(tiny_root / "tiny-mner")
    numbers = {
        f"alignment.{key}": {"type": "choice", "values": [n / 20 for n in range(1, 13)]}
        for key in ("alpha", "beta")
    }
    first = sweep_of(**{"image.encoder": "none"}).model_dump(mode="json")
    choices = {"data.dataset": ["tiny-mner", "other"], "image.encoder": ["none", "resnet18"]}
    space = {key: {"type": "choice", "values": values} for key, values in choices.items()}
    sweep = SweepConfig.model_validate({**first, "space": space | numbers})
    assert all("images.npy" in files for files in wanted(sweep, tmp_path).data.values())


def test_a_node_without_data_gets_them_and_the_same_cell(
    tiny_root: Path, tmp_path: Path, cache: Path
) -> None:
    root = tmp_path / "data"
    shutil.copytree(tiny_root / "tiny-mner", root / "tiny-mner")
    sweep, store = sweep_of(), FolderStore(tmp_path / "storage")
    cell = CellFactory(root).cell(sweep.resolve({"optimisation.learning_rate": 1e-3}), 1)
    delivery = wanted(sweep, root)
    assert is_here(delivery, root)
    package(store, sweep.name, delivery, root)
    runtime = RuntimeConfig(data_root=root)
    assert delivery.receive(store, cell, runtime) == (cell, runtime)  # as long as they are here
    assert not cache.exists()

    shutil.rmtree(root)
    assert not is_here(delivery, root)
    sent = Delivery.from_json(delivery.to_json())
    there, settings = sent.receive(store, cell, runtime)
    assert there.key == cell.key
    data = PreparedData.load(settings.data_root / "tiny-mner")
    assert data.part_hashes(cell.config) == dict(cell.parts)
    images = data.image_store()
    assert images is not None
    assert images.array.shape[0] == len(images)  # mapped, not read
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700  # so what lies in it is the user's alone

    # A driver without the folder finds what was packaged for the sweep.
    assert delivered(store, sweep.name) == sent
    found = find_data_root(store, sweep, root)
    assert CellFactory(found).cell(cell.config, 1).key == cell.key


def test_other_data_of_the_same_name_are_not_taken(
    tiny_root: Path, tmp_path: Path, cache: Path
) -> None:
    sweep, store = sweep_of(), FolderStore(tmp_path / "storage")
    delivery = wanted(sweep, tiny_root)
    package(store, sweep.name, delivery, tiny_root)
    other = tmp_path / "other" / "tiny-mner"
    shutil.copytree(tiny_root / "tiny-mre", other)
    cell = CellFactory(tiny_root).cell(sweep.resolve({"optimisation.learning_rate": 1e-3}), 1)
    _, settings = delivery.receive(store, cell, RuntimeConfig(data_root=other.parent))
    assert settings.data_root != other.parent
    assert PreparedData.load(settings.data_root / "tiny-mner").labels.task == "mner"


def test_a_local_encoder_goes_along(tiny_root: Path, tmp_path: Path, cache: Path) -> None:
    encoder = tmp_path / "encoder"
    encoder.mkdir()
    for name in ("model.safetensors", "vocab.txt", "notes.bin"):
        (encoder / name).write_bytes(name.encode())  # the content is not looked into here
    (encoder / "config.json").write_text('{"model_type": "bert"}')
    sweep = sweep_of(**{"text.encoder": str(encoder), "image.encoder": "none"})
    store = FolderStore(tmp_path / "storage")
    cell = CellFactory(tiny_root).cell(sweep.resolve({"optimisation.learning_rate": 1e-3}), 1)
    delivery = wanted(sweep, tiny_root)
    assert "notes.bin" not in delivery.weights[str(encoder)]
    package(store, sweep.name, delivery, tiny_root)
    shutil.rmtree(encoder)
    received = Cell.from_json(cell.to_json())  # as a trial reads it
    there, _ = delivery.receive(store, received, RuntimeConfig(data_root=tiny_root))
    place = Path(there.config.text.encoder)
    assert place.is_relative_to(cache)
    assert there.key == cell.key

    from shapca.model.encoders import weights_fingerprints

    assert weights_fingerprints(there.config) == dict(cell.weights)


def test_a_local_image_encoder_goes_along(tiny_root: Path, tmp_path: Path, cache: Path) -> None:
    encoder = save_image_encoder("siglip", tmp_path / "siglip")
    places = {"image.encoder": str(encoder), "image.weights": "pretrained"}
    sweep, store = sweep_of(**places), FolderStore(tmp_path / "storage")
    cell = CellFactory(tiny_root).cell(sweep.resolve({"optimisation.learning_rate": 1e-3}), 1)
    delivery = wanted(sweep, tiny_root)
    assert "preprocessor_config.json" in delivery.weights[str(encoder)]
    package(store, sweep.name, delivery, tiny_root)
    shutil.rmtree(encoder)
    received = Cell.from_json(cell.to_json())
    there, _ = delivery.receive(store, received, RuntimeConfig(data_root=tiny_root))
    assert Path(there.config.image.encoder).is_relative_to(cache)
    assert there.config.image.weights == "pretrained"
    assert there.key == cell.key


def test_names_that_leave_their_folder_are_refused() -> None:
    for name in ("../x", "/x", "a/../../x"):
        for record in (
            {"data": {"tiny": {name: "0" * 64}}, "weights": {}},
            {"data": {name: {"x": "0" * 64}}, "weights": {}},
            {"data": {}, "weights": {"/bert": {name: "0" * 64}}},
        ):
            with pytest.raises(InputError, match="is not allowed"):
                Delivery.from_json(record)
    with pytest.raises(InputError, match="expected a SHA-256"):
        Delivery.from_json({"data": {"tiny": {"x": "../../x"}}, "weights": {}})
