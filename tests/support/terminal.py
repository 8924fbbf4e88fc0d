"""terminal.py: a program in a pseudo-terminal, and what a person would see of it.

    terminal = Terminal(["lore", "repl"], columns=80)
    terminal.until(r"lore> $")                 waits for text, never for a time
    said = terminal.ask("1+1")                 types a line and gives what stands between it and the next prompt
"""
import codecs, fcntl, os, pty, re, select, signal, struct, termios, time, unicodedata

TIMEOUT = float(os.environ.get("LORE_TEST_TIMEOUT", 120))  # only ends a test that hangs


def width(character):
    if unicodedata.combining(character) or character in "\u200d\ufe0f":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


class Screen:
    """As much of an xterm as line editing needs. What it does not know is kept in strange."""

    def __init__(self, columns, rows):
        self.columns, self.rows = columns, rows
        self.lines, self.top = [[]], 0  # all lines ever; the first one that is on the screen
        self.row = self.column = 0      # row: of lines
        self.wraps = False              # the next character goes to the next line
        self.wrapped = set()            # rows that go on in the next one
        self.state, self.sequence, self.strange, self.bells = None, "", [], 0
        self.colours = 0
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def text(self):
        return "\n".join("".join(cell for cell in line).rstrip() for line in self.lines)

    def line(self):
        """The line of the cursor up to it."""
        line = self.lines[self.row]
        return "".join(line[:self.column] + [" "] * (self.column - len(line)))

    def feed(self, data):
        for character in self.decoder.decode(data):
            if self.state is None:
                self.plain(character)
            else:
                self.escaped(character)

    def plain(self, character):
        if character == "\x1b":
            self.state, self.sequence = "escape", ""
        elif character == "\n":
            self.down()
        elif character == "\r":
            self.column, self.wraps = 0, False
        elif character == "\b":
            self.column, self.wraps = max(0, self.column - 1), False
        elif character == "\t":
            self.column = min(self.columns - 1, (self.column // 8 + 1) * 8)
        elif character == "\a":
            self.bells += 1
        elif unicodedata.category(character) in ("Cc", "Cf") and character not in "\u200d":
            self.strange.append(character)
        else:
            self.put(character)

    def down(self):
        self.row, self.wraps = self.row + 1, False
        while len(self.lines) <= self.row:
            self.lines.append([])
        self.top = max(self.top, self.row - self.rows + 1)

    def put(self, character):
        columns = width(character)
        if columns == 0:
            line = self.lines[self.row]
            if self.column and self.column <= len(line):
                line[self.column - 1] += character
            return
        if self.wraps or self.column + columns > self.columns:
            self.wrapped.add(self.row)
            self.down()
            self.column = 0
        line = self.lines[self.row]
        while len(line) < self.column + columns:
            line.append(" ")
        line[self.column] = character
        if columns == 2:
            line[self.column + 1] = ""
        self.column += columns
        if self.column >= self.columns:
            self.column, self.wraps = self.columns - 1, True

    def escaped(self, character):
        self.sequence += character
        if self.state == "escape":
            self.state = {"[": "csi", "]": "osc", "(": "charset"}.get(character)
            if self.state is None and character not in "=>78":
                self.strange.append("\x1b" + self.sequence)
        elif self.state == "charset":
            self.state = None
        elif self.state == "osc":
            if character == "\a":
                self.strange.append("\x1b" + self.sequence)
                self.state = None
        elif "@" <= character <= "~":
            self.state = None
            self.control(self.sequence[1:-1], character)

    def control(self, parameters, kind):
        if kind in "hl" and parameters.startswith("?"):
            return
        if kind == "m":
            self.colours += 1
            return
        numbers = [int(part or 0) for part in parameters.split(";")] if re.fullmatch(r"[\d;]*", parameters) else [0]
        count, line = max(1, numbers[0]), self.lines[self.row]
        self.wraps = False
        if kind == "A":
            self.row = max(self.top, self.row - count)
        elif kind == "B":
            for _ in range(count):
                self.down()
        elif kind == "C":
            self.column = min(self.columns - 1, self.column + count)
        elif kind == "D":
            self.column = max(0, self.column - count)
        elif kind == "G":
            self.column = count - 1
        elif kind == "H":
            self.row, self.column = self.top + count - 1, max(1, (numbers + [1])[1]) - 1
            while len(self.lines) <= self.row:
                self.lines.append([])
        elif kind == "K" and numbers[0] == 0:
            del line[self.column:]
            self.wrapped.discard(self.row)
        elif kind == "J" and numbers[0] == 0:
            del line[self.column:]
            del self.lines[self.row + 1:]
        elif kind == "J" and numbers[0] == 2:
            for row in range(self.top, len(self.lines)):
                self.lines[row] = []
        elif kind == "P":
            del line[self.column:self.column + count]
        elif kind == "@":
            line[self.column:self.column] = [" "] * count
        elif kind == "X":
            line[self.column:self.column + count] = [" "] * count
        else:
            self.strange.append("\x1b[" + parameters + kind)


class Terminal:
    PROMPT = r"lore[^>\n]*> "

    def __init__(self, command, columns=100, rows=40, env=None, limits=None):
        self.screen, self.raw, self.status = Screen(columns, rows), b"", None
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                if limits:
                    limits()
                fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
                os.execve(command[0], command, env)
            finally:
                os._exit(127)

    def settings(self):
        return termios.tcgetattr(self.fd)

    def send(self, text):
        os.write(self.fd, text.encode())

    def resize(self, columns, rows):
        self.screen.columns, self.screen.rows = columns, rows
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, deadline):
        """One piece of output; False: it has ended."""
        ready, _, _ = select.select([self.fd], [], [], max(0, deadline - time.monotonic()))
        if not ready:
            raise AssertionError(f"nothing more came within {TIMEOUT} s; the screen:\n{self.screen.text()}")
        try:
            data = os.read(self.fd, 1 << 16)
        except OSError:
            return False
        self.raw += data
        self.screen.feed(data)
        return bool(data)

    def wait(self, holds, what):
        deadline = time.monotonic() + TIMEOUT
        while not holds():
            if not self.read(deadline):
                raise AssertionError(f"the program ended before {what}; the screen:\n{self.screen.text()}")

    def until(self, pattern):
        """Waits until the text of all lines matches; the match."""
        found = []
        def holds():
            found[:] = [re.search(pattern, self.screen.text(), re.M)]
            return found[0]
        self.wait(holds, pattern)
        return found[0]

    def prompt(self, pattern=PROMPT):
        """Waits until nothing but a prompt stands before the cursor."""
        self.wait(lambda: re.fullmatch(pattern, self.screen.line()), pattern)

    def ask(self, text, pattern=PROMPT):
        """Types a line; what stands between it and the prompt that comes next."""
        first = self.screen.row
        self.send(text + "\r")
        self.wait(lambda: self.screen.row > first and re.fullmatch(pattern, self.screen.line()), "the prompt behind " + text)
        lines = self.screen.text().split("\n")[:self.screen.row]
        while first in self.screen.wrapped:
            first += 1
        return "\n".join(lines[first + 1:])

    def end(self):
        """Reads to the end; the exit code, negative for a signal."""
        deadline = time.monotonic() + TIMEOUT
        while self.status is None and self.read(deadline):
            pass
        if self.status is None:
            _, status = os.waitpid(self.pid, 0)
            self.status = os.waitstatus_to_exitcode(status)
        return self.status

    def close(self):
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            _, status = os.waitpid(self.pid, 0)
            self.status = os.waitstatus_to_exitcode(status)
        os.close(self.fd)
