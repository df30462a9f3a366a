"""Study files: rows × data sets × seeds of a paper's table or figure, as YAML.

A study trains nothing that the storage holds: its cells are those of sweeps and other studies
where configuration, data and seed agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from orchestrator.config.dimensions import Scalar
from orchestrator.config.resources import ResourceConfig
from orchestrator.config.sweep import BudgetConfig, Seed
from shapca.config import (
    Name,
    Number,
    RuntimeConfig,
    Section,
    apply_overrides,
    read_yaml,
    shipped,
    validate,
)
from shapca.config.variants import VARIANTS

PARAMETERS = "parameters"
"""The score that is a model's size in millions of parameters: nothing is trained for it."""


class StudyData(Section):
    """A data set of a study, and how models are trained on it."""

    experiment: dict[str, Any] = Field(default_factory=dict)
    """A partial ExperimentConfig, over the study's own."""
    from_sweep: Name | None = None
    """Take the hyper-parameters of this sweep's confirmed winner; None: those of this file."""


class StudyColumn(Section):
    """A column: a score of the models that were trained on a data set."""

    title: str | None = None
    """Its heading; None: its key."""
    group: str | None = None
    """Heading over it and its neighbours of the same group."""
    data: str
    """Key of the data set that models are trained on."""
    score: str = "f1"
    """Name of the score in an evaluation record (`f1`, `precision`, `entity_f1` …), or
    `parameters`: the model's size in millions."""
    test_on: Name | None = None
    """Prepared data set whose test split is scored; None: that of `data`."""
    contexts: Name | None = None
    """Context set to read there; None: the one of the same name."""
    label_map: dict[str, str] = Field(default_factory=dict)
    """The model's types to those of `test_on`, where their names differ."""
    digits: Annotated[int, Field(ge=0, le=6)] = 2
    """Decimals shown."""
    better: Literal["high", "low"] | None = "high"
    """Which values are better, so that the best is shown in bold."""

    @property
    def evaluated_on(self) -> str:
        """The same for all columns that show scores of one evaluation."""
        return repr((self.test_on, self.contexts, self.label_map))


class StudyRow(Section):
    """A row: what is changed, or what others published."""

    group: str | None = None
    """Heading over it and its neighbours of the same group."""
    variant: str | None = None
    """Name in `shapca.config.variants`, e.g. `without-shapley-value`."""
    set: dict[str, Any] = Field(default_factory=dict)
    """Dotted keys of the experiment and their values, after the variant's."""
    data: tuple[str, ...] | None = None
    """Data sets that the row applies to; None: all."""
    published: dict[str, Number] = Field(default_factory=dict)
    """Published numbers by the column's key: targets of a row that is trained here. What is not
    known is left out."""
    keep_models: bool = False
    """Weights of its cells stay, for studies that evaluate them elsewhere."""

    @property
    def is_trained(self) -> bool:
        """Whether the row is measured here; otherwise it only shows published numbers."""
        return self.variant is not None or bool(self.set)


class StudySeries(Section):
    """Rows that differ in one value: a curve."""

    key: str
    """Dotted key that varies."""
    values: Annotated[tuple[Scalar, ...], Field(min_length=1)]
    """Its values."""
    variant: str = "shap-ca"
    """As of a row."""
    set: dict[str, Any] = Field(default_factory=dict)
    """As of a row: what is held fixed."""
    keep_models: tuple[Scalar, ...] = ()
    """Values of `values` at which weights stay, for studies that evaluate them elsewhere."""


class CurveFigure(Section):
    """Curves of a study's series."""

    kind: Literal["curves"]
    column: str
    """Key of the column whose scores are drawn."""
    x_title: str = "coefficient"
    """What the horizontal axis shows."""
    band: Literal["std", "interval"] = "std"
    """± the sample standard deviation over the seeds, or their 95% interval."""


class CaseFigure(Section):
    """Two or more systems' predictions on chosen posts side by side."""

    kind: Literal["cases"]
    data: str
    """Key of the data set whose test posts are shown."""
    rows: Annotated[tuple[str, ...], Field(min_length=2)]
    """Systems from left to right."""
    posts: tuple[str, ...] = ()
    """Ids of the posts; empty: the first posts that the last system alone gets wholly right."""
    num_posts: Annotated[int, Field(ge=1, le=8)] = 2
    """How many posts, where they are not named."""


Figure = Annotated[CurveFigure | CaseFigure, Field(discriminator="kind")]


class StudyConfig(Section):
    """A study file."""

    name: Name
    title: str
    """Caption of its table or figure."""
    heading: str = "Method"
    """Over the column of row titles."""
    experiment: dict[str, Any] = Field(default_factory=dict)
    """A partial ExperimentConfig that all its models share."""
    data: Annotated[dict[str, StudyData], Field(min_length=1)]
    columns: Annotated[dict[str, StudyColumn], Field(min_length=1)]
    pooled: dict[str, Annotated[tuple[str, ...], Field(min_length=2)]] = Field(default_factory=dict)
    """Further columns by heading, each the mean of the columns of these keys: several data sets as
    one question, with one interval of the difference to the reference."""
    rows: dict[str, StudyRow] = Field(default_factory=dict)
    series: dict[str, StudySeries] = Field(default_factory=dict)
    """Curves by title; their points are rows below the others."""
    reference: str | None = None
    """Row that every other is compared with."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (1, 2, 3)
    from_sweep: Name | None = None
    """As of a data set, for all that name none of their own."""
    figure: Figure | None = None
    notes: tuple[str, ...] = ()
    """What a reader has to know."""
    resources: ResourceConfig = ResourceConfig()
    budget: BudgetConfig = BudgetConfig()
    runtime: RuntimeConfig = RuntimeConfig()
    keep_models: Literal["needed", "all"] = "needed"
    """`needed`: weights stay where a column or figure of this study, or a row with `keep_models`,
    needs them."""

    @classmethod
    def load(cls, path: str | Path, overrides: Sequence[str] = ()) -> StudyConfig:
        """Read a study file, or one that comes along by its name.

        Raises:
            InputError: with the file and the dotted key.
        """
        path = shipped.find(path, "search_spaces")
        return validate(cls, apply_overrides(read_yaml(path), overrides), str(path))

    def all_rows(self) -> dict[str, StudyRow]:
        """Rows by title: those listed, then the points of the series."""
        rows = dict(self.rows)
        for title, series in self.series.items():
            for value in series.values:
                rows[point_title(title, value)] = StudyRow(
                    group=title,
                    variant=series.variant,
                    set={**series.set, series.key: value},
                    keep_models=value in series.keep_models,
                )
        return rows

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        rows = self.all_rows()
        if not rows:
            raise ValueError("expected rows or series")
        if len(rows) != len(self.rows) + sum(len(s.values) for s in self.series.values()):
            raise ValueError("rows and points of series must differ in their titles")
        for title, series in self.series.items():
            for value in series.keep_models:
                _expect(value, series.values, f"series.{title}.keep_models")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds must differ from each other")
        for title, column in self.columns.items():
            _expect(column.data, self.data, f"columns.{title}.data")
        for title, keys in self.pooled.items():
            if title in self.columns:
                raise ValueError(f"pooled.{title}: there is a column of that key")
            for key in keys:
                _expect(key, self.columns, f"pooled.{title}")
                if self.columns[key].score == PARAMETERS:
                    raise ValueError(f"pooled.{title}: {key!r} is no score")
        for title, row in rows.items():
            for key in row.data or ():
                _expect(key, self.data, f"rows.{title}.data")
            for key in row.published:
                _expect(key, self.columns, f"rows.{title}.published")
            if row.variant is not None:
                _expect(row.variant, VARIANTS, f"rows.{title}.variant")
        if self.reference is not None:
            _expect(self.reference, rows, "reference")
            if not rows[self.reference].is_trained:
                raise ValueError(f"reference: {self.reference!r} is a published row")
        if isinstance(self.figure, CurveFigure):
            _expect(self.figure.column, self.columns, "figure.column")
            if not self.series:
                raise ValueError("figure.kind: curves needs series")
        if isinstance(self.figure, CaseFigure):
            _expect(self.figure.data, self.data, "figure.data")
            for title in self.figure.rows:
                _expect(title, rows, "figure.rows")
                if not rows[title].is_trained:
                    raise ValueError(f"figure.rows: {title!r} is a published row")
        return self


def point_title(series: str, value: Scalar) -> str:
    """Title of the row that is a point of a series: `α = 0.2`."""
    return f"{series} = {value}"


def _expect(name: Scalar, known: Any, place: str) -> None:
    if name not in known:
        raise ValueError(
            f"{place}: {name!r} is not known; expected one of {', '.join(map(str, known))}"
        )
