# The init of a test's sandbox: sh sandbox.sh PROGRAM [ARG]... as pid 1 of new network, mount and pid namespaces.
#
# Reaps orphans as a host's init does. When it ends, the kernel ends all that the test has left running.
set -eu

# In a new network namespace /sys is mounted afresh, or everyone sees the host's interfaces in it; the cgroups below it
# are brought back, and so is what AppArmor's programs read, where the host has that.
held=$(mktemp -d)
mount --rbind /sys "$held"
mount -t sysfs sysfs /sys
mount --rbind "$held/fs/cgroup" /sys/fs/cgroup
if mountpoint -q "$held/kernel/security"; then mount --bind "$held/kernel/security" /sys/kernel/security; fi
umount -R -l "$held"
rmdir "$held"
mount -t proc proc /proc

# `appc setup` edits /etc/subuid and /etc/subgid: not the host's.
upper=$(mktemp -d)
mount -t tmpfs -o mode=0755 tmpfs "$upper"
mkdir "$upper/etc" "$upper/work"
mount -t overlay -o "lowerdir=/etc,upperdir=$upper/etc,workdir=$upper/work" overlay /etc
# Whether the host has been set up makes no difference.
for file in /etc/subuid /etc/subgid; do [ ! -f $file ] || sed -i /^root:/d $file; done
umount -l "$upper"
rmdir "$upper"

ip link set lo up

# A session of its own: sessions have a current container. A shell starts what runs beside it with signals ignored.
env --default-signal setsid --wait "$@" &
code=0
wait $! || code=$?
exit "$code"
