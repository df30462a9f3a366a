"""Preparing many posts with pictures, undisturbed and killed in the middle: time, memory, hashes.

    python -m tests.benchmarks.prepare_many --posts 20000 --folder /tmp/many

Draws posts in the form of Twitter-17 and JPEG files of usual sizes (about 1.5 GB for 20,000, and
4 GB for each of two prepared folders), runs `shapca data prepare` once undisturbed and once with a
kill -9 at the middle of the pictures, compares the two results, and removes everything.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

SIZES = ((1200, 675), (680, 510), (600, 800), (1024, 1024))


def draw(folder: Path, num_posts: int) -> None:
    """Write the posts to `text` and the pictures to `pictures`."""
    (folder / "text").mkdir()
    (folder / "pictures").mkdir()
    words = random.Random(0)
    pixels = np.random.default_rng(0)
    names = [f"post_{number:06}" for number in range(num_posts)]
    cuts = {"train": (0.0, 0.7), "valid": (0.7, 0.85), "test": (0.85, 1.0)}
    for split, (start, end) in cuts.items():
        with (folder / "text" / f"{split}.txt").open("w", encoding="utf-8") as file:
            for name in names[int(start * num_posts) : int(end * num_posts)]:
                file.write(f"IMGID:{name}\n")
                for _ in range(words.randint(8, 25)):
                    word = words.choice(("the", "Lake", "sings", "Mary", "at", "red", "new", "won"))
                    file.write(f"{word}{words.randint(0, 99)}\tO\n")
                file.write("\n")
    for number, name in enumerate(names):
        width, height = SIZES[number % len(SIZES)]
        coarse = pixels.integers(0, 256, (height // 24, width // 24, 3)).astype(np.uint8)
        picture = Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR)
        picture.save(folder / "pictures" / f"{name}.jpg", quality=85)


def start(folder: Path, out: Path) -> subprocess.Popen[bytes]:
    """`shapca data prepare` in a process of its own."""
    source = ("--source", str(folder / "text"), "--images", str(folder / "pictures"))
    command = [sys.executable, "-m", "shapca", "data", "prepare", "twitter2017", *source]
    return subprocess.Popen([*command, "--out", str(out)], stdout=subprocess.DEVNULL)


def wait(process: subprocess.Popen[bytes], began: float) -> str:
    """Wall time, CPU time and peak memory of a process that ends well."""
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"prepare failed with status {status}")
    seconds = time.monotonic() - began
    return (
        f"{seconds:.0f} s, CPU {usage.ru_utime + usage.ru_stime:.0f} s, "
        f"peak memory {usage.ru_maxrss / 1024:.0f} MiB"
    )


def main() -> None:
    """Measure, print, clean up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--posts", type=int, default=20_000)
    parser.add_argument("--folder", type=Path, required=True, help="a folder that does not exist")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    folder.mkdir(parents=True)
    try:
        draw(folder, arguments.posts)
        began = time.monotonic()
        print("undisturbed:", wait(start(folder, folder / "whole"), began), flush=True)
        journal = folder / ".killed.partial" / ".images.journal"
        began = time.monotonic()
        process = start(folder, folder / "killed")
        while not journal.exists() or journal.read_bytes().count(b"\n") < arguments.posts // 2:
            time.sleep(0.5)
            if process.poll() is not None:
                raise SystemExit("prepare ended before it could be killed")
        process.send_signal(signal.SIGKILL)
        process.wait()
        print(f"killed after {time.monotonic() - began:.0f} s", flush=True)
        began = time.monotonic()
        print("the rest:", wait(start(folder, folder / "killed"), began))
        manifests = [
            json.loads((folder / name / "manifest.json").read_text())
            for name in ("whole", "killed")
        ]
        print("the same bytes:", manifests[0]["parts"] == manifests[1]["parts"])
        print("left behind:", sorted(path.name for path in folder.iterdir()))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
