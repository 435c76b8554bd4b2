#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""
pyverbs-tests.py:rxe|siw+MODULE...  modules of rdma-core's tests, as Debian has them,
              on a dummy interface; each test is a result, and one that takes more
              than its time has failed. Then nothing may be pinned any more.
              Needs qemu/run -u rdma.
"""
import glob
import gzip
import os
import random
import shutil
import signal
import subprocess
import sys
import unittest

TESTS = '/tmp/rdma-core/tests'
LIMIT = 400 if os.path.exists('/proc/lockdep') else 90  # seconds for one test


def say(*words):
    print(*words, flush=True)


def give_up(why, status=1):
    say(why)
    sys.exit(status)


def run(*command):
    if subprocess.call(command):
        give_up('failed: ' + ' '.join(command))


def pins():
    open('/proc/sys/vm/stat_refresh', 'w').write('1')
    v = dict(line.split() for line in open('/proc/vmstat'))
    return int(v['nr_foll_pin_acquired']) - int(v['nr_foll_pin_released'])


class Result(unittest.TestResult):
    """KTAP, one line for each test"""
    count = 0

    def line(self, test, status='ok', skip=None):
        name = test.id().removeprefix('tests.')
        Result.count += 1
        skip = '' if skip is None else ' # SKIP ' + ' '.join(skip.split())
        say(f'{status} {Result.count} {name}{skip}')

    def startTest(self, test):
        super().startTest(test)
        random.seed(test.id())  # the tests choose sizes and flags: the same in each run
        signal.alarm(LIMIT)

    def stopTest(self, test):
        signal.alarm(0)
        super().stopTest(test)

    def addSuccess(self, test):
        self.line(test)

    def addSkip(self, test, reason):
        self.line(test, skip=reason)

    def addExpectedFailure(self, test, err):
        self.line(test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        for text in self._exc_info_to_string(err, test).splitlines()[-6:]:
            say('#', text)
        self.line(test, 'not ok')

    addError = addFailure


def late(*_):
    raise TimeoutError(f'the test has taken {LIMIT} s')


device_type, *modules = sys.argv[1].split('+')
device = device_type + '0'
if not os.path.exists('/sys/class/infiniband_verbs'):
    give_up('no InfiniBand in this kernel', 4)
run('ip', 'link', 'set', 'lo', 'up')
run('ip', 'addr', 'replace', '10.7.0.1/24', 'dev', 'dummy0')
run('ip', 'link', 'set', 'dummy0', 'up')
run('rdma', 'link', 'add', device, 'type', device_type, 'netdev', 'dummy0')
before = pins()
options = ['pyverbs', '--dev', device]
for gid in sorted(glob.glob(f'/sys/class/infiniband/{device}/ports/1/gids/*')):
    if '0a07:0001' in open(gid).read():
        options += ['--gid', os.path.basename(gid)]

# __init__.py loads every module there is
os.makedirs(TESTS, exist_ok=True)
for f in glob.glob('/usr/share/doc/rdma-core/tests/*'):
    name = os.path.basename(f).removesuffix('.gz')
    if name != '__init__.py':
        with (gzip.open if f.endswith('.gz') else open)(f, 'rb') as i, open(f'{TESTS}/{name}', 'wb') as o:
            shutil.copyfileobj(i, o)
open(TESTS + '/__init__.py', 'w').close()
sys.path[:0] = [os.path.dirname(TESTS), TESTS]
sys.argv = options
from args_parser import parser  # noqa: E402
parser.parse_args()

signal.signal(signal.SIGALRM, late)
suite = unittest.TestSuite()
for m in modules:
    suite.addTests(unittest.defaultTestLoader.loadTestsFromName('tests.test_' + m))
say('KTAP version 1')
say(f'1..{suite.countTestCases() + 1}')
result = Result()
suite.run(result)
del suite
run('rdma', 'link', 'delete', device)
run('ip', 'addr', 'del', '10.7.0.1/24', 'dev', 'dummy0')
left = pins() - before
if left:
    say(f'# {left} pins are left')
say('not ok' if left else 'ok', Result.count + 1, 'pins')
sys.exit(bool(left) or not result.wasSuccessful())
