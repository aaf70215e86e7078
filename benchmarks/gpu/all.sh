#!/usr/bin/env bash
# Everything that is to be known of a GPU. Time limits add up to 13 minutes; what is cut off has left its figures.
#
#     benchmarks/gpu/all.sh [FOLDER]          on a GPU
#     DEVICE=cpu benchmarks/gpu/all.sh        a rehearsal without one, on small sizes
#
# FOLDER (benchmarks/results/gpu) gets gpu.json, which every part adds to as it goes, and all.log. Of the environment:
#   PYTHON    the interpreter                            MODEL   an exported PaiNN in single precision, or random weights
#   WHEELS    a folder of wheels that it lacks           NNPOPS  a clone of github.com/openmm/NNPOps
#   PARTS     those to run, such as "correct step"       PATIENCE  a factor for all time limits
# Where there is no network, bring wheels along: see wheels.txt.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
device=${DEVICE:-cuda}
python=${PYTHON:-python3}
out=$(realpath -m "${1:-$([[ $device == cuda ]] && echo benchmarks/results/gpu || echo runs/gpu)}")
work=build/gpu
mkdir -p "$out" "$work"
export PYTHONPATH="$PWD:$PWD/benchmarks:$PWD/benchmarks/gpu:$PWD/$work/site${PYTHONPATH:+:$PYTHONPATH}"
failed=()
libraries='
from glob import glob
from importlib.util import find_spec
nvidia = find_spec("nvidia")
print(":".join(folder for place in (nvidia.submodule_search_locations if nvidia else []) for folder in glob(place + "/*/lib")))
'

# part NAME SECONDS COMMAND...: with a time limit of its own; a failure does not stop the others.
part() {
  local name=$1 limit=$(($2 * ${PATIENCE:-1})) begin=$SECONDS
  shift 2
  [[ " ${PARTS:-$name} " == *" $name "* ]] || return 0
  echo "== $name (at most $limit s)"
  timeout --kill-after=5 "$limit" "$@" 2>&1
  local status=$?
  echo "== $name: $([[ $status == 0 ]] && echo done || echo "ended with $status"), $((SECONDS - begin)) s"
  [[ $status == 0 ]] || failed+=("$name")
}

all() {
  local json=$out/gpu.json model=${MODEL:-$work/model.pt}
  case $device in
    cuda) sizes=(21 49 100 774 1000 10000 100000) rounds=7 seconds=60 features=128 water=3000 timing=10 ;;
    *) sizes=(21 49 100 1000) rounds=2 seconds=5 features=32 water=198 timing=2 ;;
  esac
  [[ -z ${WHEELS:-} ]] || part install 40 "$python" -m pip install -q --no-index --no-deps --no-compile --upgrade \
    --target "$work/site" "$WHEELS"/*.whl
  # OpenMM looks for NVIDIA's libraries beside itself, and wheels may be elsewhere than torch is
  LD_LIBRARY_PATH=$("$python" -c "$libraries")${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  export LD_LIBRARY_PATH
  part machine 30 "$python" benchmarks/gpu/machine.py --json "$json"
  part build 110 "$python" -m idle_md build-plugins --ops --folder "$work/ops"
  [[ -e $model ]] || part model 20 "$python" benchmarks/gpu/model.py "$model"
  part correct 70 "$python" benchmarks/gpu/correct.py "$model" --device "$device" --json "$json"
  for tool in memcheck racecheck; do
    sanitize=(compute-sanitizer --tool "$tool" --error-exitcode 1)
    [[ $device == cuda ]] || sanitize=()
    part "sanitizer-$tool" 60 ${sanitize[@]+"${sanitize[@]}"} "$python" benchmarks/gpu/correct.py "$model" --device "$device" --smallest
  done
  part step 120 "$python" benchmarks/gpu/step.py "$model" --device "$device" "${sizes[@]/#/--atoms=}" --rounds "$rounds" --json "$json"
  [[ -z ${NNPOPS:-} ]] || part nnpops 40 "$python" -m idle_md build-plugins --nnpops --source "$NNPOPS" --folder "$work/nnpops"
  part openmm 110 "$python" benchmarks/gpu/in_openmm.py idle-s --device "$device" --water "$water" --seconds "$timing" --json "$json"
  part train 90 "$python" benchmarks/gpu/train.py --device "$device" --seconds "$seconds" --features "$features" --json "$json"
  echo "== figures in $json${failed[0]:+; not done: ${failed[*]}}"
  [[ ${#failed[@]} == 0 ]]
}

[[ -n ${PARTS:-} ]] || rm -f "$out/gpu.json" "$out/all.log"  # figures of one run stand together
all 2>&1 | tee -a "$out/all.log"
exit "${PIPESTATUS[0]}"
