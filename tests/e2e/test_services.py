"""Services over HTTP: what they answer, what a hostile peer cannot do to them, and that a kill repeats nothing that is in the log."""
import json, os, threading, unittest

from hub import TIMEOUT, Case, lines, lore, main
from peer import Peer

SCRIPTS = {
    "mailing/contracts.lua": """contracts [[
  Post?     (url: string, body: string?)
  Posted!   (status: integer, n: integer?)
  Get?      (url: string, timeout: string)
  Got!      (text: string)
  Announce? (to: string, url: string)
  Announced!(to: string)
  Later?    (seconds: integer)
  Refuse?
  Nothing?
  Break?
  Leak?     (url: string)
  Loop?
  Twice?    (url: string)
]]""",
    "mailing/mail.lua": """local mail = service "mail"
function mail.when.Post(c)
  local answer = http.post(c.url, { json = { body = c.body }, headers = { Authorization = "Bearer " .. env.TOKEN } })
  publish(Posted { status = answer.status, n = answer.json().n })
end
function mail.when.Get(c)
  local done, answer = pcall(http.get, c.url, { timeout = c.timeout })
  publish(Got { text = done and answer.status .. " " .. #answer.body or answer })
end
function mail.when.Announce(c)
  publish(Announced { to = c.to })
  send.letter(c.to, Note { text = c.url })
end
function mail.when.Later(c) retry(seconds(c.seconds)) end
function mail.when.Refuse() reject("unwanted", "nobody wants mail") end
function mail.when.Nothing() end
function mail.when.Break() error("broken " .. env.TOKEN) end
function mail.when.Leak(c) error(http.get(c.url .. env.TOKEN).body) end
function mail.when.Loop() while true do end end
function mail.when.Twice(c) http.post(c.url, { body = "1" }) http.post(c.url, { body = "2" }) publish(Posted { status = 2 }) end
""",
    "mailing/letter.lua": """local letter = aggregate "letter" { initial = { notes = 0 } }
function letter.apply.Noted(state) state.notes = state.notes + 1 end
function letter.execute.Note(state, c) return Noted { text = c.text } end
""",
    "mailing/receptors.lua": """local posting = receptor "posting"
function posting.when.Noted(e, m)
  send.mail(Post { url = e.text, body = m.id })
end
""",
    "mailing/letters.lua": "contracts [[\n  Note? (text: string)\n  Noted! (text: string)\n]]",
}
TOKEN = "tulips and daffodils"


class Services(Case):
    def setUp(self):
        super().setUp()
        self.peer = Peer()
        self.addCleanup(self.peer.close)
        for path, text in SCRIPTS.items():
            self.write(path, text)
        self.write("hub.lua", f'return {{ http = {{ allow = {{ "127.0.0.1:{self.peer.port}" }} }} }}')
        self.secrets = os.path.join(self.dir, "secrets")
        with open(self.secrets, "w") as file:
            file.write(f"# for the test\nTOKEN={TOKEN}\n")
        os.chmod(self.secrets, 0o600)

    def start(self, **options):
        return self.hub(None, None, "--secrets", self.secrets, **options)

    def post(self, hub, type, data=None, headers=None):
        return hub.request("POST", "/v1/main/mailing/mail", {"type": type, "data": data or {}}, headers)

    def got(self, hub, path, base=None, timeout="60s"):
        answer = self.post(hub, "Get", {"url": (base or self.peer.url) + path, "timeout": timeout})
        self.assertEqual(answer.status, 200, answer.text)
        return answer.json["events"][0]["data"]["text"]

    def test_answers(self):
        hub = self.start()
        answer = self.post(hub, "Post", {"url": self.peer.url + "/status/202", "body": "hello"}, {"Correlation-Id": "story"})
        self.assertEqual(answer.status, 200, answer.text)
        event = answer.json["events"][0]
        self.assertEqual((event["type"], event["data"], event["subject"], event["correlationid"]),
                         ("Posted", {"status": 202, "n": 7}, "mail/mail", "story"))
        method, path, headers, body = self.peer.asked[0]
        self.assertEqual((method, path, json.loads(body)), ("POST", "/status/202", {"body": "hello"}))
        self.assertEqual(headers["Authorization"], "Bearer " + TOKEN)
        self.assertTrue(headers["Idempotency-Key"])
        answer = self.post(hub, "Nothing")
        self.assertEqual((answer.status, answer.json), (200, {"version": 1, "position": 1, "events": []}))
        answer = self.post(hub, "Refuse")
        self.assertEqual((answer.status, answer.json["code"], answer.json["reason"]), (422, "rejected", "unwanted"))
        answer = self.post(hub, "Later", {"seconds": 90})
        self.assertEqual((answer.status, answer.headers["Retry-After"]), (503, "90"))
        answer = self.post(hub, "Break")
        self.assertEqual((answer.status, answer.json["code"]), (500, "script"))
        self.assertRegex(answer.json["detail"], r"mailing/mail.lua:\d+: broken ")
        answer = self.post(hub, "Nothing", {"what": 1})
        self.assertEqual((answer.status, answer.json["code"]), (400, "contract"))
        self.assertEqual(self.post(hub, "Psot").json["code"], "unknown_command")
        self.assertEqual(self.post(hub, "Nothing", headers={"If-Match": '"1"'}).status, 400)
        self.assertEqual(hub.request("POST", "/v1/main/mailing/male", {"type": "Nothing", "data": {}}).status, 404)
        self.assertEqual(hub.request("POST", "/v1/none/mailing/mail", {"type": "Nothing", "data": {}}).status, 404)
        line = [line for line in hub.status() if line["kind"] == "service"]
        self.assertEqual([(one["name"], one["running"], one["waiting"], one["rejected"]) for one in line], [("mailing/mail", 0, 0, 1)])
        hub.stop()

    def test_ids(self):
        hub = self.start()
        data, id = {"url": self.peer.url + "/status/200"}, {"Idempotency-Key": "k1"}
        first = self.post(hub, "Post", data, id)
        self.assertEqual(first.status, 200)
        self.assertEqual(self.post(hub, "Post", data, id).json, first.json)
        refused = self.post(hub, "Refuse", None, {"Idempotency-Key": "k2"})
        self.assertEqual(self.post(hub, "Refuse", None, {"Idempotency-Key": "k2"}).json, refused.json)
        self.assertEqual(self.post(hub, "Nothing", None, id).json["code"], "id_reused")
        hub.stop()
        hub = self.start()
        self.assertEqual(self.post(hub, "Post", data, id).json, first.json)
        self.assertEqual(len(self.peer.asked), 1)
        # two requests of one command are told apart, and those of a batch
        self.post(hub, "Twice", {"url": self.peer.url + "/status/200"}, {"Idempotency-Key": "k3"})
        batch = [{"type": "Post", "data": data}, {"type": "Post", "data": data}]
        answer = hub.request("POST", "/v1/main/mailing/mail", batch, {"Idempotency-Key": "k4"})
        self.assertEqual((answer.status, len(answer.json["events"])), (200, 2), answer.text)
        self.assertEqual(len(set(self.peer.keys())), 5)
        hub.stop()

    def test_the_same_id_at_once(self):
        """While the first waits for the peer: all get its answer, and the peer was asked once."""
        hub = self.start()
        answers = []
        ask = lambda: answers.append(self.post(hub, "Twice", {"url": self.peer.url + "/hang"}, {"Idempotency-Key": "k"}))
        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        self.peer.wait(1)
        self.peer.released.set()
        for thread in threads:
            thread.join()
        self.assertEqual({(answer.status, answer.text) for answer in answers}, {(200, answers[0].text)})
        self.assertEqual(len(self.peer.asked), 2)
        hub.stop()

    def test_a_peer_that_misbehaves(self):
        hub = self.start()
        self.assertEqual(self.got(hub, "/status/404"), "404 7")
        self.assertIn("no answer within 1000 ms", self.got(hub, "/hang", timeout="1s"))
        self.assertIn("no answer within 1000 ms", self.got(hub, "/drip", timeout="1s"))
        self.assertIn("larger than 1048576 bytes", self.got(hub, "/endless"))
        self.assertIn("headers of the answer are larger", self.got(hub, "/headers"))
        for path in ("/reset", "/cut", "/garbage"):
            self.assertRegex(self.got(hub, path), r"[a-z ]{10}")
        self.assertEqual(self.got(hub, "/redirect//status/200"), "200 7")
        self.assertIn("file", self.got(hub, "/redirect/file:///etc/passwd"))
        self.assertIn("more than 5 redirects", self.got(hub, "/redirect/" * 8))
        self.assertIn("not on the public Internet", self.got(hub, f"/redirect/http://127.0.0.2:{self.peer.port}/status/200"))
        self.assertIn("not on the public Internet", self.got(hub, "", "http://169.254.169.254/latest/meta-data"))
        self.assertIn("not on the public Internet", self.got(hub, "/healthz", f"http://127.0.0.1:{hub.port}"))
        self.assertEqual(hub.request("GET", "/healthz").status, 200)
        hub.stop()

    def test_tls_is_verified(self):
        peer = Peer(tls=self.dir)
        self.addCleanup(peer.close)
        self.write("hub.lua", 'return { http = { allow = { "127.0.0.0/8" } } }')
        hub = self.start()
        self.assertRegex(self.got(hub, "/status/200", peer.url).lower(), "certificate|verif")
        self.assertRegex(self.got(hub, "/status/200", f"https://127.0.0.1:{self.peer.port}").lower(), "tls|ssl|handshake|eof|packet")
        self.assertEqual(peer.asked, [])
        hub.stop()

    def test_a_peer_that_hangs_holds_nobody_up(self):
        hub = self.start()
        waiting = [threading.Thread(target=self.post, args=(hub, "Twice", {"url": self.peer.url + "/hang"})) for _ in range(20)]
        for thread in waiting:
            thread.start()
        self.peer.wait(20)
        self.assertEqual(self.post(hub, "Nothing").status, 200)
        self.assertEqual([line["running"] for line in hub.status() if line["kind"] == "service"], [20])
        self.assertEqual(self.post(hub, "Loop").json["code"], "script")
        self.peer.released.set()
        for thread in waiting:
            thread.join()
        self.assertEqual(len(self.peer.asked), 40)
        hub.stop()

    def test_a_stop_while_it_waits(self):
        hub = self.start()
        answers = []
        thread = threading.Thread(target=lambda: answers.append(self.post(hub, "Twice", {"url": self.peer.url + "/hang"})))
        thread.start()
        self.peer.wait(1)
        hub.stop()
        thread.join()
        self.assertEqual((answers[0].status, answers[0].json["code"]), (503, "unavailable"))
        self.assertEqual(lines(lore("events", "--json", "--data", self.data, check=0).stdout), [])

    def test_bounds(self):
        self.write("hub.lua", f'return {{ limits = {{ service_runs = 2, queue_services = 5, http_timeout_ms = 1500, http_response_size = 10 }}, '
                              f'http = {{ allow = {{ "127.0.0.1" }} }} }}')
        hub = self.start()
        self.assertIn("no answer within 1500 ms", self.got(hub, "/hang"))
        self.assertIn("larger than 10 bytes", self.got(hub, "/endless"))
        asked = len(self.peer.asked)
        answers = []
        ask = lambda: answers.append(self.post(hub, "Twice", {"url": self.peer.url + "/status/200"}).status)
        threads = [threading.Thread(target=ask) for _ in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(set(answers) - {200, 429}, set())
        self.assertEqual(len(self.peer.asked) - asked, 2 * answers.count(200))
        hub.stop()

    def test_a_kill_repeats_nothing_that_is_kept(self):
        """Between the peer's answer and the log it happens again, with the same key; behind it, not at all."""
        data, id = {"url": self.peer.url + "/status/202"}, {"Idempotency-Key": "k1"}
        for point, times in (("service.run", 0), ("service.commit", 1), ("log.fsync", 2)):
            hub = self.start(env={"LORE_FAULTS": point + "=kill"})
            with self.assertRaises(OSError):
                self.post(hub, "Post", data, id)
            hub.process.wait()
            self.assertEqual(len(self.peer.asked), times)
        hub = self.start()
        asked = len(self.peer.asked)
        first = self.post(hub, "Post", data, id)
        self.assertEqual(first.status, 200, first.text)
        hub.kill()
        hub = self.start()
        self.assertEqual(self.post(hub, "Post", data, id).json, first.json)
        self.assertLessEqual(len(self.peer.asked), asked + 1)
        self.assertEqual(len(set(self.peer.keys())), 1)
        self.assertEqual([event["type"] for event in hub.get("/v1/main/events")["events"]], ["Posted"])
        hub.stop()

    def test_faults(self):
        """A service that cannot run or not keep what it did is tried again by who asked."""
        hub = self.start(env={"LORE_FAULTS": "service.run=ENOSPC,service.commit=EIO"})
        data, id = {"url": self.peer.url + "/status/202"}, {"Idempotency-Key": "k1"}
        self.assertEqual([self.post(hub, "Post", data, id).status for _ in range(3)], [503, 503, 200])
        self.assertEqual(len(set(self.peer.keys())), 1)
        hub.stop()

    def test_what_is_published_and_sent(self):
        hub = self.start()
        answer = self.post(hub, "Announce", {"to": "ann", "url": self.peer.url + "/status/200"})
        self.assertEqual([event["type"] for event in answer.json["events"]], ["Announced", "$Sent"])
        self.assertEqual(self.types(hub, 4), ["Announced", "$Sent", "Noted", "Posted"])
        self.assertEqual(hub.get("/v1/main/mailing/letter/ann")["state"], {"notes": 1})
        events = hub.get("/v1/main/events")["events"]
        self.assertEqual({event["correlationid"] for event in events}, {events[0]["commandid"]})
        hub.stop()

    def types(self, hub, count):
        tail = hub.tail("/v1/main/events?from=1")
        types = [tail.next()[1]["type"] for _ in range(count)]
        tail.close()
        return types

    def test_a_chain_that_is_killed(self):
        """Service, courier, aggregate, receptor, service: whatever is cut off goes on at the next start, and each step is there once."""
        data, id = {"to": "ann", "url": self.peer.url + "/status/202"}, {"Idempotency-Key": "k1"}
        points = ["log.fsync", "courier.due", "courier.sent", "receptor.sent", "service.run@2", "service.run", "service.commit", "courier.done",
                  "receptor.done", "log.fsync"]
        for point in points:
            hub = self.hub(None, None, "--secrets", self.secrets, env={"LORE_FAULTS": point + "=kill"}, ready=False)
            try:
                if hub.wait_ready(may_end=True):
                    self.post(hub, "Announce", data, id)
                    self.post(hub, "Nothing")
            except OSError:
                pass
            self.assertEqual(hub.process.wait(TIMEOUT), -9, point)
        hub = self.start()
        self.assertEqual(self.post(hub, "Announce", data, id).status, 200)
        self.assertEqual(self.types(hub, 4), ["Announced", "$Sent", "Noted", "Posted"])
        self.assertEqual(len(set(self.peer.keys())), 1)
        hub.stop()
        events = lines(lore("events", "--json", "--data", self.data, check=0).stdout)
        self.assertEqual([event["type"] for event in events], ["Announced", "$Sent", "Noted", "Posted"])

    def test_command_line(self):
        place = ("--data", self.data, "--scripts", self.scripts)
        url = self.peer.url + "/status/202"
        hub = self.start()
        done = lore("send", "mailing/mail", "Post", json.dumps({"url": url}), *place, check=0)
        self.assertRegex(done.stdout, '^Posted {"n":7,"status":202}')
        hub.stop()
        done = lore("send", "mailing/mail", "Post", json.dumps({"url": url}), *place, check=0, env={"LORE_SECRET_TOKEN": "x"})
        self.assertRegex(done.stdout, "^Posted")
        self.assertIn("no aggregate", lore("send", "mailing/male", "Nothing", *place, check=1).stderr)
        self.assertEqual(len(self.peer.asked), 2)

    def test_secrets(self):
        hub = self.start()
        for answer in (self.post(hub, "Break"), self.post(hub, "Leak", {"url": "nonsense://"})):
            self.assertEqual(answer.status, 500)
            self.assertNotIn(TOKEN, answer.text)
        hub.stop()
        self.assertNotIn(TOKEN, "".join(hub.log))
        for name in os.listdir(self.data + "/log"):
            with open(os.path.join(self.data, "log", name), "rb") as file:
                self.assertNotIn(TOKEN.encode(), file.read())
        # from the environment
        hub = self.hub(env={"LORE_SECRET_TOKEN": "from outside"})
        self.assertEqual(self.post(hub, "Post", {"url": self.peer.url + "/status/200"}).status, 200)
        self.assertEqual(self.peer.asked[-1][2]["Authorization"], "Bearer from outside")
        hub.stop()
        hub = self.hub()
        self.assertRegex(self.post(hub, "Post", {"url": self.peer.url + "/status/200"}).json["detail"], "TOKEN")
        hub.stop()
        # a file that is not fit for it
        os.chmod(self.secrets, 0o640)
        self.assertRegex(lore("serve", self.scripts, "--data", self.data, "--secrets", self.secrets, check=3).stderr, "others may read .*: chmod 600")
        with open(self.secrets, "a") as file:
            file.write("password tulips\n")
        os.chmod(self.secrets, 0o600)
        wrong = lore("serve", self.scripts, "--data", self.data, "--secrets", self.secrets, check=1).stderr
        self.assertRegex(wrong, r"secrets:3: expected NAME=VALUE")
        self.assertNotIn("tulips", wrong)
        lore("serve", self.scripts, "--data", self.data, "--secrets", self.secrets + "-none", check=1)

    def test_hub_lua(self):
        for text, expected in (('{ http = { allow = { "localhost" } } }', r"http.allow\[1\]: expected an address"),
                               ('{ http = { alow = {} } }', "no option http.alow"), ('{ http = 7 }', "http is a table"),
                               ('{ limits = { service_runs = 0 } }', "limits.service_runs")):
            self.write("hub.lua", "return " + text)
            self.assertRegex(lore("serve", self.scripts, "--data", self.data, check=1).stderr, expected)


if __name__ == "__main__":
    main()
