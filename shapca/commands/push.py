"""`shapca push`: a trained model as a folder of its own, or in a repository of the Hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shapca.commands.options import FinishedRun, examples, with_options_of
from shapca.errors import InputError

if TYPE_CHECKING:
    from shapca.prediction import Extractor
    from shapca.runs.saved import SeedTable

EPILOG = examples(
    "shapca push runs/first OWNER/NAME --private --license cc-by-4.0 --data data/twitter2017",
    "shapca push runs/first --folder saved",
)


Repo = Annotated[
    str | None, typer.Argument(metavar="[REPO]", help="Repository of the Hub: OWNER/NAME.")
]


@dataclass(frozen=True)
class PushOptions:
    """Where a model goes, and what its card says."""

    folder: Annotated[
        Path | None, typer.Option(help="Write into this folder, and upload nothing.")
    ] = None
    private: Annotated[
        bool, typer.Option("--private", help="Make the repository private, or refuse.")
    ] = False
    revision: Annotated[
        str | None, typer.Option(metavar="BRANCH", help="Branch; made where there is none.")
    ] = None
    license: Annotated[
        str, typer.Option(help="The model's licence as the Hub names it, e.g. apache-2.0.")
    ] = "unknown"
    data: Annotated[
        Path | None, typer.Option(help="The prepared folder it was trained on, for its counts.")
    ] = None

    def check(self, repo: str | None) -> None:
        """Refuse options that do not go together, before a model is opened.

        Raises:
            InputError: neither or both of repository and folder, or an option of no use.
        """
        if (repo is None) == (self.folder is None):
            raise InputError("expected either REPO or --folder")
        if self.folder is not None and (self.private or self.revision is not None):
            raise InputError("--private, --revision: of no use beside --folder")

    def push(self, repo: str | None, model: Extractor, seeds: SeedTable | None = None) -> None:
        """Write or upload a model and print where it is.

        Args:
            repo: The repository; None: the folder.
            model: The model.
            seeds: Scores of its configuration over seeds.

        Raises:
            InputError: a folder that holds something else, or the Hub refuses.
        """
        from shapca.prediction import About

        about = About(self.license, self.data, seeds)
        if repo is not None:
            address = model.push_to_hub(
                repo, private=self.private or None, revision=self.revision, about=about
            )
            print(f"{address}: uploaded")
        elif self.folder is not None:
            model.save_pretrained(self.folder, about=about)
            print(f"{self.folder}: written; `shapca predict {self.folder} --text …` reads it")


@with_options_of(PushOptions)
def push(run: FinishedRun, repo: Repo = None, **options: Any) -> None:
    """Hand a trained model over, with a model card: to the Hugging Face Hub, or as a folder."""
    asked = PushOptions(**options)
    asked.check(repo)
    from shapca.prediction import Extractor

    asked.push(repo, Extractor.load(run))
