"""An audit that a test starts."""

from contextlib import closing
from pathlib import Path

from papagaio.auditing.opening import open_black_box_of, open_images
from papagaio.auditing.run import audit
from papagaio.options import read_toml, validated
from papagaio.progress import no_progress
from papagaio.settings import Settings
from papagaio.testing.audited import Audited, decided

__all__ = ["run_audit"]


def run_audit(file: Path) -> Audited:
    """Run an audit from a TOML file, as `papagaio audit --config` does, or resume it.

    No answer is paid for twice.

    Raises:
        PapagaioError: as for `auditing.run.audit`.
        BadSettings: the file is wrong, or nothing can be asserted about the result.
    """
    settings = validated(Settings, read_toml(file), lambda name: f"{file}: {name}")
    with closing(open_black_box_of(settings)) as box:
        images = open_images(settings, box.contract, no_progress)
        return decided(audit(box, images, settings), settings.out)
