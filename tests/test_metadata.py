"""What is kept of a picture's metadata, and that no position is among it."""

import io
import struct

import numpy as np
from PIL import Image, ImageCms
import pytest

from balle2017.container import bitstream
from balle2017.pictures import formats, images, metadata, xmp

SPACES = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "geo": "http://www.w3.org/2003/01/geo/wgs84_pos#",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "xmpGImg": "http://ns.adobe.com/xap/1.0/g/img/",
    "xmpMM": "http://ns.adobe.com/xap/1.0/mm/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "core": "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/",
    "ext": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "dji": "http://www.dji.com/drone-dji/1.0/",
    "cc": "http://creativecommons.org/ns#",
}


def packet(content="", attributes=""):
    """An XMP packet with properties as elements and as attributes."""
    spaces = "".join(f' xmlns:{prefix}="{space}"' for prefix, space in SPACES.items())
    return (
        f'<?xpacket begin="\ufeff"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF{spaces}>'
        f'<rdf:Description rdf:about="" {attributes}>{content}</rdf:Description></rdf:RDF></x:xmpmeta>'
        f'{" " * 100}<?xpacket end="w"?>'
    ).encode()


TITLE = '<dc:title><rdf:Alt><rdf:li xml:lang="x-default">Toulon &amp; more</rdf:li></rdf:Alt></dc:title>'
# Each says 43.6 or Narbonne, and means a place, or shows it.
SECRETS = [
    "<exif:GPSLatitude>43.6</exif:GPSLatitude>",
    "<geo:lat>43.6</geo:lat>",
    "<dji:GpsLatitude>43.6</dji:GpsLatitude>",
    "<photoshop:City>Narbonne</photoshop:City>",
    "<core:Location>Narbonne</core:Location>",
    "<dc:coverage>Narbonne</dc:coverage>",
    "<ext:LocationCreated><rdf:Bag><rdf:li rdf:parseType='Resource'><ext:City>Narbonne</ext:City></rdf:li>"
    "</rdf:Bag></ext:LocationCreated>",
    "<xmp:Thumbnails><rdf:Alt><rdf:li rdf:parseType='Resource'><xmpGImg:image>43.6</xmpGImg:image></rdf:li>"
    "</rdf:Alt></xmp:Thumbnails>",
    "<xmpMM:History><rdf:Seq><rdf:li><rdf:Description><dc:title>43.6</dc:title></rdf:Description></rdf:li>"
    "</rdf:Seq></xmpMM:History>",
    "<unknown:anything xmlns:unknown='u'>43.6</unknown:anything>",
    # Of what is kept, nothing that hangs on it.
    "<dc:creator><rdf:Seq><rdf:li geo:lat='43.6'>me</rdf:li></rdf:Seq></dc:creator>",
    "<dc:creator geo:lat='43.6'>me</dc:creator>",
    "<dc:creator><rdf:Seq><rdf:li><geo:Point><geo:lat>43.6</geo:lat></geo:Point></rdf:li></rdf:Seq></dc:creator>",
    "<dc:creator><geo:Point><geo:lat>43.6</geo:lat></geo:Point></dc:creator>",
    "<dc:creator rdf:parseType='Resource'><rdf:value>me</rdf:value><geo:lat>43.6</geo:lat></dc:creator>",
    "<!-- 43.6 --><?anything 43.6?>",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_xmp_keeps_no_position(secret):
    kept = xmp.clean(packet(TITLE + secret, 'tiff:Orientation="6" geo:long="43.6"'))
    assert b"Toulon &amp; more" in kept
    for word in (b"43.6", b"Narbonne", b"Orientation"):
        assert word not in kept
    assert xmp.clean(kept) == kept


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_xmp_in_every_encoding_and_under_every_prefix(encoding):
    text = packet(TITLE, 'other:GPSLatitude="43.6" xmlns:other="http://ns.adobe.com/exif/1.0/"').decode()
    kept = xmp.clean(text.encode(encoding))
    assert b"Toulon" in kept and b"43.6" not in kept
    assert b"43.6" in xmp.clean(text.encode(encoding), keep_gps=True)


def test_xmp_of_the_author_is_kept():
    content = (
        "<dc:creator><rdf:Seq><rdf:li>Somebody</rdf:li></rdf:Seq></dc:creator>"
        '<cc:license rdf:resource="https://creativecommons.org/licenses/by/4.0/"/><xmp:Rating>5</xmp:Rating>'
    )
    kept = xmp.clean(packet(content, 'xmp:Label="red &lt;"'))
    for part in (b"<rdf:li>Somebody</rdf:li>", b"licenses/by/4.0", b"<xmp:Rating>5<", b"red &lt;"):
        assert part in kept
    # Pillow, too, finds it.
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "WEBP", xmp=kept)
    assert images.read(file, keep_metadata=True).metadata == {"XMP ": kept}


def test_nothing_is_left_of_nothing():
    assert xmp.clean(packet()) == b"" and xmp.clean(packet("<geo:lat>43.6</geo:lat>")) == b""


BOMB = b'<!DOCTYPE x [<!ENTITY a "' + b"a" * 1000 + b'">' + b"".join(
    b'<!ENTITY %c "%s">' % (98 + i, b"&%c;" % (97 + i) * 50) for i in range(8)
) + b"]>"  # fmt: skip


@pytest.mark.parametrize(
    "data",
    [
        BOMB + packet("<dc:title>&i;</dc:title>")[20:],
        BOMB.decode().encode("utf-16") + packet("<dc:title>&i;</dc:title>").decode().encode("utf-16-le"),
        b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + packet("<dc:title>&a;</dc:title>")[20:],
        b"no XML",
        b"<x",
        b"\xff\xfe\x00",
        b"\x80\x81",
        packet(TITLE).decode().encode("utf-7")[:50],
    ],
    ids=["bomb", "bomb in UTF-16", "external", "text", "cut off", "odd UTF-16", "no UTF-8", "UTF-7"],
)
def test_damaged_and_hostile_xmp_is_refused(data):
    with pytest.raises(ValueError):
        xmp.clean(data)
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "WEBP", xmp=data)
    picture = images.read(file, keep_metadata=True)
    assert picture.metadata == {} and picture.notices == ["Its XMP data are damaged and not kept."]


@pytest.mark.parametrize("text", ["<a ", "<a>", " x:gps='", "<x:gps", "<exif:GPS>", "gps", "<![CDATA["])
def test_xmp_takes_time_in_proportion_to_its_size(text):
    # In 2 MB, what takes time in proportion to its square would take an hour.
    with pytest.raises(ValueError):
        xmp.clean(text.encode() * (2**21 // len(text)))


def exif_with_secrets():
    exif = Image.Exif()
    exif[0x0110] = "a camera"
    exif[0x02BC] = packet("<exif:GPSLatitude>43.6</exif:GPSLatitude>")
    exif[0x83BB] = b"IPTC 43.6"
    exif[0x8649] = b"8BIM 43.6"
    exif[0xC4A5] = b"PrintIM 43.6"
    exif[0xFFFE] = b"anything 43.6"
    details = exif.get_ifd(0x8769)
    details.update({0x9003: "2017:04:24 10:00:00", 0x927C: b"43.6", 0x9286: b"ASCII\0\0\0 43.6", 0xA430: "43.6"})
    exif.get_ifd(0x8825).update({1: "N", 2: (43.0, 36.0, 0.0), 200: "43.6"})
    return exif


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF", "JXL"])
def test_exif_keeps_no_position(format):
    Image.init()
    formats.load_plugins()
    if format not in Image.SAVE:
        pytest.skip(f"Nothing that is installed writes {format}.")
    file = io.BytesIO()
    try:
        Image.new("RGB", (16, 16), "red").save(file, format, exif=exif_with_secrets().tobytes())
    except KeyError as error:
        pytest.skip(f"This Pillow writes no {error}.")
    assert b"43.6" in file.getvalue() or format == "HEIF"
    for keep_gps in (False, True):
        kept = images.read(file, keep_metadata=True, keep_gps=keep_gps).metadata
        # Of TIFF files, tag 700 is their XMP data.
        assert b"43.6" not in (kept["EXIF"] if keep_gps else b"".join(kept.values()))
        exif = Image.Exif()
        exif.load(kept["EXIF"])
        assert exif[0x0110] == "a camera" and exif.get_ifd(0x8769) == {0x9003: "2017:04:24 10:00:00"}
        assert exif.get_ifd(0x8825) == ({1: "N", 2: (43.0, 36.0, 0.0)} if keep_gps else {})
        assert set(exif) <= {0x0110, 0x8769, 0x8825}


def test_tiff_keeps_neither_structure_nor_captions_of_other_programs():
    from PIL import TiffImagePlugin

    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[270], tags[33723], tags[34377], tags[700] = "a caption", b"IPTC 43.6", b"8BIM 43.6", packet(TITLE)
    for tag in (33723, 34377, 700):
        tags.tagtype[tag] = 7
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "TIFF", tiffinfo=tags, compression="tiff_lzw", dpi=(300, 300))
    kept = images.read(file, keep_metadata=True).metadata
    exif = Image.Exif()
    exif.load(kept["EXIF"])
    assert set(exif) == {270, 282, 283, 296} and exif[270] == "a caption"
    assert b"43.6" not in b"".join(kept.values()) and b"Toulon" in kept["XMP "]


def some_metadata(size=0):
    exif = Image.Exif()
    exif[0x010E] = "description" + "x" * size
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return {
        "EXIF": exif.tobytes().removeprefix(b"Exif\0\0"),
        "ICCP": profile,
        "XMP ": xmp.clean(packet(f"<dc:description>{'x' * size}.</dc:description>")),
    }


def pictures_formats():
    Image.init()
    return sorted(set(Image.SAVE) - {"PDF", "BUFR", "GRIB", "HDF5", "WMF", "EPS", "TFCI"})


@pytest.mark.parametrize("format", pictures_formats())
def test_what_a_format_cannot_hold_is_said(format):
    stored = some_metadata()
    file = io.BytesIO()
    try:
        notices = images.write(file, np.full([32, 32, 3], 90, np.uint8), stored, format)
        found = images.read(file, keep_metadata=True).metadata
    except images.ImageError as error:
        pytest.skip(str(error))
    assert found == {tag: value for tag, value in stored.items() if tag in formats.HOLDS.get(format, ())}
    assert len(notices) == len(stored) - len(found) and all("not kept" in n for n in notices)


@pytest.mark.parametrize("tag", ["EXIF", "XMP "])
def test_metadata_too_long_for_jpeg_are_left_out_and_said(tag):
    stored = {**some_metadata(), tag: some_metadata(2**16)[tag]}
    file = io.BytesIO()
    notices = images.write(file, np.zeros([8, 8, 3], np.uint8), stored, "JPEG")
    assert len(notices) == 1 and "not kept, as JPEG files hold" in notices[0]
    del stored[tag]
    assert images.read(file, keep_metadata=True).metadata == stored


@pytest.mark.parametrize("tag, limit", [("EXIF", 65527), ("ICCP", 255 * 65519), ("XMP ", 65504)])
def test_the_longest_metadata_that_jpeg_holds(tag, limit):
    file = io.BytesIO()
    # A header of an ICC profile, a TIFF structure or XML, as far as anybody looks.
    value = struct.pack(">I12s4s", limit, b"", b"RGB ").ljust(limit, b"x")
    value = b"II*\0\x08\0\0\0\0\0\0\0\0\0".ljust(limit, b"\0") if tag == "EXIF" else value
    assert images.write(file, np.zeros([8, 8, 3], np.uint8), {tag: value}, "JPEG") == []
    assert metadata.storable({tag: value + b"x"}, "JPEG", 3)[0] == {}
    assert limit < bitstream.MAX_SIZE
