"""QR codes of affiliates' links, as values of src and href, so that a page needs no further address for them."""

from __future__ import annotations

from dataclasses import dataclass

import segno

_QUIET_ZONE_MODULES = 4  # the margin that readers need (ISO/IEC 18004)
_PNG_SCALE_PX = 16  # per module: large enough to print


@dataclass(frozen=True)
class QrCode:
    """One code: ``svg`` to show, ``png`` to download."""

    svg: str
    png: str


def qr_code(link: str) -> QrCode:
    """Return the QR code of a link. Codes up to 2,953 octets exist; a link is shorter."""
    code = segno.make(link, micro=False, error="m")
    return QrCode(
        svg=code.svg_data_uri(border=_QUIET_ZONE_MODULES, light="#fff", dark="#000"),
        png=code.png_data_uri(border=_QUIET_ZONE_MODULES, scale=_PNG_SCALE_PX),
    )
