#!/bin/sh
# PID 1 of a rented machine. It never exits: when a container's command exits, Vast starts it again and bills on.
# It keeps the watchdog and the worker running, reaps what they leave behind, and hands SIGTERM to the worker.
# A watchdog that cannot run at all is replaced by what is left to do: destroying this instance.
set -u

python=${PYTHON:-python3}
worker_command=${WORKER_COMMAND:-$python -m aseagi_tasks.fleet.instance}
folder=${ASEAGI_INSTANCE_FOLDER:-/var/lib/aseagi}
pause=${PID1_PAUSE_S:-2}
export ASEAGI_INSTANCE_FOLDER="$folder"
watchdog='' worker='' failures=0 begun=0

# The key may destroy this instance; the worker, which meets strangers' documents, does not get it.
key=${CONTAINER_API_KEY:-} id=${CONTAINER_ID:-}
unset CONTAINER_API_KEY

mkdir -p "$folder/marks" "$folder/worker"
if [ "$(id -u)" = 0 ] && [ -n "${WORKER_USER:-}" ]; then
    chown "$WORKER_USER:" "$folder/marks" "$folder/worker"
    as_worker="env HOME=/home/$WORKER_USER setpriv --reuid=$WORKER_USER --regid=$WORKER_USER --init-groups"
    as_worker="$as_worker --no-new-privs --inh-caps=-all"
else
    as_worker=''
fi

destroy() {  # by curl, since Python does not run; the key goes in by a pipe, where no process list shows it
    printf 'header = "Authorization: Bearer %s"\n' "$key" | curl -sS -m 30 -K - -X DELETE \
        "${ASEAGI_VAST_URL:-https://console.vast.ai}/api/v0/instances/$id/" || true
}

stop() {  # the worker drains; the watchdog goes on
    [ -z "$worker" ] || kill -TERM "$worker" 2>/dev/null
}
trap stop TERM INT

while :; do
    now=$(date +%s)
    if [ -z "$watchdog" ] || ! kill -0 "$watchdog" 2>/dev/null; then
        # one that ran for a minute was killed; one that ends at once cannot run
        if [ $((now - begun)) -lt 60 ]; then failures=$((failures + 1)); else failures=1; fi
        CONTAINER_API_KEY=$key "$python" -m aseagi_tasks.fleet.watchdog &
        watchdog=$! begun=$now
    fi
    if [ -z "$worker" ] || ! kill -0 "$worker" 2>/dev/null; then
        if [ ! -e "$folder/leaving" ] && [ ! -e "$folder/marks/leave" ]; then
            # shellcheck disable=SC2086  # words on purpose
            $as_worker $worker_command &
            worker=$!
        fi
    fi
    if [ "$failures" -ge "${WATCHDOG_FAILURES:-20}" ]; then
        destroy
        pause=30
    fi
    sleep "$pause" &
    wait $!  # which reaps every child that has ended, ours or not
done
