"""How many CPUs this process may use: its affinity, and the quota of its control group.

A container with a quota of two CPUs on a machine of 64 has 64 in its affinity. Source: sched_getaffinity(2);
cpu.max of cgroup v2, cpu.cfs_quota_us of v1 (Documentation/admin-guide/cgroup-v2.rst of Linux).
"""

import math
import os

CGROUPS = "/sys/fs/cgroup"
OWN = "/proc/self/cgroup"


def count_cpus(cgroups: str = CGROUPS, own: str = OWN) -> tuple[int, str]:
    """The number, at least 1, and what it follows from. A part of a CPU counts as one."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(cgroups, own)
    if quota is not None and quota < affinity:
        return max(1, math.ceil(quota)), f"the control group's quota is {quota:g} of {affinity} CPUs"
    return affinity, f"{affinity} CPU{'s' if affinity > 1 else ''}"


def _quota(cgroups: str, own: str) -> float | None:
    """CPUs that the control group of this process and those above it allow; None without a limit."""
    try:
        with open(own, encoding="utf-8") as file:
            lines = [line.rstrip("\n").split(":", 2) for line in file]
    except OSError:
        return None
    found: list[float] = []
    for number, controllers, path in (line for line in lines if len(line) == 3):
        if number == "0":
            read, roots = _read_v2, (cgroups, f"{cgroups}/unified")
        elif "cpu" in controllers.split(","):
            read, roots = _read_v1, (f"{cgroups}/cpu", f"{cgroups}/{controllers}")
        else:
            continue
        parts = [part for part in path.split("/") if part]
        # In a container the path is often that of the host, and its group is mounted as the root.
        folders = {"/".join((root, *parts[:depth])) for root in roots for depth in range(len(parts) + 1)}
        found += [limit for folder in folders if (limit := read(folder)) is not None]
    return min(found, default=None)


def _read_v2(folder: str) -> float | None:
    quota, _, period = _text(f"{folder}/cpu.max").partition(" ")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


def _read_v1(folder: str) -> float | None:
    quota, period = _text(f"{folder}/cpu.cfs_quota_us"), _text(f"{folder}/cpu.cfs_period_us")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


def _text(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except (OSError, ValueError):
        return ""
