"""The same log and scripts give the same documents and states, byte for byte: lore digest over processes, threads, caches, rebuilds and restarts."""
import gzip, json, os, random, shutil, unittest

import random_scripts
from hub import ROOT, SMALL, Case, lines, lore, main

EVENTS = os.path.join(os.path.dirname(ROOT), "shared", "data", "road_fines", "events.ndjson.gz")
SEED = int(os.environ.get("SEED", 0)) or random.SystemRandom().randrange(1 << 32)
ROWS = 300 if SMALL else 2500


class Determinism(Case):
    def digest(self, *args, data=None):
        """{name: line} and the digest of all."""
        done = lore("digest", "--json", "--data", data or self.data, "--scripts", self.scripts, *args, check=0)
        return {line.get("name", "all"): line for line in lines(done.stdout)}

    def copy(self, *parts):
        """A copy of some parts of the data directory: what is left out is made anew."""
        copy = os.path.join(self.dir, "copy")
        shutil.rmtree(copy, True)
        os.mkdir(copy)
        for part in ("log", *parts):
            shutil.copytree(os.path.join(self.data, part), os.path.join(copy, part))
        return copy

    def compare_ways(self, limits):
        """The views as they came to be, with all other ways in which they could have."""
        first = self.digest()
        ways = [("another process", (), ("index", "views", "snapshots"), None), ("from events", ("--from-events",), ("index", "views", "snapshots"), None),
                ("one thread", ("--projectors", "1"), (), None), ("two threads", ("--projectors", "2"), ("snapshots",), None),
                ("three threads, in parts", ("--projectors", "3"), (), {"partition": 50, "flush": 60}),
                ("flushed after each event", ("--projectors", "1"), (), {"flush": 1}),
                ("flushed now and then", ("--projectors", "2"), (), {"flush": 17, "cache": 1})]
        for name, args, parts, changed in ways:
            limits(**(changed or {}))
            again = self.digest(*args, data=self.copy(*parts))
            for line in first:
                self.assertEqual(again[line], first[line], f"{name}: {line} (SEED={SEED})")
        limits()
        return first

    def write_limits(self, **changed):
        names = {"cache": "cache_memory", "flush": "flush_events", "partition": "rebuild_partition_events"}
        limits = ", ".join(f"{names[name]} = {value}" for name, value in changed.items())
        self.write("hub.lua", f"return {{ limits = {{ {limits} }} }}\n")

    @unittest.skipUnless(os.path.exists(EVENTS), f"skip: the data set is not beside the project ({EVENTS})")
    def test_fines_and_billing(self):
        self.copy_scripts()
        rows = os.path.join(self.dir, "rows.ndjson")
        with gzip.open(EVENTS, "rt") as source, open(rows, "w") as file:
            file.writelines(line for line, _ in zip(source, range(ROWS)))
        digests = []
        for shards in (4, 2, 1):
            data = os.path.join(self.dir, f"data{shards}")
            lore("import", rows, "--with", os.path.join(self.scripts, "fines/import/road_fines.lua"), "--data", data, "--scripts", self.scripts,
                 "--shards", str(shards), check=0)
            digests.append(self.digest(data=data))
            self.assertEqual(digests[-1], digests[0], f"{shards} shards")
        self.assertGreater(digests[0]["fines/cases"]["documents"], ROWS // 10)
        self.data = os.path.join(self.dir, "data1")
        with open(os.path.join(ROOT, "scripts/sample.ndjson")) as file:
            sample = [json.loads(line) for line in file]
        for half in (sample[:len(sample) // 2], sample[len(sample) // 2:]):
            hub = self.hub()
            for command in half:
                answer = hub.request("POST", "/v1/main/" + command.pop("stream"), command)
                self.assertIn(answer.status, (200, 422), answer.text)
            hub.stop()
        first = self.compare_ways(self.write_limits)
        self.assertGreaterEqual(first["fines/cases"]["documents"], digests[0]["fines/cases"]["documents"])
        self.assertGreater(first["billing/bill"]["streams"], 0)

    def test_random_scripts(self):
        parked = 0
        for seed in range(SEED, SEED + (1 if SMALL else 2)):
            with self.subTest(seed=seed):
                rnd = random.Random(seed)
                self.data = os.path.join(self.dir, f"data{seed}")
                random_scripts.write(self, rnd, 6)
                made = list(random_scripts.rows(rnd, 150 if SMALL else 500))
                live = made[-40:]
                rows = os.path.join(self.dir, "rows.ndjson")
                random_scripts.write_rows(rows, made[:-40])
                lore("import", rows, "--with", os.path.join(self.scripts, "random/import/rows.lua"), "--data", self.data, "--scripts", self.scripts,
                     "--shards", "2", check=0)
                for half in (live[:20], live[20:]):  # live, event by event, with a restart
                    hub = self.hub()
                    for row in half:
                        data = {name: row[name] for name in ("a", "b", "c", "d", "t", "list", "map")}
                        hub.send(f"random/thing/{row['id']}", "Happen", data)
                    hub.stop()
                first = self.compare_ways(lambda **changed: random_scripts.write_limits(self, **changed))
                parked += sum(line.get("parked", 0) for line in first.values())
        self.assertGreater(parked, 0)

    def test_the_folder_does_not_matter(self):
        """A text that a script catches goes into an event; a view catches one itself, and parks a key with another: all name the file as
        it lies in the scripts folder, wherever that is."""
        self.write("notes/contracts.lua", "contracts [[\n Take? (n: integer)\n Taken! (n: integer, said: string)\n]]\n")
        self.write("notes/note.lua", "local note = aggregate 'note'\n"
                   "function note.apply.Taken(state, e) state.said = select(2, pcall(error, e.said .. ' again', 2)) end\n"
                   "function note.execute.Take(_, c)\n"
                   "  local _, said = pcall(function() return c.n .. nil end)\n  return Taken { n = c.n, said = said }\nend\n")
        self.write("notes/view.lua", "local view = projection 'view'\n"
                   "function view.when.Taken(doc, e)\n  doc.said = e.said\n  if e.n == 2 then error 'two' end\n"
                   "  local _, own = pcall(function() local t = nil; return t.x end)\n  doc.own = own\nend\n")
        elsewhere = os.path.join(self.dir, "a folder with a long name " + 40 * "x", "and/more of it")
        shutil.copytree(self.scripts, elsewhere)
        seen = []
        for number, folder in enumerate((self.scripts, elsewhere)):
            data = os.path.join(self.dir, f"data-{number}")
            hub = self.hub(folder, data)
            for n in (1, 2):
                hub.send(f"notes/note/{n}", "Take", {"n": n}, id=f"take-{n}")
            documents = hub.view("notes/view")
            events = hub.get("/v1/main/events")["events"]
            parked = [line["error"] for line in hub.status() if line["kind"] == "parked"]
            hub.stop()
            seen.append(([event["data"] for event in events], documents, parked, self.digest(data=data)))
        self.assertEqual(seen[0][:3], seen[1][:3])
        self.assertEqual(seen[0][3]["all"]["digest"], seen[1][3]["all"]["digest"])
        self.assertTrue(seen[0][0][0]["said"].startswith("notes/note.lua:4: "), seen[0])
        self.assertTrue(seen[0][1]["1"]["own"].startswith("notes/view.lua:5: "), seen[0])
        self.assertEqual(seen[0][2], ["notes/view.lua:4: two"])


if __name__ == "__main__":
    print(f"SEED={SEED}", flush=True)
    main()
