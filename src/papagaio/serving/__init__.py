"""`papagaio serve`: a practice service over a black box."""
