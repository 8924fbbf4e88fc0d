"""lore types: what editors and linters are told is right about the example and finds mistakes; files of others are left alone.

The Lua language server is used where it is installed (or LUA_LANGUAGE_SERVER names it), luacheck likewise; the annotations' own form is
checked in any case."""
import json, os, re, shutil, subprocess, unittest

from hub import ROOT, TIMEOUT, Case, lore, main

SERVER = os.environ.get("LUA_LANGUAGE_SERVER") or shutil.which("lua-language-server")
NAME = r"[A-Za-z_][\w.]*"
BAD = """local bill = aggregate "bill"
function bill.execute.CreateBill(state, c, m)
  local x = c.custmer
  return BillCreated { customer = 1, start_date = c.start_date, note = x }
end
function bill.apply.BillCraeted(state, e) state.x = e.customer end
local replication = receptor "replication"
replication.when["security.PasswordAdded"] = function(e, m)
  send.user(e.user_ix, CreateUser { login = m.idd })
  send.usr("x")
end
"""


def balanced(text):
    open = []
    for char in re.sub(r'"[^"]*"', "", text):
        if char in "([{":
            open.append(char)
        elif char in ")]}" and (not open or open.pop() + char not in ("()", "[]", "{}")):
            return False
    return not open


class Types(Case):
    def setUp(self):
        super().setUp()
        for folder in "scripts", "specs":
            shutil.copytree(os.path.join(ROOT, folder), os.path.join(self.dir, folder))

    def types(self, *more, check=0):
        return lore("types", self.scripts, "--out", self.dir, *more, check=check)

    def text(self, path):
        with open(os.path.join(self.dir, path)) as file:
            return file.read()

    def luacheck(self):
        if not shutil.which("luacheck"):
            self.skipTest("skip: luacheck is not installed")
        return subprocess.run(["luacheck", "--no-color", "-q", "scripts", "specs"], cwd=self.dir, capture_output=True, text=True)

    def server(self):
        """What the language server finds: (path, line, code) of each."""
        out = os.path.join(self.dir, "found.json")
        subprocess.run([SERVER, f"--check={self.dir}", "--checklevel=Information", "--check_format=json", f"--check_out_path={out}",
                        f"--logpath={self.dir}/log"], capture_output=True, timeout=TIMEOUT)
        if not os.path.exists(out):
            return []
        with open(out) as file:
            found = json.load(file)
        return sorted((path[path.index(self.dir) + len(self.dir) + 1:], each["range"]["start"]["line"] + 1, each["code"])
                      for path, list in (found.items() if found else ()) for each in list)

    def test_the_form_of_annotations(self):
        self.types()
        text = self.text(".lore/lore.lua") + self.text(".lore/messages.lua")
        known = set(re.findall(rf"^---@(?:class|alias) ({NAME})", text, re.M)) | {"string", "integer", "number", "boolean", "any", "table", "fun", "self", "nil",
                                                                                 "false", "true", "T"}
        self.assertTrue(self.text(".lore/messages.lua").startswith("---@meta\n"))
        for number, line in enumerate(text.splitlines(), 1):
            if line.startswith("---@"):
                self.assertRegex(line, r"^---@(meta$|class |field |param |return |overload fun\(|alias |operator \w+|generic \w+$|type )", number)
                self.assertTrue(balanced(line), line)
            for name in re.findall(r"(?<![\w.\"'])((?:billing|fines|mailing|security|lore)\.[\w.]+)(?![\w.]*:\d)", line if line.startswith("---@") else ""):
                self.assertIn(name.rstrip("."), known, line)
        for wanted in ("---@class billing.BillClosed\n---@field customer string\n---@field close_date lore.Time\n---@field note? string\n",
                       "---@field lines { text: string, quantity: integer, price: lore.Decimal }[]\n", "---@field name string personal data\n",
                       '---@overload fun(name: "open_bills"): lore.projection.open_bills\n', "---@field outstanding_invoices lore.View\n",
                       '---@field ["security.PasswordAdded"]? fun(e: security.PasswordAdded, m: lore.Envelope)\n',
                       # a name of two contexts
                       "---@param fields billing.UserRemoved.fields|security.UserRemoved.fields\n---@return billing.UserRemoved|security.UserRemoved\n"):
            self.assertIn(wanted, text)

    def test_luacheck(self):
        self.types()
        done = self.luacheck()
        self.assertEqual(done.returncode, 0, done.stdout)
        self.write("billing/bad.lua", "local function f() return PasswordAdded {}, io.open, BillCreated {} end\nreturn f\n")
        done = self.luacheck()
        self.assertIn("accessing undefined variable 'PasswordAdded'", done.stdout)  # of another context
        self.assertIn("accessing undefined variable 'io'", done.stdout)
        self.assertNotIn("BillCreated", done.stdout)

    @unittest.skipUnless(SERVER, "skip: no lua-language-server is installed")
    def test_the_language_server(self):
        self.types()
        self.assertEqual(self.server(), [])
        self.write("billing/bad.lua", BAD)
        self.assertEqual([(line, code) for _, line, code in self.server()],
                         [(3, "undefined-field"), (4, "assign-type-mismatch"), (6, "inject-field"), (9, "undefined-field"), (9, "undefined-field"),
                          (10, "undefined-field")])

    def test_files_of_others(self):
        with open(os.path.join(self.dir, ".luacheckrc"), "w") as file:
            file.write("std = 'max'\n")
        told = self.types(check=1)
        self.assertIn(".luacheckrc is there and was not made by lore types: nothing was written", told.stderr)
        self.assertFalse(os.path.exists(os.path.join(self.dir, ".luarc.json")))
        self.assertEqual(self.text(".luacheckrc"), "std = 'max'\n")
        self.types("--force")
        first = {path: self.text(path) for path in (".luarc.json", ".luacheckrc", ".lore/lore.lua", ".lore/messages.lua")}
        self.assertEqual(json.loads(self.types("--json").stdout), {"out": self.dir, "files": 4})  # over its own
        self.assertEqual({path: self.text(path) for path in first}, first)
        self.assertEqual(json.loads(first[".luarc.json"])["workspace.library"], [".lore"])
        self.assertIn('files["scripts/billing"]', first[".luacheckrc"])

    def test_hostile_comments(self):
        """A comment cannot become an annotation or code."""
        self.write("odd/contracts.lua", "contracts [[\n  -- @class string\n  -- @field x\n  --]==] os.exit()\n  Do? (x: string)\n]]\n")
        self.write("odd/thing.lua", "-- @return nothing\n--\n-- ]] end\nlocal thing = aggregate \"thing\"\nfunction thing.execute.Do() end\n")
        self.types()
        text = self.text(".lore/messages.lua")
        self.assertIn("at class string", text)
        self.assertEqual(re.findall(r"^---@class string.*|^[^-\n]*os\.exit.*", text, re.M), [])

    def test_names_that_are_words(self):
        """Contexts, declarations and fields may be called as Lua's words and our own are."""
        contracts = "contracts [[\n  Do? (end: string, x: integer)\n  Done! (function: string?)\n]]\n"
        for context in "end", "log", "at":
            self.write(f"{context}/contracts.lua", contracts)
        self.write("end/a.lua", 'local a = aggregate "function"\nfunction a.execute.Do() return Done {} end\nfunction a.apply.Done() end\n'
                   'local p = projection "end"\nfunction p.when.Done() end\n')
        self.types()
        for line in self.text(".lore/messages.lua").splitlines()[1:]:
            if line and not line.startswith("---@"):
                self.assertRegex(line, r"^(--.*|function \w+\((fields|name|name, id)\) end|(?!end\b|log\b|at\b)\w+ = \{\})$")
        if shutil.which("luacheck"):
            self.assertEqual(self.luacheck().returncode, 0)
        if SERVER:
            self.assertEqual(self.server(), [])

    def test_nowhere_to_write(self):
        os.mkdir(os.path.join(self.dir, "taken"))
        with open(os.path.join(self.dir, "taken", ".lore"), "w"):
            pass
        told = lore("types", self.scripts, "--out", os.path.join(self.dir, "taken"), check=1)
        self.assertIn("taken/.lore", told.stderr)
        self.assertEqual(lore("types", self.scripts, "--out", os.path.join(self.dir, "no", "where"), check=1).stdout, "")


if __name__ == "__main__":
    main()
