"""Readable labels for the clipped capitals of a grocer's product hierarchy.

The source's labels are at most 30 characters, cut wherever that fell, and abbreviated by several hands. The rules here
are few: a parenthesis (often cut open) goes, known abbreviations are spelled out, the rest is put in title case; what
no rule reads well stands in `EXACT`. A label that only qualifies (``PREMIUM``, ``LEAN``) is put behind its category.
"""

from __future__ import annotations

import re
from typing import Final

EXACT: Final = {
    "SOFT DRINKS 12/18&15PK CAN CAR": "Soft Drinks, 12 to 18 Cans",
    "SOFT DRINKS 20PK&24PK CAN CARB": "Soft Drinks, 20 or 24 Cans",
    "SOFT DRINKS 6PK/4PK CAN CARB (": "Soft Drinks, 4 or 6 Cans",
    "SFT DRNK 2 LITER BTL CARB INCL": "Soft Drinks, 2-Liter Bottle",
    "SFT DRNK SNGL SRV BTL CARB (EX": "Soft Drinks, Single Bottle",
    "SFT DRNK MLT-PK BTL CARB (EXCP": "Soft Drinks, Bottles Multi-Pack",
    "SOFT DRINKS CAN NON-CARB (EXCE": "Still Soft Drinks, Cans",
    "SOFT DRINK BOTTLE NON-CARB (EX": "Still Soft Drinks, Bottles",
    "SOFT DRINK POWDER POUCHES": "Soft Drink Powder",
    "YOGURT NOT MULTI-PACKS": "Yogurt, Single",
    "YOGURT MULTI-PACKS": "Yogurt, Multi-Pack",
    "FLUID MILK WHITE ONLY": "White Milk",
    "SS ECONOMY ENTREES/DINNERS ALL": "Frozen Entrees, Economy",
    "FRZN SS PREMIUM ENTREES/DNRS/N": "Frozen Entrees, Premium",
    "FRZN SS PREMIUM ENTREES/DNRS/T": "Frozen Entrees, Traditional",
    "FRZN MULTI SERVE ENTREES ALL": "Frozen Entrees, Family Size",
    "BEERALEMALT LIQUORS": "Beer, Ale & Malt Liquor",
    "DAIRY CASE 100% PURE JUICE - O": "Chilled Orange Juice",
    "DAIRY CASE 100% PURE JUICE OTH": "Chilled Pure Juice",
    "DAIRY CASE JUICE DRNK UNDER 10": "Chilled Juice Drink",
    "DAIRY CASE FRUIT DRINKS (NO JU": "Chilled Fruit Drink",
    "DAIRY CASE CITRUS PNCH/OJ SUBS": "Chilled Citrus Punch",
    "DAIRY CASE TEA WITH SUGAR OR S": "Chilled Sweet Tea",
    "MAINSTREAM WHEAT/MULTIGRAIN BR": "Wheat & Multigrain Bread",
    "MAINSTREAM WHITE BREAD": "White Bread",
    "RTS SOUP: CHUNKY/HOMESTYLE ET": "Ready-to-Serve Soup",
    "IWS SINGLE CHEESE": "Wrapped Cheese Slices",
    "NATURAL CHEESE EXACT WT CHUNKS": "Natural Cheese Chunks",
    "NATURAL CHEESE EXACT WT SLICES": "Natural Cheese Slices",
    "NON-CRBNTD DRNKING/MNERAL WATE": "Still Water",
    "NON-CARB WATER FLVR - DRNK/MNR": "Flavored Still Water",
    "NON-CARB FLVRD DRNKNG/MNRL WAT": "Flavored Still Water",
    "SGL SV/VEND MACH SNACKS CHIP/P": "Single-Serve Chips",
    "BEANS GREEN: FS/WHL/CUT": "Green Beans",
    "SEMI-SOLID SALAD DRESSING MAY": "Mayonnaise",
    "VARIETY BEANS - KIDNEY PINTO": "Kidney & Pinto Beans",
    "MEXICAN SAUCESSALSAPICANTEE": "Mexican Salsa & Picante Sauces",
    "SAL:SALSA/DPS-PRPCK": "Fresh Salsa & Dips",
    "REFRIGERATED SPECILATY ROLLS": "Refrigerated Specialty Rolls",
    "CANDY BAGS-CHOCOCLATE": "Candy Bags, Chocolate",
    "CANDY BAGS-NON CHOCOLATE": "Candy Bags, Other",
    "FACIAL TISSUE & PAPER HANDKE": "Facial Tissues",
    "BABY FOOD JUNIOR ALL BRANDS": "Baby Food - Junior",
    "TRAY PACK/CHOC CHIP COOKIES": "Chocolate Chip Cookies",
    "CRACKERS/MISC BKD FD": "Crackers & Savory Biscuits",
    "GARBAGE KITCHEN COMPACTOR BA": "Garbage Bags",
    "PLSTC CTLRYTBLCLTHSTTHPKSST": "Plastic Cutlery & Table Cloths",
    "SW GDS:DONUTS": "Donuts",
    "SW GDS: SW ROLLS/DAN": "Sweet Rolls & Danish",
    "STICKS/ENROBED": "Ice Cream Sticks",
    "DRUG GM": "Drugstore & Household",
    "MEAT-PCKGD": "Packaged Meat",
    "SEAFOOD-PCKGD": "Packaged Seafood",
    "GM MERCH EXP": "General Merchandise",
    "CNTRL/STORE SUP": "Store Supplies",
    "PROD-WHS SALES": "Produce Wholesale",
    "ELECT &PLUMBING": "Electrical & Plumbing",
    "CHARITABLE CONT": "Charity",
}

_SPELLED_OUT = """
FRZN=Frozen FRZ=Frozen REFRGRATD=Refrigerated REFRIG=Refrigerated SFT=Soft DRNK=Drink DRNKS=Drinks DRNKING=Drinking
DRNKNG=Drinking DNRS=Dinners DNR=Dinner VEG=Vegetable BTL=Bottle BTLS=Bottles SNGL=Single SGL=Single SRV=Serve
SV=Serve PK=Pack PKG=Package PKGD=Packaged PCKGD=Packaged PRPCK=Prepacked MLT=Multi MISC=Other MISCELLANEOUS=Other
FLVRD=Flavored FLVR=Flavored MNRL=Mineral WTR=Water CRBNTD=Carbonated CARB=Carbonated BRKFST=Breakfast
WHLSM=Wholesome SALD=Salad DRSNG=Dressing SNDWCH=Sandwich SPRD=Spread PNT=Peanut BTR=Butter PWDR=Powder PWDRS=Powders
CRYSTL=Crystal MX=Mix MXS=Mixes MIXS=Mixes BN=Beans DSH=Dishes SHERBTS=Sherbets SWEETNERS=Sweeteners TISS=Tissue
SPLY=Supplies FD=Food CLEANG=Cleaning PKLD=Pickled BKD=Baked TRSH=Trash BG=Bags GRND=Ground PTTY=Patty CHIX=Chicken
CHICK=Chicken FRD=Fried BRD=Bread BRDS=Breads CATFD=Cat_Food DOGFD=Dog_Food SUP=Super PREM=Premium CHOC=Chocolate
CND=Canned SAUS=Sausage DPS=Dips SW=Sweet GDS=Goods DAN=Danish FEM=Feminine HYGN=Hygiene SYRP=Syrup LOZNG=Lozenges
XPCTRNT=Expectorant JCE=Juice JUI=Juice CONC=Concentrate MLK=Milk STK=Stick CRMD=Creamed TORT=Tortilla HBC=Body_Care
SNKS=Snacks CKYS=Cookies CRKR=Crackers CNDY=Candy CNDLES=Candles ACCSS=Accessories PLSTC=Plastic CNTRL=Control
PRSLC=Presliced PRESLCD=Presliced SHLFSH=Shellfish SHLDR=Shoulder BRST=Breast LNCHMT=Lunchmeat LNDRY=Laundry
PNCH=Punch DEOD=Deodorant LIQ=Liquid LIQS=Liquids SUPPPLIES=Supplies DISPOSIBLE=Disposable MEMORABLILIA=Memorabilia
DEPT=Department RETL=Retail BEV=Beverage PREP=Prepared SAL=Salad CKTLS=Cocktails STRP=Strip BSKTS=Baskets
HNGRS=Hangers BNDGES=Bandages LTR=Liter XMAS=Christmas MENS=Men's INCL=Including EXCP=Except EXC=Except
MINWTR=Mineral_Water NATRL=Natural PICKLD=Pickled PICKLS=Pickles
"""
ABBREVIATIONS: Final = {
    short: long.replace("_", " ") for short, long in (pair.split("=") for pair in _SPELLED_OUT.split())
}
_UPPER: Final = frozenset({"BBQ", "TV", "DVD", "DVDS", "II", "XL", "QSR", "OJ", "ML", "IQF", "UPS", "RTD"})
_LOWER: Final = frozenset({"AND", "OF", "WITH", "OR", "IN", "FOR", "ON", "THE", "A", "BY", "TO"})
_QUALIFYING = """
PREMIUM MAINSTREAM ECONOMY LEAN PRIMAL REGULAR TRADITIONAL VALUE ENHANCED BLENDS OTHER MISCELLANEOUS MISC SPECIALTY
GOURMET SUPER PINTS FRESH FROZEN ALL CHOICE SELECT NATURAL ANGUS ADDED LIGHT ORGANIC POULTRY PATTIES ENTREES LINKS
VARIETY PACK GARDEN PLUS SMOKED COOKED SNACKS APPETIZERS SEASONAL MULTI SINGLE LIQUID POWDER BULK PREPARED RAW
BONELESS BONE CONES FRUIT VEGETABLES CANNED DRY INSTANT KITS HEAT SERVE MEAT HAM TURKEY CHICKEN BEEF
"""
_QUALIFIERS: Final = frozenset(_QUALIFYING.split())

_OPEN_PARENTHESIS = re.compile(r"\s*\([^)]*(\)|$)")
_WORD = re.compile(r"[A-Za-z][A-Za-z']*")
_SPACE = re.compile(r"\s+")


def shelf_label(raw: str) -> str:
    """A label a person can read.

    >>> shelf_label("FRZN FRENCH FRIES"), shelf_label("APPLES GALA (BULK&BAG")
    ('Frozen French Fries', 'Apples Gala')
    >>> shelf_label("CHEESE:SPECIALTY PREPACK"), shelf_label("SFT DRNK 2 LITER BTL CARB INCL")
    ('Cheese: Specialty Prepack', 'Soft Drinks, 2-Liter Bottle')
    """
    exact = EXACT.get(raw)
    if exact is not None:
        return exact
    text = _OPEN_PARENTHESIS.sub("", raw) or raw
    text = re.sub(r"\s*:\s*", ": ", text).replace("&", " & ").replace(".", " ")
    text = _SPACE.sub(" ", text).strip(" -/&:,.")
    text = _WORD.sub(lambda word: _word(word.group(), first=word.start() == 0), text)
    return text or raw.title()


def _word(word: str, first: bool) -> str:
    shout = word.upper()
    if shout in ABBREVIATIONS:
        return ABBREVIATIONS[shout]
    if shout in _UPPER:
        return shout
    return word.lower() if shout in _LOWER and not first else word.capitalize()


def item_label(product_type: str, category: str) -> str:
    """The label of one kind of product: its type, behind its category where the type alone says too little.

    >>> item_label("PREMIUM", "ICE CREAM/MILK/SHERBTS"), item_label("BANANAS", "TROPICAL FRUIT")
    ('Ice Cream/Milk/Sherbets: Premium', 'Bananas')
    """
    words = _WORD.findall(product_type)
    named = {word.removesuffix("S") for word in _WORD.findall(category)}
    if named and named.isdisjoint(word.removesuffix("S") for word in words) and _QUALIFIERS.issuperset(words):
        return f"{shelf_label(category)}: {shelf_label(product_type)}"
    return shelf_label(product_type)


def package_size(raw: str) -> str:
    """``16 OZ`` → ``16 oz``; empty for a size that is no amount.

    >>> package_size("16 OZ"), package_size("2 L"), package_size("CTN")
    ('16 oz', '2 L', '')
    """
    amount, _, unit = raw.strip().partition(" ")
    if not amount[:1].isdigit():
        return ""
    return f"{amount} {unit if unit == 'L' else unit.lower()}".strip()
