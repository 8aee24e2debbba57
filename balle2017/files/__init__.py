"""Files: written in one step or not at all, and paths that are pipes."""
