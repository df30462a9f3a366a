"""Where the four benchmarks are obtained: text, captions and pictures, and under what terms.

None of it is part of this project. Hashes are of the files at the commits named here; a file with
another hash is taken as well, and reported as another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from shapca.config import Task
from shapca.data.preparation.readers import jmere, mnre, twitter
from shapca.data.schema import SPLITS
from shapca.errors import InputError

HASHES = Path(str(files("shapca"))) / "assets" / "benchmark-files.sha256"


@dataclass(frozen=True)
class Repository:
    """A public git repository that holds some of a benchmark's files.

    Attributes:
        url: Its address.
        commit: The commit whose files are known here.
        folder: Where the files lie in it.
        holds: What is there.
        terms: Its licence, as far as it names one.
    """

    url: str
    commit: str
    folder: str
    holds: str
    terms: str


@dataclass(frozen=True)
class BenchmarkSource:
    """What a user needs to know to bring one benchmark here.

    Attributes:
        name: As `shapca data prepare` calls it.
        task: Which task it serves.
        title: Its name and who published it.
        repositories: Where text and captions are.
        splits: For each split the names under which its file goes round, the first being ours.
        marks: A folder of the splits has one of these in its path, since their names are common;
            empty: the names themselves are distinctive.
        optional: Our name of a further file to the names under which it goes round.
        counts: Examples of each split.
        images: Where the pictures are, and how they are laid out.
        image_example: The name of one picture.
        num_images: Pictures that the text names.
        terms: What using the data means.
    """

    name: str
    task: Task
    title: str
    repositories: tuple[Repository, ...]
    splits: Mapping[str, tuple[str, ...]]
    marks: tuple[str, ...]
    counts: Mapping[str, int]
    images: str
    image_example: str
    terms: str
    optional: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def hashes(self) -> dict[str, str]:
        """Our name of a file to its SHA-256 at the commits named, where it is known."""
        lines = (line.split("  ", 1) for line in HASHES.read_text(encoding="utf-8").splitlines())
        known = {file: digest for digest, file in lines}
        start = f"{self.name}/"
        return {key.removeprefix(start): known[key] for key in known if key.startswith(start)}

    @property
    def folders(self) -> set[str]:
        """Where the files lie in the repositories named here."""
        return {repository.folder for repository in self.repositories}

    @property
    def tree(self) -> tuple[str, ...]:
        """The files that `prepare` expects, then those that it can use."""
        return (*(names[0] for names in self.splits.values()), *self.optional)

    @property
    def captions(self) -> dict[str, list[str]]:
        """Context sets by name, with their files among `optional`, train before valid and test."""
        sets: dict[str, list[str]] = {}
        for file in self.optional:
            stem = file.rpartition("/")[2].rpartition(".")[0]
            if file.startswith("captions"):
                parts = stem.removeprefix("captions_").split("_")
                sets.setdefault(parts[0], []).append(file)
        return sets

    def prepare_command(self, source: str = "SOURCE") -> str:
        """The command that makes a prepared folder of all that is named here."""
        sets = " ".join(
            f"--contexts {name}=" + ",".join(f"{source}/{file}" for file in files)
            for name, files in list(self.captions.items())[:1]
        )
        return (
            f"shapca data prepare {self.name} --source {source} --images IMAGES"
            + (f" {sets}" if sets else " --contexts NAME=FILE")
            + f" --out data/{self.name}"
        )

    def to_json(self) -> dict[str, Any]:
        """As `shapca data sources --json` prints it."""
        record = asdict(self)
        record["tree"] = list(self.tree)
        record["hashes"] = self.hashes
        record["checks"] = list(CHECKS)
        record["prepare"] = self.prepare_command()
        return record


CHECKS = (
    "every line or record is read strictly; the first that does not fit ends the work, and is "
    "named by file and line",
    "labels are those of the benchmark; spans lie within the words; every example id is unique",
    "pictures are found by id in any folder below IMAGES; two different ones of one id are refused",
    "pictures that are missing or cannot be read are counted, and masked in training",
    "captions that are missing, empty, conflicting or of no post are counted and shown",
    "source files, captions and every part that is written are hashed into manifest.json",
)
"""How `shapca data prepare` checks what it is given."""

_TWITTER_TERMS = (
    "no licence; the repository says that using the data means accepting the copyrights set by "
    "Twitter and the data sets' providers"
)
_NO_LICENCE = "no licence file"
_UMT = "https://github.com/jefferyYu/UMT"
_PGIM = "https://github.com/JinYuanLi0012/PGIM"
_CATR = "https://github.com/codezakh/exploiting-BERT-thru-translation"
_UMT_COMMIT = "f478ee65564b5532319a6cc643203149acfc5eed"
_PGIM_COMMIT = "a13b27590742893347d09b95c9a2c137c580d38b"
_CATR_COMMIT = "800de54e2889f40c26a76fddc313d036c048bd45"
_TWITTER_IMAGES = (
    "one archive for both Twitter sets at "
    "https://drive.google.com/file/d/1PpvvncnQkgDNeBMKVgG2zFYuRhbL873g/view (named in UMT's "
    "README); unpack it, and give the folder as IMAGES: files <IMGID>.jpg, in any folders below"
)
_MNRE_IMAGES = (
    "one archive at https://drive.google.com/file/d/1FYiJFtRayWY32nRH0rdycYzIdDcMmDFR/view (named "
    "in MNRE's README); unpack it, and give the folder img_org as IMAGES: files <img_id>, in the "
    "folders train, val and test"
)


def _twitter(year: str, title: str, counts: tuple[int, int, int], example: str) -> BenchmarkSource:
    name = f"twitter20{year}"
    return BenchmarkSource(
        name=name,
        task="mner",
        title=title,
        repositories=(
            Repository(_UMT, _UMT_COMMIT, f"data/{name}", "text", _TWITTER_TERMS),
            Repository(_PGIM, _PGIM_COMMIT, "data/ImageCaption", "captions by BLIP-2", _NO_LICENCE),
            Repository(_CATR, _CATR_COMMIT, "captions", "captions by CATR", "MIT"),
        ),
        splits=twitter.FILES,
        marks=(f"20{year}", f"twitter{year}", f"twitter-{year}", f"twitter_{year}"),
        counts=dict(zip(SPLITS, counts, strict=True)),
        images=_TWITTER_IMAGES,
        image_example=example,
        terms="tweets and pictures are under Twitter's and the providers' terms; " + _TWITTER_TERMS,
        optional={
            "captions_blip2.txt": (f"BLIP2_{year}.txt", "captions_blip2.txt"),
            "captions_catr.json": (f"{name}_images.json", "captions_catr.json"),
        },
    )


_CAPTIONERS = {
    "llavanext": "llavanext", "blip2": "BLIP", "instructblip": "instruct", "qwen": "caption",
    "minicpm": "minicpm", "cogvlm": "cogvlm",
}  # fmt: skip
"""Our names of MNRE's caption sets, and how CAMIM's files begin."""

SOURCES: Mapping[str, BenchmarkSource] = {
    source.name: source
    for source in (
        _twitter(
            "15",
            "Twitter-15: Zhang et al., AAAI 2018, as prepared by Yu et al., ACL 2020",
            (4000, 1000, 3257),
            "1015799.jpg",
        ),
        _twitter(
            "17",
            "Twitter-17: Lu et al., ACL 2018, as prepared by Yu et al., ACL 2020",
            (3373, 723, 723),
            "16_05_01_606.jpg",
        ),
        BenchmarkSource(
            name="mnre",
            task="mre",
            title="MNRE, version 2: Zheng et al., ICME 2021 and ACM MM 2021",
            repositories=(
                Repository(
                    "https://github.com/thecharm/MNRE",
                    "354211ed7b8d066f989ade6fa6c4a387e3c6de81",
                    "mnre_txt",
                    "text (the validation file's name there has a space: 'mnre_val .txt')",
                    _NO_LICENCE,
                ),
                Repository(
                    "https://github.com/thecharm/TMR",
                    "279b3e2938aec040fa8b8fa74cd3e562eaa6756f",
                    "TMR-RE/data",
                    "the list of relations, and the same text as txt/ours_*.txt",
                    _NO_LICENCE,
                ),
                Repository(
                    "https://github.com/zefanZhang-cn/CAMIM",
                    "df328a3948426007cfc93b0ece7f7a14212b0988",
                    "CAMIM/data/caption",
                    "captions by six models",
                    _NO_LICENCE,
                ),
            ),
            splits=mnre.FILES,
            marks=(),
            counts={"train": 12247, "valid": 1624, "test": 1614},
            images=_MNRE_IMAGES,
            image_example="twitter_19_31_14_34.jpg",
            terms="tweets and pictures are under Twitter's terms; no licence file",
            optional={
                mnre.RELATIONS: (mnre.RELATIONS,),
                **{
                    f"captions/{ours}_{split}.txt": (f"{theirs}_{split}.txt", f"{ours}_{split}.txt")
                    for ours, theirs in _CAPTIONERS.items()
                    for split in ("train", "val", "test")
                },
            },
        ),
        BenchmarkSource(
            name="jmere",
            task="mjere",
            title="JMERE, version 1: Yuan et al., AAAI 2023",
            repositories=(
                Repository(
                    "https://github.com/YuanLi95/EEGA-for-JMERE",
                    "be7a6321f4785347b3c617546d6428c9c5d33598",
                    "",
                    "no data: its README links to the files on Google Drive; unpack them, and give "
                    "that folder to fetch. Pictures and captions are MNRE's",
                    _NO_LICENCE,
                ),
            ),
            splits=jmere.FILES,
            marks=("jmere", "mjere"),
            counts={"train": 3618, "valid": 496, "test": 475},
            images=_MNRE_IMAGES,
            image_example="twitter_19_31_14_34.jpg",
            terms="tweets and pictures are under Twitter's terms; no licence file",
        ),
    )
}


def source_of(name: str) -> BenchmarkSource:
    """What is known of a benchmark.

    Raises:
        InputError: an unknown name.
    """
    if name not in SOURCES:
        raise InputError(f"{name!r}: unknown data set; expected one of {', '.join(SOURCES)}")
    return SOURCES[name]
