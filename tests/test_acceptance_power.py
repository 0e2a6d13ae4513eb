"""Power cuts: what was acknowledged is on the disk, whatever share of the rest the cut leaves.

A shim, preloaded into a child that sweeps, keeps what each fsync made sure of. The child is killed, and images of its
file are made from that and a part of the sectors written since. (With `synchronous = normal` every one of them fails.)
"""

import random
import shutil
import subprocess

import pytest

from faultserver import FaultServer
from sweeps import Sweep, answers_in, environment, rows

pytestmark = [pytest.mark.crash, pytest.mark.soak]

# After each fsync of a watched file the shim keeps a copy of it: what a disk is sure to hold.
SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void keep(int fd) {
  char link[64], path[2048], half[4200], whole[4200], bytes[65536];
  const char *watched = getenv("SYNCED_OF"), *folder = getenv("SYNCED_TO");
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return;
  path[length] = 0;
  if (strncmp(path, watched, strlen(watched))) return;
  snprintf(half, sizeof half, "%s/half", folder);
  snprintf(whole, sizeof whole, "%s/%s", folder, strrchr(path, '/') + 1);
  int copy = open(half, O_CREAT | O_WRONLY | O_TRUNC, 0600);
  for (off_t at = 0; (length = pread(fd, bytes, sizeof bytes, at)) > 0; at += length)
    if (write(copy, bytes, length) != length) abort();
  close(copy);
  rename(half, whole);
}

static int synced(const char *name, int fd) {
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
  int result = real(fd);
  if (result == 0) keep(fd);
  return result;
}

int fsync(int fd) { return synced("fsync", fd); }
int fdatasync(int fd) { return synced("fdatasync", fd); }
"""
SECTOR = 512
SURVIVAL = (0.0, 0.5, 0.9)  # of what was written and not synced


@pytest.fixture(scope="session")
def shim(tmp_path_factory):
    """The shim, compiled; skipped by name where there is no C compiler."""
    if not shutil.which("gcc"):
        pytest.skip("no gcc found to compile the shim that watches fsync")
    folder = tmp_path_factory.mktemp("shim")
    (folder / "shim.c").write_text(SHIM)
    made = folder / "shim.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", made, folder / "shim.c", "-ldl"], check=True)  # noqa: S607
    return made


@pytest.mark.parametrize("seed", range(15))
def test_powerloss_images(tmp_path, shim, seed):
    """Whatever share of the unsynced sectors is left, the file is sound and has every acknowledged answer."""
    written, kept = tmp_path / "written", tmp_path / "kept"
    written.mkdir()
    kept.mkdir()
    chance, sweep, path = random.Random(seed), Sweep(400), written / "lab.db"
    watching = environment(LD_PRELOAD=str(shim), SYNCED_OF=str(path), SYNCED_TO=str(kept))
    with FaultServer(default="ok,ms=5") as server:
        acknowledged = sweep.kill_after(chance.randrange(300), path, server.base_url, env=watching)
    for survival in SURVIVAL:
        image = tmp_path / f"{survival}"
        image.mkdir()
        for name in ("lab.db", "lab.db-wal"):
            (image / name).write_bytes(cut(kept / name, written / name, survival, chance))
        assert rows(image / "lab.db", "pragma integrity_check") == [("ok",)]
        assert len(answers_in(image / "lab.db")) >= acknowledged > 0


def cut(synced, written, survival, chance):
    """Return what is left of a file: its synced bytes, and some of the sectors written since."""
    sure = synced.read_bytes() if synced.exists() else b""
    new = written.read_bytes() if written.exists() else b""
    size = len(new) if chance.random() < survival else len(sure)
    sure, new = sure.ljust(size, b"\0"), new.ljust(size, b"\0")
    starts = range(0, size, SECTOR)
    return b"".join((new if chance.random() < survival else sure)[start : start + SECTOR] for start in starts)[:size]
