"""The README's Python example runs as it stands."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"

# Names the digit whose mean is nearest: right on nine of ten, as the check on the test set wants.
MODEL = """
import numpy as np
from sklearn.datasets import load_digits

levels, labels = load_digits(return_X_y=True)
means = np.stack([levels[labels == digit].mean(0) for digit in range(10)])


def predict(images):
    pixels = images.reshape(len(images), 1, -1) * (16 / 255)
    logits = -np.square(pixels - means).sum(2) / 100
    raised = np.exp(logits - logits.max(1, keepdims=True))
    return (raised / raised.sum(1, keepdims=True)).astype("float32")
"""


def test_the_python_example_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "my_model.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    exec(compile(example, str(README), "exec"), {})  # noqa: S102  # our own documentation
    audited, by_hand = capsys.readouterr().out.splitlines()
    assert audited.startswith("Figure(value=0.")
    assert by_hand.startswith("Figure(value=0.")
    assert (tmp_path / "run" / "report.html").exists()
