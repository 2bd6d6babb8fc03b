"""Owns the rows of the table on what lies outside of the kernel: disks, servers, links."""

from __future__ import annotations

from testbed.consoles.sign import DEVICE, Sign

# Data did not get to the disk, or back.
DISKS = (
    Sign(
        "swap-error", "swap error", "mm/page_io.c end_swap_bio_write(), sio_write_complete()",
        starts=("Write-error on swap-device", "Read-error on swap-device", "Write error "),
        # Not those that SWAP_AGAIN has.
        shape=r"(?:Write|Read)-error on swap-device"
        r"|Write error (?:-(?!12 )\d{1,6} on dio swapfile|on swap-device)",
        facts=r"(?P<operation>Write|Read)[- ]error (?:(?P<result>-?\d{1,6}) on dio swapfile"
        r"|on swap-device(?: \((?P<device>\d{1,4}:\d{1,8}):)?)",
    ),
    Sign(
        # An empty floppy or CD drive is no matter. 5.10 puts "blk_update_request: " before it.
        "io-error", "block I/O error", "block/blk-mq.c blk_print_req_error()",
        holds=" error, dev ",
        shape=r"(?:blk_update_request: )?[A-Za-z/ ]{2,40} error, dev (?!fd\d|sr\d)",
        facts=rf"(?:blk_update_request: )?(?P<reason>[A-Za-z/ ]{{2,40}}) error, dev {DEVICE},"
        r" sector (?P<sector>\d{1,20})(?: op 0x[0-9a-f]{1,4}:\((?P<operation>[A-Z_]{1,20})\))?",
    ),
    Sign(
        "io-error", "buffer I/O error", "fs/buffer.c buffer_io_error()",
        starts=("Buffer I/O error on dev",),
        shape=r"Buffer I/O error on dev(?!ice|  ?fd\d|  ?sr\d)",
        facts=rf"Buffer I/O error on dev {DEVICE}, logical block (?P<sector>\d{{1,20}})",
    ),
    Sign(
        "io-error", "RAID member failed", "drivers/md/raid1.c raid1_error()",
        starts=("md/raid",),
        shape=r"md/raid\S{1,20}: Disk failure on",
        facts=rf"md/raid\S{{1,20}}: Disk failure on {DEVICE}",
    ),
    Sign(
        "io-error", "write to a loop device's file failed", "drivers/block/loop.c lo_write_bvec()",
        starts=("loop: Write error at ",),
        facts=r"loop: (?P<operation>Write) error at",
    ),
)  # fmt: skip

# A write to a swap file that found no memory (-ENOMEM), or memory for its first bytes alone, or for its
# requests but not for a call (0): fs/nfs/direct.c nfs_direct_write_schedule_iovec() and fs/nfs/pagelist.c
# nfs_generic_pgio() end there. 6.1's sio_write_complete() takes that for passing, marks all its pages dirty
# again and none as bad: nothing is lost, they are written anew. A read that ends so is lost, and says
# "Read-error on swap-device".
SWAP_AGAIN = (
    Sign(
        "swap-again", "swap write put off for want of memory", "mm/page_io.c sio_write_complete()",
        starts=("Write error ",),
        shape=r"Write error (?:-12|\d{1,7}) on dio swapfile",
        facts=r"(?P<operation>Write) error (?P<result>-12|\d{1,7}) on dio swapfile",
    ),
)  # fmt: skip

# The other side is gone.
CONNECTIONS = (
    Sign(
        "lost-connection", "lost connection to the NBD server", "drivers/block/nbd.c"
        " nbd_read_reply(), nbd_send_cmd(), nbd_xmit_timeout(), find_fallback()",
        starts=("block nbd", "nbd"),
        shape=r"(?:block )?nbd\d{1,3}: (?:(?:Receive|Send) (?:control|data) failed|Connection timed out"
        r"|Dead connection|Request send failed|Attempted (?:send|recv) on)",
        facts=r"(?:block )?(?P<device>nbd\d{1,3}): (?P<reason>[A-Za-z ,]{1,60}?)"
        r"(?: \((?:result (?P<result>-?\d{1,6})|\d{1,3}/\d{1,3} alive)\))?$",
    ),
    Sign(
        "lost-connection", "lost connection to the iSCSI target", "drivers/scsi/scsi_transport_iscsi.c"
        " iscsi_conn_error_event(), session_recovery_timedout()",
        starts=("connection", " connection", "session", " session"),
        shape=r" ?(?:connection\d{1,6}:\d{1,6}: detected conn error"
        r"|session\d{1,6}: session recovery timed out)",
        facts=r" ?(?P<device>(?:connection|session)[\d:]{1,14}): (?P<reason>[a-z ]{1,40})",
    ),
    Sign(
        # It is told once, and who is not told makes no other.
        "lost-connection", "lost connection to the iSCSI target, of which iscsid was not told",
        "drivers/scsi/scsi_transport_iscsi.c iscsi_conn_error_event()",
        starts=("connection", " connection"),
        shape=r" ?connection\d{1,6}:\d{1,6}: gracefully ignored conn error",
        facts=r" ?(?P<device>connection[\d:]{1,14}): (?P<reason>gracefully ignored conn error)",
    ),
    Sign(
        "lost-connection", "lost connection to the NVMe target", "drivers/nvme/host/tcp.c"
        " nvme_tcp_error_recovery()",
        starts=("nvme nvme",),
        shape=r"nvme nvme\d{1,4}: starting error recovery",
        facts=r"nvme (?P<device>nvme\d{1,4}): (?P<reason>starting error recovery)",
    ),
    Sign(
        "link-down", "network link lost", "drivers/net/ethernet/intel/e1000e/netdev.c"
        " e1000_watchdog_task(), drivers/net/mii.c mii_check_media()",
        holds="ink is Down",
        shape=r".{1,60}[ :]NIC Link is Down",
        facts=r"(?:[\w. :]{0,40} )?(?P<device>[\w.-]{1,15}):? NIC Link is Down",
    ),
    Sign(
        "link-down", "network link lost", "drivers/net/mii.c mii_check_media()",
        holds=": link down",
        shape=r".{1,60}: link down",
        facts=r"(?:[\w. :]{0,40} )?(?P<device>[\w.-]{1,15}): link down",
    ),
    Sign(
        "tx-timeout", "transmit queue stuck", "net/sched/sch_generic.c dev_watchdog()",
        starts=("NETDEV WATCHDOG: ",),
        holds="NETDEV WATCHDOG: ",
        shape=r".{0,60}NETDEV WATCHDOG: ",
        facts=r"(?:[\w. :]{0,40} )?(?P<device>[\w.-]{1,15})(?: \([^)]{1,20}\))?: NETDEV WATCHDOG",
    ),
    Sign(
        # clnt->cl_program->name: fs/nfs/client.c, mount_clnt.c, fs/lockd, net/sunrpc/rpcb_clnt.c
        "nfs", "NFS server does not answer", "net/sunrpc/clnt.c rpc_check_timeout()",
        holds=" not responding",
        shape=r"(?:nfs\w{0,4}|lockd|statd|mount|rpcbind): server \S{1,80} not responding",
        facts=r"\w{1,8}: server (?P<server>\S{1,80}) (?P<reason>not responding, (?:still trying|timed out))",
    ),
    Sign(
        "nfs-back", "NFS server answers again", "net/sunrpc/clnt.c call_decode()",
        holds=": server ",
        shape=r"(?:nfs\w{0,4}|lockd|statd|mount|rpcbind): server \S{1,80} OK",
        facts=r"\w{1,8}: server (?P<server>\S{1,80}) OK",
    ),
    Sign(
        "nbd", "NBD request without an answer", "drivers/block/nbd.c nbd_xmit_timeout()",
        starts=("block nbd", "nbd"),
        shape=r"(?:block )?nbd\d{1,3}: Possible stuck request",
        facts=r"(?:block )?(?P<device>nbd\d{1,3}): (?P<reason>Possible stuck request).{0,40}"
        r" control \((?P<operation>[a-z ]{1,16})@\d{1,20},(?P<bytes>\d{1,12})B\)\."
        r" Runtime (?P<seconds>\d{1,9}) seconds",
    ),
    Sign(
        # That a device was set up or given up is no matter: the sockets of both ends are shut down alike.
        "nbd", "NBD", "drivers/block/nbd.c",
        starts=("block nbd", "nbd"),
        shape=r"(?:block )?nbd\d{1,3}: "
        r"(?!detected capacity change|NBD_DISCONNECT|Disconnected due to|shutting down sockets)",
        facts=r"(?:block )?(?P<device>nbd\d{1,3}): (?P<reason>.{1,80})",
    ),
    Sign(
        "fs-error", "file system error", "fs/ext4/super.c __ext4_error(), save_error_info()",
        starts=("EXT4-fs error (device ", "Aborting journal on device ", "EXT4-fs (",),
        shape=r"EXT4-fs error \(device |Aborting journal on device "
        r"|EXT4-fs \(\S{1,32}\): Remounting filesystem read-only",
        facts=r".{3,26}(?:\(device |\(| device )(?P<device>[\w.-]{1,32}?)(?:-8)?(?:\)|\.$)",
    ),
)  # fmt: skip
