#!/usr/bin/env bash
# Starts the workers of a pod, with everything that outlives the pod on its network volume. Run it as often as you like:
# what is there already is not made again.
#
#   OURVIDZ_VOLUME  where the network volume is mounted (default /workspace)
#   OURVIDZ_PYTHON  an interpreter that has everything installed, as the image has; none is made on the volume then
#   PYTHON          the interpreter that the volume's environment is made from (default: the first one from 3.11 on)
#
# Exit code 78 where a person must change something first; otherwise that of the orchestrator, which takes over this process.
set -euo pipefail

readonly CONFIGURATION=78 # EX_CONFIG of sysexits.h
readonly LONGEST_WAIT=7200 # seconds another pod may take to prepare the volume
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
volume=${OURVIDZ_VOLUME:-/workspace}
state=$volume/ourvidz
child=
alone= # whether this pod has the volume to itself

exec {log}>&2 # a signal may come while a step's own words go to a file
say() { printf 'start.sh: %s\n' "$*" >&"$log"; }

give_up() {
    say "$*"
    exit "$CONFIGURATION"
}

# Everything that is missing, at once, before any work; what the values are worth is the doctor's to say.
check_variables() {
    local problems=() problem workers=${OURVIDZ_WORKERS:-} file=${OURVIDZ_CONFIG_DIR:-}/workers.toml
    workers=${workers//[[:space:]]/}
    if [ -z "$workers" ] && [ -n "${OURVIDZ_CONFIG_DIR:-}" ] && [ -r "$file" ]; then
        workers=$(sed -n 's/^ *kind *= *.\([a-z]*\).*/\1/p' "$file" | sort -u | paste -sd,)
    fi
    if [ "$workers" = qwen ]; then
        is_set OURVIDZ_QWEN_TOKEN ||
            problems+=("OURVIDZ_QWEN_TOKEN is not set: set it to a long random text, like \`openssl rand -hex 32\` prints; whoever asks this worker must send it")
    else
        if ! { is_set OURVIDZ_STORE_URL && is_set OURVIDZ_REPORT_URL; }; then
            is_set SUPABASE_URL ||
                problems+=("SUPABASE_URL is not set: set it to the project's address, like https://<project>.supabase.co")
            is_set SUPABASE_SERVICE_KEY || is_set SUPABASE_SERVICE_ROLE_KEY ||
                problems+=("SUPABASE_SERVICE_KEY is not set: set it (or SUPABASE_SERVICE_ROLE_KEY) to the project's service role key")
        fi
        if ! is_set OURVIDZ_QUEUE_URL; then
            is_set UPSTASH_REDIS_REST_URL ||
                problems+=("UPSTASH_REDIS_REST_URL is not set: set it to the database's REST address, like https://<name>.upstash.io")
            is_set UPSTASH_REDIS_REST_TOKEN ||
                problems+=("UPSTASH_REDIS_REST_TOKEN is not set: set it to the database's REST token")
        fi
        if [ "${OURVIDZ_CALLBACK_PROFILE:-}" = 2026-02 ] && ! is_set JOB_CALLBACK_SECRET; then
            problems+=("JOB_CALLBACK_SECRET is not set: profile 2026-02 signs its callbacks; set it as in the product's functions")
        fi
    fi
    if ! { [ -d "$volume" ] && [ -w "$volume" ]; }; then
        problems+=("$volume is no folder that user $(id -u) can write to: mount the network volume there, or set OURVIDZ_VOLUME to where it is")
    fi
    [ "${#problems[@]}" -eq 0 ] && return
    for problem in "${problems[@]}"; do
        say "$problem"
    done
    give_up "set these in the pod's environment, then start it again"
}

is_set() {
    local value=${!1:-}
    [ -n "${value//[[:space:]]/}" ]
}

# Bash looks at signals only between its commands, and as the first process of a container it has no default for them.
step() {
    local code=0
    "$@" &
    child=$!
    wait "$child" || code=$?
    child=
    return "$code"
}

end_with() {
    say "ended by a signal; the next start goes on where this one stopped"
    [ -z "$child" ] || { kill -TERM "$child" 2>/dev/null && wait "$child"; } || true
    exit "$1"
}

# Two pods that start at once on one volume do not both download and install. Without locks on the volume nothing breaks:
# what is made is made beside its place, and moved there whole.
lock() {
    exec {held}>>"$state/lock"
    command -v flock >/dev/null || return 0
    local code=0
    flock --nonblock "$held" || code=$?
    if [ "$code" -eq 1 ]; then
        say "another pod prepares $volume; waiting for it"
        code=0
        step flock --wait "$LONGEST_WAIT" "$held" || code=$?
    fi
    [ "$code" -eq 0 ] && alone=yes || say "$volume cannot be locked; going on without"
}

unlock() { exec {held}>&-; }

keep_on_volume() {
    export OURVIDZ_MODELS_DIR=${OURVIDZ_MODELS_DIR:-$volume/models}
    export OURVIDZ_CACHE=${OURVIDZ_CACHE:-$state/tiny-models}
    export OURVIDZ_SPOOL=${OURVIDZ_SPOOL:-$state/spool/${RUNPOD_POD_ID:-$(uname -n)}}
    export TORCHINDUCTOR_CACHE_DIR=${TORCHINDUCTOR_CACHE_DIR:-$state/cache/inductor}
    export TRITON_CACHE_DIR=${TRITON_CACHE_DIR:-$state/cache/triton}
    export PIP_CACHE_DIR=${PIP_CACHE_DIR:-$state/cache/pip}
    mkdir -p "$OURVIDZ_MODELS_DIR" "$OURVIDZ_CACHE" "$TORCHINDUCTOR_CACHE_DIR" "$TRITON_CACHE_DIR" "$PIP_CACHE_DIR"
    (umask 077 && mkdir -p "$OURVIDZ_SPOOL")
}

find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11; do
        if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

# The version of the image's own torch, where it is the pinned one and built for CUDA: that saves gigabytes on the volume.
torch_of_image() {
    "$1" - scripts/constraints.txt <<'PYTHON' 2>/dev/null || true
import importlib.metadata, importlib.util, pathlib, re, runpy, sys

pinned = re.search(r"^torch==(\S+)", pathlib.Path(sys.argv[1]).read_text(), re.MULTILINE)[1]
version = importlib.metadata.version("torch")
folder = importlib.util.find_spec("torch").submodule_search_locations[0]
if version.partition("+")[0] == pinned and runpy.run_path(f"{folder}/version.py")["cuda"]:
    print(version)
PYTHON
}

is_whole() { [ "$(cat "$1/installed" 2>/dev/null)" = "$2" ] && "$1/bin/python" -c '' 2>/dev/null; }

prepare_python() {
    if [ -n "${OURVIDZ_PYTHON:-}" ]; then
        interpreter=$(command -v "$OURVIDZ_PYTHON") ||
            give_up "OURVIDZ_PYTHON is $OURVIDZ_PYTHON, which cannot be run: correct it, or leave it away"
        return
    fi
    local python torch wanted environment building
    python=$(find_python) ||
        give_up "Python 3.11 or newer is needed and none was found: take an image that has it, or set PYTHON to its path"
    torch=$(torch_of_image "$python")
    wanted=$({ cat pyproject.toml scripts/constraints.txt && "$python" -VV && echo "$python $torch"; } | sha256sum | cut -d' ' -f1)
    environment=$state/python-${wanted:0:12}
    interpreter=$environment/bin/python
    if is_whole "$environment" "$wanted"; then
        say "the Python environment is in place"
        return
    fi
    say "installing the Python environment into $environment (once; minutes)${torch:+; the image has torch $torch}"
    [ -z "$alone" ] || rm -rf "$state"/python-*.building.*
    building=$(mktemp -d "$environment.building.XXXXXX")
    chmod 755 "$building"
    install_into "$building" "$python" "${torch:+--system-site-packages}" >"$state/install.log" 2>&1 || {
        tail -n 20 "$state/install.log" >&2
        say "the installation failed; all it said is in $state/install.log"
        exit 1
    }
    # Scripts name the interpreter by its path.
    { grep -rlIF "$building" "$building/bin" "$building/pyvenv.cfg" || true; } | xargs -r sed -i "s|$building|$environment|g"
    echo "$wanted" >"$building/installed"
    is_whole "$environment" "$wanted" || rm -rf "$environment"
    mv -T "$building" "$environment" 2>/dev/null || is_whole "$environment" "$wanted" # another pod was first
    say "the Python environment is installed"
    local other
    for other in "$state"/python-*; do
        [ "$other" = "$environment" ] || say "$other is of an earlier version: remove it once no pod uses it"
    done
}

install_into() {
    # shellcheck disable=SC2086 # the option may be none
    step "$2" -m venv $3 "$1" &&
        step "$1/bin/python" -m pip install --disable-pip-version-check --no-compile \
            --constraint scripts/constraints.txt --editable .
}

prepare_models() {
    local code=0
    step "$interpreter" -m ourvidz_worker models verify --needed || code=$?
    # The doctor finds all that is wrong with the settings.
    case $code in 0 | "$CONFIGURATION") return ;; esac
    say "fetching what is missing of the models"
    # Whether the workers can do without what cannot be had is the doctor's to say.
    step "$interpreter" -m ourvidz_worker models fetch --needed || say "not all models could be fetched"
}

# What is wrong with this pod ends it here. What is wrong elsewhere the workers wait out, or end themselves for.
consult_doctor() {
    local findings code=0
    findings=$(mktemp)
    step "$interpreter" -m ourvidz_worker doctor --json >"$findings" || code=$?
    "$interpreter" - "$findings" <<'PYTHON' || code=$?
import json, pathlib, sys

OWN = {"versions", "configuration", "environment", "models", "disk", "signing", "classifier"}
try:
    findings = json.loads(pathlib.Path(sys.argv[1]).read_text())["findings"]
except (ValueError, KeyError):
    sys.exit("start.sh: the doctor did not come to its end")
hopeless = False
for finding in findings:
    own = finding["fatal"] and finding["area"] in OWN
    mark = "ok" if finding["ok"] else "problem" if finding["fatal"] else "note"
    cure = "" if finding["ok"] else f"; cure: {finding['cure']}"
    print(f"start.sh: doctor: {mark}: {finding['area']}: {finding['finding']}{cure}", file=sys.stderr)
    hopeless |= own and not finding["ok"]
sys.exit(78 if hopeless else 0)
PYTHON
    rm -f "$findings"
    [ "$code" -ne "$CONFIGURATION" ] || give_up "the workers of this pod could not run; see the problems above"
}

main() {
    trap 'end_with 143' TERM
    trap 'end_with 130' INT
    check_variables
    cd "$root"
    mkdir -p "$state"
    keep_on_volume
    lock
    prepare_python
    prepare_models
    unlock
    consult_doctor
    say "starting the orchestrator"
    trap - TERM INT
    exec "$interpreter" orchestrator.py {log}>&-
}

main # bash has read all of this by now, so that an update of the file cannot change what runs
