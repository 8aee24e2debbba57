"""Picture files: what counts as a picture, and how one is read and written."""
