"""Black boxes: a function from images to answers, with a contract; one file per kind."""
