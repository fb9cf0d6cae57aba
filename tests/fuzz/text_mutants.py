"""Hostile variants of XML, tables and YAML that are still of their kind."""

import random
import re

DOCTYPES = (
    b'<!DOCTYPE a [<!ENTITY b "cat"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">'
    b'<!ENTITY d "&c;&c;&c;&c;&c;&c;">]>',
    b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>',
    b'<!DOCTYPE a [<!ENTITY % b SYSTEM "http://127.0.0.1:9/x"> %b;]>',
    b'<!DOCTYPE a SYSTEM "a.dtd">', b'<!DOCTYPE a [<!ATTLIST image name CDATA "../a.png">]>',
)  # fmt: skip
PIECES = (
    b"&b;", b"&d;", b"&#0;", b"&#x1b;", b"&#xD800;", b"&#10;", b"&#x202e;", b"&lt;", b"&amp;",
    b"]]>", b"<![CDATA[cat]]>", b"<!-- cat -->", b"<?x y?>", b"<a/>", b"<a:b xmlns:a='c'/>",
    b"</image>", b"<image>", b"<points/>",
    b"<track id='0' label='cat'><points frame='0' points='1,1'/></track>", b"<box/>",
    b"<mask rle='1,2' left='0' top='0' width='1' height='1' label='cat'/>",
    b"<skeleton label='cat'><points points='1,1' label='cat'/></skeleton>", b"<x>" * 30,
    b"<x>" * 20_000 + b"</x>" * 20_000, b"<meta><task><id>1</id></task></meta>",
    b"<meta><task><original_size><width>8</width><height>5</height></original_size></task></meta>",
    b"\xed\xa0\x80", b"\xff", b"\0",
)  # fmt: skip
ENCODINGS = (
    b"utf-16", b"utf-7", b"cp037", b"idna", b"punycode", b"hex", b"rot13", b"ascii", b"latin-1",
    b"ucs-4", b"undefined", b"a" * 300, b"unicode_escape", b"utf-8-sig", b"",
)  # fmt: skip
VALUES = (
    b"", b" ", b"-1", b"0", b"1", b"8.0", b"1e3", b"1e999", b"nan", b"inf", b"9" * 400, b"1,2",
    b"1,2;3", b"1,2;;3,4", b",", b";", b"1;2", b"1,2,3", b"0x8", b"1_0",
    "\N{FULLWIDTH DIGIT EIGHT}".encode(), "\N{ARABIC-INDIC DIGIT EIGHT}".encode(),
    "\N{SUPERSCRIPT TWO}".encode(), b"../a.png", b"a.png/", b"A.PNG", b"cat", b"grass",
    "c\N{COMBINING ACUTE ACCENT}at".encode(), b"x" * 70_000, b"1,2;" * 20_000 + b"1,2",
)  # fmt: skip
_ATTRIBUTE = re.compile(rb"""([A-Za-z_]+)="([^"<>]*)\"""")
_ELEMENT = re.compile(rb"<([a-z]+)[^<>]*?(?:/>|>[^<>]*</\1>)")


def _put(content: bytes, start: int, end: int, by: bytes) -> bytes:
    return content[:start] + by + content[end:]


def change_xml(content: bytes, rng: random.Random) -> bytes:
    way = rng.randrange(9)
    if way == 0:
        place = content.find(b"?>") + 2
        content = _put(content, place, place, rng.choice(DOCTYPES))
        way = rng.choice((1, 2, 8))  # and who speaks of it
    if way == 1:
        places = [m.start() for m in re.finditer(rb"<", content)] or [0]
        place = rng.choice(places)
        return _put(content, place, place, rng.choice(PIECES))
    if way == 2:
        places = [m.start(2) for m in _ATTRIBUTE.finditer(content)] or [0]
        place = rng.choice(places)
        return _put(content, place, place, rng.choice(PIECES))
    if way == 3:
        return re.sub(rb'encoding="[^"]*"', b'encoding="' + rng.choice(ENCODINGS) + b'"', content)
    if way == 4:
        text = content.decode("utf-8", "surrogateescape").replace('"utf-8"', '"utf-16"')
        return text.encode(rng.choice(("utf-16", "utf-16-le", "utf-8-sig")), "surrogatepass")
    if way in (5, 6):  # an element again, elsewhere, or not
        found = list(_ELEMENT.finditer(content))
        if found:
            one, other = rng.choice(found), rng.choice(found)
            by = rng.choice((b"", one[0] * 2, other[0], one[0] * 300, one[0] + other[0]))
            return _put(content, one.start(), one.end(), by)
    found = list(_ATTRIBUTE.finditer(content))
    if not found:
        return content + rng.choice(PIECES)
    one, other = rng.choice(found), rng.choice(found)
    if way == 7:
        by = rng.choice((b"", one[0] + b" " + one[0], other[0], other[1] + b'="' + one[2] + b'"'))
        return _put(content, one.start(), one.end(), by)
    return _put(content, one.start(2), one.end(2), rng.choice((*VALUES, other[2])))


CELLS = (
    *VALUES, b'"', b'""', b'"a', b'a"b', b'"a""b"', b'"a\nb"', b'"a,b"', b"=1+1", b"\xef\xbb\xbf",
    b"1;5", b"'1", b"x" * 140_000, b"\r", b"\0", b"\xff", b"\x1b[31m",
)  # fmt: skip


def change_csv(content: bytes, rng: random.Random) -> bytes:
    way = rng.randrange(8)
    if way == 0:
        return content.replace(
            b"\n", rng.choice((b"\r\n", b"\r", b"\n\n", b"\n\r", b"\x0b", b"\0\n"))
        )
    if way == 1:
        return content.replace(b",", rng.choice((b";", b"\t", b"|", b" ", b",,", b'","')))
    if way == 2:
        text = content.decode("utf-8", "surrogateescape")
        return text.encode(rng.choice(("utf-16", "utf-8-sig", "utf-32")), "surrogatepass")
    rows = [row.split(b",") for row in content.split(b"\n")]
    row = rng.choice(rows)
    if way == 3:  # columns in another order, or one more
        order = rng.sample(range(len(rows[0])), len(rows[0]))
        rows = [[r[i] for i in order if i < len(r)] + r[len(order) :] for r in rows]
    elif way == 4:
        rows = [[*r, rng.choice((r[0], rng.choice(CELLS)))] for r in rows]
    elif way == 5:
        rows += [list(row)] * rng.choice((1, 2, 500))
    elif way == 6:
        other = rng.choice(rows)
        row[rng.randrange(len(row))] = rng.choice(other)
    else:
        row[rng.randrange(len(row))] = rng.choice(CELLS)
    return b"\n".join(b",".join(row) for row in rows)


YAML_VALUES = (
    b"~", b"null", b"yes", b"off", b"1_000", b"0o17", b"017", b"190:20:30", b".inf", b"-.Inf",
    b".nan", b"1e3", b"1.e+3", b"2026-11-29", b"2026-11-29t25:61:61Z", b"0001-01-01", b"9999-99-99",
    b"9" * 5000, b"0x" + b"f" * 4000, b"0b" + b"1" * 9000,
    b"!!python/object/apply:os.system ['id']", b"!!binary aGk=", b"!!set {a}", b"!!omap [a: 1]",
    b"!!pairs [a: 1]", b"!!int a", b"!!float []", b"!!bool x", b"!!str {}", b"!!timestamp x",
    b"!!map []", b"!!seq {}", b"!!null x", b"!x y", b"!<tag:x> y", b"!!merge a", b"[]", b"{}",
    b"[a, b", b"{a: 1, a: 2}", b"{? [a] : 1}", b"{? {a: 1} : 1}", b"{1: 2}", b"{null: 1}",
    b"{<<: {a: 1}}", b"{<<: 1}", b"{<<: [1]}", b"&a 1", b"*a", b"=", b"<<", b"|\n   x", b">-\n   x",
    b"'a''b'", b'"\\ud800"', b'"\\x1b"', b'"\\0"', b'"\\N"', b"'", b'"', b"# x", b"%x", b"@x",
    b"`x", b"- a", b"? a", b"a: b: c", b"\t1", b"{[]: 1}", b"{!!set {a}: 1}", b"[" * 30 + b"]" * 30,
    b"{2026-11-29: 1}", b"{.nan: 1}", b"{1.5: 2}",
)  # fmt: skip
YAML_LINES = (
    b"---", b"...", b"%YAML 9.9", b"%TAG ! tag:x:", b"--- a", b"? a", b"- a", b"a", b"<<: *a",
    b"<<: {seed: 1}", b"<<: [{seed: 1}, {seed: 2}]", b"seed: 1", b"~: 1", b"1: 1", b"[a]: 1",
    b"{a: 1}: 1", b"\t", b"\xef\xbb\xbf", b"\0", b"\x85", b"\xe2\x80\xa8", b"\xff",
    b"!!python/name:os.system : 1", b"? !!set {a}\n: 1", b"=: 1",
)  # fmt: skip
_PAIR = re.compile(rb"^( *(?:- )?)([a-z_]+):(.*)$", re.M)


def change_yaml(content: bytes, rng: random.Random) -> bytes:
    way = rng.randrange(7)
    lines = content.split(b"\n")
    if way == 0:
        place = rng.randrange(len(lines) + 1)
        indent = b" " * rng.choice((0, 0, 2, 4))
        return b"\n".join([*lines[:place], indent + rng.choice(YAML_LINES), *lines[place:]])
    found = list(_PAIR.finditer(content))
    if not found:
        return content + rng.choice(YAML_LINES)
    one, other = rng.choice(found), rng.choice(found)
    if way == 1:
        by = one[1] + rng.choice((other[2], rng.choice(YAML_VALUES))) + b":" + one[3]
    elif way == 2:
        by = one[1] + one[2] + b":" + other[3]
    elif way == 3:
        by = rng.choice((b" ", b"  ", b"\t")) + one[0]
    elif way == 4:
        by = one[0] + b"\n" + one[0]
    else:
        by = one[1] + one[2] + b": " + rng.choice(YAML_VALUES)
    return _put(content, one.start(), one.end(), by)
