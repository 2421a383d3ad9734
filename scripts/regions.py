"""Which part of the world a country belongs to: 238 country codes in 14 regions."""

from collections.abc import Mapping

__all__ = ["REGIONS", "REGION_OF_COUNTRY"]

REGIONS: Mapping[str, tuple[str, ...]] = {
    region: tuple(codes.split())
    for region, codes in {
        "Africa": (
            "AO BF BI BJ BW CD CF CG CI CM CV DJ DZ EG EH ER ET GA GH GM GN GQ GW KE KM LR LS LY "
            "MA MG ML MR MU MW MZ NA NE NG RE RW SC SD SL SN SO SS ST SZ TD TG TN TZ UG ZA ZM ZW"
        ),
        "North America": (
            "AG AI AW BB BL BM BQ BS BZ CA CR CU CW DM DO GD GL GP GT HN HT JM KN KY LC MF MQ MS "
            "MX NI PA PM PR SV SX TC TT US VC VG VI"
        ),
        "Western Europe": (
            "AD AT BE CH DE DK ES FI FO FR GB GG GI IE IM IS IT JE LI LU MC MT NL NO PT SE SM VA"
        ),
        "Oceania": ("AS AU CK FJ FM GU KI MH MP NC NF NR NU NZ PF PG PN PW SB TK TO TV VU WF WS"),
        "Eastern Europe": ("AL BA BG BY CZ EE GR HR HU LT LV MD ME MK PL RO RS RU SI SK UA XK"),
        "Middle East": "AE AM AZ BH CY GE IL IQ IR JO KW LB OM PS QA SA SY TR YE",
        "South America": "AR BO BR CL CO EC FK GF GY PE PY SR UY VE",
        "Southeast Asia": "BN ID KH LA MM MY PH SG TH TL VN",
        "India": "AF BD BT IN LK MV NP PK",
        "Central Asia": "KG KZ MN TJ TM UZ",
        "China": "CN HK MO TW",
        "Korea": "KP KR",
        "Antarctica": "AQ",
        "Japan": "JP",
    }.items()
}
"""The country codes of each region, as in ISO 3166 (``NA`` is Namibia), and ``XK`` for Kosovo."""

REGION_OF_COUNTRY: Mapping[str, str] = {
    code: region for region, codes in REGIONS.items() for code in codes
}
"""The region of each country code."""
