"""What a frozen image encoder gives for a data set's pictures, computed once and kept.

N pictures stored, R regions, H_v width of the image encoder.

Features lie in `.picture-features/<key>/` beside the prepared data set, shared by all runs that
read there; the key names pictures, weights, size and device by their content. Each picture is
encoded by itself, so that its features do not depend on what was asked for before. Only pictures
that were asked for take room.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from shapca.data.batches.dataset import EncodedSplit
from shapca.data.batches.pictures import PictureFeatures, Pictures
from shapca.data.batches.ragged import Ints
from shapca.data.prepared import PreparedData
from shapca.model.encoders import ImageEncoder
from shapca.storage import to_json
from shapca.storage.files import below, half_written, refuse_link
from shapca.storage.locks import held

FOLDER = ".picture-features"
FEATURES, DONE = "features.npy", "done.npy"
LAYOUT = 1
"""Rises where the files, or what an encoder computes of the same weights, change."""
SHARE_OF_DISK = 0.9

logger = logging.getLogger(__name__)


def with_picture_features(
    split: EncodedSplit, encoder: ImageEncoder | None, data: PreparedData
) -> EncodedSplit:
    """A split whose pictures are encoded already, if the encoder is frozen; else the split as is.

    It is also left as it is, with a warning, where features cannot be kept.

    Args:
        split: Posts of the data set.
        encoder: The image encoder, on its device.
        data: The data set.
    """
    pictures = split.pictures
    if encoder is None or not encoder.freeze or pictures is None or not pictures.present.any():
        return split
    root, key = data.folder.absolute().parent, _key(encoder, pictures, data)
    folder = below(root, f"{FOLDER}/{key}")
    wanted = np.unique(pictures.places[pictures.present])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with held(folder):
            problem = _encode(encoder, pictures, wanted, folder)
    except OSError as error:
        problem = error.strerror or str(error)
    if problem:
        logger.warning(
            "%s: %s; pictures are encoded in every epoch, not once", folder.parent, problem
        )
        return split
    return split.with_features(PictureFeatures(folder / FEATURES, pictures.places))


def _key(encoder: ImageEncoder, pictures: Pictures, data: PreparedData) -> str:
    weights = hashlib.sha256()
    for name, value in (*encoder.backbone.state_dict().items(), *encoder.named_buffers()):
        weights.update(f"{name} {tuple(value.shape)}".encode())
        weights.update(value.cpu().numpy().tobytes())
    identity = {
        "pictures": data.manifest.image_hash(),
        "weights": weights.hexdigest(),
        "encoder": repr(encoder.backbone),
        "size": pictures.size,
        "device": encoder.mean.device.type,
        "torch": torch.__version__,
        "layout": LAYOUT,
    }
    return hashlib.sha256(to_json(identity)).hexdigest()[:32]


def _encode(encoder: ImageEncoder, pictures: Pictures, wanted: Ints, folder: Path) -> str | None:
    """Encode what is not there yet; what is in the way, or `None`."""
    num_rows = encoder.backbone.num_regions(pictures.size) + 1  # the last holds the global feature
    shape = (len(pictures.store), num_rows, encoder.width)
    if not (folder / FEATURES).exists():
        (folder / DONE).unlink(missing_ok=True)
    done = _open(folder / DONE, shape[:1], np.uint8)
    missing = wanted[done[wanted] == 0]
    if len(missing) == 0:
        return None
    num_bytes = num_rows * encoder.width * 4  # of a picture
    need, free = len(missing) * num_bytes, shutil.disk_usage(folder).free
    if need > SHARE_OF_DISK * free:
        return f"{need / 2**30:.1f} GiB of features do not fit, {free / 2**30:.1f} GiB are free"
    logger.info("encoding %d pictures once (%.2f GiB in %s)", len(missing), need / 2**30, folder)
    start = _open(folder / FEATURES, shape, np.float32).offset
    # Written as a file: through the memory map, a full disk would kill the process.
    with (folder / FEATURES).open("r+b") as file:
        for place in missing:
            file.seek(start + int(place) * num_bytes)
            file.write(_features(encoder, pictures.centre(place)))
        file.flush()
        os.fsync(file.fileno())
    done[missing] = 1  # only now: a process killed above has done nothing
    done.flush()
    return None


@torch.inference_mode()
def _features(encoder: ImageEncoder, pixels: NDArray[np.uint8]) -> bytes:
    """Regions and global feature of a picture (3, S, S), as float32."""
    device = encoder.mean.device
    present = torch.ones(1, dtype=torch.bool, device=device)
    encoded = encoder(torch.from_numpy(pixels[None]).to(device), present)
    rows = torch.cat((encoded.regions[0], encoded.pooled))  # (R + 1, H_v)
    return rows.float().cpu().numpy().tobytes()


def _open(file: Path, shape: tuple[int, ...], dtype: type) -> np.memmap:
    """A file as an array that can be written; a new one holds zeros and takes no room."""
    refuse_link(file)
    if not file.exists():
        partial = half_written(file)
        np.lib.format.open_memmap(partial, mode="w+", dtype=dtype, shape=shape).flush()
        partial.replace(file)
    return np.lib.format.open_memmap(file, mode="r+")
