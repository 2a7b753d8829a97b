"""Teaching: training a black box of your own, which `taught=FOLDER` names."""
