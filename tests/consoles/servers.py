"""Owns the deeds in which the other side goes away: NBD, NFS and NVMe servers, disks, the cable."""

from __future__ import annotations

from testbed.clock import Deadline, poll
from tests.consoles.bench import Bench
from tests.consoles.symptoms import HUNG, OURS, OVERCOMMIT, Symptom, must

READY = b"] ready for the fault"
SAY_READY = "echo ready for the fault >/dev/kmsg\nsleep 2\n"
SERVER = "srv"
"""A guest beside those of a batch, that serves them; its console is nobody's business."""
SERVE = """\
mke2fs -q -F -t ext4 /dev/testbed/disk
mkdir -p /srv/swap
mount -t ext4 /dev/testbed/disk /srv/swap
dd if=/dev/zero of=/dev/shm/export bs=1M count=32
printf '[generic]\\n[e]\\nexportname = /dev/shm/export\\ncopyonwrite = true\\n' >/run/nbd.conf
nbd-server -C /run/nbd.conf -p /run/nbd.pid
/usr/lib/testbed/nfs-serve /srv/swap 10.77.1.0/24
"""

# An NBD server in the same guest, on a file in memory.
NBD = """\
dd if=/dev/zero of=/dev/shm/export bs=1M count=24
printf '[generic]\\n[e]\\nexportname = /dev/shm/export\\n' >/run/nbd.conf
nbd-server -C /run/nbd.conf -p /run/nbd.pid
sleep 1
nbd-client -N e 127.0.0.1 /dev/nbd0 {0}
"""
KILL = "kill -9 $(cat /run/nbd.pid) $(pidof nbd-server)\nsleep 0.5\n"
FREE = "free=$(grep MemAvailable /proc/meminfo | tr -dc 0-9)\n"
EAT = "dd if=/dev/zero of=/dev/null bs=$((free + 6000))k count=1"
READ = "dd if=/dev/nbd0 of=/dev/null bs=64k count=8\n"
READ_FAILED = "Buffer I/O error on dev nbd0, logical"
GONE = must("lost-connection", device="nbd0")
FAILED = must("io-error", device="nbd0")

NFS = """\
mke2fs -q -F -t ext4 /dev/testbed/disk
mkdir -p /srv/swap /mnt/there
mount -t ext4 /dev/testbed/disk /srv/swap
/usr/lib/testbed/nfs-serve /srv/swap 127.0.0.1
mount -t nfs -o vers=3,proto=tcp,mountproto=tcp,nolock,{0} 127.0.0.1:/srv/swap /mnt/there
echo hello >/mnt/there/file
sync
"""
MOUNT = (
    "mkdir /mnt/there\nmount -t nfs -o vers=3,proto=tcp,mountproto=tcp,nolock,hard,timeo=7,retrans=1"
    " $server:/srv/swap /mnt/there\n"
)
STOP = "echo 0 >/proc/fs/nfsd/threads\n"
SILENT = must("nfs", server="127.0.0.1", reason="not responding, still trying")

LOOP = """\
mount -t tmpfs -o size=2m none /mnt
dd if=/dev/zero of=/mnt/file bs=1 count=1 seek=8388607
losetup /dev/loop0 /mnt/file
"""
NVME = """\
target=/sys/kernel/config/nvmet
mount -t configfs none /sys/kernel/config
mkdir $target/subsystems/s
echo 1 >$target/subsystems/s/attr_allow_any_host
mkdir $target/subsystems/s/namespaces/1
echo -n /dev/testbed/disk >$target/subsystems/s/namespaces/1/device_path
echo 1 >$target/subsystems/s/namespaces/1/enable
mkdir $target/ports/1
echo tcp >$target/ports/1/addr_trtype
echo ipv4 >$target/ports/1/addr_adrfam
echo 127.0.0.1 >$target/ports/1/addr_traddr
echo 4420 >$target/ports/1/addr_trsvcid
ln -s $target/subsystems/s $target/ports/1/subsystems/s
sleep 0.5
echo transport=tcp,traddr=127.0.0.1,trsvcid=4420,nqn=s >/dev/nvme-fabrics
sleep 1
rm $target/ports/1/subsystems/s
"""


def _unplug(bench: Bench, name: str) -> None:
    """That of the management card: QEMU 7.2's e1000e does not tell the guest."""
    bench.domains[name].set_link(f"{name}-mgmt", False)


def _cut(bench: Bench, name: str) -> None:
    """Once the deed says that it is ready."""
    said = bench.consoles[name]
    poll(lambda: READY in said.read_bytes(), Deadline.after(60, f"'{name}' to be ready"))
    bench.cut(name, SERVER)


def _nbd() -> list[Symptom]:
    return [
        Symptom(
            "nbd-killed",
            "killed the NBD server and read on",
            NBD.format("") + KILL + READ,
            (GONE, FAILED),
            "lost-connection",
            may=("nbd",),
            until=READ_FAILED,
            watch_s=30,
        ),
        Symptom(
            "nbd-killed-writing",
            "killed the NBD server under a writer",
            NBD.format("") + "(while :; do dd if=/dev/zero of=/dev/nbd0 bs=64k; done) &\nsleep 1\n" + KILL,
            (GONE, FAILED),
            "lost-connection",
            may=("nbd",),
            until="I/O error, dev nbd0, sector",
            watch_s=30,
        ),
        Symptom(
            "nbd-own-swap",
            "swapped to an NBD server in the same guest, which needs memory itself",
            NBD.format("-swap")
            + "mkswap /dev/nbd0\nswapon /dev/nbd0\n"
            + OVERCOMMIT
            + FREE
            + f"exec {EAT}\n",
            (
                must(
                    "nbd", device="nbd0", reason="Possible stuck request", operation="write", seconds=[30, 90]
                ),
            ),
            "nbd",
            kernels=(OURS,),
            may=("hung-task", "allocation", "slub", "oom-kill", "oom"),
            until="Possible stuck",
            watch_s=90,
        ),
        Symptom(
            "nbd-cut-swap",
            "cut the wire to the NBD server that memory was swapped to, with a timeout of 3 s",
            "nbd-client -N e $server /dev/nbd0 -swap -timeout 3\nmkswap /dev/nbd0\nswapon /dev/nbd0\n"
            + OVERCOMMIT
            + FREE
            + f"(while :; do {EAT}; done) &\nsleep 6\n"
            + SAY_READY,
            (GONE, must("swap-error")),
            "lost-connection",
            server=True,
            host=_cut,
            may=(
                "nbd",
                "io-error",
                "oom-kill",
                "oom",
                "allocation",
                "slub",
                "panic",
                "hung-task",
                "rcu-stall",
            ),
            until="error on swap-device",
            watch_s=90,
        ),
        Symptom(
            "nbd-cut",
            "cut the wire to the NBD server, with a timeout of 3 s",
            "nbd-client -N e $server /dev/nbd0 -timeout 3\n" + SAY_READY + READ,
            (GONE, FAILED),
            "lost-connection",
            server=True,
            host=_cut,
            may=("nbd",),
            until=READ_FAILED,
            watch_s=60,
        ),
        Symptom(
            "nbd-cut-waits",
            "cut the wire to the NBD server, without a timeout, for good",
            "nbd-client -N e $server /dev/nbd0\n" + SAY_READY + READ,
            (
                must(
                    "nbd", device="nbd0", reason="Possible stuck request", operation="read", seconds=[30, 90]
                ),
            ),
            "nbd",
            server=True,
            host=_cut,
            until="Possible stuck",
            watch_s=80,
        ),
        Symptom(
            "nbd-timeout",
            "stopped the NBD server, with a timeout of 3 s",
            NBD.format("-timeout 3") + "kill -STOP $(pidof nbd-server)\n" + READ,
            (GONE, FAILED),
            "lost-connection",
            may=("nbd",),
            until=READ_FAILED,
            watch_s=40,
        ),
        Symptom(
            "nbd-stuck",
            "stopped the NBD server, without a timeout",
            NBD.format("") + "kill -STOP $(pidof nbd-server)\n" + READ,
            (
                must(
                    "nbd", device="nbd0", reason="Possible stuck request", operation="read", seconds=[30, 90]
                ),
            ),
            "nbd",
            watch_s=80,
            until="Possible stuck",
        ),
        Symptom(
            "nbd-hung",
            "stopped the NBD server, and a task waited for what it had written",
            HUNG
            + NBD.format("")
            + READ
            + "kill -STOP $(pidof nbd-server)\nexec dd if=/dev/zero of=/dev/nbd0 bs=64k count=8 conv=fsync\n",
            (
                must("nbd", device="nbd0", reason="Possible stuck request", seconds=[30, 90]),
                must("hung-task", task="dd", pid="$pid"),
            ),
            "nbd",
            watch_s=70,
            until="Possible stuck",
        ),
        Symptom(
            "nbd-closed",
            "disconnected the NBD device as one should",
            NBD.format("") + READ + "nbd-client -d /dev/nbd0\n",
            (),
            None,
            watch_s=6,
        ),
        Symptom(
            "ext4-nbd",
            "killed the NBD server under a mounted file system",
            NBD.format("") + "mke2fs -q -F -t ext4 /dev/nbd0\nmount -t ext4 /dev/nbd0 /mnt\n"
            "dd if=/dev/zero of=/mnt/a bs=64k count=8\nsync\n"
            + KILL
            + "dd if=/dev/zero of=/mnt/b bs=64k count=8\nsync\n",
            (GONE, FAILED, must("fs-error", device="nbd0")),
            "lost-connection",
            may=("nbd", "warning"),
            until="Remounting filesystem read-only",
            after_s=3,
            watch_s=45,
        ),
        Symptom(
            "raid",
            "killed the NBD server that was one leg of a mirror",
            NBD.format("")
            + "dd if=/dev/zero of=/dev/shm/other bs=1M count=24\nlosetup /dev/loop1 /dev/shm/other\n"
            "yes | mdadm --create /dev/md0 --level=1 --raid-devices=2 --assume-clean --metadata=1.2 --run"
            " /dev/loop1 /dev/nbd0\nsleep 1\n" + KILL + "dd if=/dev/zero of=/dev/md0 bs=64k count=8\nsync\n",
            (GONE, FAILED),
            "lost-connection",
            may=("nbd",),
            until="Disk failure",
            after_s=2,
            watch_s=45,
        ),
    ]


def _others() -> list[Symptom]:
    return [
        Symptom(
            "nfs-cut",
            "cut the wire to the NFS server",
            MOUNT + SAY_READY + "ls -l /mnt/there\n",
            (must("nfs", server="$server", reason="not responding, still trying"),),
            "nfs",
            server=True,
            host=_cut,
            until="not responding",
            watch_s=80,
        ),
        Symptom(
            "nfs-stopped",
            "stopped the NFS server and read on",
            NFS.format("hard,timeo=7,retrans=1") + STOP + "ls -l /mnt/there &\n",
            (SILENT,),
            "nfs",
            until="not responding",
            after_s=3,
            watch_s=60,
        ),
        Symptom(
            "nfs-back",
            "stopped the NFS server for some seconds",
            NFS.format("hard,timeo=7,retrans=1")
            + STOP
            + "dd if=/dev/zero of=/mnt/there/new bs=64k count=2 &\n"
            "sleep 14\nrpc.nfsd --tcp 4\n",
            (SILENT, must("nfs-back", server="127.0.0.1")),
            "nfs",
            until="127.0.0.1 OK",
            watch_s=70,
        ),
        Symptom(
            "nfs-soft",
            "stopped the NFS server of a soft mount",
            NFS.format("soft,timeo=7,retrans=1") + STOP + "ls -l /mnt/there &\n",
            (must("nfs", server="127.0.0.1", reason="not responding, timed out"),),
            "nfs",
            until="timed out",
            after_s=3,
            watch_s=60,
        ),
        Symptom(
            "nfs-waits",
            "stopped the NFS server, and a task waited for it: one that can be killed is no hung task",
            HUNG
            + NFS.format("hard,timeo=7,retrans=1")
            + STOP
            + "exec dd if=/dev/zero of=/mnt/there/new bs=64k count=64 conv=fsync\n",
            (SILENT,),
            "nfs",
            until="not responding",
            after_s=12,
            watch_s=70,
        ),
        Symptom(
            "nvme-gone",
            "took the NVMe target away",
            NVME,
            (must("lost-connection", device="nvme0"),),
            "lost-connection",
            kernels=(OURS,),
            may=("io-error",),
            until="starting error recovery",
            watch_s=40,
        ),
        Symptom(
            "loop-full",
            "wrote to a loop device whose file system was full",
            LOOP + "dd if=/dev/zero of=/dev/loop0 bs=64k count=128\nsync\n",
            (must("io-error", device="loop0", operation="WRITE"),),
            "io-error",
            until="I/O error, dev loop0",
            watch_s=30,
        ),
        Symptom(
            "unplugged",
            "pulled the cable of the network card",
            "",
            (must("link-down", device="mgmt"),),
            "link-down",
            host=_unplug,
            until="link down",
            watch_s=30,
            may=("tx-timeout",),
        ),
    ]


def symptoms() -> tuple[Symptom, ...]:
    return (*_nbd(), *_others())
