"""`result.json` -> `report.html`: one self-contained page."""
