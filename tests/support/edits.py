"""edits.py: random edits of the example scripts, each as somebody makes it in a day: fields, handlers, rules, keys, contracts, modules, files, mistakes.

    folder = Folder.read(path)               {path: text}
    edit = next_edit(chance, folder, 7)      an Edit; 7 makes the names that it invents new
    edit.apply(folder).write(path)

An edit is made of the text as it is, so edits go on top of each other in any order. What it must come to is said by the edit:

    LOADS    it is deployed, whatever it changes, unless hub.lua refuses that
    QUIET    it changes no view and no aggregate: the gate has nothing to tell
    BROKEN   it does not load; `where` is the file that must be named, if one can be
    REFUSED  it loads, and the gate refuses it because of what is stored
"""
import difflib, os, re

LOADS, QUIET, BROKEN, REFUSED = "loads", "quiet", "broken", "refused"


class Folder(dict):
    @classmethod
    def read(cls, path):
        made = cls()
        for folder, _, names in os.walk(path):
            for name in names:
                with open(os.path.join(folder, name)) as file:
                    made[os.path.relpath(os.path.join(folder, name), path)] = file.read()
        return made

    def write(self, path):
        """Makes the files there these; what is the same is not touched."""
        before = Folder.read(path)
        for name in before.keys() - self.keys():
            os.remove(os.path.join(path, name))
        for name, text in self.items():
            if before.get(name) != text:
                os.makedirs(os.path.dirname(os.path.join(path, name)), exist_ok=True)
                with open(os.path.join(path, name), "w") as file:
                    file.write(text)

    def holding(self, declaration):
        """The path of the file with 'projection "cases"' or the like, wherever it was moved to."""
        return next((path for path, text in self.items() if declaration in text), None)

    def contracts(self, context):
        return next(path for path, text in self.items() if path.startswith(context + "/") and "contracts [[" in text)

    def names(self, word):
        """{"context/name"} of what is declared by this word."""
        return {f"{path.split('/')[0]}/{name}" for path, text in self.items() for name in re.findall(rf'\b{word} "(\w+)"', text)}

    def remarks(self):
        return sorted(set(re.findall(r"\b(Remark\d+)\?", self[self.contracts("billing")])))


class Edit:
    """changes: {path: text, or None: removed}. must_undo: forced against its gate it harms what runs; no_undo: what it writes cannot be read by the
    code before it."""

    def __init__(self, what, changes, verdict=LOADS, where=None, no_undo=False):
        self.what, self.changes, self.verdict, self.where, self.no_undo = what, changes, verdict, where, no_undo

    def apply(self, folder):
        made = Folder(folder)
        for path, text in self.changes.items():
            made.pop(path, None)
            if text is not None:
                made[path] = text
        return made

    def diff(self, folder):
        rows = []
        for path, text in sorted(self.changes.items()):
            rows += difflib.unified_diff(folder.get(path, "").splitlines(), (text or "").splitlines(), path, path, "", "", 1, "")
        return "\n".join(rows)


# (declaration, pattern, what may stand there): arithmetic and rules, options, keys. {k} is a small number.
AMOUNT = r"(?:[\w.]+ \* )?"
HANDLERS = [
    ('projection "open_bills"', rf"view\.services \+ {AMOUNT}e\.services", ["view.services + {k} * e.services"]),
    ('projection "officers"', r"officer\.fines \+ \d+", ["officer.fines + {k}"]),
    ('projection "revenue_by_month"', r"month\.count \+ \d+", ["month.count + {k}"]),
    ('projection "totals_by_month"', r"kind\.count \+ \d+", ["kind.count + {k}"]),
    ('projection "cases"', r"case\.payments \+ \d+", ["case.payments + {k}"]),
    ('projection "cases"', r"case\.events \+ \d+", ["case.events + {k}"]),
    ('projection "outstanding_invoices"', r"view\.paid \+ e\.amount(?: \* \d+)?", ["view.paid + e.amount * {k}"]),
    ('aggregate "bill"', rf"state\.services \+ {AMOUNT}e\.services", ["state.services + {k} * e.services"]),
    ('aggregate "bill"', r"services = c\.services(?: [+*] \d+)?", ["services = c.services * {k}", "services = c.services + {k}", "services = c.services"]),
    ('aggregate "bill"', r"services = \d+ \}\)", ["services = {k} }})"]),
    ('aggregate "fine"', rf"state\.expense \+ {AMOUNT}e\.expense", ["state.expense + {k} * e.expense"]),
]
RULES = [
    ('aggregate "bill"', r"c\.services <= \d+", ["c.services <= {k}", "c.services <= 0"]),
    ('aggregate "bill"', r"c\.close_date <=? state\.\w+", None),
    ('aggregate "invoice"', r"c\.amount <= decimal\(\d+\)", ["c.amount <= decimal({k})", "c.amount <= decimal(0)"]),
    ('aggregate "fine"', r"amount < decimal\(-?\d+\)", ["amount < decimal({k}0)", "amount < decimal(-{k})"]),
    ('aggregate "bill"', r'reject\("closed\d*"', ['reject("closed{k}"', 'reject("closed"']),
]
KEYS = [
    ('projection "open_bills"', r"key     = function\(_, m\) return [^\n]* end,",
     ["key     = function(_, m) return m.id:sub(1, {k}) end,", 'key     = function(_, m) return m.id .. "-{k}" end,',
      "key     = function(_, m) return m.id end,", 'key     = function(_, m) return m.id, "all" end,',
      'key     = function(_, m) return not m.id:find("{k}") and m.id or nil end,']),
    ('projection "officers"', r"key     = function\(e\) return [^\n]* end,",
     ["key     = function(e) return e.officer:sub(1, 1) end,", 'key     = function(e) return "o{k}-" .. e.officer end,', "key     = function(e) return e.officer end,"]),
    ('projection "totals_by_month"', r"e\.date:sub\(1, \d+\)", ["e.date:sub(1, 4)", "e.date:sub(1, 7)", "e.date:sub(1, 10)"]),
    ('projection "revenue_by_month"', r"m\.at:sub\(1, \d+\)", ["m.at:sub(1, 4)", "m.at:sub(1, 7)", "m.at:sub(1, 10)"]),
]
OPTIONS = [
    ('projection "open_bills"', r"index   = \{[^}]*\}", ['index   = {{ "customer" }}', 'index   = {{ "customer", "services" }}', "index   = {{}}"]),
    ('projection "cases"', r"index   = \{[^}]*\}", ['index   = {{ "status" }}', 'index   = {{ "events", "status" }}', "index   = {{}}"]),
    ('projection "officers"', r"index   = \{[^}]*\}", ['index   = {{ "fines" }}', 'index   = {{ "appeals" }}']),
    ('projection "open_bills"', r"services = \d+ \}", ["services = {k} }}"]),
    ('projection "officers"', r"fines = \d+", ["fines = {k}"]),
    ('aggregate "bill"', r"initial = \{ services = \d+ \}", ["initial = {{ services = {k} }}"]),
]
# Names that documents and states have from the start, and nothing else in the file has but `e.`.
FIELDS = {'projection "open_bills"': ["opened", "reopened"], 'projection "in_collection"': ["since"], 'projection "cases"': ["first", "last", "balance"],
          'projection "officers"': ["euro", "appeals"], 'aggregate "bill"': ["opened", "closed"], 'aggregate "fine"': ["penalty", "notified"]}
PROJECTIONS = ["open_bills", "outstanding_invoices", "revenue_by_month", "cases", "in_collection", "officers", "totals_by_month", "users"]
EVENTS = {"ServicesAddedToBill": "billing", "BillCreated": "billing", "FineCreated": "fines", "PaymentReceived": "fines", "UserRegistered": "security"}
STORED = {"BillCreated": "customer", "ServicesAddedToBill": "services", "FineCreated": "officer", "PaymentReceived": "amount", "SentToCollection": "outstanding"}

EXTRA = [
    'local extra = projection "extra_{n}" {{ key = function(_, m) return m.id:sub(1, {k}) end, initial = {{ count = 0, mix = {k} }} }}\n'
    "function extra.when.ServicesAddedToBill(view, e, m)\n"
    "  view.count, view.mix, view.last = view.count + 1, (view.mix * 31 + e.services) % 1000003, m.version\nend\n",
    'local extra = projection "extra_{n}" {{ key = false }}\nfunction extra.when.ServicesAddedToBill(docs, e, m)\n'
    '  docs:update("of " .. e.services % {k}, {{ sum = 0 }}, function(d) d.sum = d.sum + e.services end)\n  if e.services % 7 == 0 then docs:remove("of 1") end\nend\n',
    'local extra = projection "extra_{n}" {{ key = function(_, m) return m.id end, initial = {{ sum = 0 }} }}\n'  # parks keys
    'function extra.when.ServicesAddedToBill(view, e)\n  if e.services == 13 then error("not that one") end\n  view.sum = view.sum + e.services\nend\n',
    'local extra = projection "extra_{n}" {{ key = false }}\n'  # stops
    'function extra.when.BillCreated(docs, e, m)\n  docs:put(m.id, {{ customer = e.customer }})\n  if m.id == "b3" then error("no further") end\nend\n',
]


class Maker:
    def __init__(self, chance, folder, number):
        self.chance, self.folder, self.n = chance, folder, number

    def edit(self, what, path, text, *verdict, **more):
        return None if text == self.folder[path] else Edit(f"{what} in {path}", {path: text}, *verdict, **more)

    def swap(self, what, table):
        declaration, pattern, choices = self.chance.choice(table)
        path = self.folder.holding(declaration)
        if not path:
            return None
        if choices is None:  # a comparison
            new = lambda found: found[0].replace("<=", "<") if "<=" in found[0] else found[0].replace("<", "<=")
        else:
            text = self.chance.choice(choices).format(k=self.chance.randint(1, 4))
            new = lambda found: text
        return self.edit(f"{what}: {pattern}", path, re.sub(pattern, new, self.folder[path], count=1))

    # --- documents and states ---

    def handlers(self, path):
        """(header, document or state, event type, event, envelope): those that have something to change."""
        found = re.finditer(r"function \w+\.(?:when|apply)\.(\w+)\((\w+)(?:, (\w+))?(?:, (\w+))?\)", self.folder[path])
        return [(one[0], one[2], one[1], one[3], one[4]) for one in found if one[2] != "docs"]

    def somewhere(self):
        """A file with a projection or an aggregate."""
        paths = [path for path, text in sorted(self.folder.items()) if re.search(r'^local \w+ = (projection|aggregate) "', text, re.M) and self.handlers(path)]
        return self.chance.choice(paths)

    def add_field(self):
        path = self.somewhere()
        header, document, type, event, envelope = self.chance.choice(self.handlers(path))
        values = ['"new"', str(self.n), "{ 1, 2 }"]
        if envelope:
            values += [f"{envelope}.id:sub(1, 2)", f"{envelope}.type", f'{envelope}.at < "2026-06" and 1 or nil']
        if event and event != "_" and type in STORED:
            values += [f"{event}.{STORED[type]}"]
        return self.edit("a field more", path, self.folder[path].replace(header, f"{header} {document}.f{self.n} = {self.chance.choice(values)};", 1))

    def with_field(self):
        paths = [path for path, text in sorted(self.folder.items()) if re.search(r"\.f\d+ = ", text)]
        return self.chance.choice(paths) if paths else None

    def remove_field(self):
        path = self.with_field()
        return path and self.edit("a field less", path, re.sub(r" \w+\.f\d+ = [^;\n]*;", "", self.folder[path], count=1))

    def rename_field(self):
        path = self.with_field()
        if path and self.chance.random() < 0.5:
            return self.edit("a field renamed", path, re.sub(r"\.f\d+ = ", f".f{self.n} = ", self.folder[path], count=1))
        declaration = self.chance.choice(sorted(FIELDS))
        path, name = self.folder.holding(declaration), self.chance.choice(FIELDS[declaration])
        return path and self.edit(f"{name} renamed", path, re.sub(rf"(?<!\be\.)\b{name}(_\d+)?\b", f"{name}_{self.n}", self.folder[path]))

    def handler(self):
        return self.swap("a handler", HANDLERS)

    def rule(self):
        return self.swap("a rule", RULES)

    def key(self):
        return self.swap("a key", KEYS)

    def option(self):
        return self.swap("an option", OPTIONS)

    # --- contracts ---

    def contract_line(self, event, new):
        """{path: text} with the event's line in the contracts made new by a function of (version, fields)."""
        path = self.folder.contracts(EVENTS[event])
        found = re.search(rf"^( *{event}!)(\d*)( *)\((.*)\)$", self.folder[path], re.M)
        version, fields = new(int(found[2] or 1), found[4])
        text = self.folder[path].replace(found[0], f"{found[1]}{version if version > 1 else ''}{found[3]}({fields})")
        return {path: text}

    def construct(self, event, field):
        """{path: text} of the files of its context that make the event, with the field given."""
        context = EVENTS[event] + "/"
        return {path: re.sub(rf"\b{event} \{{ ", f"{event} {{ {field}, ", text) for path, text in self.folder.items()
                if path.startswith(context) and re.search(rf"\b{event} \{{ ", text)}

    def event_field(self):
        event = self.chance.choice(sorted(EVENTS))
        changes = self.contract_line(event, lambda version, fields: (version, f"{fields}, e{self.n}: string?"))
        if self.chance.random() < 0.7:
            changes |= self.construct(event, f'e{self.n} = "x"')
        return Edit(f"{event} has a field more", changes)

    def optional_fields(self):
        return sorted({name for text in self.folder.values() for name in re.findall(r"\be\d+(?=: string\?)", text)})

    def event_field_removed(self):
        names = self.optional_fields()
        if not names:
            return None
        name = self.chance.choice(names)
        changes = {path: re.sub(rf', {name}: string\?|\b{name} = "x", ', "", text) for path, text in self.folder.items() if re.search(rf"\b{name}\b", text)}
        return Edit(f"{name} is gone from its event", changes)

    def event_field_renamed(self):
        names = self.optional_fields()
        if not names:
            return None
        name = self.chance.choice(names)
        changes = {path: re.sub(rf"\b{name}\b", f"e{self.n}", text) for path, text in self.folder.items() if re.search(rf"\b{name}\b", text)}
        return Edit(f"{name} of an event is now e{self.n}", changes)

    def event_version(self):
        event = self.chance.choice(sorted(EVENTS))
        before = []
        changes = self.contract_line(event, lambda version, fields: (before.append(version) or version + 1, f"{fields}, v{self.n}: integer"))
        path, = changes
        changes[path] += f"\nfunction upcast.{event}.v{before[0]}(e)\n  e.v{self.n} = {self.n}\n  return e\nend\n"
        return Edit(f"{event} in a new version", changes | self.construct(event, f"v{self.n} = 1"), no_undo=True)

    def event_breaks(self):
        """What is stored has no such field, or of another type."""
        event = self.chance.choice(sorted(EVENTS))
        changes = self.contract_line(event, lambda version, fields: (version, f"{fields}, b{self.n}: integer"))
        return Edit(f"{event} needs a field that no stored one has", changes | self.construct(event, f"b{self.n} = 1"), REFUSED)

    def command_field(self):
        path = self.folder.contracts("billing")
        text = self.folder[path]
        if re.search(r", c\d+: string\?", text):
            return self.edit("a command's field is gone", path, re.sub(r", c\d+: string\?", "", text), LOADS)
        return self.edit("a command has a field more", path, text.replace("AddServicesToBill?   (services: integer)",
                                                                         f"AddServicesToBill?   (services: integer, c{self.n}: string?)"), LOADS)

    def command(self):
        """A command with its event, rule and state; or one less."""
        contracts, bill = self.folder.contracts("billing"), self.folder.holding('aggregate "bill"')
        remarks = self.folder.remarks()
        if remarks and self.chance.random() < 0.5:
            number = self.chance.choice(remarks)[len("Remark"):]
            return Edit(f"no Remark{number} any more", {path: re.sub(rf"(?s)\n? *-- remark {number}:.*?-- end of {number}\n", "", self.folder[path])
                                                        for path in (contracts, bill)})
        n = self.n
        return Edit(f"a command Remark{n}", {
            contracts: self.folder[contracts].replace("]]", f"\n  -- remark {n}:\n  Remark{n}? (text: string)\n  Remarked{n}! (text: string)\n  -- end of {n}\n]]", 1),
            bill: self.folder[bill] + f"\n-- remark {n}:\nfunction bill.apply.Remarked{n}(state, e) state.remark = e.text end\n"
            f"function bill.execute.Remark{n}(state, c, m)\n  must_be_open(state, m)\n  return Remarked{n} {{ text = c.text }}\nend\n-- end of {n}\n"})

    # --- files and modules ---

    def module(self):
        """A factor moves into a module of its context, or of all."""
        found = [(path, one[0]) for path, text in sorted(self.folder.items()) for one in re.finditer(r"\b\d+ \* e\.\w+|(?<=\+ )e\.(?:services|expense)\b", text)]
        if not found:
            return None
        path, expression = self.chance.choice(found)
        factor, field = expression.split(" * ") if " * " in expression else ("1", expression)
        name = f"factor_{self.n}"
        place = self.chance.choice(["", path.split("/")[0] + "/"])
        text = f'local {name} = require "{name}"\n' + self.folder[path].replace(f"+ {expression}", f"+ {name}.value * {field}", 1)
        return Edit(f"{expression} of {path} into a module", {path: text, f"{place}{name}.lua": f"local factor = {{}}\nfactor.value = {factor}\nreturn factor\n"})

    def module_changed(self):
        paths = [path for path in sorted(self.folder) if "factor_" in path] + [path for path in ("billing/terms.lua", "billing/pricing.lua") if path in self.folder]
        path = self.chance.choice(paths)
        text = re.sub(r"(value = |days\(|round\()\d+", lambda found: found[1] + str(self.chance.randint(1, 4)), self.folder[path])
        return self.edit("a module", path, text)

    def layout(self):
        path = self.chance.choice(sorted(path for path in self.folder if path.endswith(".lua")))
        text = self.folder[path]
        change = self.chance.choice([lambda: f"-- {self.n}\n{text}", lambda: text.replace("\n  ", "\n    "), lambda: text + "\n\n", lambda: text.replace(" = ", "  =  ", 1)])
        return None if '"factor_' in text or "contracts [[" in text else self.edit("comments or layout", path, change(), QUIET)

    def projection_of(self, names):
        paths = {self.folder.holding(f'projection "{name}"') for name in names} - {None}
        return self.chance.choice(sorted(paths)) if paths else None

    def projection_gone(self):
        path = self.projection_of(["in_collection", "officers", "totals_by_month", "revenue_by_month", "cases"] + self.extras())
        return path and Edit(f"{path} is deleted", {path: None})

    def extras(self):
        return [name.split("/")[1] for name in self.folder.names("projection") if "/extra_" in name]

    def projection_new(self):
        if len(self.extras()) > 3:
            return None
        text = self.chance.choice(EXTRA).format(n=self.n, k=self.chance.randint(2, 4))
        return Edit(f"a projection extra_{self.n}", {f"billing/extra_{self.n}.lua": text})

    def projection_renamed(self):
        extras = self.extras()
        if not extras:
            return None
        name = self.chance.choice(extras)
        path = self.folder.holding(f'projection "{name}"')
        return self.edit(f"{name} has another name", path, self.folder[path].replace(f'"{name}"', f'"extra_{self.n}"'))

    def file_renamed(self):
        path = self.projection_of(PROJECTIONS + self.extras())
        return path and Edit(f"{path} is another file", {path: None, f"{path.split('/')[0]}/file_{self.n}.lua": self.folder[path]})

    def receptor(self):
        path = self.folder.holding('receptor "replication"')
        return self.edit("a receptor", path, re.sub(r"send\.user\(e\.user_id,(?: --\[\[\d+\]\])?", f"send.user(e.user_id, --[[{self.n}]]", self.folder[path]), QUIET)

    def limits(self):
        return Edit("hub.lua", {"hub.lua": "return {{ limits = {{ flush_events = {} }} }}\n".format(self.chance.choice([20, 300, 5000]))}, QUIET)

    def policy(self):
        refuse = self.chance.choice(["documents_changed = 20", "documents_removed = true", "commands_refused = 5", "commands_other = true"])
        return Edit(f"hub.lua: {refuse}", {"hub.lua": f"return {{ deploy = {{ refuse = {{ {refuse} }} }} }}\n"}, QUIET)

    # --- mistakes ---

    def broken(self):
        path = self.somewhere()
        text = self.folder[path]
        rows = text.splitlines(True)
        ends = [at for at, row in enumerate(rows) if row.rstrip() == "end"]
        header = self.chance.choice(self.handlers(path))[0]
        name, kind = re.search(r"function (\w+)\.(when|apply)", header).groups()
        ways = {
            "a stray word": "".join(rows[:-1] + ["function function\n"] + rows[-1:]),
            "an unknown global": text.replace(header, f"{header} foo_{self.n}(1);", 1),
            "an unknown event": text + f"\nfunction {name}.{kind}.BillCraeted(x) end\n",
            "two handlers for one event": text + f"\n{header} end\n",
            "an error when it is loaded": text + "\nlocal nothing\nprint(nothing.here)\n",
        }
        if ends:
            ways["an end is missing"] = "".join(row for at, row in enumerate(rows) if at != ends[0])
        way = self.chance.choice(sorted(ways))
        return self.edit(way, path, ways[way], BROKEN, where=path)

    def broken_contracts(self):
        path = self.folder.contracts(self.chance.choice(["billing", "fines"]))
        way = self.chance.choice([("]]", "  Half? (\n]]"), (": integer", ": intger"), ("]]", "  BillCreated! (x: string)\n  BillCreated! (x: string)\n]]")])
        return self.edit("contracts with a mistake", path, self.folder[path].replace(*way, 1), BROKEN, where=path)

    def broken_otherwise(self):
        modules = [path for path in sorted(self.folder) if "factor_" in path]
        ways = [Edit("hub.lua with an unknown option", {"hub.lua": "return { deploy = { refuze = {} } }\n"}, BROKEN),
                Edit("the same projection twice", {"fines/twice.lua": 'projection "cases"\n'}, BROKEN)]
        if 'projection "cases"' not in "".join(self.folder.values()):
            ways.pop()
        for path in modules:
            if re.search(rf'require "{os.path.basename(path)[:-4]}"', "".join(self.folder.values())):
                ways.append(Edit(f"{path} is deleted and still required", {path: None}, BROKEN))
        return self.chance.choice(ways)

    def fails_on_history(self):
        """A handler that does not stand what was recorded."""
        path = self.folder.holding('aggregate "bill"')
        header, name = self.chance.choice([("function bill.apply.ServicesAddedToBill(state, e)", "e"), ("function bill.execute.AddServicesToBill(state, c, m)", "c")])
        return self.edit("an error for some", path, self.folder[path].replace(header, f'{header} if {name}.services == 13 then error("thirteen") end', 1), REFUSED)


WEIGHTS = {"add_field": 5, "remove_field": 3, "rename_field": 4, "handler": 7, "rule": 5, "key": 4, "option": 3, "event_field": 3, "event_field_removed": 2,
           "event_field_renamed": 2, "event_version": 3, "event_breaks": 2, "command_field": 1, "command": 4, "module": 3, "module_changed": 3, "layout": 3,
           "projection_gone": 3, "projection_new": 4, "projection_renamed": 2, "file_renamed": 2, "receptor": 2, "limits": 1, "policy": 2, "broken": 4,
           "broken_contracts": 1, "broken_otherwise": 2, "fails_on_history": 2}


def next_edit(chance, folder, number):
    while True:
        name, = chance.choices(list(WEIGHTS), WEIGHTS.values())
        edit = getattr(Maker(chance, folder, number), name)()
        if edit and edit.apply(folder) != folder:
            return edit
