"""pages.py: a folder of HTML as a reader's program sees it: that it is well-formed, where its links lead, and what its pages say.

    pages = read("out/site")
    problems(pages, "out/site")          [] when every link resolves, every anchor is there, and nothing is asked of elsewhere
    pages["index.html"].text             what a reader reads
"""
import html.parser, os, urllib.parse

VOID = {"meta", "link", "br", "input", "hr", "img"}
LINKS = {"href", "src", "action", "data", "poster", "srcset", "formaction"}


class Page(html.parser.HTMLParser):
    def __init__(self, path, text):
        super().__init__(convert_charrefs=True)
        self.path, self.links, self.anchors, self.open, self.wrong, self.words, self.scripts = path, [], [], [], [], [], []
        self.tags, self.headings = [], []
        self.feed(text)
        self.close()
        if self.open:
            self.wrong.append(f"not closed: {self.open}")
        if len(set(self.anchors)) != len(self.anchors):
            self.wrong.append(f"an id is there twice: {sorted(a for a in self.anchors if self.anchors.count(a) > 1)[:3]}")
        self.text = "".join(self.words)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            if name == "id":
                self.anchors.append(value)
            if name in LINKS and tag != "use":
                self.links.append((tag, value))
            if name.startswith("on"):
                self.wrong.append(f"<{tag} {name}>")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open[-1] != tag:
            self.wrong.append(f"</{tag}> closes {self.open[-1:]}, {self.getpos()}")
        else:
            self.open.pop()

    def handle_data(self, data):
        if "script" in self.open:
            self.scripts.append(data)
        elif "style" not in self.open:
            self.words.append(data)
            if self.open and self.open[-1] in ("h1", "h2", "h3"):
                self.headings.append(data)


def read(folder):
    pages = {}
    for base, _, names in os.walk(folder):
        for name in names:
            if name.endswith(".html"):
                path = os.path.relpath(os.path.join(base, name), folder)
                with open(os.path.join(folder, path), encoding="utf-8", newline="") as file:
                    pages[path] = Page(path, file.read())
    return pages


def files(folder):
    """Every file with its bytes, by path."""
    found = {}
    for base, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(base, name), "rb") as file:
                found[os.path.relpath(os.path.join(base, name), folder)] = file.read()
    return found


def problems(pages, folder):
    found = [f"{page.path}: {what}" for page in pages.values() for what in page.wrong]
    for page in pages.values():
        for tag, link in page.links:
            parts = urllib.parse.urlsplit(link)
            if parts.scheme or parts.netloc or link.startswith("/"):
                found.append(f"{page.path}: <{tag}> leads away: {link}")
                continue
            path = os.path.normpath(os.path.join(os.path.dirname(page.path), urllib.parse.unquote(parts.path, errors="surrogateescape"))) if parts.path else page.path
            if not os.path.isfile(os.path.join(folder, path)):
                found.append(f"{page.path}: <{tag}> leads nowhere: {link}")
            elif parts.fragment and path in pages and urllib.parse.unquote(parts.fragment) not in pages[path].anchors:
                found.append(f"{page.path}: <{tag}> leads to no such place: {link}")
    return found
