"""The bachelor's thesis that Papagaio grew out of, reproduced: a study on top of the product."""
