#!/bin/busybox sh
# First root of a prebuilt kernel: loads the modules, mounts the real root read-only, hands over. That of a
# thin client is mounted by a program of its own, which was laid beside this one (guest/thin-init).
# A line of modules.list: the file, the kinds of things that need it (`*`: all), its options. The kinds that
# this machine has to do with stand on the command line; without that all are loaded.
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev

set -f
root= rootfstype=ext4 init=/sbin/init machine=
for word in $(/bin/busybox cat /proc/cmdline); do
    case $word in
        root=*) root=${word#root=} ;;
        rootfstype=*) rootfstype=${word#rootfstype=} ;;
        init=*) init=${word#init=} ;;
        testbed.kinds=*) machine=${word#testbed.kinds=} ;;
    esac
done

# No process is started here: under emulation each costs some 10 ms.
needed() {
    [ -n "$machine" ] || return 0
    local IFS=, kind
    for kind in $1; do
        case ",*,$machine," in *",$kind,"*) return 0 ;; esac
    done
    return 1
}

while read -r module kinds options; do
    needed "$kinds" || continue
    # shellcheck disable=SC2086  # options are words
    /bin/busybox insmod "/modules/$module" $options || echo "stage1: cannot load $module"
done </modules.list

[ -x /thin-init ] && exec /thin-init

waited=0
until [ -b "$root" ] || [ $waited -ge 300 ]; do
    /bin/busybox usleep 100000
    waited=$((waited + 1))
done
if ! /bin/busybox mount -t "$rootfstype" -o ro "$root" /root; then
    echo "stage1: cannot mount the root '$root'"
    /bin/busybox poweroff -f
fi
/bin/busybox umount /sys
/bin/busybox umount -l /dev
/bin/busybox umount /proc
exec /bin/busybox switch_root /root "$init"
