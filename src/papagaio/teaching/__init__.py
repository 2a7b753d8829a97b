"""Teaching: training a black box of one's own, which `taught=FOLDER` then names."""
