"""lore deploy and undeploy, SIGHUP and --watch: what brings scripts to a hub, and what it says of them."""
import json, os, re, shutil, signal, subprocess, unittest

from hub import LORE, TIMEOUT, Case, lines, lore, main

CONTRACTS = """contracts [[
  Open? ()
  Opened! ()
  Pay? (sum: integer)
  Paid! (sum: integer)
]]
"""
BILL = """local bill = aggregate "bill" { initial = { sum = 0 } }
local most = 10
function bill.apply.Opened(state) state.open = true end
function bill.apply.Paid(state, e) state.sum = state.sum + e.sum end
function bill.execute.Open(state) return Opened {} end
function bill.execute.Pay(state, c)
  if c.sum > most then reject("dear", "more than %d", most) end
  return Paid { sum = c.sum }
end
"""
PAID = """local paid = projection "paid" { initial = { sum = 0 } }
function paid.when.Paid(view, e) view.sum = view.sum + e.sum end
"""
SPEC = """describe("a bill", function()
  it("takes a payment", function()
    aggregate("bill", "1"):given { Opened {} }:when { Pay { sum = 5 } }:expect { Paid { sum = 5 } }
  end)
end)
"""
BROKEN = "function bill.execute.Pay(state c)\n"


class DeployCase(Case):
    def setUp(self):
        super().setUp()
        self.write("shop/contracts.lua", CONTRACTS)
        self.write("shop/bill.lua", BILL)
        self.write("shop/paid.lua", PAID)

    def spec(self, text=SPEC):
        path = os.path.join(self.dir, "specs", "shop")
        os.makedirs(path, exist_ok=True)
        with open(os.path.join(path, "bill_spec.lua"), "w") as file:
            file.write(text)

    def limit(self, most, before=10):
        self.edit("shop/bill.lua", f"local most = {before}", f"local most = {most}")

    def pay(self, hub, sum, status=200, bill="b1"):
        return hub.send(f"shop/bill/{bill}", "Pay", {"sum": sum}, status)

    def started(self, *args, **options):
        hub = self.hub(None, None, *args, **options)
        hub.send("shop/bill/b1", "Open")
        self.pay(hub, 7)
        return hub

    def to(self, hub):
        return ("--to", f"http://127.0.0.1:{hub.port}")

    def running(self, hub):
        return [line["deploy"] for line in hub.status() if line["kind"] == "hub"][0]

    def deploy(self, *args, check=0):
        return lore("deploy", "--scripts", self.scripts, "--data", self.data, *args, check=check)


class Deploying(DeployCase):
    def test_to_a_running_hub_by_url_and_by_its_socket(self):
        hub = self.started()
        self.pay(hub, 20, 422)
        self.limit(20)
        page = self.deploy(*self.to(hub), "--note", "more").stdout
        self.assertIn("deploy 2 against deploy 1: 1 script changed", page)
        self.assertRegex(page, r"\n  changed +shop/bill.lua\n")
        self.assertEqual(page.splitlines()[-1], "deploy 2 runs")
        self.pay(hub, 20)
        self.limit(30, 20)
        report = json.loads(self.deploy("--json").stdout)
        self.assertEqual((report["deploy"], report["before"], report["plan"]), (3, 2, False))
        self.pay(hub, 30)
        first = hub.get("/v1/deploys/2")
        self.assertEqual((first["note"], first["folder"], first["forced"]), ("more", self.scripts, False))
        self.assertTrue(first["actor"])

    def test_the_same_scripts_are_no_deploy(self):
        hub = self.started()
        self.assertEqual(self.deploy().stdout.splitlines()[-1], "deploy 1 runs and is the same: there is nothing to deploy")
        self.assertEqual(self.running(hub), 1)

    def test_a_plan_shows_what_would_become_of_documents_and_commands(self):
        hub = self.started()
        self.limit(5)
        self.edit("shop/paid.lua", "view.sum + e.sum", "view.sum + 2 * e.sum")
        page = self.deploy("--plan").stdout
        self.assertIn("plan of deploy 2 against running deploy 1: 2 scripts changed", page)
        self.assertRegex(page, r'documents +1 changed\n +fields +sum 1\n +changed +b1\n +\{"sum":7\}\n +→ \{"sum":14\}')
        self.assertRegex(page, r'1 now refused\n +Pay to shop/bill/b1 at version 1\n +Paid \{"sum":7\}\n +→ refused: dear \(more than 5\)')
        self.assertEqual(page.splitlines()[-1], "would be deployed")
        self.assertEqual(self.running(hub), 1)
        self.assertNotIn("refused", self.deploy("--plan", "--quick").stdout)

    def test_what_the_policy_refuses_is_deployed_by_force_only_and_that_is_recorded(self):
        self.write("hub.lua", 'return { deploy = { refuse = { "commands_refused" } } }\n')
        hub = self.started()
        self.limit(5)
        for args in (["--plan"], []):
            page = self.deploy(*args, check=1).stdout
            self.assertRegex(page.splitlines()[-1], r"^(would be )?refused: 1 recorded command would now be refused \(deploy")
        report = json.loads(self.deploy("--json", check=1).stdout)
        self.assertEqual(len(report["refused"]), 1)
        self.assertEqual(self.running(hub), 1)
        page = self.deploy("--force").stdout
        self.assertRegex(page.splitlines()[-1], "^deploy 2 runs, forced against its gate: 1 recorded")
        self.assertTrue(hub.get("/v1/deploys/2")["forced"])
        self.assertEqual(lore("deploy", "--plan", "--force", "--data", self.data).returncode, 2)

    def test_what_does_not_load_is_told_with_its_line_and_changes_nothing(self):
        hub = self.started()
        self.write("shop/bill.lua", BILL + BROKEN)
        for args in ([], ["--plan"], self.to(hub)):
            done = self.deploy(*args, check=1)
            self.assertRegex(done.stderr, r"shop/bill\.lua:10: .*\n +function bill\.execute\.Pay\(state c\)\n")
            self.assertEqual(done.stdout, "")
        report = json.loads(self.deploy("--json", check=1).stdout)
        self.assertFalse(report["loads"]["ok"])
        error, = report["loads"]["errors"]
        self.assertEqual((error["file"], error["line"], error["text"].strip()), ("shop/bill.lua", 10, BROKEN.strip()))
        self.assertEqual(self.running(hub), 1)
        self.pay(hub, 3)
        # A client of another lore, which did not look itself.
        answer = hub.request("POST", "/v1/deploys", {"scripts": {"shop/bill.lua": BROKEN}})
        self.assertEqual((answer.status, answer.json["code"]), (422, "scripts"))
        self.assertFalse(answer.json["report"]["loads"]["ok"])

    def test_an_unknown_option_of_hub_lua_is_told_in_a_report_too(self):
        self.started()
        self.write("hub.lua", "return { deploy = { refuze = {} } }\n")
        done = self.deploy("--json", check=1)
        loads = json.loads(done.stdout)["loads"]
        self.assertEqual((loads["ok"], [error["message"] for error in loads["errors"]]),
                         (False, ["hub.lua: there is no option deploy.refuze: did you mean refuse?"]))

    def test_specs_that_fail_refuse_it_and_their_output_is_shown(self):
        self.spec()
        hub = self.started()
        self.limit(20)
        self.assertIn("1 passed, 0 failed", self.deploy("--quick").stdout)
        self.limit(3, 20)
        done = self.deploy("--quick", check=1)
        self.assertIn("0 passed, 1 failed", done.stderr)
        self.assertIn("takes a payment", done.stderr)
        self.assertRegex(done.stdout.splitlines()[-1], "^refused: 1 spec fails")
        self.assertEqual(self.running(hub), 2)
        self.deploy("--quick", "--no-specs")
        self.assertEqual(self.running(hub), 3)

    def test_undeploy_goes_back(self):
        hub = self.started()
        self.assertEqual(lore("undeploy", "--data", self.data).returncode, 1)
        self.limit(20)
        self.deploy("--quick")
        self.pay(hub, 20)
        said = lore("undeploy", "--data", self.data, "--note", "too much", check=0).stdout
        self.assertRegex(said, r"^deploy 1 runs again, deploy 2 is undone \(\d+\.\d s\)\n$")
        self.pay(hub, 20, 422)
        self.assertEqual(hub.get("/v1/deploys/2")["state"], "undone")
        self.assertEqual(hub.view("paid"), {"b1": {"sum": 27}})
        self.limit(30, 20)
        self.deploy("--quick")
        undone = json.loads(lore("undeploy", "--json", *self.to(hub), check=0).stdout)
        self.assertEqual((undone["deploy"], undone["undone"]), (1, 3))

    def test_a_view_that_was_kept_is_compared_like_one_that_is_built(self):
        hub = self.started()
        self.edit("shop/paid.lua", "view.sum + e.sum", "view.sum + 2 * e.sum")
        built = json.loads(self.deploy("--json").stdout)["projections"]
        lore("undeploy", "--data", self.data, check=0)
        self.pay(hub, 3, bill="b2")  # it has to catch up with that
        planned, deployed = (json.loads(self.deploy("--json", *args).stdout)["projections"] for args in (["--plan"], []))
        self.assertEqual(planned, deployed)
        before, after = built[0], planned[0]
        self.assertEqual((before["kept"], after["kept"], after["reason"]), (False, True, before["reason"]))
        self.assertEqual((after["documents"]["changed"], after["documents"]["before"]), (2, 2))
        self.assertEqual([sample["after"] for sample in after["samples"] if sample["key"] == "b2"], [{"sum": 6}])
        self.assertEqual(hub.get("/v1/main/views/paid/b2")["document"], {"sum": 6})

    def test_a_view_that_goes_is_named_and_nothing_is_built(self):
        self.started()
        os.remove(os.path.join(self.scripts, "shop", "paid.lua"))
        page = self.deploy("--plan").stdout
        self.assertRegex(page, r"(?m)^ +shop/paid: it is no longer declared$")
        row, = json.loads(self.deploy("--plan", "--json").stdout)["projections"]
        self.assertNotIn("rebuild_seconds", row)

    def test_without_a_running_hub_the_directory_is_worked_on(self):
        self.started().stop()
        self.limit(5)
        page = self.deploy("--plan").stdout
        self.assertIn("1 now refused", page)
        self.assertEqual(page.splitlines()[-1], "would be deployed")
        self.assertEqual(self.listed(), [1])
        self.assertEqual(self.deploy().stdout.splitlines()[-1], "deploy 2 runs")
        self.assertEqual(self.listed(), [2, 1])
        self.assertIn("deploy 1 runs again", lore("undeploy", "--scripts", os.path.join(self.dir, "none"), "--data", self.data, check=0).stdout)
        self.assertEqual(self.listed(), [2, 1])
        hub = self.hub()
        self.assertEqual(self.running(hub), 1)
        self.pay(hub, 7)

    def listed(self):
        return [row["number"] for row in lines(lore("deploys", "--json", "--data", self.data, check=0).stdout)]

    def test_what_is_no_deploy(self):
        self.assertEqual(self.deploy(check=1).stdout, "")  # no data directory
        for args in (["--budget", "10"], ["--budget", "s"], ["--since", "yesterday"], ["--days", "0"], ["--days", "1", "--since", "2026-01-01"],
                     ["--quick", "--budget", "1s"], ["--samples", "x"], ["a", "b"]):
            self.deploy(*args, check=2)
        self.deploy("--to", "http://127.0.0.1:1", check=3)
        hub = self.started()
        self.limit(5)
        with open(os.path.join(self.scripts, "shop", "bill.lua"), "ab") as file:
            file.write(b"-- \xff\n")
        self.assertIn("is not UTF-8", self.deploy(check=1).stderr)
        self.assertEqual(self.running(hub), 1)

    def test_options_of_the_replay_reach_the_hub(self):
        hub = self.started()
        for n in range(4):
            hub.send(f"shop/bill/n{n}", "Open")
            self.pay(hub, 7, bill=f"n{n}")
        self.limit(5)
        report = json.loads(self.deploy("--plan", "--json", "--samples", "2", "--budget", "10m").stdout)
        bill, = report["aggregates"]
        self.assertEqual((bill["commands"]["refused"], len(bill["command_samples"])), (5, 2))
        report = json.loads(self.deploy("--plan", "--json", "--since", "2999-01-01").stdout)
        self.assertEqual(report["aggregates"][0]["older"], 5)
        report = json.loads(self.deploy("--plan", "--json", "--days", "2").stdout)
        self.assertEqual(report["aggregates"][0]["streams"], 5)


class Watching(DeployCase):
    def said(self, hub, pattern):
        return hub.wait_said(pattern)

    def save(self, path, text):
        """As editors do: beside it, then in its place."""
        path = os.path.join(self.scripts, path)
        with open(path + "~", "w") as file:
            file.write(text)
        os.rename(path + "~", path)

    def test_hangup_deploys_the_folder(self):
        hub = self.started()
        self.limit(20)
        hub.process.send_signal(signal.SIGHUP)
        self.said(hub, r"shop/bill\.lua changed: deploy 2 runs \(\d+ ms\)")
        self.pay(hub, 20)
        hub.process.send_signal(signal.SIGHUP)
        self.said(hub, "the folder holds deploy 2, which runs")
        self.write("shop/bill.lua", BROKEN)
        hub.process.send_signal(signal.SIGHUP)
        self.said(hub, r"error: shop/bill\.lua:1: .*")
        self.said(hub, "cannot be loaded: deploy 2 runs on")
        self.pay(hub, 20)
        self.write("shop/bill.lua", BILL)
        lore("undeploy", "--data", self.data, check=0)
        self.write("shop/bill.lua", BILL.replace("= 10", "= 20"))
        hub.process.send_signal(signal.SIGHUP)  # what was undone is deployed again when asked for
        self.said(hub, r"deploy 3 runs \(")
        self.pay(hub, 20)

    def test_saving_by_renaming_and_in_two_steps(self):
        hub = self.started("--watch")
        self.save("shop/bill.lua", BILL.replace("= 10", "= 20"))
        self.said(hub, r"shop/bill\.lua changed: deploy 2 runs \(\d+ ms\)")
        self.pay(hub, 20)
        path = os.path.join(self.scripts, "shop", "bill.lua")
        with open(path, "w") as file:  # empty for a moment, and on a machine that stood still perhaps deployed so
            file.write(BILL.replace("= 10", "= 30"))
        number = 3
        self.said(hub, "deploy 3 runs")
        while hub.request("POST", "/v1/main/shop/bill/b1", {"type": "Pay", "data": {"sum": 30}}).status != 200:
            number += 1
            self.said(hub, f"deploy {number} runs")
        self.assertEqual(hub.get("/v1/deploys/3")["note"], "saved")

    def test_broken_files_are_told_once_and_what_runs_runs_on(self):
        hub = self.started("--watch")
        self.save("shop/bill.lua", BILL + BROKEN)
        self.said(hub, "cannot be loaded: deploy 1 runs on")
        self.pay(hub, 10)
        self.save("shop/bill.lua", BILL + BROKEN)  # an event, the same content
        self.save("shop/paid.lua", PAID + BROKEN)
        self.said(hub, r"error: shop/paid\.lua:3: ")
        self.save("shop/bill.lua", BILL.replace("= 10", "= 20"))
        self.save("shop/paid.lua", PAID)
        self.said(hub, "deploy 2 runs")
        self.pay(hub, 20)
        self.assertEqual(sum(line.startswith("lore: error: shop/bill.lua:10: ") for line in hub.log), 2)
        self.assertIn("    " + BROKEN, hub.log)

    def test_a_view_is_built_again(self):
        hub = self.started("--watch")
        self.save("shop/paid.lua", PAID.replace("+ e.sum", "+ 2 * e.sum"))
        self.said(hub, r"shop/paid\.lua changed: deploy 2 runs")
        self.said(hub, r"shop/paid: generation 2 answers")
        self.assertEqual(hub.view("paid"), {"b1": {"sum": 14}})

    def test_contexts_and_files_that_come_and_go(self):
        hub = self.started("--watch")
        os.mkdir(os.path.join(self.scripts, "yard"))
        self.save("yard/contracts.lua", "contracts [[\n  Beat? ()\n  Beaten! ()\n]]\n")
        self.said(hub, r"yard/contracts\.lua added: deploy 2 runs")
        self.save("yard/carpet.lua", 'local carpet = aggregate "carpet" {}\nfunction carpet.execute.Beat() return Beaten {} end\n'
                  'function carpet.apply.Beaten() end\n')
        self.said(hub, r"yard/carpet\.lua added: deploy 3 runs")
        hub.send("yard/carpet/1", "Beat")
        os.remove(os.path.join(self.scripts, "yard", "carpet.lua"))
        self.said(hub, r"yard/carpet\.lua removed: deploy 4 runs")
        hub.send("yard/carpet/1", "Beat", status=404)

    def test_a_folder_that_is_deleted_and_made_again_is_found_again(self):
        hub = self.started("--watch")
        aside = self.scripts + ".aside"
        os.rename(self.scripts, aside)
        self.said(hub, "error: .*no such folder")
        self.pay(hub, 10)
        shutil.copytree(aside, self.scripts)
        shutil.rmtree(os.path.join(self.scripts, "shop"))
        shutil.copytree(os.path.join(aside, "shop"), os.path.join(self.scripts, "shop"))
        self.said(hub, "can be read again")
        self.save("shop/bill.lua", BILL.replace("= 10", "= 20"))
        self.said(hub, "deploy 2 runs")
        self.pay(hub, 20)

    def test_a_folder_without_scripts_is_no_deploy(self):
        hub = self.started("--watch")
        shutil.rmtree(os.path.join(self.scripts, "shop"))
        self.said(hub, "holds no scripts")
        self.pay(hub, 10)
        self.assertIn("holds no scripts", self.deploy(check=1).stderr)
        self.write("shop/contracts.lua", CONTRACTS)
        self.write("shop/paid.lua", PAID)
        self.write("shop/bill.lua", BILL.replace("= 10", "= 20"))
        self.said(hub, r"shop/bill\.lua (changed|added): deploy \d runs")
        self.pay(hub, 20)

    def test_specs_that_fail_keep_it_out_until_one_of_both_is_mended(self):
        self.spec()
        hub = self.started("--watch")
        self.save("shop/bill.lua", BILL.replace("= 10", "= 3"))
        self.said(hub, "refused: 1 spec fails")
        self.said(hub, "deploy 1 runs on")
        self.pay(hub, 10)
        self.spec(SPEC.replace("5", "2"))
        self.said(hub, r"shop/bill\.lua changed: deploy 2 runs")
        self.pay(hub, 10, 422)

    def test_the_specs_of_the_saved_context_are_run_and_all_where_contracts_were_saved(self):
        self.spec()
        other = os.path.join(self.dir, "specs", "yard")
        os.makedirs(other)
        with open(os.path.join(other, "fails_spec.lua"), "w") as file:
            file.write('describe("the yard", function() it("is wrong", function() error("wrong") end) end)\n')
        self.write("yard/contracts.lua", "contracts [[\n  Beat? ()\n]]\n")
        hub = self.started("--watch")
        self.save("shop/bill.lua", BILL.replace("= 10", "= 20"))
        self.said(hub, "deploy 2 runs")
        self.assertEqual(hub.get("/v1/deploys/2")["gate"]["specs"], {"passed": 1, "failed": 0})
        self.save("shop/contracts.lua", CONTRACTS.replace("Paid!", "Returned! ()\n  Paid!"))
        self.said(hub, "1 spec fails")
        self.assertEqual(self.running(hub), 2)

    def test_a_broken_folder_at_the_start(self):
        self.started().stop()
        self.write("shop/bill.lua", BILL.replace("= 10", "= 20") + BROKEN)
        hub = self.hub(None, None, "--watch")
        self.pay(hub, 20, 422)
        self.save("shop/bill.lua", BILL.replace("= 10", "= 20"))
        self.said(hub, r"shop/bill\.lua changed: deploy 2 runs")
        self.pay(hub, 20)
        hub.stop()
        self.assertEqual(subprocess.run([LORE, "serve", self.scripts, "--data", self.data, "--watch", "--as-of", "1"], capture_output=True,
                                        timeout=TIMEOUT).returncode, 2)


if __name__ == "__main__":
    main()
