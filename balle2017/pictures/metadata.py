"""What of a picture's metadata goes into a file: an allow-list for EXIF, one for XMP (`xmp`), and the ICC profile.

Metadata are bytes by tag, as in `container.bitstream`: `EXIF`, `ICCP`, `XMP `. Whatever stands in
neither list is left out: maker notes, thumbnails, previews, serial numbers, IPTC and Photoshop
resources, and without `keep_gps` positions and the names of places.
"""

from PIL import ExifTags, Image

from balle2017.pictures import colour, formats

ORIENTATION = 0x0112
_EXIF_IFD, _GPS_IFD, _COLOUR_SPACE, _SRGB = 0x8769, 0x8825, 0xA001, 1
# CIPA DC-008, tables 4 to 7 (those without a name in Pillow by their numbers).
_IMAGE_TAGS = (
    "ImageDescription Make Model XResolution YResolution ResolutionUnit Software DateTime Artist HostComputer"
    " Copyright Rating RatingPercent XPTitle XPComment XPAuthor XPKeywords XPSubject"
)
_PHOTOGRAPH_TAGS = (
    "ExposureTime FNumber ExposureProgram SpectralSensitivity ISOSpeedRatings SensitivityType"
    " StandardOutputSensitivity RecommendedExposureIndex ISOSpeed ExifVersion DateTimeOriginal DateTimeDigitized"
    " OffsetTime OffsetTimeOriginal OffsetTimeDigitized ShutterSpeedValue ApertureValue BrightnessValue"
    " ExposureBiasValue MaxApertureValue SubjectDistance MeteringMode LightSource Flash FocalLength SubsecTime"
    " SubsecTimeOriginal SubsecTimeDigitized ColorSpace FlashEnergy ExposureIndex SensingMethod FileSource"
    " SceneType CustomRendered ExposureMode WhiteBalance DigitalZoomRatio FocalLengthIn35mmFilm SceneCaptureType"
    " GainControl Contrast Saturation Sharpness SubjectDistanceRange LensSpecification LensMake LensModel"
)
_IMAGE_TAGS, _PHOTOGRAPH_TAGS = (
    {ExifTags.Base[name].value for name in names.split()} for names in (_IMAGE_TAGS, _PHOTOGRAPH_TAGS)
)
_GPS_TAGS = range(32)
_NAMES = {"EXIF": "EXIF data", "ICCP": "colour profile", "XMP ": "XMP data"}
# A segment of a JPEG file has 65533 bytes, of which some say what it is; a profile may have 255 of them.
_JPEG_LIMITS = {"EXIF": 65533 - 6, "ICCP": 255 * (65533 - 14), "XMP ": 65533 - 29}


def collect(image, exif, profile, keep_gps):
    """The metadata of a loaded image.

    Args:
      image: Pillow's image.
      exif: Pillow's EXIF data of it, or `None` if they are damaged.
      profile: The ICC profile that its pixels stay in; empty for sRGB.
      keep_gps: Whether positions are kept.

    Returns:
      Bytes by tag, and notices.
    """
    found, notices = {"EXIF": b"", "ICCP": profile, "XMP ": b""}, []
    try:
        found["EXIF"] = _clean_exif(exif, keep_gps, bool(profile)) if exif else b""
    except Exception:
        # Pillow's reader raises nearly anything on damaged structures.
        notices.append("Its EXIF data are damaged and not kept.")
    packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    if packet:
        # Here, as Python's XML imports all that it knows of the web.
        from balle2017.pictures import xmp

        try:
            found["XMP "] = xmp.clean(packet.encode() if isinstance(packet, str) else packet, keep_gps)
        except (ValueError, AttributeError, TypeError):
            notices.append("Its XMP data are damaged and not kept.")
    return {tag: value for tag, value in found.items() if value}, notices


def storable(metadata, format, channels):
    """What of metadata a picture file can hold.

    Args:
      metadata: Bytes by tag.
      format: Pillow's name of the file format.
      channels: Of the picture, 3 or 1.

    Returns:
      Bytes by tag, and sentences about what is left out.
    """
    held = formats.HOLDS.get(format, ())
    limits = _JPEG_LIMITS if format in ("JPEG", "MPO") else {}
    kept, notices = {}, []
    for tag, value in metadata.items():
        if tag not in held:
            reason = f"{format} files hold none"
        elif len(value) > limits.get(tag, len(value)):
            reason = f"{format} files hold {limits[tag]} bytes of them"
        elif tag == "ICCP" and not colour.fits(value, channels):
            reason = "it is of another kind of picture"
        else:
            kept[tag] = value
            continue
        verb = "is" if tag == "ICCP" else "are"
        notices.append(f"Its {_NAMES.get(tag, tag)} {verb} not kept, as {reason}.")
    return kept, notices


def _clean_exif(exif, keep_gps, has_profile):
    """Serializes what may be kept of EXIF as a TIFF structure."""
    kept = Image.Exif()
    for tag in _IMAGE_TAGS & set(exif):
        kept[tag] = exif[tag]
    details = {k: v for k, v in exif.get_ifd(_EXIF_IFD).items() if k in _PHOTOGRAPH_TAGS}
    if _COLOUR_SPACE in details and not has_profile:
        details[_COLOUR_SPACE] = _SRGB
    position = {k: v for k, v in exif.get_ifd(_GPS_IFD).items() if k in _GPS_TAGS} if keep_gps else {}
    if not (len(kept) or details or position):
        return b""
    for number, content in ((_EXIF_IFD, details), (_GPS_IFD, position)):
        if content:
            kept.get_ifd(number).update(content)
    return kept.tobytes().removeprefix(b"Exif\0\0")
