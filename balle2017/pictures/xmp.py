"""XMP packets (ISO 16684-1): what of one may be kept, by an allow-list, written as a new packet.

Only properties that stand in the list are kept, and of these only text and arrays of text. So
nothing is kept that nobody has thought of: thumbnails, edit histories, names of places, and
positions, which have many names in many schemas.
"""

from xml.etree import ElementTree
from xml.sax import saxutils

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"
# Prefix, namespace and names of what is kept.
_KEPT = (
    (
        "dc",
        "http://purl.org/dc/elements/1.1/",
        "contributor creator date description identifier language publisher relation rights source subject title type",
    ),
    (
        "xmp",
        "http://ns.adobe.com/xap/1.0/",
        "CreateDate CreatorTool Label MetadataDate ModifyDate Rating",
    ),
    (
        "xmpRights",
        "http://ns.adobe.com/xap/1.0/rights/",
        "Certificate Marked Owner UsageTerms WebStatement",
    ),
    ("cc", "http://creativecommons.org/ns#", "attributionName attributionURL license"),
    (
        "photoshop",
        "http://ns.adobe.com/photoshop/1.0/",
        "AuthorsPosition CaptionWriter Category Credit DateCreated Headline Instructions Source"
        " SupplementalCategories TransmissionReference Urgency",
    ),
    (
        "Iptc4xmpCore",
        "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/",
        "AltTextAccessibility ExtDescrAccessibility IntellectualGenre Scene SubjectCode",
    ),
    ("Iptc4xmpExt", "http://iptc.org/std/Iptc4xmpExt/2008-02-29/", "DigitalSourceType Event PersonInImage"),
    (
        "tiff",
        "http://ns.adobe.com/tiff/1.0/",
        "Artist Copyright DateTime ImageDescription Make Model ResolutionUnit Software XResolution YResolution",
    ),
    (
        "exif",
        "http://ns.adobe.com/exif/1.0/",
        "ApertureValue BrightnessValue Contrast CustomRendered DateTimeDigitized DateTimeOriginal"
        " DigitalZoomRatio ExposureBiasValue ExposureMode ExposureProgram ExposureTime FNumber FocalLength"
        " FocalLengthIn35mmFilm GainControl ISOSpeedRatings LightSource MaxApertureValue MeteringMode"
        " Saturation SceneCaptureType SensingMethod Sharpness ShutterSpeedValue SubjectDistance"
        " SubjectDistanceRange WhiteBalance",
    ),
    (
        "exifEX",
        "http://cipa.jp/exif/1.0/",
        "ISOSpeed LensMake LensModel LensSpecification PhotographicSensitivity SensitivityType",
    ),
    ("aux", "http://ns.adobe.com/exif/1.0/aux/", "FlashCompensation Lens LensInfo"),
    # Without these, a panorama is shown as a flat picture.
    (
        "GPano",
        "http://ns.google.com/photos/1.0/panorama/",
        "CroppedAreaImageHeightPixels CroppedAreaImageWidthPixels CroppedAreaLeftPixels"
        " CroppedAreaTopPixels FullPanoHeightPixels FullPanoWidthPixels ProjectionType UsePanoramaViewer",
    ),
)
_POSITIONS = (
    (
        "exif",
        "http://ns.adobe.com/exif/1.0/",
        "GPSAltitude GPSAltitudeRef GPSAreaInformation GPSDOP GPSDestBearing GPSDestBearingRef GPSDestDistance"
        " GPSDestDistanceRef GPSDestLatitude GPSDestLongitude GPSDifferential GPSHPositioningError"
        " GPSImgDirection GPSImgDirectionRef GPSLatitude GPSLongitude GPSMapDatum GPSMeasureMode"
        " GPSProcessingMethod GPSSatellites GPSSpeed GPSSpeedRef GPSStatus GPSTimeStamp GPSTrack"
        " GPSTrackRef GPSVersionID",
    ),
    ("geo", "http://www.w3.org/2003/01/geo/wgs84_pos#", "alt lat lat_long long"),
    (
        "drone-dji",
        "http://www.dji.com/drone-dji/1.0/",
        "AbsoluteAltitude GpsLatitude GpsLongitude GpsLongtitude RelativeAltitude",
    ),
    ("dc", "http://purl.org/dc/elements/1.1/", "coverage"),
    ("photoshop", "http://ns.adobe.com/photoshop/1.0/", "City Country State"),
    ("Iptc4xmpCore", "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/", "CountryCode Location"),
)


def clean(packet, keep_gps=False):
    """The properties of a packet that may be kept, as a packet of their own.

    Args:
      packet: Bytes of a packet, in UTF-8, or UTF-16 with a byte order mark.
      keep_gps: Whether positions and the names of places are kept, too.

    Returns:
      Bytes in UTF-8; empty if nothing is left.

    Raises:
      ValueError: If it is no XML, or declares entities.
    """
    properties = _properties(_parse(packet), _names(keep_gps))
    if not properties:
        return b""
    spaces = sorted({(prefix, space) for prefix, space, _ in _KEPT + _POSITIONS})
    used = [(p, s) for p, s in spaces if any(name.startswith(p + ":") for name in properties)]
    declared = "".join(f" xmlns:{prefix}={saxutils.quoteattr(space)}" for prefix, space in used)
    content = "".join(f"<{name}{value}</{name}>" for name, value in properties.items())
    text = (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        f'<rdf:RDF xmlns:rdf="{_RDF}"><rdf:Description rdf:about=""{declared}>{content}'
        '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    )
    return text.encode()


def _names(keep_gps):
    """What is kept, by its name in the notation of ElementTree, with its prefix."""
    return {
        f"{{{space}}}{name}": f"{prefix}:{name}"
        for prefix, space, names in _KEPT + (_POSITIONS if keep_gps else ())
        for name in names.split()
    }


def _parse(packet):
    utf16 = packet[:2] in (b"\xff\xfe", b"\xfe\xff")
    text = packet.decode("utf-16" if utf16 else "utf-8-sig").strip("\0 \t\r\n")
    # XMP declares no entities. Of those that are declared, a few hundred bytes can become gigabytes.
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError("XMP has no document type.")
    try:
        # Of text, whatever encoding it claims to have is ignored.
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError(str(error)) from None


def _properties(root, names):
    """Each property's name with its prefix, and its content from its attributes on."""
    found = {}
    # Those that stand deeper describe something else, a place, say.
    for description in root.iterfind(f".//{{{_RDF}}}RDF/{{{_RDF}}}Description"):
        # The short form: properties without arrays, as attributes.
        for name, value in description.attrib.items():
            if name in names:
                found.setdefault(names[name], ">" + saxutils.escape(value))
        for element in description:
            content = _content(element) if element.tag in names else None
            if content is not None:
                found.setdefault(names[element.tag], content)
    return found


def _content(element):
    """Text or an array of texts, as XML that begins within the start tag; `None` for all else."""
    resource = element.get(f"{{{_RDF}}}resource")
    if resource is not None:
        return f" rdf:resource={saxutils.quoteattr(resource)}>"
    if len(element) == 0:
        return _attributes(element) + ">" + saxutils.escape(element.text or "")
    (array, *more) = element
    kind = array.tag.removeprefix(f"{{{_RDF}}}")
    if more or kind == array.tag or kind not in ("Alt", "Bag", "Seq"):
        return None
    items = "".join(
        f"<rdf:li{_attributes(item)}>{saxutils.escape(item.text or '')}</rdf:li>"
        for item in array
        if item.tag == f"{{{_RDF}}}li" and len(item) == 0
    )
    return f"><rdf:{kind}>{items}</rdf:{kind}>"


def _attributes(element):
    language = element.get(_LANGUAGE)
    return "" if language is None else f" xml:lang={saxutils.quoteattr(language)}"
