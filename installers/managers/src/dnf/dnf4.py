"""One transaction of dnf 4 for wharfd: plans and tests it, announces it, waits for consent, and executes the same object.

    python3 -I dnf4.py SECONDS install FILE | reinstall FILE | dependency FILE ... | remove NAME
    python3 -I dnf4.py SECONDS download FOLDER BYTES FILE ...
    python3 -I dnf4.py SECONDS unneeded

SECONDS is the timeout for dnf's lock. Descriptor 9 is a socket: the steps go out, one a line and an empty line at the end.
A line that comes back is consent; none is a refusal. Descriptor 8 gets the progress in percent, one number a line. A
transaction knows the installed database and its files alone, no repository. The caller holds rpm's transaction lock for it.

A download changes no package and needs no lock. It gets the dependencies of the files from the repositories into FOLDER, if
they need no more than BYTES, and writes its plan there as `dnf5 install --store` does. `refresh` in its place first gets the
lists of the repositories again. `unneeded` prints the names of dependencies that nothing needs.
"""

import gc

gc.disable()  # most of the time goes into starting up, and little into collecting garbage

import contextlib
import importlib.machinery
import importlib.util
import json
import logging
import os
import shutil
import sys
import time


class Lazily:
    """Loads modules of dnf that no transaction needs when they are first used: mail, and the keys of repositories."""

    @staticmethod
    def find_spec(name, path, target=None):
        if name not in ("email.mime.text", "dnf.crypto"):
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = importlib.util.LazyLoader(spec.loader)
        return spec


sys.meta_path.insert(0, Lazily)

import dnf
import dnf.exceptions
import dnf.lock
import dnf.subject
import dnf.transaction
import dnf.yum.rpmtrans
import rpm

PROGRESS, CONSENT = 8, 9


class Refused(Exception):
    """wharf-job gives no consent."""


class Transaction(dnf.Base):
    """Asks for consent between rpm's test of the transaction and its execution."""

    steps = []

    def _run_transaction(self, cb, *words, **named):
        self.compare_with_rpm()
        if not is_agreed(self.steps):
            raise Refused
        say_that_it_works()
        try:
            return super()._run_transaction(cb, *words, **named)
        finally:
            # rpm's words, of which dnf has told the first ones alone.
            for line in cb.messages():
                print(line, flush=True)

    def compare_with_rpm(self):
        """dnf does not read a file by rpm. Refuses a file in which rpm reads another package."""
        evr = lambda it: (f"{it.E()}:" if it.E() not in (None, "0") else "") + f"{it.V()}-{it.R()}"
        read = {(it.N(), evr(it), it.A()) for it in self._ts.ts if it.Type() == rpm.TR_ADDED}
        planned = {(it.name, it.evr, it.arch) for it in self.transaction.install_set}
        if read != planned:
            sys.exit(f"wharfd: rpm reads {sorted(read)} in the files, and dnf {sorted(planned)}")


class Display(dnf.yum.rpmtrans.TransactionDisplay):
    """Passes on the progress, the output of scripts, and errors."""

    def __init__(self):
        super().__init__()
        self.told = None

    def progress(self, package, action, ti_done, ti_total, ts_done, ts_total):
        if not ts_total or not ti_total:
            return
        percent = int(100 * (ts_done - 1 + ti_done / ti_total) / ts_total)
        if percent != self.told:
            self.told = percent
            os.write(PROGRESS, b"%d\n" % percent)

    def scriptout(self, msgs):
        if msgs:
            sys.stdout.buffer.write(msgs if isinstance(msgs, bytes) else msgs.encode())
            sys.stdout.flush()

    def error(self, message):
        print(message, flush=True)


def opened(words, seconds, repositories=False, refresh=False):
    logging.getLogger("dnf").addHandler(logging.NullHandler())
    base = Transaction()
    base.args = ["wharfd:", *words]  # the command line in dnf's history
    base.conf.read()
    base.conf.exit_on_lock = True
    base.conf.clean_requirements_on_remove = False
    base.conf.install_weak_deps = False
    base.init_plugins()
    base.pre_configure_plugins()
    if repositories:
        told = logging.StreamHandler(sys.stdout)  # which repository cannot be read
        told.setLevel(logging.WARNING)
        logging.getLogger("dnf").addHandler(told)
        base.conf.keepcache = True  # else a later dnf deletes the downloaded files
        base.conf.deltarpm = False
        if base.conf.substitutions.get("releasever") is None:
            base.conf.substitutions.pop("releasever", None)  # not every system has one, and the reader takes no None
        base.conf.substitutions.update_from_etc(base.conf.installroot)
        base.read_all_repos()
    base.configure_plugins()
    if refresh:
        for repository in base.repos.iter_enabled():
            repository._repo.expire()
    deadline = time.monotonic() + seconds
    while True:
        try:
            base.fill_sack(load_system_repo=True, load_available_repos=repositories)
            return base
        except dnf.exceptions.LockError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def open_history(base):
    """Opens dnf's history. dnf makes it in several steps, the version last. A power cut in between leaves a file that no dnf
    opens again, and in which nothing is recorded yet."""
    try:
        base.history.swdb
    except Exception as error:
        if not any(words in str(error) for words in ("no such table: config", "no row 'version'")):
            raise
        for end in ("", "-journal", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(base.history.dbpath + end)


def locked_patterns():
    """The lines of the plugin versionlock: dnf applies them to repositories alone."""
    try:
        with open("/etc/dnf/plugins/versionlock.list", encoding="utf-8") as lines:
            lines = [line.split("#")[0].strip() for line in lines]
    except FileNotFoundError:
        return []
    return [line for line in lines if line]


def refuse_locked(base, name, package):
    """Refuses a package whose name is locked to other versions; a removal has no package."""
    allowed, locked = False, []
    for pattern in locked_patterns():
        subject = dnf.subject.Subject(pattern.lstrip("!"))
        names = [nevra.name for nevra in subject.get_nevra_possibilities()]
        if name not in names:
            continue
        matches = package is not None and package in subject.get_best_query(base.sack)
        if pattern.startswith("!"):
            if matches:
                sys.exit(f"wharfd: {name} is locked by '{pattern}' in versionlock.list")
        else:
            locked.append(pattern)
            allowed = allowed or matches
    if locked and not allowed:
        sys.exit(f"wharfd: {name} is locked by '{locked[0]}' in versionlock.list")


def refuse_beside(base):
    """Refuses a version that would be installed beside another one, as dnf.conf may configure it."""
    gone = {item.pkg.name for item in base.transaction if item.action not in dnf.transaction.FORWARD_ACTIONS}
    for package in base.transaction.install_set:
        if package.name not in gone and base.sack.query().installed().filterm(name=package.name):
            sys.exit(
                f"wharfd: {package.name} {package.evr} would be installed beside the installed version, which wharfd does "
                f"not manage: `installonlypkgs` in dnf.conf names it; remove it there, or install it with dnf as root"
            )


def plan(base, orders):
    if "remove" in orders:
        for name in orders["remove"]:
            refuse_locked(base, name, None)
            for package in base.sack.query().installed().filterm(name=name):
                base.package_remove(package)
    else:
        files = {what: order for order, paths in orders.items() for what in paths}
        for package, order in zip(base.add_remote_rpms(list(files)), files.values()):
            if order == "dependency":
                continue  # it comes if the others need it, and dnf marks it as a dependency
            refuse_locked(base, package.name, package)
            if not base.sack.query().filterm(pkg=[package]):
                sys.exit(f"wharfd: {package.name} is excluded in /etc/dnf/dnf.conf")
            if order == "reinstall":
                base.package_reinstall(package)
            else:
                base.package_install(package)
    base.resolve(allow_erasing=False)
    refuse_beside(base)
    return [
        "\t".join((item.action_name, item.pkg.name, item.pkg.evr, item.pkg.arch))
        for item in base.transaction
    ]


def download(base, folder, room, files):
    """Writes the plan. Downloads what it brings, unless it changes an installed package: that is refused."""
    packages = base.add_remote_rpms(files)
    for package in packages:
        if base.sack.query().installed().filterm(name=package.name, evr=package.evr, arch=package.arch):
            base.package_reinstall(package)
        else:
            base.package_install(package)
    base.resolve(allow_erasing=False)
    stored = os.path.join(folder, "packages")
    os.makedirs(stored)
    path = lambda package: os.path.join(stored, os.path.basename(package.location or ""))
    with open(os.path.join(folder, "transaction.json"), "w", encoding="utf-8") as plan:
        rpms = [
            {
                "nevra": f"{item.pkg.name}-{item.pkg.evr}.{item.pkg.arch}",
                "action": item.action_name,
                "repo_id": item.pkg.reponame,
                "package_path": path(item.pkg),
            }
            for item in base.transaction
        ]
        json.dump({"rpms": rpms}, plan)
    names = {package.name for package in packages}
    others = [item for item in base.transaction if item.pkg.name not in names]
    if any(item.action != dnf.transaction.PKG_INSTALL for item in others):
        return
    wanted = [item.pkg for item in others]
    size = sum(package.downloadsize for package in wanted)
    if size > room:
        sys.exit(f"wharfd: {size} bytes to download, and more space needed on the file system of {folder}")
    for repository in base.repos.iter_enabled():
        if not repository._repo.isLocal():
            repository.pkgdir = stored
    try:
        base.download_packages(wanted)
        for package in wanted:
            if package.localPkg() != path(package):
                shutil.copy(package.localPkg(), path(package))
    except dnf.exceptions.LockError:
        raise
    except (dnf.exceptions.Error, OSError) as error:
        offers = ", ".join(f"{package.repoid} has {package}" for package in wanted)
        sys.exit(f"wharfd: cannot download the dependencies ({offers}): {' '.join(str(error).split())}")


def is_agreed(steps):
    os.write(CONSENT, "".join(f"{step}\n" for step in steps).encode() + b"\n")
    # It stays open: its end would wake who waits for us, again and again.
    return os.read(CONSENT, 2) == b"y\n"


def is_dnf(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as words:
            words = words.read()
    except OSError:
        return False
    return any(name in words for name in (b"dnf", b"yum", b"packagekit"))


def wait_for_lock(base, seconds):
    """Waits until no other dnf has its lock. After a power cut, the number in it may be that of any process, or no number."""
    lock = dnf.lock.build_rpmdb_lock(base.conf.persistdir, True)
    deadline = time.monotonic() + seconds
    while True:
        try:
            with lock:
                return
        except dnf.exceptions.ProcessLockError as error:
            if not is_dnf(error.pid):
                os.unlink(lock.target)
            elif time.monotonic() > deadline:
                raise
            else:
                time.sleep(0.2)
        except dnf.exceptions.LockError:  # "Malformed lock file"
            os.unlink(lock.target)


def say_that_it_works():
    """From here on, this process changes the device: so its name says."""
    try:
        with open("/proc/self/comm", "w", encoding="ascii") as name:
            name.write("dnf-transaction")
    except OSError:
        pass


def transact(words, seconds):
    for descriptor in (PROGRESS, CONSENT):
        os.set_inheritable(descriptor, False)
    orders = {}
    for order, what in zip(words[::2], words[1::2]):
        orders.setdefault(order, []).append(what)
    # The end of it closes rpm's database, which writes the changes into its main file.
    with opened(words, seconds) as base:
        open_history(base)
        base.steps = plan(base, orders)
        if not base.steps:
            sys.exit("wharfd: dnf has nothing to do")
        wait_for_lock(base, seconds)
        base.do_transaction([Display()])


def main(seconds, order, *words):
    if order in ("download", "refresh"):
        folder, room, *files = words
        with opened([order, *files], float(seconds), repositories=True, refresh=order == "refresh") as base:
            download(base, folder, int(room), files)
    elif order == "unneeded":
        with opened([order], float(seconds)) as base:
            for package in base.sack.query().installed()._unneeded(base.history.swdb):
                print(package.name)
    else:
        transact([order, *words], float(seconds))


if __name__ == "__main__":
    if not callable(getattr(dnf.Base, "_run_transaction", None)):
        sys.exit("wharfd: this dnf has no step between the test of a transaction and its execution")
    try:
        main(*sys.argv[1:])
        sys.stdout.flush()
        os._exit(0)  # all is closed: Python would take 10 ms to tidy up
    except Refused:
        sys.exit(1)
    except dnf.exceptions.Error as error:
        sys.exit(str(error))
