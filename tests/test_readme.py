"""The README's Python example runs as it stands."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def test_the_python_example_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "my_model.py").write_text(
        "import numpy as np\n"
        "def predict(images):\n"
        "    logits = images.reshape(len(images), -1)[:, ::6][:, :10] / 40.0\n"
        "    raised = np.exp(logits)\n"
        "    return (raised / raised.sum(1, keepdims=True)).astype('float32')\n"
    )
    monkeypatch.chdir(tmp_path)
    exec(compile(example, str(README), "exec"), {})  # noqa: S102  # our own documentation
    assert capsys.readouterr().out.startswith("Figure(value=0.")
