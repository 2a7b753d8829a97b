"""For a model's own tests: a fixture of pytest with what an audit measured."""
