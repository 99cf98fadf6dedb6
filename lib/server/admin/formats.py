"""Format times, durations, sizes and scores for the admin pages."""

import math
from datetime import datetime
from typing import Any

from markupsafe import Markup

from lib.evaluation.intervals import Interval

NOTHING = "-"


def moment(value: float | str | None) -> Markup:
    """Return a point in time as HTML: ISO 8601 in the server's time zone, with its offset.

    Args:
        value: Seconds since the epoch, or a text in ISO 8601; other texts are returned unchanged.
    """
    if value in (None, ""):
        return Markup(NOTHING)
    try:
        when = datetime.fromtimestamp(value) if isinstance(value, int | float) else datetime.fromisoformat(str(value))
    except (ValueError, OverflowError, OSError):
        return Markup.escape(str(value))
    local = when.astimezone()
    date, clock, offset = f"{local:%Y-%m-%d}", f"{local:%H:%M:%S}", local.isoformat(timespec="seconds")[-6:]
    html = '<time datetime="{}T{}{}">{} {}<span class="zone">{}</span></time>'
    return Markup(html).format(date, clock, offset, date, clock, offset)


def duration(seconds: float | None) -> str:
    """Return a duration in its two largest units."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def size(count: float | None) -> str:
    """Return a number of bytes as text with a binary unit."""
    if count is None:
        return NOTHING
    for unit, step in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20)):
        if count >= step:
            return f"{count / step:.1f} {unit}"
    return f"{count / 1024:.0f} KiB"


def number(value: float | None, digits: int = 1, unit: str = "") -> str:
    """Return a number with `digits` decimal digits and a unit; a dash if there is no number."""
    if value is None or not math.isfinite(value):
        return NOTHING
    return f"{value:.{digits}f}{unit and ' ' + unit}"


def interval(found: Interval | None) -> Markup:
    """Return a mean as HTML, with its 95 % interval and its number of cases."""
    if found is None or not found.count:
        return Markup('<span class="quiet">not recorded</span>')
    cases = "1 case" if found.count == 1 else f"{found.count} cases"
    bounds = f" [{found.low:.3f}, {found.high:.3f}]" if math.isfinite(found.low) else ""
    html = '<span class="score">{:.3f}{}</span> <span class="cases">{}</span>'
    return Markup(html).format(found.mean, bounds, cases)


def short(value: Any, length: int = 300) -> str:
    """Return a text, cut to `length` characters."""
    text = str(value)
    return text if len(text) <= length else f"{text[: length - 1]}…"


FILTERS = {function.__name__: function for function in (moment, duration, size, number, interval, short)}
