"""sessions.py: questions in Lua over HTTP, as lore repl asks them."""
import http.client, json

from hub import TIMEOUT


class Question:
    """An answer on its way: lines are read as they come."""

    def __init__(self, hub, body, tenant="main", headers=None):
        self.connection = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=TIMEOUT)
        text = body if isinstance(body, (bytes, str)) else json.dumps(body)
        self.connection.request("POST", f"/v1/{tenant}/repl", text, {"Content-Type": "application/json", **(headers or {})})
        self.response = self.connection.getresponse()
        self.status = self.response.status

    def line(self):
        """The next line, None at the end."""
        text = self.response.readline()
        return json.loads(text) if text else None

    def rest(self):
        found = []
        while (line := self.line()) is not None:
            found.append(line)
        self.connection.close()
        return found

    def close(self):
        self.response.close()
        self.connection.close()


def ask(hub, tenant="main", headers=None, **body):
    """All lines of a question that is not refused, but for those that tell how far it is: how many depends on the machine."""
    question = Question(hub, body, tenant, headers)
    lines = [line for line in question.rest() if "progress" not in line]
    if question.status != 200:
        raise AssertionError(f"{body}: {question.status} {lines}")
    return lines


def refused(hub, body, tenant="main"):
    """The status and problem of a question that is refused."""
    question = Question(hub, body, tenant)
    return question.status, question.rest()[-1]


class Session:
    def __init__(self, hub, tenant="main", write=False):
        self.hub, self.tenant = hub, tenant
        self.opened = ask(hub, tenant, open=True, write=write)[0]
        self.id = self.opened["session"]

    def begin(self, source, **more):
        return Question(self.hub, {"session": self.id, "source": source, **more}, self.tenant)

    def lines(self, source, **more):
        return ask(self.hub, self.tenant, session=self.id, source=source, **more)

    def value(self, source):
        lines = self.lines(source)
        if "value" not in lines[-1]:
            raise AssertionError(f"{source}: {lines}")
        return lines[-1]["value"]

    def error(self, source):
        lines = self.lines(source)
        if "error" not in lines[-1]:
            raise AssertionError(f"{source}: {lines}")
        return lines[-1]["error"]

    def complete(self, text):
        return ask(self.hub, self.tenant, session=self.id, complete=text)[0]

    def help(self, name):
        return ask(self.hub, self.tenant, session=self.id, help=name)[0]["help"]

    def cancel(self):
        return ask(self.hub, self.tenant, session=self.id, cancel=True)

    def close(self):
        return ask(self.hub, self.tenant, session=self.id, close=True)
