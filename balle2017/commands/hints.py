"""Which flag of a command would help, behind a sentence of the codec, which knows of no flags."""

from balle2017 import codec
from balle2017.pictures import images

_OF_ERRORS = {
    codec.FamilyError: ", or a rate with --target_bpp",
    codec.TooLargeError: "; --max_pixels raises the limit",
    images.TooLargeError: "; --max_pixels raises the limit",
}


def of_error(error) -> str:
    """The sentence of an error, with what helps against it."""
    hint = _OF_ERRORS.get(type(error))
    return _with_hint(str(error), hint) if hint else str(error)


def of_notices(picture) -> list:
    """The notices of a picture that was read, `images.Picture`."""
    return [
        _with_hint(notice, "; --keep_metadata keeps them") if notice == picture.avoidable else notice
        for notice in picture.notices
    ]


def _with_hint(sentence, hint):
    return f"{sentence.removesuffix('.')}{hint}."
