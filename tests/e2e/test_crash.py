"""A client at full speed, kill -9, restart: every answered command is there once."""
import collections, json, os, random, threading, unittest

from hub import ROOT, SMALL, Case, lines, lore, main

ROUNDS = 3 if SMALL else 10
CLIENTS = 8


class Crash(Case):
    def clients(self, hub, round, answered, sent):
        """Each client adds services to bills of its own and shared ones, until the connection dies."""
        def work(client_number):
            seed = random.Random(round * 1000 + client_number)
            client = hub.client()
            number = 0
            try:
                while True:
                    number += 1
                    bill = seed.choice([f"own-{client_number}", "shared"])
                    id = f"{round}-{client_number}-{number}"
                    sent[client_number] = (bill, id)
                    answer = client.request("POST", f"/v1/main/billing/bill/{bill}",
                                            {"type": "AddServicesToBill", "data": {"services": 1}}, {"Idempotency-Key": id})
                    if answer.status == 200:
                        answered.append((bill, id, answer.json["version"], answer.json["position"]))
                    elif answer.status not in (429, 503):
                        raise AssertionError(answer.text)
            except (OSError, ConnectionError, __import__("http").client.HTTPException):
                pass
            finally:
                client.close()
        threads = [threading.Thread(target=work, args=(n,)) for n in range(CLIENTS)]
        for thread in threads:
            thread.start()
        return threads

    def test_answered_commands_survive(self):
        self.copy_scripts("billing")
        answered = []
        hub = self.hub()
        for bill in ["shared"] + [f"own-{n}" for n in range(CLIENTS)]:
            hub.send(f"billing/bill/{bill}", "CreateBill", {"customer": "acme", "start_date": "2026-01-01"})
        for round in range(ROUNDS):
            sent = {}
            before = len(answered)
            threads = self.clients(hub, round, answered, sent)
            while len(answered) < before + 50 + 100 * round:
                if not any(thread.is_alive() for thread in threads):
                    self.fail("the clients ended early")
            hub.kill()
            for thread in threads:
                thread.join()
            hub = self.hub()
            # What was under way when it died is either there or not; asked again it is there once.
            for bill, id in sent.values():
                answer = hub.send(f"billing/bill/{bill}", "AddServicesToBill", {"services": 1}, headers={"Idempotency-Key": id})
                again = hub.send(f"billing/bill/{bill}", "AddServicesToBill", {"services": 1}, headers={"Idempotency-Key": id})
                self.assertEqual(answer, again)
        view = hub.view("billing/open_bills")
        hub.stop()
        self.check_log(answered)
        report = lines(lore("verify", "--json", "--data", self.data, check=0).stdout)[-1]
        self.assertTrue(report["ok"], report)
        __import__("shutil").rmtree(os.path.join(self.data, "views"))
        rebuilt = {line["key"]: line["document"] for line in
                   lines(lore("view", "billing/open_bills", "--json", "--data", self.data, "--scripts", self.scripts, check=0).stdout)}
        self.assertEqual(view, rebuilt)

    def check_log(self, answered):
        events = lines(lore("export", "--data", self.data, "--scripts", self.scripts, check=0).stdout)
        self.assertEqual([event["position"] for event in events], list(range(1, len(events) + 1)))
        versions = collections.Counter()
        by_command = collections.defaultdict(list)
        for event in events:
            versions[event["subject"]] += 1
            self.assertEqual(event["version"], versions[event["subject"]])
            by_command[event["subject"], event["commandid"]].append(event)
        for bill, id, version, position in answered:
            found = by_command[f"bill/{bill}", id]
            self.assertEqual([(event["version"], event["position"]) for event in found], [(version, position)], id)
        self.assertGreater(len(answered), 100)


if __name__ == "__main__":
    main()
