"""A horizontal bar chart as SVG."""

from html import escape

ROW = 22
LABEL_WIDTH = 190
BAR_WIDTH = 560
TOP = 64
COLOURS = {True: "#2c7a4b", False: "#b4452f"}


def ratio_chart(title, subtitle, rows, reference_label):
    """SVG text. rows: (label, ratio, text behind the bar); a line marks the ratio 1."""
    top = max([1.0] + [ratio for _, ratio, _ in rows]) * 1.05
    scale = BAR_WIDTH / top
    height = TOP + ROW * len(rows) + 30
    width = LABEL_WIDTH + BAR_WIDTH + 230
    out = [
        '<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d"'
        ' font-family="sans-serif" font-size="12">' % (width, height, width, height),
        '<rect width="100%" height="100%" fill="white"/>',
        _text(10, 24, title, 'font-size="16" font-weight="bold"'),
        _text(10, 44, subtitle, 'fill="#555"'),
    ]
    for index, (label, ratio, text) in enumerate(rows):
        y = TOP + index * ROW
        out.append(_text(LABEL_WIDTH - 8, y + 15, label, 'text-anchor="end"'))
        out.append(
            '<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>'
            % (LABEL_WIDTH, y + 3, ratio * scale, ROW - 6, COLOURS[ratio >= 1])
        )
        out.append(_text(LABEL_WIDTH + ratio * scale + 6, y + 15, text))
    line = LABEL_WIDTH + scale
    bottom = TOP + ROW * len(rows)
    out.append(
        '<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#333" stroke-dasharray="4 3"/>'
        % (line, line, TOP - 4, bottom + 4)
    )
    out.append(_text(line, bottom + 20, reference_label, 'text-anchor="middle" fill="#333"'))
    return "\n".join(out + ["</svg>\n"])


def _text(x, y, text, attributes=""):
    return '<text x="%.1f" y="%.1f" %s>%s</text>' % (x, y, attributes, escape(text))
