"""Writing the images that an audit asks about, for a black box that cannot be called from here."""

from pathlib import Path

from papagaio import files
from papagaio.auditing.opening import declaration_of, open_images
from papagaio.auditing.plan import attack_configs, make_plan
from papagaio.blackboxes.recorded import file_name
from papagaio.errors import BadSettings
from papagaio.images.png import png
from papagaio.networks.named import default_student
from papagaio.progress import Progress, Step, no_progress
from papagaio.settings import Settings, is_among

__all__ = ["write_questions"]


def write_questions(settings: Settings, folder: Path, progress: Progress = no_progress) -> int:
    """Write each image that an audit with these settings asks about, once, as a PNG file.

    `questions.csv`, written last, has the names of the files and what each is asked for.

    Args:
        settings: those of the audit.
        folder: where the files are written; those that are there are left as they are.
        progress: told how many are written.

    Returns:
        the number of images.

    Raises:
        BadImages, BadSettings: as for `audit`.
        NoSpace: the disk is full.
    """
    if not settings.black_box.startswith("recorded="):
        raise BadSettings(
            f"{settings.black_box} can be asked from here: audit it; or name recorded=FILE, the "
            "table that the answers will be in"
        )
    for named in (settings.transfer, settings.test):
        if is_among(folder, named):
            raise BadSettings(
                f"these files would lie among the images of {named}; name another folder",
                field="to",
                value=str(folder),
            )
    contract = declaration_of(settings).contract(settings.black_box)
    # Only students are shown a pool, and none is trained here.
    images = open_images(settings.model_copy(update={"distil": False}), contract, progress)
    student = settings.students or (default_student(contract.shape),)
    plan = make_plan(settings, images, attack_configs(settings, contract), student, progress)
    purposes: dict[str, list[str]] = {}
    for purpose in plan.queried:
        asked = plan.images[purpose]
        for row in asked.distinct():
            name = file_name(asked.digests[row])
            purposes.setdefault(name, []).append(purpose)
            if not (folder / name).exists():
                files.write(folder / name, png(asked.pixels[row]))
            progress(Step(f"writing {purpose} images", int(row) + 1, len(asked), "images"))
    lines = [f"{name},{' '.join(used)}\n" for name, used in purposes.items()]
    files.write(folder / "questions.csv", "name,purposes\n" + "".join(lines))
    return len(purposes)
