"""How many CPUs there are for this process."""

import os
from pathlib import Path

import pytest

from appserve.system.cpus import count_cpus

V2, V1 = "0::/shop/web\n", "3:cpu,cpuacct:/docker/x\n1:name=systemd:/\n"


@pytest.fixture(autouse=True)
def eight_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)


def counted(folder: Path, own: str, files: dict[str, str]) -> tuple[int, str]:
    (folder / "own").write_text(own)
    for name, text in files.items():
        path = folder / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return count_cpus(str(folder / "cgroup"), str(folder / "own"))


@pytest.mark.parametrize(
    ("own", "files", "number"),
    [
        (V2, {"shop/web/cpu.max": "200000 100000\n"}, 2),
        (V2, {"shop/web/cpu.max": "max 100000\n", "shop/cpu.max": "150000 100000\n"}, 2),
        (V2, {"shop/web/cpu.max": "400000 100000\n", "shop/cpu.max": "300000 100000\n"}, 3),
        (V2, {"shop/web/cpu.max": "50000 100000\n"}, 1),
        (V2, {"cpu.max": "200000 100000\n"}, 2),
        (V2, {"shop/web/cpu.max": "1600000 100000\n"}, 8),
        (V2, {"shop/web/cpu.max": "max 100000\n"}, 8),
        (V2, {"shop/web/cpu.max": "garbage"}, 8),
        (V2, {}, 8),
        (V1, {"cpu,cpuacct/docker/x/cpu.cfs_quota_us": "250000\n"}, 8),
        (
            V1,
            {
                "cpu,cpuacct/docker/x/cpu.cfs_quota_us": "250000\n",
                "cpu,cpuacct/docker/x/cpu.cfs_period_us": "100000\n",
            },
            3,
        ),
        (V1, {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ("", {}, 8),
    ],
)
def test_the_least_of_affinity_and_quotas_counts(
    tmp_path: Path, own: str, files: dict[str, str], number: int
):
    found, why = counted(tmp_path, own, files)

    assert found == number
    assert why == "8 CPUs" if number == 8 else "quota is" in why


def test_without_control_groups_the_affinity_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert count_cpus(str(tmp_path), str(tmp_path / "none")) == (8, "8 CPUs")

    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3}, raising=False)
    assert count_cpus(str(tmp_path), str(tmp_path / "none")) == (1, "1 CPU")
