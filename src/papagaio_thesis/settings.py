"""The settings of `papagaio reproduce thesis`. Each is defined once, here; see `options`."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from papagaio.executors.options import ExecutorOptions
from papagaio.options import Many, Option
from papagaio.vocabulary import Precision
from papagaio_thesis.experiments import EXPERIMENTS, OF_OWN_TEACHERS, STUDIES, Scale, Study

__all__ = ["ReproduceSettings"]

_PARTS, _INPUTS, _MACHINE, _OUTPUT = "What to run", "Images and weights", "Machine", "Output"

Experiment = Annotated[int, Field(ge=min(EXPERIMENTS), le=max(EXPERIMENTS))]


class ReproduceSettings(ExecutorOptions):
    """All settings of `papagaio reproduce thesis`."""

    scale: Annotated[Scale, Option(_PARTS)] = "full"
    """small takes a sixteenth of the images and a sixth of the epochs; every number measured that
    way is marked."""

    experiments: Annotated[Many[Experiment], Option(_PARTS, "N,N,...|none", also="experiment")] = (
        tuple(EXPERIMENTS)
    )
    """1 (VGG16) and 3 (MobileNetV2) learn from the large transfer set, 2 and 4 from the small
    one."""

    studies: Annotated[
        Many[Study],
        Option(
            _PARTS,
            "STUDY,...|none",
            "all but readings, or none if --experiments is given",
            also="study",
        ),
    ] = tuple(study for study in STUDIES if study != "readings")
    """Further trainings for the claims: beyond, in-scope, start, explosion, magnified, longer,
    superclasses, similar, temperature, taxonomy. readings trains a teacher for every combination
    of what the thesis leaves open about it, and compares each with Table 1. Without experiments
    and studies, only the teacher is trained and measured (Table 1)."""

    seeds: Annotated[int, Option(_PARTS, "N")] = Field(1, ge=1)
    """Trainings per experiment: 3 means seeds 0, 1 and 2."""

    options: Annotated[Path | None, Option(_PARTS, "FILE")] = None
    """A TOML file with options of the study (epochs, learning rates, sizes) that differ from the
    package's study.toml."""

    weights_dir: Annotated[Path | None, Option(_INPUTS, "FOLDER", "download")] = None
    """The folder that holds vgg16_imagenet.safetensors and mobilenet_v2_imagenet.safetensors, with
    torchvision's tensor names. For VGG16 it may hold the file that Keras publishes instead,
    vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5, and colours are then normalised as its
    weights need it (caffe)."""

    stand_in: Annotated[Path | None, Option(_INPUTS, "FILE")] = None
    """A safetensors file with a trained teacher, used in place of the thesis's own. Every table
    says so."""

    data_dir: Annotated[Path | None, Option(_INPUTS, "FOLDER", "download")] = None
    """The folder that holds cifar10/ and cifar100/ as Parquet files."""

    device: Annotated[str, Option(_MACHINE, "auto|cpu|cuda|mps")] = "auto"
    """Where networks are trained."""

    precision: Annotated[Precision | Literal["auto"], Option(_MACHINE)] = "auto"
    """Precision of training; auto measures once per machine and architecture which is faster."""

    threads: Annotated[int | None, Option(_MACHINE, "N", "all cores")] = Field(None, ge=1)
    """CPU threads of each training."""

    out: Annotated[Path, Option(_OUTPUT, "FOLDER")] = Path("runs/thesis")
    """The run directory. The same command resumes an interrupted run."""

    @model_validator(mode="before")
    @classmethod
    def _experiments_alone_have_no_studies(cls, values: dict[str, Any]) -> dict[str, Any]:
        return {"studies": ()} | values if "experiments" in values else values

    @property
    def needs_teacher(self) -> bool:
        """Whether anything but studies with their own teachers is requested."""
        others = set(self.studies) - set(OF_OWN_TEACHERS)
        return bool(self.experiments or others) or self.is_teacher_only

    @property
    def needs_images(self) -> bool:
        """Whether anything is requested that learns from CIFAR-10."""
        return self.needs_teacher or "readings" in self.studies

    @property
    def needs_transfer_sets(self) -> bool:
        """Whether students are requested, who learn from CIFAR-100."""
        return self.needs_teacher and not self.is_teacher_only

    @property
    def is_teacher_only(self) -> bool:
        """Whether neither experiments nor studies are requested."""
        return not self.experiments and not self.studies
