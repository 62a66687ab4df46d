#!/usr/bin/env python3
"""Draws a terminal's output as SVG: `picture.py README.md LIGHT.svg DARK.svg <OUTPUT`.

OUTPUT, with the escape sequences of its colours, is what the first `console` block of README.md abbreviates: the picture has
the block's lines, with the colours that they have in OUTPUT. Numbers may differ; then those of the block are drawn."""

import html
import pathlib
import re
import sys

COLUMNS, FONT, LINE, EDGE = 112, 13, 18, 16
ADVANCE = FONT * 0.6
# Foreground, background, and the colours of SGR 31 to 36: red, green, yellow, blue, magenta, cyan.
THEMES = [
    ("#24292f", "#ffffff", ["#b3261e", "#116329", "#7d4e00", "#0550ae", "#8250df", "#0f6b75"]),
    ("#e6edf3", "#0d1117", ["#ff7b72", "#7ee787", "#e3b341", "#79c0ff", "#d2a8ff", "#76e3ea"]),
]
SEQUENCE = re.compile(r"\x1b\[([0-9;]*)m")


def block(readme):
    """The command of the first console block, and the lines below it."""
    lines = re.search(r"^```console\n(.*?)^```", readme, re.M | re.S)[1].splitlines()
    return lines[0], lines[1:]


def pieces(line):
    """The line's text in pieces of one style, each with the style's numbers."""
    style, at, found = set(), 0, []
    for sequence in SEQUENCE.finditer(line):
        found.append((line[at : sequence.start()], frozenset(style)))
        codes = [int(code or 0) for code in sequence[1].split(";")]
        style = set() if 0 in codes else style | set(codes)
        at = sequence.end()
    found.append((line[at:], frozenset(style)))
    return [(text, style) for text, style in found if text]


def comparable(text):
    return re.sub(r"\d+", "N", re.sub(r"(transports:) .*", r"\1", text))


def coloured(output, wanted):
    """The wanted lines, in pieces as the output has them."""
    lines, at = [pieces(line) for line in output.splitlines()], 0
    for text in wanted:
        if text == "...":
            yield [(text, frozenset([2]))]
            continue
        while comparable("".join(piece for piece, _ in lines[at])) != comparable(text):
            at += 1
            if at == len(lines):
                sys.exit(f"the program did not print this line of the block: {text}")
        found, rest = lines[at], text
        if "".join(piece for piece, _ in found) != text:
            # Other numbers; such lines have one style, or two from a word on.
            head = found[0][0] if text.startswith(found[0][0]) else ""
            found = [(head, found[0][1]), (text[len(head) :], found[-1][1])] if head else [(text, found[-1][1])]
        yield found
        at += 1


def rows(line):
    """The line as a terminal breaks it."""
    row, width = [], 0
    for text, style in line:
        while text:
            taken = text[: COLUMNS - width]
            row.append((taken, style))
            width, text = width + len(taken), text[len(taken) :]
            if width == COLUMNS and text:
                yield row
                row, width = [], 0
    yield row


def span(text, style, colours):
    marks = [f'fill="{colours[code - 31]}"' for code in sorted(style) if 31 <= code <= 36]
    marks += ['font-weight="bold"'] * (1 in style) + ['opacity="0.65"'] * (2 in style)
    return f"<tspan {' '.join(marks)}>{html.escape(text, False)}</tspan>" if marks else html.escape(text, False)


def draw(lines, theme):
    foreground, background, colours = theme
    body, y = [], EDGE + LINE
    for line in lines:
        text = []
        for row in rows(line):
            inside = "".join(span(piece, style, colours) for piece, style in row)
            text.append(f'<tspan x="{EDGE}" y="{y}">{inside}</tspan>')
            y += LINE
        body.append(f"<text>{''.join(text)}</text>")
    width, height = round(COLUMNS * ADVANCE + 2 * EDGE), y
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">\n'
        f'<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8" fill="{background}" stroke="#8b949e"/>\n'
        f'<g xml:space="preserve" style="white-space: pre" fill="{foreground}" font-size="{FONT}" '
        'font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, DejaVu Sans Mono, monospace">\n'
        + "\n".join(body)
        + "\n</g>\n</svg>\n"
    )


def main(readme, *pictures):
    command, wanted = block(pathlib.Path(readme).read_text())
    lines = [[(command, frozenset([1]))], *coloured(sys.stdin.read(), wanted)]
    for path, theme in zip(pictures, THEMES, strict=True):
        pathlib.Path(path).write_text(draw(lines, theme))


main(*sys.argv[1:])
