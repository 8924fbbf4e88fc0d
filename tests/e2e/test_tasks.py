"""Tasks of a hub that lives and is killed: by the machine's clock, by hand, once each."""
import json, re, unittest

from hub import Case, lines, lore, main
from peer import Peer

CONTRACTS = "contracts [[\n  Ticked! (now: time)\n  Called! (now: time, status: integer)\n]]\n"
TICK = 'local t = task "tick" { every = "1s" }\nfunction t.run(now) publish(Ticked { now = now }) end\n'
# one moment in the past: missed when the hub first sees it, so it runs only when it is asked for
REST = """local c = task "call" { at = "2020-01-01" }
function c.run(now)
  local answer = http.post("URL/status/202", { json = { now = now } })
  publish(Called { now = now, status = answer.status })
end
local b = task "bad" { at = "2020-01-01" }
function b.run() error("the task is bad") end
local l = task "loop" { at = "2020-01-01" }
function l.run() while true do end end
local h = task "hang" { at = "2020-01-01" }
function h.run() http.get("URL/hang") end
"""


class Tasks(Case):
    def setUp(self):
        super().setUp()
        self.peer = Peer()
        self.addCleanup(self.peer.close)
        self.write("chores/contracts.lua", CONTRACTS)
        self.write("chores/rest.lua", REST.replace("URL", self.peer.url))
        self.write("hub.lua", f'return {{ http = {{ allow = {{ "127.0.0.1:{self.peer.port}" }} }} }}')
        self.place = ("--data", self.data, "--scripts", self.scripts)

    def run_task(self, hub, name, headers=None, status=200):
        answer = hub.request("POST", f"/v1/status/run/{name}", None, headers)
        self.assertEqual(answer.status, status, answer.text)
        return answer

    def ran(self, events):
        return [event["data"] for event in events if event["type"] == "$TaskRan"]

    def tasks(self, hub):
        return {line["name"]: line for line in hub.status() if line["kind"] == "task"}

    def test_each_second(self):
        """By the machine's clock: every moment is there once and in order, over stops and kills."""
        self.write("chores/tick.lua", TICK)
        for end in ("stop", "kill", "stop"):
            hub = self.hub()
            tail = hub.tail(f"/v1/main/events?from={hub.head() + 1}&type=$TaskRan")
            tail.take(2)
            tail.close()
            getattr(hub, end)()
        events = lines(lore("events", "--json", "--data", self.data, check=0).stdout)
        due = [ran["due"] for ran in self.ran(events)]
        self.assertGreaterEqual(len(due), 6)
        self.assertEqual(due, sorted(set(due)))
        self.assertEqual([event["data"]["now"] for event in events if event["type"] == "Ticked"], due)
        self.assertEqual({ran["by"] + ran["outcome"] for ran in self.ran(events)}, {"scheduledone"})
        for ran in self.ran(events):
            self.assertTrue(ran["due"].endswith(".000Z") and ran["due"] <= ran["began"], ran)

    def test_by_hand(self):
        hub = self.hub()
        first = self.run_task(hub, "chores/call", {"Idempotency-Key": "k1"})
        self.assertEqual([event["type"] for event in first.json["events"]], ["Called", "$TaskRan"])
        self.assertEqual((first.json["events"][0]["data"]["status"], self.ran(first.json["events"])[0]["by"]), (202, "hand"))
        self.assertEqual(self.run_task(hub, "call", {"Idempotency-Key": "k1"}).json, first.json)
        self.assertEqual(len(self.peer.asked), 1)
        self.run_task(hub, "chores/call")
        self.assertEqual(len(set(self.peer.keys())), 2)
        ran = self.ran(self.run_task(hub, "bad").json["events"])[0]
        self.assertEqual((ran["outcome"], bool(re.search(r"chores/rest.lua:\d+: the task is bad", ran["error"]))), ("failed", True))
        self.assertIn("instructions", self.ran(self.run_task(hub, "loop").json["events"])[0]["error"])
        self.run_task(hub, "chores/none", status=404)
        self.run_task(hub, "chores/call?tenant=none", status=404)
        self.run_task(hub, "chores/call?what=1", status=400)
        done = lore("task", "run", "chores/call", *self.place, check=0)
        self.assertRegex(done.stdout, r"^chores/call: done in \d+ ms, 1 event published")
        self.assertEqual(len(json.loads(lore("task", "run", "call", "--json", *self.place, check=0).stdout)["events"]), 2)
        self.assertIn("the task is bad", lore("task", "run", "bad", *self.place, check=1).stderr)
        self.assertIn("no task nothing", lore("task", "run", "nothing", *self.place, check=1).stderr)
        lore("task", "walk", *self.place, check=2)
        lore("task", "run", *self.place, check=2)
        self.listed(running=True)
        hub.stop()
        self.listed(running=False)
        done = lore("task", "run", "chores/call", *self.place, check=0)  # nobody runs: a hub for this one question
        self.assertRegex(done.stdout, r"^chores/call: done")
        self.assertEqual(len(self.peer.asked), 5)

    def listed(self, running):
        listed = {line["name"]: line for line in lines(lore("task", "list", "--json", *self.place, check=0).stdout)}
        self.assertEqual(sorted(listed), ["chores/bad", "chores/call", "chores/hang", "chores/loop"], running)
        self.assertEqual({name: line.get("last", {}).get("outcome") for name, line in listed.items()},
                         {"chores/bad": "failed", "chores/call": "done", "chores/hang": None, "chores/loop": "failed"}, running)
        self.assertRegex(lore("task", "list", *self.place, check=0).stdout, r"chores/bad +main +idle .* failed in \d+ ms\n    .*the task is bad")

    def test_never_twice_at_once(self):
        hub = self.hub()
        client = hub.client()
        client.connection.request("POST", "/v1/status/run/chores/hang")
        self.peer.wait(1)
        self.assertEqual(self.tasks(hub)["chores/hang"]["state"], "running")
        answer = self.run_task(hub, "chores/hang", status=409)
        self.assertIn("runs already", answer.json["detail"])
        hub.stop()  # it is given up, and not recorded
        self.assertEqual(client.connection.getresponse().status, 503)
        client.close()
        self.assertEqual(lines(lore("events", "--json", "--data", self.data, check=0).stdout), [])

    def test_a_kill_at_every_point(self):
        """However often it is cut off: each moment that was recorded is there once, and the same moment asks with the same key."""
        self.write("chores/rest.lua", REST.replace("URL", self.peer.url).replace('at = "2020-01-01"', 'every = "1s"', 1))
        for point in ("task.run", "task.commit", "log.fsync@2", "task.run@2", "task.commit@2"):
            hub = self.hub(env={"LORE_FAULTS": point + "=kill"}, ready=False)
            self.assertEqual(hub.process.wait(), -9)
        hub = self.hub()
        hub.tail("/v1/main/events?from=1&type=$TaskRan").take(3)
        hub.stop()
        events = lines(lore("events", "--json", "--data", self.data, check=0).stdout)
        due = [ran["due"] for ran in self.ran(events)]
        self.assertEqual(due, sorted(set(due)))
        self.assertEqual([event["data"]["now"] for event in events if event["type"] == "Called"], due)
        moments = {}
        for _, _, headers, body in self.peer.asked:
            moments.setdefault(json.loads(body)["now"], set()).add(headers["Idempotency-Key"])
        self.assertEqual([now for now in due if now not in moments], [])
        self.assertEqual({len(keys) for keys in moments.values()}, {1})
        self.assertEqual(len(set.union(*moments.values())), len(moments))


if __name__ == "__main__":
    main()
