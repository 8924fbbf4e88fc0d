"""walk.py: Markdown that is run as printed. Blocks of a page, by the word behind their fence:

  console     each `$ command` prints what stands below it; `…` stands for anything
  serve       a command that stays, until the page ends: it has started when it printed what stands below it
  lua PATH    a file to be written there
"""
import os, re, signal, subprocess, threading

from hub import TIMEOUT


def blocks(path, kinds):
    """[(kind, argument, text)] of a page, in order."""
    with open(path) as page:
        found = re.findall(r"(?ms)^```(\S+)(?: ([^\n]+))?\n(.*?)^```", page.read())
    return [block for block in found if block[0] in kinds]


def pattern(expected):
    return "(?s)^" + ".*".join(re.escape(text) for text in expected.strip().split("…")) + "$"


class Walker:
    """Runs blocks in a folder; `cd` lasts, ports are replaced."""

    def __init__(self, case, folder, port, path=None, merged=True):
        self.case, self.folder, self.port, self.merged = case, folder, port, merged
        self.env = dict(os.environ, LC_ALL="C.UTF-8", NO_COLOR="1")
        if path:
            self.env["PATH"] = path + ":" + self.env["PATH"]

    def console(self, text):
        for part in re.split(r"(?m)^\$ ", text)[1:]:
            command, _, expected = part.partition("\n")
            where = os.path.join(self.case.dir, "where")
            done = subprocess.run(["bash", "-c", f"trap 'pwd > {where}' EXIT\n" + command.replace("7070", str(self.port))], cwd=self.folder, env=self.env,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT if self.merged else subprocess.PIPE, text=True, timeout=TIMEOUT)
            with open(where) as file:
                self.folder = file.read().strip()
            self.case.assertRegex(done.stdout.strip(), pattern(expected), command + "\n" + (done.stderr or ""))

    def serve(self, text):
        """Returns what it says from then on, a list that grows."""
        command, _, expected = text.removeprefix("$ ").partition("\n")
        expected, said = expected.strip().replace("7070", str(self.port)), []
        process = subprocess.Popen(["bash", "-c", f"exec {command} --listen 127.0.0.1:{self.port}"], cwd=self.folder, env=self.env, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, text=True, start_new_session=True)
        for line in process.stderr:
            said.append(line)
            if line.strip() == expected:
                break
        else:
            self.case.fail(f"{command} ended: " + "".join(said))
        reader = threading.Thread(target=lambda: said.extend(process.stderr), daemon=True)
        reader.start()

        def stop():
            os.killpg(process.pid, signal.SIGINT)
            process.wait(TIMEOUT)
            reader.join()
            process.stderr.close()
        self.case.addCleanup(stop)
        return said

    def write(self, path, text):
        path = os.path.join(self.folder, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)

    def run(self, page):
        for kind, argument, text in blocks(page, ("console", "serve", "lua")):
            if kind == "console":
                self.console(text)
            elif kind == "serve":
                self.serve(text)
            elif argument:
                self.write(argument, text)
