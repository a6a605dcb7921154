#!/usr/bin/env bash
# A maintenance day, rehearsed with a real guard: what 19 January 2026 would have been with `circuit-guard maintenance`.
# Run it from anywhere: examples/maintenance_rehearsal/rehearse.sh. It takes about half a minute and leaves nothing.
# PYTHON names the interpreter (a whole path); without it .venv/bin/python of this checkout, which `make run` makes.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
PYTHON=${PYTHON:-$root/.venv/bin/python}
unset "${!CIRCUIT_GUARD_@}"
export PYTHONPATH=$root CIRCUIT_GUARD_ADDRESS=unix:guard.sock CIRCUIT_GUARD_ACTOR=alice

declare -A pids=()
work=$(mktemp -d)
cd "$work"

clean_up() {
    for name in "${!pids[@]}"; do stop "$name" KILL; done
    rm -rf "$work"
}
trap clean_up EXIT

circuit-guard() { "$PYTHON" -m circuit_guard "$@"; }
exchange() { "$PYTHON" "$here/exchange.py" "$@"; }

say() { printf '\n'; printf '# %s\n' "$@"; }

fail() {
    printf '\nREHEARSAL FAILED: %s\n' "$1" >&2
    for log in *.log; do printf -- '--- %s\n' "$log" >&2; tail -n 5 "$log" >&2; done
    exit 1
}

# expect CODE WORDS COMMAND...: show the command and what it says; fail unless it ends with CODE and says WORDS.
expect() {
    local code=$1 words=$2 got=0 shown=
    shift 2
    for word in "$@"; do [[ $word == *' '* ]] && shown+=" \"$word\"" || shown+=" $word"; done
    printf '\n$%s\n' "$shown"
    "$@" >said 2>&1 || got=$?
    cat said
    printf 'exit code %s\n' "$got"
    [[ $got == "$code" ]] || fail "the exit code was $got, expected $code"
    grep -qF -- "$words" said || fail "expected it to say: $words"
}

# start NAME COMMAND...: run a program beside the script.
start() {
    local name=$1
    shift
    (exec "$@") >>"$name.log" 2>&1 &
    pids[$name]=$!
}

# stop NAME SIGNAL: end a program that was started, and wait until it has ended.
stop() {
    kill -s "$2" "${pids[$1]}" 2>/dev/null || true
    wait "${pids[$1]}" 2>/dev/null || true
    unset "pids[$1]"
}

# wait_for SECONDS WHAT COMMAND...: try a command until it succeeds.
wait_for() {
    local until=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < until)) || fail "waited in vain for $what"
        sleep 0.1
    done
}

start_guard() {
    start guard "$PYTHON" -m circuit_guard serve --settings "$here/settings.toml" --policy "$here/policy.toml"
    wait_for 20 'the guard' circuit-guard status
}
start_exchange() { start exchange "$PYTHON" "$here/exchange.py" run "$@"; }

say 'An ordinary day: the guard runs beside the exchange, and closures go through.'
exchange new
start venues "$PYTHON" "$here/exchange.py" venues
start_guard
start_exchange
expect 0 'ALLOW' exchange drain BTC-USD-PERP
wait_for 20 'all markets OPEN' bash -c "! '$PYTHON' -m circuit_guard status | grep -E 'DENIED|in the band'"
expect 0 'Closures go through in all 4 markets' circuit-guard status

say 'Before the upgrade: from here on every closure is denied, and a checkpoint is kept.'
expect 0 'closures are denied in every market' circuit-guard maintenance begin --reason 'database upgrade'
expect 1 'phase MAINTENANCE does not allow this' exchange close BTC-USD-PERP

say 'The exchange stops, and its database is backed up. It restarts, publishes nothing yet and dumps its state.' \
    'A race has reset two funding indices to zero.'
stop exchange TERM
cp exchange.json backup.json
start_exchange --losing BTC-USD-PERP BERA-USD-PERP --held bad.json
wait_for 20 'the dump' test -e bad.json

say 'Meanwhile the guard itself is killed with SIGKILL. The maintenance is still on when it is back.'
stop guard KILL
start_guard
expect 0 'MAINTENANCE since' circuit-guard status

say 'The dump is held against what was trusted before. Exit code 1: a deploy script stops here.'
expect 1 'BTC-USD-PERP funding_jump' circuit-guard maintenance validate bad.json
grep -q '^BERA-USD-PERP funding_jump' said || fail 'expected it to name BERA-USD-PERP, too'

say 'The database is restored from the backup, and the exchange restarted, still unpublished. Exit code 0.'
stop exchange TERM
cp backup.json exchange.json
start_exchange --held fixed.json
wait_for 20 'the dump' test -e fixed.json
expect 0 '4 markets clean' circuit-guard maintenance validate fixed.json
expect 0 '4 markets in POST_ONLY' circuit-guard maintenance end --reason 'upgrade done'

say 'Now it publishes. In POST_ONLY closures go through within 5 bps of the reference price, whatever the thin book says.'
kill -s USR1 "${pids[exchange]}"
expect 0 'ALLOW' exchange drain PAXG-USD-PERP --at 4670.5
expect 1 'outside the band' exchange close PAXG-USD-PERP --at 4600

say 'Twenty closures wait there. On evidence PAXG-USD-PERP is OPEN again, and they go through at a rising rate.'
expect 0 'DENY for ramp_limited' exchange drain PAXG-USD-PERP --at 4600 --count 20

say 'The ramp is over: the next twenty go through at once.'
expect 0 '20 ALLOW' exchange drain PAXG-USD-PERP --at 4600 --count 20
! grep -q DENY said || fail 'expected none of them to be denied first'

say 'And without a maintenance? The same race, published right away: the market latches at the first observation.'
stop exchange TERM
cp exchange.json backup.json
start_exchange --losing BTC-USD-PERP
wait_for 20 'the latch' grep -q 'HELD BACK BTC-USD-PERP' exchange.log
expect 1 'moved further than funding can move it' exchange close BTC-USD-PERP
expect 0 'funding_jump' circuit-guard status BTC-USD-PERP

say 'The right index alone lifts nothing: somebody has to say that the cause is gone.'
stop exchange TERM
cp backup.json exchange.json
start_exchange
expect 0 'reset by alice' circuit-guard reset BTC-USD-PERP --reason 'index restored from the backup'
expect 0 'ALLOW' exchange drain BTC-USD-PERP

say 'The journal has all of it, unbroken.'
expect 0 'as it was written' circuit-guard journal verify state

printf '\nrehearsed: all of it as expected\n'
