"""random_scripts.py: a context of random aggregates and projections, and rows for it, both by a seed.

The handlers do what could come out differently from run to run: order of pairs, ties in table.sort, floats as text, decimals, moments, length of
lists with holes, numbers in texts, errors at some events only (parked keys), work near the budget, recursion near the end of the stack, values in a
document that are no plain data for one event only, tables in two places.
"""
import json, os, random

CONTRACTS = """contracts [[
  Happen?   (a: integer, b: number, c: string, d: decimal, t: time, list: integer[], map: {string: integer})
  Happened! (a: integer, b: number, c: string, d: decimal, t: time, list: integer[], map: {string: integer})
]]
"""

IMPORT = """return function(row)
  send.thing(row.id, Happen { a = row.a, b = row.b + 0.0, c = row.c, d = decimal(row.d), t = row.t, list = row.list, map = row.map },
    { at = row.t, id = row.command })
end
"""

HUB = "return {{ tenants = {{}}, limits = {{ instructions = 60000, call_memory = 4000000, cache_memory = {cache}, flush_events = {flush}, " \
      "rebuild_partition_events = {partition} }} }}\n"

# Each with `s`, the state or document that it changes, `e` and `m`; %d are random small numbers.
STEPS = [
    "s.n = (s.n or 0) + e.a % {x}",
    "s.text = ((s.text or '') .. e.a .. ';' .. e.b):sub(-40)",
    "local keys = '' for k, v in pairs(e.map) do keys = keys .. k .. v end s.keys = keys",
    "s.map = s.map or {{}} for k, v in pairs(e.map) do s.map[k] = (s.map[k] or 0) + v end",
    "s.first = next(e.map)",
    "local rows = {{}} for i, x in ipairs(e.list) do rows[i] = {{ k = x % {x}, i = i }} end\n"
    "  table.sort(rows, function(p, q) return p.k < q.k end) local t = '' for _, r in ipairs(rows) do t = t .. r.i .. ',' end s.sorted = t",
    "s.f = string.format('%5.3f|%g|%d|%s|%q', e.b, e.b / {x}, e.a, e.b, e.c)",
    "s.float = (s.float or 0.1) * 1.1 + e.b / {x}",
    "s.d = ((s.d or decimal '0') + e.d * {x}):round(4)",
    "s.third = (e.d / 3):round(5)",
    "s.later = e.t + days({x}) - hours(e.a % 7)",
    "s.between = time.between(e.t, m.at + minutes({x}))",
    "local holes = {{ 1, 2, nil, e.a % 2 == 0 and 4 or nil }} s.length = #holes + #e.list",
    "s.deep = {{ m.id, {{ x = e.a, y = {{ e.list[1] or 0 }} }}, list {{}} }}",
    "s.list = s.list or list {{}} table.insert(s.list, 1, e.a) if #s.list > {x} then table.remove(s.list) end",
    "s.found = (e.c:gsub('%w', function(w) return w:byte() end)):sub(1, 30)",
    "s.concat = table.concat(e.list, '-')",
    "s.max = math.max({x}, table.unpack(e.list)) s.floor = e.b // {x} s.mod = e.b % {x} s.type = math.type(e.b)",
    "local ok = pcall(function() return e.nothing.here end) s.ok = ok",
    "if e.a % {m} == {r} then error('at ' .. e.a) end",
    "if e.a % {m} == {r} then error {{ code = e.a }} end",
    "local n = 0 for i = 1, e.a % {m} * {k} do n = n + i end s.spent = n",  # near the instructions of a call
    "local t = {{}} for i = 1, e.a % {m} * {k} do t[i] = i .. 'x' end s.used = #t",  # near its memory
    "local function deep(n) if n == 0 then return 0 end return 1 + deep(n - 1) end s.depth = pcall(deep, e.a % {m} * {k})",
    "local function deep(n) return (pcall(function() return deep(n + 1) + 1 end)) end s.nested = deep(0)",
    "local text = string.rep(e.c, e.a % {m} * {k}) s.size = #text",
    "s.once = e.a % {m} == {r} and 0 / 0 or e.b",  # no plain data until the next event
    "s.huge = e.a % {m} == {r} and math.huge or nil",
    "if e.a % {m} == {r} then s.fn = print else s.fn = nil end",
    "s.holes = e.a % {m} == {r} and {{ 1, nil, 3 }} or {{ 1, 2, 3 }}",
    "s.mixed = {{ 1 }} if e.a % {m} == {r} then s.mixed.x = 1 end",
    "local shared = {{ n = e.a % 3 }} s.p = shared if e.a % {m} == {r} then s.q = shared end",
    "if s.p then s.p.n = s.p.n + 1 end s.seen = s.q and s.q.n",
    "if e.a % {m} == {r} then s.last = e end",
    "s.tags = e.list",
    "s.meta = setmetatable({{}}, {{ __index = function() return {x} end }}).y",
    "local weak = {{}} local cache = setmetatable({{}}, weak) pcall(function() weak.__mode = 'k' end)\n"
    "  for i = 1, 50 do cache[{{}}] = i end local n = 0 for _ in pcall(next, cache) and pairs {{}} or pairs {{}} do n = n + 1 end s.weak = n",
]


def steps(rnd, count):
    made = []
    for step in rnd.sample(STEPS, count):
        m = rnd.randint(3, 40)
        made.append("  do " + step.format(x=rnd.randint(2, 9), m=m, r=rnd.randrange(m), k=rnd.choice([1, 7, 100, 900, 1700, 4000])) + " end")
    return "\n".join(made)


def projection(rnd, name):
    kind = rnd.choice(["id", "key", "keys", "free"])
    head = f"local p = projection '{name}'"
    if kind == "free":
        x, y = rnd.randint(2, 9), rnd.randint(2, 9)
        share = rnd.choice(["", f"  if e.a % {y} == 0 then local t = {{ e.a }} docs:put('s1', {{ t = t }}) docs:put('s2', {{ t = t }}) end\n"
                                f"  docs:update('s1', {{}}, function(s) if s.t then s.t[1] = s.t[1] + 1 end end)\n"])
        return f"{head} {{ key = false }}\nfunction p.when.Happened(docs, e, m)\n  local key = 'k' .. e.a % {x}\n{share}" \
               f"  docs:update(key, {{ n = 0 }}, function(s)\n{steps(rnd, 6)}\n  end)\n" \
               f"  if e.a % 11 == {y} then docs:remove(key) end\nend\n"
    keys = {"id": "", "key": f" key = function(e, m) return e.a % {rnd.randint(3, 30)} end,",
            "keys": f" key = function(e, m) if e.a % 7 == 0 then return nil end return m.id, 'k' .. e.a % {rnd.randint(3, 9)} end,"}[kind]
    remove = f"  if e.a % 13 == {rnd.randrange(13)} then return false end\n" if rnd.random() < 0.5 else ""
    return f"{head} {{{keys} initial = {{ n = 0 }} }}\nfunction p.when.Happened(s, e, m)\n{steps(rnd, 7)}\n{remove}end\n"


AGGREGATE = """local thing = aggregate 'thing' {{ initial = {{ n = 0 }} }}
function thing.apply.Happened(s, e, m)
  s.n = s.n + 1
{steps}
end
function thing.execute.Happen(s, c)
  return Happened {{ a = c.a, b = c.b, c = c.c, d = c.d, t = c.t, list = c.list, map = c.map }}
end
"""

# What a state does must not fail for good, or its stream takes no command any more.
SAFE = [step for step in STEPS if not any(word in step for word in ("error", "{k}", "0 / 0", "huge", "print", "1, nil, 3", "mixed", "= e end", "deep(n + 1)", "found"))]


def write(case, rnd, projections, **limits):
    """The scripts of one seed into a Case's folder."""
    write_limits(case, **limits)
    case.write("random/contracts.lua", CONTRACTS)
    case.write("random/import/rows.lua", IMPORT)
    safe = "\n".join("  do " + s.format(x=rnd.randint(2, 9), m=5, r=1, k=1) + " end" for s in rnd.sample(SAFE, 6))
    case.write("random/thing.lua", AGGREGATE.format(steps=safe))
    for n in range(projections):
        case.write(f"random/p{n}.lua", projection(rnd, f"p{n}"))


def write_limits(case, cache=100000000, flush=50000, partition=200000):
    case.write("hub.lua", HUB.format(cache=cache, flush=flush, partition=partition))


def rows(rnd, count):
    for n in range(count):
        words = [rnd.choice(["alpha", "beta", "Gamma", "été", "z9", "x"]) for _ in range(rnd.randint(0, 5))]
        yield {"id": f"t{rnd.randrange(max(2, count // 12))}", "command": f"c{n}", "a": rnd.randint(0, 5000),
               "b": rnd.choice([rnd.random() * 100, rnd.randint(-9, 9) + 0.5, 1e-7, 1e15, 0.1]), "c": "".join(words), "d": f"{rnd.randint(-99999, 99999) / 100:.2f}",
               "t": f"2026-{rnd.randint(1, 12):02}-{rnd.randint(1, 28):02}T{rnd.randint(0, 23):02}:00:00.000Z",
               "list": [rnd.randint(-20, 20) for _ in range(rnd.randint(0, 12))], "map": {word: len(word) + n % 5 for word in words}}


def write_rows(path, made):
    with open(path, "w") as file:
        file.writelines(json.dumps(row) + "\n" for row in made)
