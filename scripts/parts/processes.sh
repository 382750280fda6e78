# shellcheck shell=bash
# Processes that a script starts, a folder for its work, and the end of both whatever happens. To be sourced.

work=$(mktemp -d)
started=()

# Whether a process of ours runs. Its number alone does not tell: once it ended, somebody else may have it.
runs() { # PID
  [[ $'\n'$(jobs -pr)$'\n' == *$'\n'$1$'\n'* ]]
}

# Asks a process of ours to end, and insists after five seconds. Returns its exit status.
stop() { # PID
  if runs "$1"; then kill "$1" 2>/dev/null || true; fi
  for _ in {1..50}; do
    runs "$1" || break
    sleep 0.1
  done
  if runs "$1"; then kill -KILL "$1" 2>/dev/null || true; fi
  wait "$1" 2>/dev/null
}

cleanup() {
  local pid
  for pid in "${started[@]}"; do
    stop "$pid" || true
  done
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# Waits until a line of a log matches, at most 30 seconds and only while the process lives.
wait_for_line() { # PID LOG PATTERN
  for _ in {1..300}; do
    if grep -q "$3" "$2" 2>/dev/null; then return 0; fi
    runs "$1" || break
    sleep 0.1
  done
  echo "error: no \`$3\` in the log:" >&2
  tail -n 20 "$2" >&2
  return 1
}

# Starts a program that says `READY <url>` when it can be called; sets ready_url and ready_pid.
start_ready() { # NAME COMMAND...
  local log=$work/$1.log
  shift
  "$@" >"$log" 2>&1 &
  ready_pid=$!
  started+=("$ready_pid")
  wait_for_line "$ready_pid" "$log" '^READY '
  # shellcheck disable=SC2034 # read by those who source this
  ready_url=$(sed -n 's/^READY //p' "$log" | head -n 1)
}
