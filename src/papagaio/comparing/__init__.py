"""What changed between runs: `papagaio compare`. Runs -> pairs of figures -> text."""
