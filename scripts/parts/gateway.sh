# shellcheck shell=bash
# A gateway of our own for one run: a fresh database, one agent that may do everything. To be sourced after
# processes.sh, from the root of the project.

: "${work:?processes.sh comes first}"
gateway=$(realpath "${HAYWARD_BIN:-target/debug/hayward}")
# Whoever runs this may have settings for a gateway of their own.
unset PORT "${!HAYWARD_@}"

# Starts it; sets HAYWARD_TOKEN, base and gateway_pid.
start_gateway() { # entries of `servers:`
  HAYWARD_TOKEN=$("$gateway" token new tester 2>"$work/policy-line")
  export HAYWARD_TOKEN
  cat >"$work/permissions.yaml" <<YAML
servers:
$1
agents:
  tester:
    token_hash: "$(grep -oE 'sha256:[0-9a-f]{64}' "$work/policy-line")"
    servers: ["*"]
YAML
  "$gateway" serve --policy "$work/permissions.yaml" --db "$work/hayward.db" --listen 127.0.0.1:0 \
    --color never 2>"$work/gateway.log" &
  gateway_pid=$!
  started+=("$gateway_pid")
  wait_for_line "$gateway_pid" "$work/gateway.log" 'listening on http://'
  # shellcheck disable=SC2034 # read by those who source this
  base=$(grep -oE 'http://127\.0\.0\.1:[0-9]+' "$work/gateway.log" | head -n 1)
}
