"""Makes `resets.tsv`: where windows of the calendar begin and end, found by looking at clocks.

It knows the zones' clocks from Python's zoneinfo and nothing of how the gateway reckons: it reads the local clock at
every quarter of an hour of more than twenty years and writes down where what it shows falls into another period. Run
it after a change of what a window means, or when zones got new rules:

    python3 -m venv venv && venv/bin/pip install tzdata
    PYTHONTZPATH= venv/bin/python tests/windows/resets.py > tests/windows/resets.tsv

A line is a zone, a window as `permissions.yaml` writes it, and instants in UTC at which one window ends and the next
begins, with no others between them.
"""

import random
from bisect import bisect_right
from datetime import datetime, timedelta, timezone
from itertools import accumulate
from zoneinfo import ZoneInfo

import tzdata

ZONES = """Africa/Cairo America/Havana America/Santiago Asia/Beirut Asia/Kathmandu Australia/Lord_Howe
Europe/Berlin Europe/Zurich Pacific/Apia""".split()
DAYS = "monday tuesday wednesday thursday friday saturday sunday".split()
QUARTER = timedelta(minutes=15)
# Room for whole years around those that are looked at.
FIRST, LAST = datetime(2008, 12, 1), datetime(2032, 2, 1)
FROM, TO = datetime(2010, 1, 1), datetime(2031, 1, 1)
# A window, and how many of it are written down before and after each change of the clocks.
WINDOWS = [
    ("hour", 3),
    ("day", 2),
    ("day from 00:30", 2),
    ("day from 02:15", 2),
    ("day from 06:00", 1),
    ("day from 12:00", 1),
    ("day from 23:45", 2),
    ("week", 1),
    ("week from sunday 00:30", 1),
    ("week from friday 23:45", 1),
    ("month", 0),
    ("month from 02:30", 0),
    ("year", 0),
    ("year from 06:00", 0),
]


def clocks(zone):
    """What the clocks of a zone show at each quarter of an hour, and how far they are from UTC."""
    zone, at, shown = ZoneInfo(zone), FIRST, []
    while at < LAST:
        local = at.replace(tzinfo=timezone.utc).astimezone(zone)
        last = (at + QUARTER - timedelta(seconds=1)).replace(tzinfo=timezone.utc).astimezone(zone)
        # What makes quarters of an hour enough: clocks change and differ from UTC by whole ones.
        assert last.utcoffset() == local.utcoffset() and local.utcoffset() % QUARTER == timedelta(0)
        shown.append((local.replace(tzinfo=None), local.utcoffset()))
        at += QUARTER
    return shown


def period(window):
    """The period that a date and a time of day belong to, as a function of them."""
    word, _, start = window.partition(" from ")
    day, _, time = start.rpartition(" ")
    hours, minutes = (int(part) for part in (time or "00:00").split(":"))
    later, first = timedelta(hours=hours, minutes=minutes), DAYS.index(day or "monday")
    week = lambda date: date - timedelta(days=(date.weekday() - first) % 7)
    of_date = {
        "day": lambda date: date,
        "week": week,
        "month": lambda date: (date.year, date.month),
        "year": lambda date: date.year,
    }[word]
    return lambda local: of_date((local - later).date())


def resets(window, shown):
    """The quarters at which a window begins."""
    if window == "hour":
        # What the clocks show, before and after a change.
        shows = [(local.date(), local.hour, offset) for local, offset in shown]
    else:
        # A period begins when its date and time of day are reached or passed for the first time; clocks that are
        # put back do not begin it again.
        latest = accumulate((local for local, _ in shown), max)
        shows = [*map(period(window), latest)]
    return [at for at in range(1, len(shows)) if shows[at] != shows[at - 1]]


def around(found, index, count):
    """The resets of so many windows before that of a quarter, and after it."""
    at = bisect_right(found, index)
    return tuple(found[max(0, at - count - 1) : at + count + 1])


def main():
    random.seed(20101231)
    print("# Made by resets.py, from tzdata", tzdata.IANA_VERSION)
    index_of = lambda at: (at - FIRST) // QUARTER
    years = range(index_of(FROM), index_of(TO))
    for zone in ZONES:
        shown = clocks(zone)
        changes = [index for index in years if shown[index][1] != shown[index - 1][1]]
        for window, count in WINDOWS:
            found = resets(window, shown)
            lines = {around(found, index, count) for index in changes}
            lines |= {around(found, random.choice(years), 0) for _ in range(8)}
            for line in sorted(lines):
                instants = [(FIRST + index * QUARTER).strftime("%Y-%m-%dT%H:%MZ") for index in line]
                print(zone, window, " ".join(instants), sep="\t")


main()
