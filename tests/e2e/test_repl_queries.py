"""Event queries of sessions: against the figures of the fines, against a naive model of them, and where functions, logs and hubs misbehave."""
import json, os, random, re, sys
from decimal import Decimal, localcontext
from math import ceil, fsum

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import fines, shop
from fines import ALL, TYPES, FinesCase
from hub import SMALL, Case, lines, lore, main
from sessions import Session

# Work in a function, so that a query takes longer than what one thread does alone.
BUSY = "(function() local n = 0 for i = 1, 400 do n = n + i end return n end)()"


def event_of(line):
    """An event as functions see it, from a line of lore export."""
    aggregate, id = line["subject"].split("/")
    context = line["source"].split("/")[-1]
    return dict(type=line["type"], at=line["time"], data=line["data"], position=line["position"], version=line["version"], id=id,
                aggregate=aggregate, context=context, stream=f"{context}/{line['subject']}", deploy=line["deploy"])


def decimal(value):
    return Decimal(value) if isinstance(value, str) else value


# Functions as Lua has them, and as the model does. Amounts are decimals, which JSON has as text.
WHERE = [('"data.amount"', lambda e: "amount" in e["data"]),
         ("function(e) return e.data.article == 157 end", lambda e: e["data"].get("article") == 157),
         ("function(e) return e.id:sub(1, 1) == 'A' end", lambda e: e["id"][0] == "A"),
         ("function(e) return e.at < '2001-01-01' end", lambda e: e["at"] < "2001-01-01"),
         (f"function(e) return {BUSY} > 0 and e.position % 3 == 0 end", lambda e: e["position"] % 3 == 0)]
GROUP = [('"type"', lambda e: e["type"]), ('"month"', lambda e: e["at"][:7]), ('"day"', lambda e: e["at"][:10]),
         ('"stream"', lambda e: e["stream"]),
         ("function(e) return e.at:sub(1, 4) end", lambda e: e["at"][:4]),
         ("function(e) return e.data.article end", lambda e: e["data"].get("article")),
         ("function(e) return e.version > 1 end", lambda e: "true" if e["version"] > 1 else "false")]
VALUE = [('"amount"', lambda e: decimal(e["data"].get("amount"))), ('"data.article"', lambda e: e["data"].get("article")),
         ("function(e) return e.data.article and e.data.article / 7 end", lambda e: e["data"]["article"] / 7 if "article" in e["data"] else None),
         ("function(e) return e.position end", lambda e: e["position"])]
ORDERED = [*VALUE, ('"at"', lambda e: e["at"]), ("function(e) return e.id end", lambda e: e["id"])]


def hashed(order):
    """The order in which rows are drawn: seek_fold.c."""
    h = order * 0x9e3779b97f4a7c15 % 2**64
    h = (h ^ h >> 32) * 0xd6e8feb86659fd93 % 2**64
    return h ^ h >> 32


def total(values):
    return fsum(values) if any(isinstance(value, float) for value in values) else sum(values)


def average(values):
    if not values:
        return None
    with localcontext() as context:
        context.prec = 60
        return total(values) / len(values)


def by_value(rows, f):
    return [(value, row) for row in rows if (value := f(row)) is not None]


def model_end(end, rows, f, n, q):
    """What the end gives; rows are (order, event)."""
    events = [event for _, event in rows]
    values = [value for value, _ in by_value(events, f)]
    if end == "count":
        return len(rows)
    if end in ("sum", "avg"):
        return (total if end == "sum" else average)(values)
    if end in ("min", "max"):
        return {"min": min, "max": max}[end](values) if values else None
    if end == "quantile":
        return sorted(values)[max(0, ceil(len(values) * q) - 1)] if values else None
    if end in ("first", "last"):
        return events[0 if end == "first" else -1]["position"] if events else None
    if end == "top":
        return [row["position"] for _, row in sorted(by_value(events, f), key=lambda pair: pair[0], reverse=True)[:n]]
    if end == "sample":
        drawn = sorted(rows, key=lambda row: (hashed(row[0]), row[0]))[:n]
        return [event["position"] for _, event in sorted(drawn, key=lambda row: row[0])]
    if end == "distinct":
        return list(dict.fromkeys(values))
    return [event["position"] for event in events]


class Query:
    """A random query: its text, and what the model says of it."""

    def __init__(self, draw, events):
        self.draw, self.text, self.order = draw, "", None
        self.rows = self.filter(events)
        self.numbered = [(event["position"], event) for event in self.rows]
        for _ in range(draw.randrange(3)):
            self.stage()
        self.end()

    def filter(self, events):
        draw, given = self.draw, []
        def one(name, text, fits):
            nonlocal events
            if draw.random() < 0.25:
                given.append(f"{name} = {text}")
                events = [event for event in events if fits(event)]
        types = draw.sample(sorted(TYPES.values()), 2)
        one("type", f"'{types[0]}'", lambda e: e["type"] == types[0])
        if not given:
            one("types", "{ '%s', 'fines.%s' }" % tuple(types), lambda e: e["type"] in types)
        since, until = sorted(f"200{draw.randrange(3)}-{draw.randrange(1, 13):02}-01T00:00:00.000Z" for _ in range(2))
        one("since", f"'{since}'", lambda e: e["at"] >= since)
        one(draw.choice(["to", "['until']"]), f"'{until}'", lambda e: e["at"] <= until)
        first, last = sorted(draw.randrange(1, 60000) for _ in range(2))
        one("from", first, lambda e: e["position"] >= first)
        one("upto", last, lambda e: e["position"] <= last)
        one("context", "'fines'", lambda e: e["context"] == "fines")
        one("aggregate", draw.choice(["'fine'", "'fines/fine'"]), lambda e: e["aggregate"] == "fine")
        stream = draw.choice(events)["stream"] if events else "fines/fine/none"
        if draw.random() < 0.1:
            one("stream", f"'{stream}'", lambda e: e["stream"] == stream)
        count = draw.randrange(1, 3000)
        if draw.random() < 0.2:
            given.append(f"last = {count}")
            events = events[-count:]
        self.text = "events { %s }" % ", ".join(given)
        return events

    def stage(self):
        kind, rows = self.draw.choice(["where", "where", "skip", "limit", "sort"]), self.numbered
        if kind == "where":
            text, f = self.draw.choice(WHERE)
            self.text += f":where({text})"
            self.numbered = [row for row in rows if f(row[1])]
        elif kind == "sort":
            text, f = self.draw.choice([pair for pair in ORDERED if pair[0] not in ('"amount"',)])
            down = self.draw.random() < 0.5
            self.text += f":sort({text}{', [[desc]]' if down else ''})"
            def key(row):
                value = f(row[1])
                return (value is not None, value if value is not None else 0)
            self.numbered = [(at + 1, event) for at, (_, event) in enumerate(sorted(rows, key=key, reverse=down))]
        else:
            n = self.draw.randrange(2000)
            self.text += f":{kind}({n})"
            self.numbered = rows[n:] if kind == "skip" else rows[:n]

    def end(self):
        draw = self.draw
        end = draw.choice(["count", "sum", "avg", "min", "max", "quantile", "top", "first", "last", "sample", "distinct", "rows"])
        if end in ("rows", "sample", "top", "first", "last") and len(self.numbered) > 5000:
            end = "count"  # in groups these may be more than a session shows of one value
        (group_text, group), n, q = draw.choice(GROUP), draw.randrange(6), round(draw.random(), 2)
        text, f = draw.choice(ORDERED if end in ("min", "max", "top", "distinct") else VALUE)
        arguments = {"count": "", "first": "", "last": "", "rows": "", "sample": n, "quantile": f"{q}, {text}", "top": f"{n}, {text}"}
        grouped = draw.random() < 0.5
        self.text += (f":group({group_text})" if grouped else "") + f":{end}({arguments.get(end, text)})"
        if not grouped:
            self.expected = model_end(end, self.numbered, f, n, q)
            return
        groups = {}
        for row in self.numbered:
            if (key := group(row[1])) is not None:
                groups.setdefault(str(key), []).append(row)
        found = {key: model_end(end, rows, f, n, q) for key, rows in groups.items()}
        self.expected = {key: value for key, value in found.items() if value is not None}


def plain(value, expected):
    """An answer as the model has it: events by position, decimals as such."""
    if isinstance(value, dict) and "position" in value:
        return value["position"]
    if isinstance(value, dict):
        return {key: plain(one, expected.get(key) if isinstance(expected, dict) else None) for key, one in value.items()}
    if isinstance(value, list):
        kinds = expected if isinstance(expected, list) else []
        return [plain(one, kinds[at] if at < len(kinds) else None) for at, one in enumerate(value)]
    if isinstance(value, str) and isinstance(expected, Decimal):
        return Decimal(value)
    return value


def near(a, b):
    """Equal; of averages of decimals as much as 28 digits say."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(near(a[key], b[key]) for key in a)
    if isinstance(a, Decimal) and isinstance(b, Decimal):
        return abs(a - b) <= Decimal("1e-24")
    return a == b


class Part(FinesCase):
    """The beginning of the fines, a hub over them, and all of it as lines of lore export."""

    def setUp(self):
        super().setUp()
        self.copy_scripts("fines")
        self.do_import(2)
        self.events = [event_of(line) for line in lines(lore("export", "--data", self.data, check=0).stdout)]
        self.served = self.hub()
        self.session = Session(self.served)


class Model(Part):
    def test_random_queries(self):
        """Each on all processors, and again by a hub that has one."""
        seed = int(os.environ.get("LORE_TEST_SEED", random.randrange(10**6)))
        print(f"seed {seed}")
        draw = random.Random(seed)
        queries = [Query(draw, self.events) for _ in range(60 if SMALL else 120)]
        answers = [self.session.value(query.text) for query in queries]
        for query, answer in zip(queries, answers):
            found = plain(answer, query.expected)
            if query.expected in ([], {}):
                found = found or query.expected
            self.assertTrue(near(found, query.expected), f"seed {seed}\n{query.text}\n{str(found)[:500]}\n{str(query.expected)[:500]}")
        self.served.stop()
        processors = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(processors)})
        try:
            alone = self.hub()
        finally:
            os.sched_setaffinity(0, processors)
        session = Session(alone)
        for query, answer in zip(queries, answers):
            self.assertEqual(session.value(query.text), answer, f"seed {seed}\n{query.text}")

    def test_how_far_it_is(self):
        """A query that takes its time tells it meanwhile, again and again."""
        question = self.session.begin("events {}:map(function(e) local n = 0 for i = 1, 1e6 do n = n + i end return n end):sum()")
        counts = [0]
        while len(set(counts)) < 6:
            told = question.line()["progress"]
            self.assertEqual(told["of"], len(self.events))
            counts.append(told["events"])
        question.close()
        self.assertEqual(counts, sorted(counts))
        self.assertLess(counts[-1], len(self.events))

    def test_values_of_a_query(self):
        """What a session shows, walks, plots and saves."""
        session, events = self.session, self.events
        created = [event for event in events if event["type"] == "FineCreated"]
        shown = session.lines("events { type = 'FineCreated' }", rows=3)
        self.assertEqual([line["row"]["position"] for line in shown if "row" in line], [event["position"] for event in created[:3]])
        self.assertEqual(shown[-2:], [{"more": True}, {"none": True}])
        self.assertEqual(shown[0]["row"]["data"], created[0]["data"])
        self.assertEqual(len([1 for line in session.lines("events { last = 5 }", rows=20) if "row" in line]), 5)
        walked = session.lines("local n = 0 for e in events { type = 'FineCreated' } do n = n + 1 kept = kept or e end print(n, kept.id, kept.data.amount)")
        self.assertEqual(walked[0], {"print": f"{len(created)} {created[0]['id']} {created[0]['data']['amount']}"})
        nested = ("local q, n = events { type = 'FineCreated' }:limit(3), 0 for a in q do for b in q do if b.id ~= a.id then n = n + 1 end "
                  "if n % 2 == 1 then break end end end return n")
        self.assertEqual(session.value(nested), 5)
        months = session.value("events { type = 'FineCreated' }:group('month'):count()")
        self.assertEqual(session.lines("it:plot('fines')")[0]["plot"],
                         {"kind": "line", "title": "fines", "points": [[key, months[key]] for key in sorted(months)]})
        # What was drawn stays `it`, so that it can be saved.
        rows = [line["row"] for line in session.lines("it:save 'months.csv'") if "row" in line]
        self.assertEqual({row["key"]: row["value"] for row in rows}, months)
        self.assertEqual(session.value("it"), months)
        self.assertEqual(session.lines("events {}:group('type'):plot()")[0]["plot"]["kind"], "bars")
        self.assertEqual(session.value("it:count()"), session.value("events {}:group('type'):count()"))
        bins = session.lines("events { type = 'FineCreated' }:map('amount'):plot()")[0]["plot"]
        self.assertEqual((bins["kind"], sum(n for _, n in bins["points"])), ("histogram", len(created)))
        saved = session.lines("events { type = 'FineCreated' }:map('data'):save 'a.csv'", rows=2)
        self.assertEqual(saved[0], {"save": {"file": "a.csv"}})
        self.assertEqual([line["row"] for line in saved if "row" in line], [event["data"] for event in created])
        self.assertEqual(saved[-2], {"saved": True, "rows": len(created)})
        grouped = session.lines("events {}:group('type'):count():save 'types.ndjson'")
        self.assertEqual({line["row"]["key"]: line["row"]["value"] for line in grouped if "row" in line},
                         session.value("events {}:group('type'):count()"))

    def test_functions_that_keep_and_change(self):
        session, events = self.session, self.events
        self.assertEqual(session.value("kept = {} events { last = 3 }:where(function(e) kept[#kept + 1] = e return true end):count() "
                                       "return { kept[1].id, kept[2].data, kept[3].position }"),
                         [events[-3]["id"], events[-2]["data"], events[-1]["position"]])
        seen = session.value("local seen, n = {}, 0 events {}:where(function(e) if not seen[e.id] then seen[e.id] = true n = n + 1 end return true end):count() return n")
        self.assertEqual(seen, len({event["id"] for event in events}))
        self.assertEqual(session.value("limit = 100 rates = { FineCreated = 2 } function twice(e) return (rates[e.type] or 0) * limit end "
                                       f"return events {{}}:where(function() return {BUSY} > 0 end):sum(twice)"),
                         200 * len([1 for event in events if event["type"] == "FineCreated"]))
        inner = "events { last = 4 }:map(function(e) return events { stream = e.stream }:count() + #e.id end):rows()"
        streams = [event["stream"] for event in events]
        self.assertEqual(session.value(inner), [streams.count(event["stream"]) + len(event["id"]) for event in events[-4:]])
        for source, message in [
                ("events {}:where(function(e)\n  e.x = 1 end):count()", "repl:2: an event cannot be changed"),
                ("events {}:where(function(e)\n\n  return e.data.none.at end):count()", "repl:3: attempt to index a nil value"),
                ("events {}:sort(function(e) error('no') end):count()", "repl:1: no"),
                ("for e in events {}:where(function(e) error('not this') end) do end", "repl:1: not this"),
                ("events {}(nil, 5)", "a query is walked by for row in query do"),
                ("events {}:sort(function(e) return {} end):rows()", "sort: a number, text, boolean or decimal is expected: got a table"),
                ("events {}:group(function(e) return {} end):count()", "group: a key is a text, number, boolean, decimal, or nil"),
                ("events {}:group(function(e) return 0/0 end):count()", "got nan"),
                ("events {}:group(function(e) return '\\255' end):count()", "a text that is not UTF-8"),
                ("events {}:sum(function(e) return 0/0 end)", "sum: a number is expected, got nan"),
                ("events {}:max(function(e) return 1/0 end)", "max: a number, text, boolean or decimal is expected, got inf"),
                ("events {}:sum('type')", "sum: a number is expected, got a text"),
                ("events {}:map(function(e) return e.position > 1 and decimal '1.5' or 0.5 end):sum()", "decimals and floats cannot be added"),
                ("events {}:map(function(e) return print end):rows()", "no plain data"),
                ("events { typ = 'x' }", "events has no filter typ: did you mean type?"),
                ("events { since = 'soon' }:count()", "since: soon is no time"),
                ("events {}:group('type'):where('x')", "behind :group only an end can come"),
                ("events {}.count()", "write QUERY:count(…), with a colon"),
                ("events {}:limit(-1)", "limit takes a number of rows"),
                ("events {}:quantile(2)", "quantile takes a number from 0 to 1")]:
            found = session.error(source)
            self.assertIn(message, found["message"], source)
            self.assertTrue(found["message"].startswith("repl:"), found)
        self.assertEqual(session.value("events {}:group(function(e) return nil end):count()"), {})

    def test_functions_are_the_same_wherever_they_run(self):
        """What a copy of a function could not do alike is done by the session itself; and no copy reaches more than the function."""
        session, count = self.session, len(self.events)
        slow = "for _ = 1, 300 do end "
        for before, condition, expected in (
                ("local t = {} local a = t", "a == t", count), ("local t = {} local a = { t }", "a[1] == t", count), ("local t = {} local a = {}", "a == t", 0),
                ("local t = {} u = t local function same(x) return x == u end", "same(t)", count),
                ("local l = events { position = 2 }:first()", "e == l", 1), ("local l = { events { position = 2 }:first() }", "e == l[1]", 1),
                ("x = 5", "rawget(_ENV, 'x') == 5", count), ("x = 5 local get = rawget", "get(_ENV, 'x') == 5", count),
                ("x = 5", "(function() for k, v in pairs(_ENV) do if k == 'x' then return v == 5 end end end)()", count),
                ("x = 5", "(function() for k, v in next, _ENV do if k == 'x' then return v == 5 end end end)()", count),
                ("local l = list {}", "getmetatable(l) == false", 0), ("local t = { 1, 2 }", "rawlen(t) == 2", count), ("local t = { a = 1 }", "rawget(t, 'a') == 1", count),
                ("local v = views.fines.cases local function g() return v end function h() return g() end", "h() == v", count),
                ("local v = views.fines.cases local function g() return os or v end function h1() return g() end function h2() return g() end",
                 "pcall(h1) and false or pcall(h2) and false", 0)):
            found = session.value(f"{before} return events {{}}:where(function(e) {slow} return {condition} end):count()")
            self.assertEqual(found, expected, f"{before} … {condition}")
        # A function that cannot be carried, met again by way of others: its copy would have had the globals of a bare state.
        touched = os.path.join(self.dir, "touched")
        session.lines(f"""local v = views.fines.cases
            local function g() if os then os.execute("touch {touched}") end return v end
            function h1() return g() end
            function h2() return g() end
            return events {{}}:where(function(e) {slow} pcall(function() h1() end) pcall(function() h2() end) return true end):count()""")
        self.assertFalse(os.path.exists(touched))

    def test_events_outlive_their_query(self):
        """An event that was kept is read again, however the query that gave it ended."""
        session = self.session
        self.assertEqual(session.value("local k for e in events {} do k = e if e.position == 5 then break end end local t = {} for i = 1, 1e5 do t[i] = {i} end return k.stream .. k.type"),
                         self.events[4]["stream"] + self.events[4]["type"])
        session.lines("kept = nil pcall(function() events {}:where(function(e) kept = e error('x') end):count() end)")
        session.lines("local t = {} for i = 1, 1e5 do t[i] = ('x'):rep(100) .. i end")
        self.assertEqual(session.value("kept.stream .. kept.type .. kept.data.amount"), "".join(self.events[0][name] for name in ("stream", "type")) + str(self.events[0]["data"]["amount"]))
        self.assertEqual(session.value("local n = 0 for e in events {} do for _ = 1, 200 do end if e.type == 'FineCreated' then n = n + 1 end end return n"),
                         sum(event["type"] == "FineCreated" for event in self.events))

    def test_cancelled_in_any_phase(self):
        for source in ["events {}:where(function(e) while true do end end):count()",
                       "while true do events {}:group('stream'):count() end",
                       "while true do events {}:sort('id'):count() end",
                       "for e in events {} do while true do end end",
                       "while true do events { tenant = 'never' }:last() end",
                       f"while true do events {{}}:where(function(e) return {BUSY} > 0 end):count() end"]:
            question = self.session.begin("print('begun') " + source)
            self.assertEqual(question.line(), {"print": "begun"})
            self.session.cancel()
            self.assertEqual(question.rest()[-1]["error"]["code"], "cancelled", source)
        self.assertEqual(self.session.value("events { last = 1 }:count()"), 1)


class Reference(FinesCase):
    rows = fines.PART if SMALL else ALL

    def test_all_fines(self):
        """The figures of reference.json, which were computed from the source alone."""
        self.copy_scripts("fines")
        self.do_import(2)
        session = Session(self.hub())
        of_kind, cents, resources = {}, {}, set()
        for row in fines.source_rows(self.rows):
            of_kind[TYPES[row["activity"]]] = of_kind.get(TYPES[row["activity"]], 0) + 1
            for field in ("amount", "expense", "payment_amount"):
                if field in row:
                    key = (row["activity"], field)
                    cents[key] = cents.get(key, 0) + fines.cents(str(row[field]))
        self.assertEqual(session.value("events { context = 'fines' }:count()"), self.rows)
        self.assertEqual(session.value("events { context = 'fines' }:group('type'):count()"), of_kind)
        self.assertEqual(session.value("events { context = 'fines' }:group(function(e) return e.type end):count()"), of_kind)
        for activity, field, path in [("Create Fine", "amount", "amount"), ("Add penalty", "amount", "amount"),
                                      ("Send Fine", "expense", "expense"), ("Payment", "payment_amount", "amount")]:
            found = session.value(f"events {{ type = '{TYPES[activity]}' }}:sum('{path}')")
            self.assertEqual(Decimal(found) * 100, cents[activity, field], activity)
            if self.rows == ALL:
                with open(os.path.join(fines.DATA, "reference.json")) as file:
                    self.assertEqual(cents[activity, field], json.load(file)["cents_per_activity_and_field"][f"{activity}.{field}"])
        if self.rows == ALL:
            with open(os.path.join(fines.DATA, "reference.json")) as file:
                reference = json.load(file)
            self.assertEqual(session.value("#events { context = 'fines' }:distinct('stream')"), reference["cases"])
            self.assertEqual(session.value("#events { context = 'fines' }:distinct('at')"), reference["distinct_instants"])
            self.assertEqual(session.value("events { context = 'fines' }:map('at'):min()")[:19] + "Z", reference["first_time"])
            self.assertEqual(session.value("events { context = 'fines' }:map('at'):max()")[:19] + "Z", reference["last_time"])


class Logs(Case):
    """Logs that grow, are empty, or have too much in them."""

    def setUp(self):
        super().setUp()
        for path, text in shop.SCRIPTS.items():
            self.write(path, text)

    def test_an_empty_log(self):
        session = Session(self.hub())
        for query, expected in [("count()", 0), ("sum('n')", 0), ("avg('n')", None), ("max('n')", None), ("first()", None), ("rows()", []),
                                ("group('type'):count()", {}), ("top(3, 'n')", []), ("quantile(0.5, 'n')", None), ("sort('n'):rows()", [])]:
            self.assertEqual(session.lines(f"events {{ context = 'shop' }}:{query}")[-1].get("value"), expected, query)

    def test_a_log_that_grows_meanwhile(self):
        """A query ends where the log ended when it began."""
        hub = self.hub()
        hub.send("shop/box/a", "Fill", {"n": 500})
        session = Session(hub)
        question = session.begin("local n = 0 for e in events { context = 'shop' } do n = n + 1 if n == 1 then print('begun') "
                                 "while events { context = 'shop' }:count() < 600 do end end end return n")
        self.assertEqual(question.line(), {"print": "begun"})
        hub.send("shop/box/b", "Fill", {"n": 200})
        self.assertEqual(question.rest()[-1], {"value": 500})
        self.assertEqual(session.value("events { context = 'shop' }:count()"), 700)

    def test_in_the_past(self):
        """at(T) moves queries too."""
        hub = self.hub()
        hub.send("shop/box/a", "Fill", {"n": 30})
        then = hub.send("shop/box/b", "Add", {"n": 1})["position"]
        hub.send("shop/box/a", "Fill", {"n": 5})
        session = Session(hub)
        now = session.value("events {}:group('stream'):count()")
        session.lines(f"at({then})")
        past = session.value("events {}:group('stream'):count()")
        self.assertEqual((past["shop/box/a"], past["shop/box/b"], sum(past.values())), (30, 1, then))
        self.assertEqual(session.value("events { context = 'shop', last = 2 }:map('data.n'):rows()"), [30, 1])
        session.lines("at()")
        self.assertEqual(session.value("events {}:group('stream'):count()"), now)

    def test_joins(self):
        hub = self.hub()
        for box, n in [("a", 3), ("b", 5)]:
            hub.send(f"shop/box/{box}", "Open", {"owner": box.upper()})
            hub.send(f"shop/box/{box}", "Add", {"n": n})
        hub.view("shop/boxes")
        session = Session(hub)
        self.assertEqual(session.value("events { type = 'Added' }:join(views.boxes):map(function(e, box) return box.owner .. e.data.n end):rows()"), ["A3", "B5"])
        self.assertEqual(session.value("events { type = 'Added' }:join('boxes'):group('boxes.owner'):sum('n')"), {"A": 3, "B": 5})
        self.assertEqual(session.value("events { type = 'Added' }:join('shop/boxes', function(e) return 'b' end):sort('n', 'desc'):first()")["boxes"],
                         {"owner": "B", "sum": 5})
        self.assertIn("no view boxs: did you mean boxes?", session.error("events {}:join('boxs')")["message"])

    def test_rows_beyond_memory(self):
        """Few rows, each as large as can be."""
        self.write("hub.lua", "return { limits = { repl_memory = %d } }" % (32 << 20))
        hub = self.hub()
        hub.send("shop/box/1", "Fill", {"n": 1000})
        session = Session(hub)
        for query in ("events {}:map(function(e) return ('x'):rep(4 * 1024 * 1024) .. e.position end):rows()", "events {}:map(function(e) return ('x'):rep(4e6) .. e.position end):sort(function(x) return x end):count()",
                      "events {}:group(function(e) return ('x'):rep(1e6) .. e.position end):count()"):
            error = session.error(query)
            self.assertEqual(error["code"], "budget", f"{query}: {error}")
        with open(f"/proc/{hub.process.pid}/status") as status:
            peak = int(re.search(r"VmHWM:\s+(\d+)", status.read())[1]) // 1024
        self.assertTrue(SMALL or peak < 450, f"{peak} MiB")  # a sanitizer keeps what is freed

    def test_groups_beyond_memory(self):
        """A million groups are told as too much, or fit."""
        self.write("hub.lua", "return { limits = { repl_memory = 33554432 } }")
        hub = self.hub()
        for box in range(20 if SMALL else 60):
            hub.send(f"shop/box/{box}", "Fill", {"n": 1000})
        session = Session(hub)
        error = session.error("events {}:group(function(e) return e.position .. ('x'):rep(1000) end):count()")
        self.assertEqual(error["code"], "budget")
        self.assertIn("MiB of memory", error["message"])
        self.assertEqual(session.value("events { context = 'shop' }:group(function(e) return e.data.n % 10 end):count()")["3"], 2000 if SMALL else 6000)

    def test_a_projection_from_a_query(self):
        """The file that it makes keeps what the query counted."""
        hub = self.hub()
        for box in "abc":
            hub.send(f"shop/box/{box}", "Fill", {"n": 20})
        session = Session(hub)
        session.value("events { type = 'Added' }:where(function(e) return e.data.n > 3 end):group(function(e)\n  return e.id .. e.data.n % 2\nend) return 1")
        session.lines("odd = events { type = 'Added' }:where(function(e) return e.data.n > 3 end):group(function(e) return e.id .. e.data.n % 2 end)")
        counts, sums = session.value("odd:count()"), session.value("odd:sum('n')")
        file = session.lines("projection_from('odd_boxes', odd, 'n')")[0]["file"]
        self.assertEqual(file["name"], "odd_boxes.lua")
        # What :count() and :sum(…) of it gave is as good, and stays `it`.
        self.assertEqual(session.lines("odd:sum('n')")[-1], {"value": sums})
        self.assertEqual([line for line in session.lines("projection_from('odd_boxes', it)") if "none" not in line], [{"file": file}])
        self.assertEqual(session.value("it"), sums)
        made = session.lines("events { type = 'Added', since = '2020-01-01', to = '2020-02-01' }:group('id'):count()")
        self.assertEqual(made[-1], {"value": {}})
        old = session.lines("projection_from('old_boxes', it)")[0]["file"]
        self.assertIn('if row.at < "2020-01-01T00:00:00.000Z" then return nil end', old["text"])
        session.lines("events { type = 'Added', since = '2020-01-01' }:group('id'):count()")
        new = session.lines("projection_from('new_boxes', it)")[0]["file"]
        of_boxes = session.value("events { type = 'Added' }:group('id'):count()")
        self.assertIn("only :count() and :sum", session.error("projection_from('x', odd:max('n'))")["message"])
        for source, message in [("local k = 3 return projection_from('x', events { type = 'Added' }:group(function(e) return k end))", "uses a local from outside"),
                                ("projection_from('x', events { type = 'Added' }:limit(3):group('id'))", "only :where and :group"),
                                ("projection_from('x', events {}:group('id'))", "a projection names its events"),
                                ("projection_from('x', events { type = 'Added' })", "say :group"),
                                ("projection_from('X', odd)", "the name is one like")]:
            self.assertIn(message, session.error(source)["message"], source)
        hub.stop()
        for made in (file, old, new):
            self.write("shop/" + made["name"], made["text"])
        hub = self.hub()
        self.assertEqual({key: (document["count"], document["sum"]) for key, document in hub.view("shop/odd_boxes").items()},
                         {key: (counts[key], sums[key]) for key in counts})
        self.assertEqual(hub.view("shop/old_boxes"), {})
        self.assertEqual({key: document["count"] for key, document in hub.view("shop/new_boxes").items()}, of_boxes)


if __name__ == "__main__":
    main()
