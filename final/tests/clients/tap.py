"""Runs test cases and prints a line for each, as the Test Anything Protocol
has it: `ok 1 - name` or `not ok 1 - name`, with the reason below."""

import unittest


class Tap(unittest.TestResult):
    def __init__(self, count):
        super().__init__()
        print(f"1..{count}", flush=True)

    def say(self, word, test):
        name = test.id().rpartition("test_")[2].replace("_", " ")
        print(f"{word} {self.testsRun} - {name}", flush=True)

    def addSuccess(self, test):
        super().addSuccess(test)
        self.say("ok", test)

    def fail(self, test, why):
        self.say("not ok", test)
        print("".join(f"# {line}\n" for line in why.splitlines()), flush=True)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.fail(test, self.failures[-1][1])

    def addError(self, test, err):
        super().addError(test, err)
        self.fail(test, self.errors[-1][1])


def main(case):
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(case)
    raise SystemExit(not suite.run(Tap(suite.countTestCases())).wasSuccessful())
