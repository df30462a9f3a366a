"""Takes the files that lie beside the packages into the wheel; all else is in pyproject.toml."""

from pathlib import Path
from shutil import copytree

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = {"configs": "shapca", "search_spaces": "orchestrator"}


class BuildWithFiles(build_py):
    """`shapca.config.shipped` finds them where they are put here."""

    def run(self) -> None:
        """Build as always; an editable installation finds them in the checkout."""
        super().run()
        if not self.editable_mode:
            for folder, package in SHIPPED.items():
                copytree(folder, Path(self.build_lib, package, folder), dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithFiles})
