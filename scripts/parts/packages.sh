# shellcheck shell=bash
# Packages of PyPI and npm, each kind in a folder of the cache, installed once. To be sourced.

cache=${HAYWARD_E2E_CACHE:-target/e2e}
mkdir -p "$cache"
cache=$(realpath "$cache")

installed() { # FOLDER WHAT
  [[ -f $1/.installed && $(<"$1/.installed") == "$2" ]]
}

python_packages() { # NAME PACKAGE...
  local folder=$cache/$1
  shift
  if installed "$folder" "$*"; then return; fi
  echo "installing $*" >&2
  rm -rf "$folder"
  python3 -m venv "$folder"
  "$folder/bin/pip" install --quiet --disable-pip-version-check "$@"
  printf '%s' "$*" >"$folder/.installed"
}

node_packages() { # NAME PACKAGE...
  local folder=$cache/$1
  shift
  if installed "$folder" "$*"; then return; fi
  echo "installing $*" >&2
  rm -rf "$folder"
  mkdir -p "$folder"
  echo '{"private": true, "type": "module"}' >"$folder/package.json"
  (cd "$folder" && npm install --no-fund --no-audit --loglevel=error "$@" >&2)
  printf '%s' "$*" >"$folder/.installed"
}

# Our own MCP server, beside the packages it needs; sets everything_server.
install_everything_server() {
  node_packages everything @modelcontextprotocol/server@2.4.0 @modelcontextprotocol/node@2.1.2 \
    @modelcontextprotocol/server-legacy@2.3.1
  cp -R tests/servers/. "$cache/everything/"
  # shellcheck disable=SC2034 # read by those who source this
  everything_server=$cache/everything/everything.mjs
}

# The clients of tests/clients, beside the packages they need.
install_clients() {
  python_packages python-2 mcp==2.3.0
  python_packages python-1 mcp==1.30.0
  python_packages fastmcp fastmcp==4.1.2
  node_packages node @modelcontextprotocol/sdk@1.32.2 @modelcontextprotocol/client@2.4.0 \
    @modelcontextprotocol/server-everything@2026.8.31
  # Modules are looked for beside the script that asks for them.
  cp tests/clients/smoke.mjs "$cache/node/smoke.mjs"
  CARGO_TARGET_DIR=$cache/rmcp cargo build --quiet --locked --manifest-path tests/clients/rmcp/Cargo.toml
}

# Runs one of the clients, with the options of tests/clients; what to call it reads from standard input.
run_client() { # CLIENT OPTION...
  local client=$1
  shift
  if [[ $client == *-sse ]]; then set -- "$@" --transport sse; fi
  if [[ $client == *-legacy ]]; then set -- "$@" --mode legacy; fi
  case $client in
    python-2*) timeout 600 "$cache/python-2/bin/python" tests/clients/smoke.py "$@" ;;
    python-1*) timeout 600 "$cache/python-1/bin/python" tests/clients/smoke.py "$@" ;;
    fastmcp*) timeout 600 "$cache/fastmcp/bin/python" tests/clients/smoke.py "$@" ;;
    typescript-2*) timeout 600 node "$cache/node/smoke.mjs" "$@" ;;
    typescript-1*) timeout 600 node "$cache/node/smoke.mjs" "$@" --sdk 1 ;;
    rmcp*) timeout 600 "$cache/rmcp/debug/smoke" "$@" ;;
  esac
}

# shellcheck disable=SC2154 # `work` is of processes.sh, which whoever calls this has as well
# Every client makes the calls that a function prints for it: a few clients at once, each one process for all of its
# calls. What they report is in $work/CLIENT.reports, a line a call.
run_clients() { # CALLS_OF SECONDS CLIENT...
  local calls_of=$1 seconds=$2 lanes=4 lane i client pids=()
  shift 2
  local clients=("$@")
  for ((lane = 0; lane < lanes; lane++)); do
    (
      for ((i = lane; i < ${#clients[@]}; i += lanes)); do
        client=${clients[i]}
        # A client that fails says so in its reports.
        "$calls_of" "$client" | run_client "$client" --seconds "$seconds" \
          >"$work/$client.reports" 2>"$work/$client.log" || true
      done
    ) &
    pids+=("$!")
  done
  wait "${pids[@]}"
}
