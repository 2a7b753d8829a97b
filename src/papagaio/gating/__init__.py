"""Rules about a run that a machine decides: `papagaio gate`. Rules -> outcomes -> text."""
