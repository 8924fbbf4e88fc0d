"""lore openapi and lore asyncapi: valid before the public validators, and true of a hub: its answers are as they say.

The validators come from npm (tests/npm), installed once into a cache; without npm or a registry those tests are skipped and say so."""
import functools, hashlib, json, os, re, shutil, subprocess, tempfile, unittest, urllib.parse

from hub import ROOT, TIMEOUT, Case, lore, main

NPM = os.path.join(ROOT, "tests", "npm")
LINE = {"text": "hosting", "quantity": 2, "price": "15.25"}


@functools.cache
def validators():
    """The folder with check.mjs and what it needs; or None, and why."""
    if not shutil.which("npm") or not shutil.which("node"):
        return None, "skip: npm and node are not installed"
    with open(os.path.join(NPM, "package-lock.json"), "rb") as file:
        version = hashlib.sha256(file.read()).hexdigest()[:16]
    cache = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "lore-tests", version)
    if not os.path.isdir(cache):
        os.makedirs(os.path.dirname(cache), exist_ok=True)
        made = tempfile.mkdtemp(dir=os.path.dirname(cache))
        for name in "package.json", "package-lock.json":
            shutil.copy(os.path.join(NPM, name), made)
        done = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=made, capture_output=True, text=True, timeout=TIMEOUT)
        if done.returncode:
            shutil.rmtree(made)
            return None, f"skip: the validators cannot be installed: {done.stderr.strip()[:200]}"
        os.chmod(made, 0o755)
        try:
            os.rename(made, cache)
        except OSError:  # somebody else was faster
            shutil.rmtree(made)
    return cache, None


class Interfaces(Case):
    def setUp(self):
        super().setUp()
        for folder in "scripts", "specs":
            shutil.copytree(os.path.join(ROOT, folder), os.path.join(self.dir, folder))

    def validate(self, exchanges=()):
        cache, why = validators()
        if not cache:
            self.skipTest(why)
        folder = os.path.join(self.dir, "files")
        os.makedirs(folder, exist_ok=True)
        for name, text in (("openapi.json", lore("openapi", self.scripts, check=0).stdout), ("asyncapi.json", lore("asyncapi", self.scripts, check=0).stdout),
                           ("exchanges.json", json.dumps(list(exchanges)))):
            with open(os.path.join(folder, name), "w") as file:
                file.write(text)
        shutil.copy(os.path.join(NPM, "check.mjs"), cache)
        done = subprocess.run(["node", os.path.join(cache, "check.mjs"), folder], capture_output=True, text=True, timeout=TIMEOUT)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def test_the_public_validators(self):
        found = self.validate()
        self.assertEqual((found["openapi"], found["asyncapi"]), ([], []))
        self.assertGreater(found["examples"], 50)

    def test_other_scripts(self):
        """Also of what is rare: no context at all, nested types, words that JSON Schema knows."""
        shutil.rmtree(os.path.join(self.dir, "specs"))
        shutil.rmtree(self.scripts)
        os.mkdir(self.scripts)
        self.assertEqual(self.validate()["openapi"], [])
        self.write("a/contracts.lua", "contracts [[\n let line = (type: string, properties: {string: decimal[]}?)\n"
                   " Do? (required: line[], items: {string: {string: any}}, t: time[]?)\n Done!2 (required: line[])\n]]\n"
                   "function upcast.Done.v1(e) return e end\n")
        self.write("a/thing.lua", 'local thing = aggregate "thing"\nfunction thing.apply.Done() end\n'
                   "function thing.execute.Do(_, c) return Done { required = c.required } end\n")
        self.write("a/idle.lua", 'local idle = aggregate "idle"\nlocal none = projection "none" { index = { "x" } }\nfunction none.when.Done() end\n')
        found = self.validate([
            {"path": "/v1/{tenant}/a/thing/{id}", "method": "post", "type": "application/json", "body": body} for body in (
                {"type": "Do", "data": {"required": [{"type": "x", "properties": {"y": ["1.20", 3]}}], "items": {"b": {"c": [1]}}}},
                [{"type": "Do", "data": {"required": [], "items": {}, "t": ["2026-01-01T00:00:00Z"]}, "id": "1"}],
                {"type": "Do", "data": {"required": [], "items": {}, "extra": 1}}, {"type": "Done", "data": {"required": []}},
                {"type": "Do", "data": {"required": [{"type": "x", "properties": {"y": [1.5]}}], "items": {}}}, {"type": "Do", "data": {"items": {}}})])
        self.assertEqual((found["openapi"], found["asyncapi"]), ([], []))
        self.assertEqual(found["exchanges"][:2], [None, None])
        self.assertEqual([problem is None for problem in found["exchanges"][2:]], [False] * 4)

    # --- a hub ---

    def ask(self, hub, method, path, body=None, route=None, accept=None, headers=None):
        """One exchange, as check.mjs reads it."""
        answer = hub.request(method, path, body, dict(headers or {}, **({"Accept": accept} if accept else {})))
        type = answer.headers["Content-Type"].split(";")[0]
        text = answer.text if type == "text/plain" else json.loads(answer.text.splitlines()[0] if type.endswith("ndjson") else answer.text)
        return {"path": route or urllib.parse.urlsplit(path).path.replace("/v1/main/", "/v1/{tenant}/"), "method": method.lower(),
                "status": str(answer.status), "type": type, "body": text}

    def test_a_hub_answers_as_described(self):
        hub = self.hub()
        invoice = {"customer": "acme", "lines": [LINE], "due_on": "2026-02-15"}
        stream, bill = "/v1/{tenant}/billing/invoice/{id}", "/v1/{tenant}/billing/bill/{id}"
        sent = [
            ("/v1/main/billing/invoice/1", {"type": "IssueInvoice", "data": invoice, "id": "x-1"}, stream),
            ("/v1/main/billing/invoice/1", [{"type": "PayInvoice", "data": {"amount": 3}}, {"type": "PayInvoice", "data": {"amount": "1.20"}}], stream),
            ("/v1/main/billing/bill/7", {"type": "CreateBill", "data": {"customer": "acme", "start_date": "2026-01-01"}}, bill),
            ("/v1/main/billing/bill/7", {"type": "CloseBill", "data": {"close_date": "2026-01-02", "note": "done"}}, bill),
            ("/v1/main/mailing/mail", {"type": "SendReminder", "data": {"to": "a", "invoice": "1", "open": "1", "due_on": "2026-01-01"}}, None)]
        exchanges = [{"path": route or "/v1/{tenant}/mailing/mail", "method": "post", "type": "application/json", "body": body} for _, body, route in sent]
        exchanges += [self.ask(hub, "POST", path, body, route) for path, body, route in sent[:4]]
        self.assertEqual([each["status"] for each in exchanges[5:]], ["200"] * 4)
        exchanges += [self.ask(hub, "POST", path, body, route, headers=headers) for path, body, route, headers in (
            ("/v1/main/billing/bill/7", {"type": "CloseBill", "data": {"close_date": "2026-01-02"}}, bill, {}),        # 422
            ("/v1/main/billing/bill/7", {"type": "CloseBill", "data": {"close_date": "x"}}, bill, {}),                 # 400
            ("/v1/main/billing/bill/7", {"type": "ReopenBill", "data": {}}, bill, {"If-Match": '"1"'}))]               # 409
        self.assertEqual([each["status"] for each in exchanges[9:]], ["422", "400", "409"])
        hub.view("billing/open_bills")
        correlation = hub.get("/v1/main/events?limit=1")["events"][0]["correlationid"]
        view = "/v1/{tenant}/views/billing/outstanding_invoices"
        exchanges += [self.ask(hub, "GET", path, None, route, accept) for path, route, accept in (
            ("/v1/main/billing/invoice/1", stream, None), ("/v1/main/billing/invoice/2", stream, None),
            ("/v1/main/billing/bill/7/events", bill + "/events", None), ("/v1/main/billing/bill/7/events", bill + "/events", "application/x-ndjson"),
            ("/v1/main/events", None, None), ("/v1/main/events", None, "application/x-ndjson"),
            ("/v1/main/views/billing/outstanding_invoices?index=due_on", view, None), ("/v1/main/views/billing/outstanding_invoices/1", view + "/{key}", None),
            ("/v1/main/views/billing/outstanding_invoices", view, "application/x-ndjson"), ("/v1/main/views/billing/outstanding_invoices/9", view + "/{key}", None),
            (f"/v1/main/trace/{correlation}", "/v1/{tenant}/trace/{correlation}", None), ("/v1/main/blame?position=1", None, None),
            ("/v1/status", None, None), ("/v1/status", None, "application/x-ndjson"), ("/v1/deploys", None, None), ("/v1/deploys/1", "/v1/deploys/{number}", None),
            ("/v1/deploys/1/scripts", "/v1/deploys/{number}/scripts", None), ("/healthz", None, None), ("/readyz", None, None), ("/metrics", None, None))]
        exchanges += [self.ask(hub, "POST", "/v1/status/rebuild/billing/open_bills", None, "/v1/status/rebuild/{name}"),
                      self.ask(hub, "POST", "/v1/status/run/billing/invoice_expiration", None, "/v1/status/run/{name}"),
                      self.ask(hub, "POST", "/v1/main/repl", {"source": "1 + 1"}, "/v1/{tenant}/repl", "application/x-ndjson"),
                      self.ask(hub, "POST", "/v1/main/repl", {"help": ""}, "/v1/{tenant}/repl"),
                      self.ask(hub, "POST", "/v1/rollback", {"to": "1", "plan": True}), self.ask(hub, "POST", "/v1/deploys/undo", {})]
        found = self.validate(exchanges)
        wrong = [(each, problem) for each, problem in zip(exchanges, found["exchanges"]) if problem]
        self.assertEqual(wrong, [])

    def test_every_route_is_described(self):
        """Of the table in core/net/router.c: each label has its route here."""
        with open(os.path.join(ROOT, "core", "net", "router.c")) as file:
            labels = re.findall(r'\[ROUTE_\w+\] = \{"(\w+)", (READS \| WRITES|READS|WRITES)\}', file.read())
        described = json.loads(lore("openapi", self.scripts, "--no-specs", check=0).stdout)["paths"]
        routes = {"healthz": "/healthz", "readyz": "/readyz", "metrics": "/metrics", "status": "/v1/status", "rebuild": "/v1/status/rebuild/{name}",
                  "task_run": "/v1/status/run/{name}", "retry": "/v1/status/retry/{name}", "deploys": "/v1/deploys", "deploy_undo": "/v1/deploys/undo",
                  "deploy": "/v1/deploys/{number}", "deploy_scripts": "/v1/deploys/{number}/scripts", "rollback": "/v1/rollback",
                  "events": "/v1/{tenant}/events", "bulk": "/v1/{tenant}/commands", "trace": "/v1/{tenant}/trace/{correlation}",
                  "blame": "/v1/{tenant}/blame", "repl": "/v1/{tenant}/repl", "view": "/v1/{tenant}/views/billing/open_bills", "document": "/v1/{tenant}/views/billing/open_bills/{key}",
                  "service": "/v1/{tenant}/mailing/mail", "stream": "/v1/{tenant}/billing/bill/{id}", "stream_events": "/v1/{tenant}/billing/bill/{id}/events"}
        self.assertEqual(sorted(routes), sorted(label for label, _ in labels))
        for label, methods in labels:
            self.assertEqual({"get", "post"} & set(described[routes[label]]),
                             ({"get"} if "READS" in methods else set()) | ({"post"} if "WRITES" in methods else set()), label)

    def test_events_of_asyncapi(self):
        told = lore("asyncapi", self.scripts, check=0).stdout
        self.assertEqual(told, lore("asyncapi", self.scripts, check=0).stdout)
        described = json.loads(told)
        self.assertEqual(sorted(described["channels"]), ["billing", "fines", "mailing", "security"])
        closed = described["components"]["messages"]["billing.BillClosed"]
        self.assertEqual(closed["description"], "listened to by projection billing/open_bills")
        self.assertEqual(closed["examples"][0]["payload"]["data"]["customer"], "acme")
        self.assertTrue(described["components"]["schemas"]["security.UserRegistered"]["properties"]["name"]["x-pii"])

    def test_scripts_that_do_not_load(self):
        self.edit("billing/bill.lua", "aggregate", "agregate")
        for command in "openapi", "asyncapi":
            told = lore(command, self.scripts, check=1)
            self.assertEqual(told.stdout, "")
            self.assertRegex(told.stderr, r"billing/bill\.lua:1: .*agregate")


if __name__ == "__main__":
    main()
