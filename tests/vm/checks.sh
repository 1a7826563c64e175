# For the suites of this directory: check WORDS COMMAND... prints `test WORDS ... ok`, or what the command said and FAILED.
# `verdict` at the end is the exit code.

failed=0

check() {
	local words=$1 said
	shift
	if said=$("$@" 2>&1); then
		echo "test $words ... ok"
	else
		printf '%s\n' "$said"
		echo "test $words ... FAILED"
		failed=1
	fi
}

# Asks again and again for half a minute, times what a slow machine takes.
eventually() {
	local end=$((SECONDS + 30 * ${APPC_TEST_SLOWNESS:-1}))
	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.5
	done
}

status() { appc --json inspect "$1" | sed -n 's/^ *"status": "\(.*\)",$/\1/p'; }
is_status() { [ "$(status "$1")" = "$2" ]; }

verdict() { return "$failed"; }
