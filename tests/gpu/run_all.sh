#!/usr/bin/env bash
# The queue of live GPU runs (README.md beside this), in order, resumable, each step bounded in time.
#
#   tests/gpu/run_all.sh OUT [--device cuda|cpu] [--toy] [--only STEP] [--until SECONDS]
#
# --until ends this call after so many seconds; the same command continues. DITPLAN names a binary with the feature
# cuda for the kernels' steps, PYTHON a Python with PyTorch. Exits 0 when all steps are done, 3 when some are left to a
# further call, 1 when one failed.
set -uo pipefail

usage() { echo "usage: $0 OUT [--device cuda|cpu] [--toy] [--only STEP] [--until SECONDS]" >&2; exit 2; }

[ $# -ge 1 ] || usage
case $1 in -*) usage ;; esac
out=$1 device=cuda toy=no only= until=86400
shift
while [ $# -gt 0 ]; do
    case $1 in
        --device) [ $# -ge 2 ] || usage; device=$2; shift ;;
        --toy) toy=yes ;;
        --only) [ $# -ge 2 ] || usage; only=$2; shift ;;
        --until) [ $# -ge 2 ] || usage; until=$2; shift ;;
        *) usage ;;
    esac
    shift
done
case $device in cuda | cpu) ;; *) usage ;; esac
case $until in '' | *[!0-9]*) usage ;; esac

steps="check sweep calibrate train capture response errors sensitivities campaign quality virtual pack"
case " $steps " in *" ${only:-check} "*) ;; *) echo "$0: no step \"$only\"; steps are: $steps" >&2; exit 2 ;; esac

python=${PYTHON:-python3}
case $python in /*) ;; */*) python=$PWD/$python ;; esac
ditplan=${DITPLAN:+$(realpath "$DITPLAN")}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out/steps" "$out/logs"
out=$(cd "$out" && pwd)
cd "$here/../../traces/capture" || exit 1
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
began=$SECONDS
failed=
left=

# What the trained model is: tens of millions of parameters, or as small as possible.
if [ $toy = yes ]; then
    model="--layers 2 --hidden 32 --heads 2 --coarse 60 --fine 15 --threads 1" layers=2 samples=2 toy_flag=--toy repeats=2
    fit="--batches 1 --samples 2 --splits fit" rest="--batches 1 --samples 2 --splits test --most 6"
else
    model="--layers 12 --hidden 384 --heads 6 --coarse 1500 --fine 500 --rate 6e-4" layers=12 samples=16 toy_flag= repeats=5
    fit="--splits fit" rest="--splits test transfer"
fi
trace=$out/dit-digits-large

# The seconds that a step may still take in this call: of its own limit, and of the call's.
allowance() {
    local limit=$1 spent=$2 rest=$((until - (SECONDS - began) - 8))
    local own=$((limit - spent))
    echo $((own < rest ? own : rest))
}

# step NAME LIMIT_S LEAST_S COMMAND...: runs a step that is not done; @T in the command is the seconds it may take. It
# is left to the next call where this one has less than LEAST_S left. A program whose last line says `partial` is
# continued by a later call, until its limit is used up.
step() {
    local name=$1 limit=$2 least=$3 spent=0 allowed rc start
    shift 3
    [ $toy = no ] || least=$((least / 8))
    [ -z "$only" ] || [ "$only" = "$name" ] || return 0
    if [ -e "$out/steps/$name.done" ]; then echo "== $name: done before"; return 0; fi
    [ -e "$out/steps/$name.spent" ] && spent=$(cat "$out/steps/$name.spent")
    allowed=$(allowance "$limit" "$spent")
    if [ "$spent" -ge "$limit" ]; then
        echo "== $name: its $limit s are used up"; failed="$failed $name"; return 0
    fi
    if [ "$allowed" -lt 1 ] || { [ "$allowed" -lt "$least" ] && [ $((limit - spent)) -gt "$allowed" ]; }; then
        echo "== $name: left to the next call"; left="$left $name"; return 0
    fi
    echo "== $name: at most $allowed s"
    start=$SECONDS
    timeout --signal=TERM --kill-after=15 "$((allowed + 5))" "${@//@T/$allowed}" >"$out/logs/$name.part" 2>&1
    rc=$?
    cat "$out/logs/$name.part" >>"$out/logs/$name.log"
    spent=$((spent + SECONDS - start))
    echo "$spent" >"$out/steps/$name.spent"
    tail -n 3 "$out/logs/$name.part" | sed 's/^/   /'
    local partial=no
    tail -n 1 "$out/logs/$name.part" | grep -q partial && partial=yes
    rm -f "$out/logs/$name.part"
    if { [ $partial = yes ] || [ $rc -eq 124 ] || [ $rc -eq 137 ]; } && [ $((limit - spent)) -gt 5 ]; then
        echo "   not complete after $spent s of $limit s: the same command continues it"; left="$left $name"
    elif [ $partial = yes ]; then
        echo "   its $limit s are used up: what is measured is kept"; touch "$out/steps/$name.done"
    elif [ $rc -eq 0 ]; then
        touch "$out/steps/$name.done"
    else
        echo "   FAILED ($rc) after $spent s, see logs/$name.log"; failed="$failed $name"
    fi
    return 0
}

# skip NAME REASON
skip() { [ -n "$only" ] && [ "$only" != "$1" ] || echo "== $1: SKIPPED, $2"; }

if [ -n "${DITPLAN:-}" ] && [ $device = cuda ]; then
    mkdir -p "$out/profile"
    quick=
    [ $toy = no ] || quick=--quick
    step check 60 20 "$ditplan" cuda check $quick
    step sweep 90 60 "$ditplan" cuda sweep --out "$out/profile" $toy_flag
else
    reason="DITPLAN names no binary"
    [ $device = cuda ] || reason="the kernels need --device cuda"
    skip check "$reason"; skip sweep "$reason"
fi

step calibrate 390 20 "$python" -m ditplan_capture.calibrate --out "$out/profile" --device $device --budget-s @T $toy_flag
step train 90 60 "$python" -m ditplan_capture.train_digits --out "$trace" --device $device $model
step capture 60 50 "$python" -m ditplan_capture.record_digits --model "$trace/model.safetensors" --out "$trace/trace" \
    --device $device --steps 28 --samples $samples
step response 60 40 "$python" -m ditplan_capture.step_response "$trace/trace" --model "$trace/model.safetensors" \
    --device $device --samples $samples
step errors 120 90 "$python" -m ditplan_capture.replay "$trace/trace" --ranks 2 4 8 --device $device \
    --out "$trace/trace/errors.csv.gz"

campaign() { # NAME LIMIT ARGUMENTS...
    local name=$1 limit=$2
    shift 2
    step "$name" "$limit" 20 "$python" -m ditplan_capture.campaign run --model "$trace/model.safetensors" \
        --assignments "$trace/assignments.json" --log "$trace/log" --device $device --until-s @T "$@"
}
if [ -d "$trace" ] && [ ! -e "$trace/assignments.json" ]; then
    "$python" -m ditplan_capture.campaign plan --layers $layers --assignments "$trace/assignments.json"
fi
campaign sensitivities 150 $fit
campaign campaign 130 $rest
step quality 30 25 bash -c '"$0" -m ditplan_capture.campaign collect --assignments "$1/assignments.json" --log "$1/log" \
    --out "$1/trace/runs.csv.gz" && "$0" -m ditplan_capture.calibrate_quality "$1/trace" --check' "$python" "$trace"
weights=()
[ ! -e "$trace/model.safetensors" ] || weights=(--weights "$trace/model.safetensors")
step virtual 300 40 "$python" -m ditplan_capture.virtual_campaign --out "$out/virtual" --device $device --budget-s @T \
    --repeats $repeats $toy_flag "${weights[@]}"

# Few and small files: the tensors of the trace stay behind.
if [ -z "$only" ] || [ "$only" = pack ]; then
    (cd "$out" && find . -name '*.safetensors' -prune -o -name '*.pt' -prune -o -name '*.tar.gz' -prune -o -type f -print0 |
        tar --null --files-from=- -czf results.tar.gz.tmp && mv results.tar.gz.tmp results.tar.gz) &&
        echo "== pack: results.tar.gz, $(du -h "$out/results.tar.gz" | cut -f1)"
fi

echo "== $((SECONDS - began)) s;${failed:+ failed:$failed;}${left:+ left to a further call:$left}"
[ -z "$failed" ] || exit 1
[ -z "$left" ] || exit 3
