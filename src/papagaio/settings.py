"""Every setting of an audit, its default written once; read from TOML and written back resolved."""

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from papagaio import files
from papagaio.errors import BadSettings
from papagaio.images.fit import Colour, Resize
from papagaio.vocabulary import Augmentation, Precision, Response

__all__ = [
    "CONTROLS",
    "Control",
    "Settings",
    "read_toml",
    "settings_from",
    "to_toml",
    "write_config",
]

Control = Literal["shuffled", "noise", "labels", "own-data"]
CONTROLS: tuple[Control, ...] = get_args(Control)


def _each_once(value: object) -> object:
    """One value where several may stand, and none of them twice."""
    if isinstance(value, list | tuple):
        return tuple(one for i, one in enumerate(value) if one not in value[:i])
    return (value,) if isinstance(value, str | int) else value


class Settings(BaseModel):
    """An audit's settings; the options of `papagaio audit` and the keys of its TOML file.

    Attributes are described by `papagaio audit --help`.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        populate_by_name=True,
        alias_generator=lambda name: name.replace("_", "-"),
    )

    black_box: str
    weights: Path | None = None
    identity: str | None = None
    input: str | None = Field(None, pattern=r"^[1-9]\d*x[1-9]\d*x[13]$")
    classes: int | None = Field(None, ge=2)
    batch: int = Field(64, ge=1)
    transfer: str
    test: str
    own_data: str | None = None
    data_dir: Path | None = None
    resize: Resize = "exact"
    colour: Colour = "exact"
    budget: int
    budgets: Annotated[tuple[int, ...], BeforeValidator(_each_once)] = ()
    responses: Annotated[tuple[Response, ...], BeforeValidator(_each_once)] = Field(
        ("probabilities",), min_length=1
    )
    recipes: Annotated[tuple[str, ...], BeforeValidator(_each_once)] = ()
    students: Annotated[tuple[str, ...], BeforeValidator(_each_once)] = ()
    initial: str = "random"
    seeds: Annotated[tuple[int, ...], BeforeValidator(_each_once)] = Field((0,), min_length=1)
    controls: Annotated[tuple[Control, ...], BeforeValidator(_each_once)] = CONTROLS
    epochs: int | None = Field(None, ge=1)
    augmentation: Annotated[tuple[Augmentation, ...], BeforeValidator(_each_once)] | None = None
    device: str = "auto"
    precision: Precision | Literal["auto"] = "auto"
    threads: int | None = Field(None, ge=1)
    workers: int = Field(1, ge=1)
    checkpoint_seconds: float = Field(10.0, ge=0, allow_inf_nan=False)
    price_per_1000: float | None = Field(None, ge=0, allow_inf_nan=False)
    authorised_by: str | None = None
    ledger: Path | None = None
    out: Path = Path("runs/audit")

    @model_validator(mode="after")
    def _budgets_fit(self) -> Self:
        over = [budget for budget in self.budgets if not 1 <= budget <= self.budget]
        if over:
            raise ValueError(f"budgets {over[0]:,} is not between 1 and the budget {self.budget:,}")
        return self

    @property
    def curve(self) -> tuple[int, ...]:
        """The budgets at which a copy is made, smallest first; the whole budget is one of them."""
        return tuple(sorted({*self.budgets, self.budget}))

    @property
    def ledger_path(self) -> Path:
        """Where answers are kept."""
        return self.ledger or self.out / "ledger.sqlite"


def settings_from(values: dict[str, Any], where: str) -> Settings:
    """Check settings.

    Args:
        values: by option name, as in `{"own-data": "photos"}`.
        where: names their source in an error.

    Raises:
        BadSettings: one is unknown, missing or out of range.
    """
    try:
        return Settings.model_validate({k.replace("_", "-"): v for k, v in values.items()})
    except ValidationError as error:
        lines = [
            ": ".join(
                filter(
                    None,
                    (".".join(map(str, e["loc"])), e["msg"].removeprefix("Value error, ").lower()),
                )
            )
            for e in error.errors()
        ]
        raise BadSettings(f"{where}: {'; '.join(lines)}") from error


def read_toml(path: Path) -> dict[str, Any]:
    """The settings of a TOML file, by option name.

    Raises:
        BadSettings: it is missing, or no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadSettings(f"{path}: not a readable TOML file ({error})") from error


def to_toml(settings: Settings) -> str:
    """All settings that have a value, as TOML: enough to run the audit again."""
    values = settings.model_dump(mode="json", by_alias=True, exclude_none=True)
    # JSON's strings, numbers, booleans and flat lists are TOML's too.
    return "".join(
        f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items()
    )


def write_config(settings: Settings) -> None:
    """Write `config.toml` into the run directory."""
    files.write(settings.out / "config.toml", to_toml(settings))
