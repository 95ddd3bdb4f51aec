"""XMP that says a model made a file, in the IPTC's own properties (Photo Metadata Standard 2025.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from uuid import UUID

from ourvidz_worker import __version__
from ourvidz_worker.engines.media.options import Embeddable

SOFTWARE = f"ourvidz_worker {__version__}"
DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"

# Where the XMP specification, part 3, wants a packet: the keyword of a PNG chunk, and the type of a box in MP4.
PNG_KEYWORD = "XML:com.adobe.xmp"
MP4_BOX = UUID("be7acfcb-97a9-42e8-9c71-999491e3afac").bytes

_NAMESPACES = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "ourvidz": "urn:ourvidz:generation/",  # for what no standard has a property
}
_PROPERTIES: Mapping[Embeddable, str] = {
    "prompt": "Iptc4xmpExt:AIPromptInformation",
    "user_id": "ourvidz:UserId",
    "job_id": "ourvidz:JobId",
    "seed": "ourvidz:Seed",
}
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def xmp_packet(model_name: str, embedded: Mapping[Embeddable, str]) -> str:
    """The packet of one file; what XML cannot hold in a text becomes U+FFFD."""
    properties = {
        "Iptc4xmpExt:DigitalSourceType": DIGITAL_SOURCE_TYPE,
        "xmp:CreatorTool": SOFTWARE,
        "Iptc4xmpExt:AISystemUsed": model_name,
        **{_PROPERTIES[name]: text for name, text in embedded.items()},
    }
    namespaces = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in _NAMESPACES.items())
    elements = "\n".join(f"<{name}>{_text(value)}</{name}>" for name, value in properties.items())
    # Read-only, for it cannot be changed in place: checksums and signatures cover it.
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF {namespaces}><rdf:Description rdf:about="">\n'
        f"{elements}\n"
        '</rdf:Description></rdf:RDF></x:xmpmeta>\n<?xpacket end="r"?>'
    )


def _text(value: str) -> str:
    # A parser would read a bare carriage return as a line feed.
    return escape(_NOT_XML.sub("\ufffd", value), quote=False).replace("\r", "&#13;")
