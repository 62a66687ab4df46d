"""Prints what Python knows of codecs, for src/python/encoding/: `codecs.py single_byte` or `codecs.py aliases`.

The single-byte codecs are the Unicode Consortium's mapping tables (https://www.unicode.org/Public/MAPPINGS/), as Python's
Tools/unicode/gencodec.py made modules of them.
"""

import codecs
import encodings
import encodings.aliases
import pkgutil
import sys

# Not one byte a character, or the contents of a str literal.
NO_TABLES = {"hz", "raw_unicode_escape", "unicode_escape", "undefined", "idna", "punycode"}


def modules():
    names = [module.name for module in pkgutil.iter_modules(encodings.__path__)]
    return sorted(set(names) - {"aliases", "mbcs", "oem"})


def table(name):
    """The characters of the bytes from 0x80, or None where it is no single-byte codec above ASCII."""
    if name in NO_TABLES or name.startswith("iso2022") or not codecs.lookup(name)._is_text_encoding:
        return None
    if bytes(range(128)).decode(name, "replace") != bytes(range(128)).decode("ascii"):
        return None
    chars = [bytes([byte]).decode(name, "replace") for byte in range(128, 256)]
    pairs = ((first, second) for first in range(128, 256) for second in (0x40, 0x80, 0xA1, 0xE1, 0xFF))
    single = all(
        bytes(pair).decode(name, "replace") == "".join(bytes([byte]).decode(name, "replace") for byte in pair)
        for pair in pairs
    )
    return [-1 if char == "\ufffd" else ord(char) for char in chars] if single else None


def runs(codes):
    """The codes, runs of successive ones as `80-9F`, and runs of n undefined ones as `?n`."""
    result, at = [], 0
    while at < len(codes):
        step, end = int(codes[at] >= 0), at + 1
        while end < len(codes) and codes[end] == codes[end - 1] + step:
            end += 1
        last = codes[end - 1]
        result.append(f"?{end - at}" if not step else f"{last:X}" if end - at == 1 else f"{codes[at]:X}-{last:X}")
        at = end
    return result


if sys.argv[1] == "single_byte":
    for name in modules():
        if (codes := table(name)) is not None:
            print(name, *runs(codes))
else:
    for name in modules():
        print(name, *sorted(alias for alias, of in encodings.aliases.aliases.items() if of == name))
