"""What `model.json` says of a model."""

import json

# What a model needs of it, and what else is looked at where it is there.
_NEEDED = {
    "name": str,
    "lambda": (int, float),
    "channels": int,
    "num_latents": int,
    "slice_length": int,
    "fingerprint": int,
}
_POSSIBLE = {"version": int, "num_filters": int, "runtime": str, "kodak": dict}


class ModelError(ValueError):
    """A model is missing, broken, or not the one that a file needs."""


class FamilyError(ModelError):
    """The name is that of a family, where one model is needed."""


class RateError(ModelError):
    """A model's files exceed a rate that must not be exceeded."""


def read_info(folder):
    """The contents of `model.json` in a folder, a dict.

    Raises:
      ModelError: If there is none, or it lacks what a model needs.
    """
    try:
        with open(folder / "model.json", encoding="utf-8") as file:
            info = json.load(file)
        for key, kind in (*_NEEDED.items(), *((key, kind) for key, kind in _POSSIBLE.items() if key in info)):
            if not isinstance(info[key], kind):
                raise TypeError
        return info
    except (FileNotFoundError, NotADirectoryError):
        raise ModelError(f"There is no model in {folder}.") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise ModelError(f"{folder}/model.json is damaged.") from None
