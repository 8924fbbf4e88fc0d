"""docs/first-steps.md works as printed, from an empty folder on."""
import os, socket

from hub import LORE, ROOT, Case, main
from walk import Walker


class FirstSteps(Case):
    def test_as_printed(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        folder = os.path.join(self.dir, "empty")
        os.makedirs(folder)
        bin = os.path.join(self.dir, "bin")
        os.makedirs(bin)
        os.symlink(os.path.abspath(LORE), os.path.join(bin, "lore"))
        Walker(self, folder, port, path=bin).run(os.path.join(ROOT, "docs", "first-steps.md"))


if __name__ == "__main__":
    main()
