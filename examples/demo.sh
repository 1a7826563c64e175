#!/usr/bin/env bash
# A tour: from an empty host to an app container saved as one file and started again from it.
#
# Everything it makes lies in directories of its own and is removed at the end. Unless HOST=1 it runs
# in a network namespace of its own, so this host's network is neither used nor changed.
#
#   APPC_BIN_DIR   where appc is, if not in PATH
#   HOST=1         on this host's own network
set -euo pipefail

say() { printf '\n\033[1m# %s\033[0m\n' "$*"; }
die() { printf 'demo: %s\n' "$*" >&2; exit 1; }

# Shows a command as one would type it, then does it.
try() {
    printf '\033[1m$ %s\033[0m\n' "$*"
    "$@"
}

# The same for a line of shell (pipes, &&, redirections).
try_line() {
    printf '\033[1m$ %s\033[0m\n' "$1"
    eval "$1"
}

# Until something listens there; a startup command has started when `appc start` returns, and may need a moment.
wait_for_port() {
    local end=$((SECONDS + 10))
    until (: > "/dev/tcp/$1/$2") 2> /dev/null; do
        [ "$SECONDS" -lt "$end" ] || die "nothing listens at $1 port $2"
        sleep 0.05
    done
}

# Bold only where someone looks.
[ -t 1 ] || {
    say() { printf '\n# %s\n' "$*"; }
    try() { printf '$ %s\n' "$*"; "$@"; }
    try_line() { printf '$ %s\n' "$1"; eval "$1"; }
}

[ "$(id -u)" = 0 ] || die 'needs root; run: sudo make demo'
[ -z "${APPC_BIN_DIR:-}" ] || PATH=$APPC_BIN_DIR:$PATH
command -v appc > /dev/null || die "appc is not there: make build, or set APPC_BIN_DIR"

# In the new network namespace /sys has to be mounted anew, or it shows this host's interfaces; what is
# mounted below it (cgroups, security modules) is brought back.
enter_own_network() {
    local held mounted
    held=$(mktemp -d)
    mount --rbind /sys "$held"
    mount -t sysfs sysfs /sys
    for mounted in fs/cgroup kernel/security; do
        if mountpoint -q "$held/$mounted"; then mount --rbind "$held/$mounted" "/sys/$mounted"; fi
    done
    umount -R -l "$held"
    rmdir "$held"
    ip link set lo up
}

if [ "${HOST:-}" = 1 ]; then
    say "On this host's own network, as you asked"
elif [ "${DEMO_OWN_NETWORK:-}" != 1 ]; then
    DEMO_OWN_NETWORK=1 exec unshare --mount --net -- "$0" "$@"
else
    enter_own_network
    say "In a network namespace of its own: this host's network stays as it is"
fi

work=$(mktemp -d /tmp/appcontainers-demo.XXXXXX)
APPC_ROOT=$(mktemp -d /var/lib/appcontainers-demo.XXXXXX)
APPC_RUN=$(mktemp -d /run/appcontainers-demo.XXXXXX)
export APPC_ROOT APPC_RUN
TIMEFORMAT='took %3R s'
unset APPC_CONTAINER
# A container's root is a stranger to this host: it has to pass through, and needs no more.
chmod 0711 "$APPC_ROOT" "$APPC_RUN"

clean_up() {
    local code=$? name
    trap - EXIT
    cd /
    if [ "$code" != 0 ]; then say "The demo failed (exit code $code); cleaning up"; fi
    for name in $(appc ls --json 2> /dev/null | sed -n 's/^ *"name": "\([^"]*\)".*/\1/p'); do
        appc rm -f "$name" || true
    done
    appc gc > /dev/null 2>&1 || true
    appc setup --undo > /dev/null 2>&1 || true
    rm -rf --one-file-system -- "$work" "$APPC_ROOT" "$APPC_RUN"
    exit "$code"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
cd "$work"

say 'A program: a shell script and its data'
mkdir -p app/data
cat > app/menu.txt << 'MENU'
espresso   2.20
cappuccino 3.40
MENU
mv app/menu.txt app/data/menu.txt
cat > app/shop << 'SHOP'
#!/bin/sh
# Serves three guests from the menu, and keeps a ledger of it.
cd "$(dirname "$0")" || exit 1
echo "open on $(hostname), $(wc -l < data/menu.txt) things on the menu"
for guest in Ada Grace Edsger; do
    echo "$guest: $(head -n 1 data/menu.txt)"
    echo "$guest" >> data/ledger.txt
    sleep 1
done
echo "served so far: $(wc -l < data/ledger.txt)" >&2
SHOP
chmod +x app/shop
try tar czf app.tar.gz app
try tar tzf app.tar.gz

say 'Set the host up; it says what it changes, and a second time there is nothing to do'
try appc setup
try appc setup

say 'Is it fit?'
try appc doctor

say 'The small base is built here, from this host, without network'
try appc base build busybox
try appc base ls

say "A container and the program in it. No name is needed: it is this session's current container"
try_line 'appc provision && appc load-archive app.tar.gz'

say 'Run it. Its output comes as it is written, standard error apart from standard output'
try_line "appc run -- ./app/shop 2> stderr.txt | while read -r line; do echo \"\$(date +%T) \$line\"; done"
try cat stderr.txt

say "Exit codes are the command's own"
try_line "appc run -- sh -c 'exit 42' || echo \"exit code \$?\""

say 'What the container has changed, and all of it as one file'
try appc diff
try appc save-image app.aimg
try ls -l app.aimg
try appc image inspect app.aimg

say 'Any squashfs tool can look into that file'
try_line 'unsquashfs -l app.aimg | sed -n 1,5p'

say 'Load it as an ephemeral container, say what runs at its start, and start it'
try appc load-image app.aimg --ephemeral --name guest
try_line "appc -c guest add-startup-command 'exec httpd -f -p 80 -h app/data'"
try appc start guest
try appc ls

say 'It has an address of its own, and this host reaches it there'
address=$(appc inspect guest --json | sed -n 's/^ *"ip": "\(.*\)",$/\1/p')
wait_for_port "$address" 80
try busybox wget -q -O - "http://$address/menu.txt"

say 'Look into it while it runs, and change something'
try appc -c guest exec -- ps -o pid,args
try_line "echo 'mocha      3.60' | appc -c guest exec -i -- sh -c 'cat >> app/data/menu.txt'"
try busybox wget -q -O - "http://$address/menu.txt"

say 'Stop it: it was ephemeral, so it is gone'
try appc stop guest
try appc ls

say 'One shot: load, run, gone. The ledger in the image has three guests, so now there are six'
try_line 'time appc run --rm --image app.aimg -- ./app/shop'

say 'And the next time, from the store'
try_line "time appc run --rm --image app -- true"

say 'What is there now'
try appc ls
try appc image ls
try appc df

say 'Done: a program with its files, in one file, run from it three ways. All of it is removed again'
