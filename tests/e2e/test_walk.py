"""README's walk works as printed: its blocks are run here, in a copy of the project, against `make run`."""
import os, re, shutil, signal, socket, subprocess, threading, unittest

from hub import ROOT, SMALL, TIMEOUT, Case, Tail, main
from walk import Walker, blocks


@unittest.skipIf(SMALL, "skip: make run builds without sanitizers")
class Walk(Case):
    def setUp(self):
        super().setUp()
        self.project = os.path.join(self.dir, "project")
        files = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for path in files.splitlines():
            if os.path.isfile(os.path.join(ROOT, path)):
                os.makedirs(os.path.dirname(os.path.join(self.project, path)), exist_ok=True)
                shutil.copy2(os.path.join(ROOT, path), os.path.join(self.project, path))
        shutil.copytree(os.path.join(ROOT, "build"), os.path.join(self.project, "build"))  # not built again, if all is up to date
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    def make_run(self):
        process = subprocess.Popen(["make", "run"], cwd=self.project, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                   env=dict(os.environ, LISTEN=f"127.0.0.1:{self.port}"), start_new_session=True)
        said = []
        for line in process.stderr:
            said.append(line)
            if "listening on" in line:
                break
        else:
            self.fail("make run ended: " + "".join(said))
        reader = threading.Thread(target=lambda: said.extend(process.stderr), daemon=True)
        reader.start()

        def stop():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
                process.wait(TIMEOUT)
                reader.join()
                process.stderr.close()
        self.addCleanup(stop)
        return said, stop

    def test_as_printed(self):
        page = blocks(os.path.join(ROOT, "README.md"), ("tail", "console", "edit"))
        self.assertEqual([kind for kind, *_ in page], ["tail", "console", "console", "edit", "console"])
        texts = [text for *_, text in page]
        walker = Walker(self, self.project, self.port, merged=False)
        said, stop = self.make_run()
        self.assertIn("data set", "".join(said))
        path = re.search(r"7070(\S+?)'", texts[0])[1]
        tail = Tail(self.port, path, {})
        before = tail.take(3)
        walker.console(texts[1])
        self.assertEqual(tail.next()[1]["data"]["customer"], "you")
        self.assertEqual([event["data"]["customer"] for _, event in before], ["acme", "blix", "corvo"])
        tail.close()
        walker.console(texts[2])
        walker.console(texts[3])
        walker.console(texts[4])
        self.assertRegex("".join(said), r"open_bills.*open_bills\.lua changed")
        stop()


if __name__ == "__main__":
    main()
